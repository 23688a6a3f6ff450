"""Drives that crash while they work without their server, or while they send what was kept."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from random import Random

import pytest
import trio
import trio.testing

from backend.drive import Drive
from backend.errors import Offline
from backend.replay import REPLAY_BATCH
from protocol.ids import ROOT_NODE, NodeId
from protocol.messages.changes import RenameMode
from protocol.messages.nodes import Kind
from tests.simulation.disk import Crashed
from tests.together.parting import back, cut_off
from tests.together.programs import names, read, write
from tests.together.world import Place, World

LARGE = Random(5).randbytes(600_000)


async def scene(drive: Drive, base: NodeId, told: list[str]) -> None:
    """What somebody does apart in a folder; ``told`` has what has returned."""
    folder = await drive.make(base, b"folder", Kind.FOLDER, 0o755, 0, 0)
    told.append("folder")
    await write(drive, b"small", b"small", folder.id)
    told.append("small")
    await write(drive, b"large", LARGE, folder.id)
    told.append("large")
    await write(drive, b"edited", b"after", base)
    told.append("edited")
    await drive.rename(base, b"edited", folder.id, b"renamed", RenameMode.REPLACE)
    told.append("renamed")
    await drive.unlink(base, b"doomed")
    told.append("doomed")


async def check_scene(drive: Drive, base: NodeId, told: list[str]) -> None:
    """Each change that has returned is there, whatever else is there is whole, and nothing is there twice."""
    there = {name: await content_of(drive, name, base) for name in await names(drive, base)}
    folder = await drive.lookup(base, b"folder")
    found = [] if folder is None else await names(drive, folder.id)
    inside = {} if folder is None else {name: await content_of(drive, name, folder.id) for name in found}
    assert not [name for name in [*there, *inside] if b"conflict" in name]
    assert folder is not None or "folder" not in told
    for name, content in ((b"small", b"small"), (b"large", LARGE)):
        assert inside.get(name, b"") in ((content,) if name.decode() in told else (content, b""))
    before = () if "edited" in told else (b"before", b"not cached")
    assert there.get(b"edited", inside.get(b"renamed")) in (b"after", *before)
    assert (b"edited" in there) != (b"renamed" in inside)
    assert b"renamed" in inside or "renamed" not in told
    assert b"doomed" not in there or "doomed" not in told


async def content_of(drive: Drive, name: bytes, parent: NodeId) -> bytes:
    row = await drive.lookup(parent, name)
    assert row is not None
    try:
        return b"" if row.kind is Kind.FOLDER else await read(drive, name, parent)
    except Offline:  # What was cached before may go with the power.
        return b"not cached"


@pytest.mark.parametrize("how", ["kill", "power_loss"])
async def test_what_was_done_apart_survives_a_crash(world: World, autojump_clock: object, how: str) -> None:
    desk, laptop = world.place("desk"), world.place("laptop")
    large = os.urandom(3_000_000)
    async with desk.crashing_drive() as one:
        await write(one, b"before", b"x")
        await cut_off(desk, one)
        await write(one, b"small", b"small")
        await write(one, b"large", large)
    desk.disk.crash()
    desk.disk = getattr(desk.disk, how)()
    async with desk.crashing_drive() as one:
        assert one.reach.apart
        assert await names(one) == [b"before", b"large", b"small"]
        assert await read(one, b"large") == large
        await write(one, b"later", b"later")
    desk.disk.crash()
    desk.disk = getattr(desk.disk, how)()
    desk.http.cut = False
    async with desk.crashing_drive() as one, laptop.drive() as two:
        await one.synced()
        assert await names(two) == [b"before", b"large", b"later", b"small"]
        assert await read(two, b"large") == large


async def test_a_crash_in_the_middle_of_sending_repeats_nothing(world: World, autojump_clock: object) -> None:
    desk, laptop = world.place("desk"), world.place("laptop")
    async with desk.crashing_drive() as one:
        await one.entries(ROOT_NODE)
        await cut_off(desk, one)
        for number in range(5):
            await write(one, b"file %d" % number, b"%d" % number)
        await write(one, b"file 0", b"again")
        desk.http.lose_changes = True
        desk.http.cut = False
        await desk.http.lost.wait()
    desk.http.lose_changes = False
    async with desk.crashing_drive() as one, laptop.drive() as two:
        await one.synced()
        assert await names(two) == [b"file %d" % number for number in range(5)]
        assert await read(two, b"file 0") == b"again"


@pytest.mark.parametrize("how", ["kill", "power_loss"])
@pytest.mark.parametrize("part", range(4))
async def test_a_crash_at_each_change_of_the_disk_loses_nothing_that_returned(
    world: World, autojump_clock: object, how: str, part: int
) -> None:
    step = part + 1
    while not await dies_at(world, step, how):
        step += 4


async def dies_at(world: World, step: int, how: str) -> bool:
    """The scene, with a crash at this change of the disk; returns whether it ended before that."""
    desk, laptop = world.place(f"desk {step}"), world.place(f"laptop {step}")
    told: list[str] = []
    with suppress_crash():
        async with desk.crashing_drive() as one:
            base = (await one.make(ROOT_NODE, b"%d" % step, Kind.FOLDER, 0o755, 0, 0)).id
            await write(one, b"edited", b"before", base)
            await write(one, b"doomed", b"x", base)
            await one.entries(base)
            await cut_off(desk, one)
            await trio.testing.wait_all_tasks_blocked()
            desk.disk.crash_at(desk.disk.steps + step)
            await scene(one, base, told)
    desk.disk = getattr(desk.disk, how)()
    async with desk.crashing_drive() as one:
        await check_scene(one, base, told)
    desk.disk = getattr(desk.disk, how)()
    async with desk.crashing_drive() as one, laptop.drive() as two:
        await back(desk, one)
        await check_scene(two, base, told)
    return "doomed" in told


@pytest.mark.parametrize("how", ["kill", "power_loss"])
@pytest.mark.parametrize("part", range(2))
async def test_a_crash_at_each_change_of_the_disk_while_sending_repeats_and_loses_nothing(
    world: World, autojump_clock: object, how: str, part: int
) -> None:
    step = part + 1
    while not await dies_sending_at(world, step, how):
        step += 2


async def dies_sending_at(world: World, step: int, how: str) -> bool:
    """What was kept, sent with a crash at this change of the disk; returns whether all was sent before that."""
    desk, laptop = world.place(f"desk {step}"), world.place(f"laptop {step}")
    told: list[str] = []
    async with desk.crashing_drive() as one:
        base = (await one.make(ROOT_NODE, b"%d" % step, Kind.FOLDER, 0o755, 0, 0)).id
        await write(one, b"edited", b"before", base)
        await write(one, b"doomed", b"x", base)
        await one.entries(base)
        await cut_off(desk, one)
        await scene(one, base, told)
    desk.disk = getattr(desk.disk, how)()
    desk.http.cut = False
    desk.disk.crash_at(step)
    sent = False
    with suppress_crash():
        async with desk.crashing_drive() as one:
            await one.synced()
            sent = True
    desk.disk = getattr(desk.disk, how)()
    async with desk.crashing_drive() as one, laptop.drive() as two:
        await one.synced()
        await check_scene(two, base, told)
        await check_scene(one, base, told)
    return sent


@contextmanager
def suppress_crash() -> Iterator[None]:
    try:
        yield
    except* Crashed:
        pass


async def _lose_the_next_answer(place: Place) -> None:
    async def lose_this() -> None:
        place.http.lose_changes = True

    place.http.before_answer = lose_this


async def test_a_drive_that_crashed_while_it_was_sending_shows_all_that_was_done(
    world: World, autojump_clock: object
) -> None:
    desk = world.place("desk")
    async with desk.drive() as one:
        await write(one, b"old", b"before")
        await one.entries(ROOT_NODE)
    desk.http.cut = True
    async with desk.crashing_drive() as one:
        folder = await one.make(ROOT_NODE, b"folder", Kind.FOLDER, 0o755, 0, 0)
        await write(one, b"old", b"after")
        for number in range(REPLAY_BATCH):
            await one.make(folder.id, b"%d" % number, Kind.FOLDER, 0o755, 0, 0)
        desk.http.before_answer = partial(_lose_the_next_answer, desk)
        desk.http.cut = False
        await desk.http.lost.wait()
    desk.http.cut, desk.http.lose_changes = True, False
    async with desk.crashing_drive() as one:
        assert await names(one) == [b"folder", b"old"]
        assert await read(one, b"old") == b"after"
        assert len(await one.entries(folder.id)) == REPLAY_BATCH
        await write(one, b"old", b"later")
        await back(desk, one)
        assert await names(one) == [b"folder", b"old"]
        assert await read(one, b"old") == b"later"
