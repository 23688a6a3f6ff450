"""Conflict copies on two drives: listed on both, ended on either."""

from __future__ import annotations

import errno

import pytest
import trio

from backend.drive import Drive
from backend.errors import Offline, Refused
from backend.tree import Outdated
from protocol.ids import ROOT_NODE, NodeId
from protocol.messages.conflicts import Keep
from protocol.messages.nodes import Kind
from tests.together.kinds import in_both_kinds
from tests.together.programs import copies, names, read, write
from tests.together.world import World

pytestmark = in_both_kinds

COPY = b"file (conflict from laptop 2023-11-14 22.13.20)"


async def conflict(desk: Drive, laptop: Drive, parent: NodeId = ROOT_NODE) -> None:
    """desk's "theirs" stands under "file"; laptop's "mine" is the copy."""
    node = await write(desk, b"file", b"base", parent)
    file = await laptop.open(node)
    await file.truncate(0)
    await file.write(0, b"mine")
    await write(desk, b"file", b"theirs", parent)
    await laptop.flush(file)
    await laptop.release(file)


async def test_a_conflict_is_listed_on_each_device(world: World) -> None:
    desk, laptop = world.place("desk"), world.place("laptop")
    async with desk.drive() as one, laptop.drive() as two:
        folder = await one.make(ROOT_NODE, b"d", Kind.FOLDER, 0o755, 0, 0)
        await conflict(one, two, folder.id)
        for drive in (one, two):
            [copy] = await drive.conflicts()
            assert (copy.path, copy.device, copy.size) == ([b"d", COPY], "laptop", 4)
            assert copy.original is not None
            assert copy.original.path == [b"d", b"file"]


@pytest.mark.parametrize(
    ("keep", "expected"),
    [
        (Keep.MINE, {b"file": b"mine"}),
        (Keep.THEIRS, {b"file": b"theirs"}),
        (Keep.BOTH, {b"file": b"theirs", COPY: b"mine"}),
    ],
)
async def test_what_is_decided_on_one_device_is_seen_on_both(
    world: World, keep: Keep, expected: dict[bytes, bytes]
) -> None:
    desk, laptop = world.place("desk"), world.place("laptop")
    async with desk.drive() as one, laptop.drive() as two:
        await conflict(one, two)
        assert {await read(two, name) for name in await names(two)} == {b"mine", b"theirs"}
        await two.resolve([COPY], keep)
        for drive in (one, two):
            assert {name: await read(drive, name) for name in await names(drive)} == expected
            assert await drive.conflicts() == []


async def test_the_kernel_of_the_mount_that_decides_drops_the_old_content(world: World) -> None:
    desk, laptop = world.place("desk"), world.place("laptop")
    async with desk.drive() as one, laptop.drive() as two:
        await conflict(one, two)
        row = await two.lookup(ROOT_NODE, b"file")
        assert row is not None
        opened = await two.open(row.id)
        laptop.outdated.clear()
        await two.resolve([COPY], Keep.MINE)
        assert any(row.id in outdated.contents and outdated.names for outdated in laptop.outdated)
        assert await opened.read(0, 10) == b"theirs"
        await two.release(opened)


async def test_only_a_conflict_copy_has_a_conflict_to_end(world: World) -> None:
    desk = world.place("desk")
    async with desk.drive() as one:
        await write(one, b"file", b"x")
        for path, code in (([b"file"], errno.EINVAL), ([], errno.EINVAL), ([b"no", b"file"], errno.ENOENT)):
            with pytest.raises(Refused) as refused:
                await one.resolve(path, Keep.MINE)
            assert refused.value.errno == code


async def test_a_file_that_got_a_conflict_name_is_removed_and_the_others_is_seen(world: World) -> None:
    """The removal travels with the create, and names what the create asked for."""
    desk, laptop = world.place("desk"), world.place("laptop")
    async with desk.drive() as one, laptop.drive() as two:
        await two.entries(ROOT_NODE)
        await write(one, b"file", b"theirs")
        mine = await two.create(ROOT_NODE, b"file", 0o644, 0, 0, exclusive=False)
        await two.unlink(ROOT_NODE, b"file")
        await two.release(mine)
        assert await names(two) == [b"file"]
        assert await read(two, b"file") == b"theirs"


async def test_the_kernel_drops_the_name_of_a_file_that_was_given_another(world: World) -> None:
    """It learnt the name from the create, for which nobody asked the server."""
    desk, laptop = world.place("desk"), world.place("laptop")
    async with desk.drive() as one, laptop.drive() as two:
        kept: NodeId | None = None

        async def told(outdated: Outdated) -> None:
            """A kernel that looks up the name again as soon as it has dropped it."""
            nonlocal kept
            if outdated.names:
                kept = None
                with trio.move_on_after(0):  # What needs the server comes later.
                    row = await two.lookup(ROOT_NODE, b"file")
                    kept = None if row is None else row.id

        laptop.when_told = told
        mine = await two.create(ROOT_NODE, b"file", 0o644, 0, 0, exclusive=False)
        theirs = await one.create(ROOT_NODE, b"file", 0o644, 0, 0, exclusive=True)
        assert kept == mine.node
        await mine.write(0, b"mine")
        await two.flush(mine)
        assert kept in (None, theirs.node)
        await two.release(mine)
        await one.release(theirs)


@pytest.mark.parametrize("is_copy_open", [False, True])
async def test_a_copy_that_was_edited_before_its_writer_heard_of_it_is_not_overwritten(
    world: World, autojump_clock: object, is_copy_open: bool
) -> None:
    desk, laptop = world.place("desk"), world.place("laptop")
    async with desk.drive(strict=True) as one, laptop.drive() as two:
        file = await one.open(await write(one, b"file", b"base"))
        await write(two, b"file", b"theirs")
        await file.write(0, b"mine")
        desk.http.lose_changes = True
        with pytest.raises(Offline):
            await one.flush(file)
        (copy,) = await copies(two)
        await write(two, copy, b"edited")
        found = await one.lookup(ROOT_NODE, copy)
        assert found is not None
        reader = await one.open(found.id) if is_copy_open else None
        desk.http.lose_changes = False
        await one.synced()
        assert await read(one, copy) == b"edited"
        await file.write(4, b" more")
        await one.flush(file)
        await one.release(file)
        if reader is not None:
            await one.release(reader)
        assert await read(one, b"file") == await read(two, b"file") == b"theirs"
        assert await read(one, copy) == await read(two, copy) == b"edited"
        (other,) = [name for name in await copies(two) if name != copy]
        assert await read(two, other) == b"mine more"
