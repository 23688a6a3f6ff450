"""Devices whose disk is full when their server comes back: what was kept is sent, and that makes room."""

from __future__ import annotations

import contextlib
import os

import pytest

from backend.drive import Drive
from backend.errors import DriveError
from protocol.ids import ROOT_NODE
from protocol.messages.nodes import Kind
from tests.together.parting import cut_off
from tests.together.programs import names, read, write
from tests.together.world import Place, World

ROOM_BYTES = 4 << 20


async def fill(place: Place, drive: Drive, size_bytes: int) -> list[bytes]:
    """Write files apart until there is no room for one more folder either; returns those that were closed."""
    await drive.entries(ROOT_NODE)
    await cut_off(place, drive)
    place.disk.capacity_bytes = place.disk.used_bytes + ROOM_BYTES
    closed: list[bytes] = []
    with contextlib.suppress(DriveError, OSError):
        while True:
            await write(drive, b"file %d" % len(closed), os.urandom(size_bytes))
            closed.append(b"file %d" % len(closed))
    with contextlib.suppress(DriveError):
        while True:
            await drive.make(ROOT_NODE, b"folder %d" % len(closed), Kind.FOLDER, 0o755, 0, 0)
            closed.append(b"folder %d" % len(closed))
    return closed


async def back(place: Place, drive: Drive) -> None:
    """The network is back, and what was kept is sent; then there is room for the rest."""
    place.http.cut = False
    await drive.reach.wait_joined()
    await drive.synced()


@pytest.mark.parametrize("size_bytes", [10_000, 200_000])
async def test_what_filled_the_disk_is_sent(world: World, autojump_clock: object, size_bytes: int) -> None:
    desk, laptop = world.place("desk"), world.place("laptop")
    async with desk.drive() as one, laptop.drive() as two:
        closed = await fill(desk, one, size_bytes)
        await back(desk, one)
        assert one.status().queued_changes == 0
        assert set(closed) <= set(await names(two))
        assert len(await read(two, closed[0])) == size_bytes
        await write(one, b"afterwards", b"there is room again")


@pytest.mark.parametrize("how", ["kill", "power_loss"])
@pytest.mark.parametrize("size_bytes", [10_000, 200_000])
async def test_what_filled_the_disk_is_sent_by_the_next_mount(
    world: World, autojump_clock: object, how: str, size_bytes: int
) -> None:
    desk, laptop = world.place("desk"), world.place("laptop")
    async with desk.crashing_drive() as one:
        closed = await fill(desk, one, size_bytes)
    desk.disk = getattr(desk.disk, how)()
    desk.disk.capacity_bytes = desk.disk.used_bytes
    async with desk.drive() as one, laptop.drive() as two:
        await back(desk, one)
        assert set(closed) <= set(await names(two))
        assert len(await read(two, closed[0])) == size_bytes
