"""Changes of two drives that cross: which one wins, and where the other is kept."""

from __future__ import annotations

import errno
import os

import pytest
import trio

from backend.errors import Offline, Refused
from protocol.ids import ROOT_NODE
from protocol.messages.nodes import Kind
from tests.together.kinds import in_both_kinds
from tests.together.programs import copies, names, read, write
from tests.together.world import World

pytestmark = in_both_kinds


async def test_who_commits_second_gets_a_conflict_copy(world: World) -> None:
    desk, laptop = world.place("desk"), world.place("laptop")
    async with desk.drive() as one, laptop.drive() as two:
        node = await write(one, b"file.txt", b"base")
        mine = await two.open(node)
        await mine.write(0, b"mine")
        await write(one, b"file.txt", b"theirs")
        await two.flush(mine)
        assert mine.node != node
        await mine.write(4, b" and more")
        await two.flush(mine)
        await two.release(mine)
        found = await names(two)
        assert found[0] == b"file (conflict from laptop 2023-11-14 22.13.20).txt"
        assert await read(two, found[0]) == b"mine and more"
        assert await read(two, b"file.txt") == b"theirs"
        marked = await two.lookup(ROOT_NODE, found[0])
        assert marked is not None
        assert marked.conflict_of == node


async def test_two_that_create_one_name_at_once_are_both_kept(world: World) -> None:
    desk, laptop = world.place("desk"), world.place("laptop")
    async with desk.drive() as one, laptop.drive() as two:
        ours = await one.create(ROOT_NODE, b"file", 0o644, 0, 0, exclusive=False)
        theirs = await two.create(ROOT_NODE, b"file", 0o644, 0, 0, exclusive=False)
        for drive, file, content in ((one, ours, b"one"), (two, theirs, b"two")):
            await file.write(0, content)
            await drive.flush(file)
            await drive.release(file)
        assert {await read(one, name) for name in await names(one)} == {b"one", b"two"}


async def test_an_exclusive_create_is_refused_where_another_was_first(world: World) -> None:
    desk, laptop = world.place("desk"), world.place("laptop")
    async with desk.drive() as one, laptop.drive() as two:
        await two.entries(ROOT_NODE)
        await write(one, b"lock", b"")
        with pytest.raises(Refused) as refused:
            await two.create(ROOT_NODE, b"lock", 0o644, 0, 0, exclusive=True)
        assert refused.value.errno == errno.EEXIST


async def test_an_edit_wins_over_a_removal(world: World) -> None:
    desk, laptop = world.place("desk"), world.place("laptop")
    async with desk.drive() as one, laptop.drive() as two:
        node = await write(one, b"file", b"base")
        mine = await two.open(node)
        await mine.write(0, b"edit")
        await one.unlink(ROOT_NODE, b"file")
        await two.flush(mine)
        await two.release(mine)
        assert await read(one, b"file") == b"edit"


async def test_a_file_that_comes_back_is_told_to_the_kernel_of_who_brought_it_back(world: World) -> None:
    desk, laptop = world.place("desk"), world.place("laptop")
    async with desk.drive() as one, laptop.drive() as two:
        node = await write(one, b"file", b"base")
        mine = await two.open(node)
        await mine.write(0, b"edit")
        await one.unlink(ROOT_NODE, b"file")
        assert await two.lookup(ROOT_NODE, b"file") is None
        laptop.outdated.clear()
        await two.flush(mine)
        await two.release(mine)
        assert any(outdated.names for outdated in laptop.outdated)


async def test_an_exclusive_create_is_detached_by_a_commit_that_comes_before_its_answer(world: World) -> None:
    desk, laptop = world.place("desk"), world.place("laptop")
    async with desk.drive() as one, laptop.drive() as two:
        await two.entries(ROOT_NODE)

        async def commit_elsewhere() -> None:
            await write(one, b"file", b"theirs")

        laptop.http.before_answer = commit_elsewhere
        mine = await two.create(ROOT_NODE, b"file", 0o644, 0, 0, exclusive=True)
        assert mine.detached
        await mine.write(0, b"mine")
        await two.flush(mine)
        await two.release(mine)
        assert await read(two, b"file") == b"theirs"


async def test_a_file_removed_while_it_is_sent_stays_removed(world: World) -> None:
    place = world.place("desk")
    async with place.drive() as drive, trio.open_nursery() as nursery:
        node = await write(drive, b"file", b"base")
        file = await drive.open(node)
        await file.write(0, os.urandom(300_000))
        place.http.hold = trio.Event()
        nursery.start_soon(drive.flush, file)
        await place.http.held.wait()
        file.unlinked_here()  # As the answer to an unlink does.
        place.http.hold.set()
        place.http.hold = None
        await drive.unlink(ROOT_NODE, b"file")
    async with place.drive() as drive:
        assert await names(drive) == []


async def test_a_new_folder_is_not_taken_for_empty_where_another_was_quicker(world: World) -> None:
    desk, laptop = world.place("desk"), world.place("laptop")
    async with desk.drive(strict=True) as one, laptop.drive() as two:
        desk.http.lose_replies = 1
        with pytest.raises(Offline):
            await one.make(ROOT_NODE, b"folder", Kind.FOLDER, 0o755, 0, 0)
        found = await two.lookup(ROOT_NODE, b"folder")
        assert found is not None
        await write(two, b"file", b"x", found.id)
        await one.synced()
        assert await names(one, found.id) == [b"file"]


async def test_a_late_answer_does_not_hide_what_others_did_since(world: World) -> None:
    desk, laptop = world.place("desk"), world.place("laptop")
    async with desk.drive(strict=True) as one, laptop.drive() as two:
        node = await write(one, b"file", b"x")
        desk.http.lose_replies = 1
        with pytest.raises(Offline):
            await one.set_attributes(node, mode=0o600)
        await two.set_attributes(node, mode=0o640)
        await one.synced()
        assert (await one.attributes(node)).mode == 0o640


async def test_a_late_answer_to_a_commit_does_not_make_another_devices_version_one_s_own(
    world: World, autojump_clock: object
) -> None:
    desk, laptop = world.place("desk"), world.place("laptop")
    async with desk.drive(strict=True) as one, laptop.drive() as two:
        node = await write(one, b"file", b"base")
        file = await one.open(node)
        await file.write(0, b"mine")
        desk.http.lose_replies = 1
        with pytest.raises(Offline):
            await one.flush(file)
        await write(two, b"file", b"theirs")
        await one.flush(file)
        await file.write(4, b" more")
        await one.flush(file)
        await one.release(file)
        assert await read(two, b"file") == b"theirs"
        (copy,) = await copies(two)
        assert await read(two, copy) == b"mine more"
