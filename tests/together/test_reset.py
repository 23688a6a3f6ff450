"""Devices that were away for longer than the server keeps its log: they begin anew, and lose nothing of theirs."""

from __future__ import annotations

import os

import pytest
import trio

from backend.drive import Drive
from protocol.ids import ROOT_NODE
from protocol.messages.changes import RenameMode
from protocol.messages.nodes import Kind
from tests.together.parting import back, cut_off
from tests.together.programs import names, read, write, write_long
from tests.together.world import World

LARGE = os.urandom(600_000)


async def prepare(drive: Drive) -> None:
    for name in (b"edited", b"removed", b"renamed", b"mine"):
        await write(drive, name, b"before")


async def change_while_another_is_away(world: World, drive: Drive) -> None:
    await write(drive, b"edited", b"theirs")
    await drive.unlink(ROOT_NODE, b"removed")
    await drive.rename(ROOT_NODE, b"renamed", ROOT_NODE, b"by another name", RenameMode.REPLACE)
    await write(drive, b"new", b"new")
    await world.prune()


async def change_apart(drive: Drive) -> None:
    folder = await drive.make(ROOT_NODE, b"folder", Kind.FOLDER, 0o755, 0, 0)
    await write(drive, b"large", LARGE, folder.id)
    await write(drive, b"mine", b"after")


async def check(drive: Drive) -> None:
    assert await names(drive) == [b"by another name", b"edited", b"folder", b"mine", b"new"]
    assert await read(drive, b"edited") == b"theirs"
    assert await read(drive, b"mine") == b"after"
    folder = await drive.lookup(ROOT_NODE, b"folder")
    assert folder is not None
    assert await read(drive, b"large", folder.id) == LARGE


async def test_what_was_done_apart_arrives_and_the_rest_is_read_anew(world: World, autojump_clock: object) -> None:
    desk, laptop = world.place("desk"), world.place("laptop")
    async with desk.drive() as one, laptop.drive() as two:
        await prepare(one)
        await one.entries(ROOT_NODE)
        await cut_off(desk, one)
        await change_apart(one)
        await change_while_another_is_away(world, two)
        await back(desk, one)
        await check(one)
        await check(two)


@pytest.mark.parametrize("how", ["kill", "power_loss"])
async def test_a_mount_that_begins_anew_from_what_the_last_one_knew(
    world: World, autojump_clock: object, how: str
) -> None:
    desk, laptop = world.place("desk"), world.place("laptop")
    async with laptop.drive() as two:
        async with desk.crashing_drive() as one:
            await prepare(one)
            await one.entries(ROOT_NODE)
            await cut_off(desk, one)
            await change_apart(one)
        desk.disk = getattr(desk.disk, how)()
        await change_while_another_is_away(world, two)
        desk.http.cut = False
        async with desk.drive() as one:
            await one.synced()
            await check(one)
            await check(two)


async def test_a_file_that_is_being_written_is_committed_after_the_reset(world: World, autojump_clock: object) -> None:
    desk, laptop = world.place("desk"), world.place("laptop")
    async with desk.drive() as one, laptop.drive() as two:
        await prepare(one)
        file = await one.open(await write(one, b"mine", b"before"))
        await file.write(0, b"begun ")
        await cut_off(desk, one)
        await change_while_another_is_away(world, two)
        desk.http.cut = False
        await one.reach.wait_joined()
        await trio.sleep(1)
        await file.write(6, b"and done")
        await one.flush(file)
        await one.release(file)
        assert await read(one, b"mine") == await read(two, b"mine") == b"begun and done"
        assert await names(one) == await names(two) == [b"by another name", b"edited", b"mine", b"new"]


async def test_a_device_that_only_looked_sees_what_is_there_by_now(world: World, autojump_clock: object) -> None:
    desk, laptop = world.place("desk"), world.place("laptop")
    async with desk.drive() as one, laptop.drive() as two:
        await prepare(two)
        await one.entries(ROOT_NODE)
        assert await read(one, b"edited") == b"before"
        await cut_off(desk, one)
        await change_while_another_is_away(world, two)
        desk.outdated.clear()
        await back(desk, one)
        await trio.sleep(1)
        assert any(outdated.everything for outdated in desk.outdated), "the kernel drops all that it has"
        assert await read(one, b"edited") == b"theirs"
        assert await names(one) == [b"by another name", b"edited", b"mine", b"new"]


async def test_the_content_of_a_version_is_asked_for_anew(world: World, autojump_clock: object) -> None:
    """A server that was restored from a backup gives numbers of versions a second time."""
    desk, laptop = world.place("desk"), world.place("laptop")
    async with desk.drive() as one, laptop.drive() as two:
        await prepare(one)
        await write_long(one, await write(one, b"long", b""), b"content")
        await cut_off(desk, one)
        await change_while_another_is_away(world, two)
        await back(desk, one)
        await trio.sleep(1)
        del desk.http.requests[:]
        await read(one, b"long")
        assert [request for request in desk.http.requests if request.endswith("/manifest")]
