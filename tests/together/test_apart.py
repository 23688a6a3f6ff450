"""Drives that lose their server: what is cached goes on, what is done is kept, and all of it arrives."""

from __future__ import annotations

import os
from functools import partial

import pytest
import trio
import trio.testing

from backend.apart import HELD_MAX_BYTES
from backend.attachment import REMEMBERED_EVERY_S
from backend.errors import Offline, Refused
from protocol.ids import ROOT_NODE
from protocol.messages.changes import RenameMode, XattrMode
from protocol.messages.nodes import Kind
from tests.together.kinds import in_both_kinds
from tests.together.parting import back, cut_off
from tests.together.programs import names, read, write
from tests.together.world import LEASE_S, World

pytestmark = in_both_kinds


async def test_what_is_cached_is_answered_and_what_is_not_fails_at_once(world: World, autojump_clock: object) -> None:
    desk, laptop = world.place("desk"), world.place("laptop")
    async with desk.drive() as one, laptop.drive() as two:
        await write(two, b"read before", b"x")
        await write(two, b"never read", os.urandom(100_000))
        await one.entries(ROOT_NODE)
        assert await read(one, b"read before") == b"x"
        await cut_off(desk, one)
        assert await names(one) == [b"never read", b"read before"]
        assert await read(one, b"read before") == b"x"
        assert await one.lookup(ROOT_NODE, b"absent") is None
        with pytest.raises(Offline):
            await read(one, b"never read")


async def test_everything_that_is_done_apart_arrives(world: World, autojump_clock: object) -> None:
    desk, laptop = world.place("desk"), world.place("laptop")
    large = os.urandom(3_000_000)
    async with desk.drive() as one, laptop.drive() as two:
        old = await write(one, b"old", b"old")
        await write(one, b"doomed", b"x")
        await write(one, b"edited", b"before")
        await cut_off(desk, one)
        folder = await one.make(ROOT_NODE, b"folder", Kind.FOLDER, 0o755, 0, 0)
        await write(one, b"small", b"small", folder.id)
        await write(one, b"large", large, folder.id)
        await write(one, b"edited", b"after")
        await write(one, b"edited", b"after all")
        await one.unlink(ROOT_NODE, b"doomed")
        await one.rename(ROOT_NODE, b"old", folder.id, b"new", RenameMode.REPLACE)
        await one.link(old, ROOT_NODE, b"link")
        await one.set_attributes(old, mode=0o600)
        await one.set_xattr(old, b"user.a", b"b", XattrMode.SET)
        assert await names(one) == [b"edited", b"folder", b"link"]
        assert await read(one, b"large", folder.id) == large
        assert await names(two) == [b"doomed", b"edited", b"old"]
        await back(desk, one)
        for drive in (one, two):
            assert await names(drive) == [b"edited", b"folder", b"link"]
            assert await read(drive, b"edited") == b"after all"
            assert await read(drive, b"large", folder.id) == large
            assert await read(drive, b"small", folder.id) == b"small"
            row = await drive.attributes(old)
            assert (row.mode, row.nlink, row.xattrs) == (0o600, 2, {"user.a": b"b"})


async def test_the_change_that_was_under_way_arrives_once(world: World, autojump_clock: object) -> None:
    desk, laptop = world.place("desk"), world.place("laptop")
    async with desk.drive() as one, laptop.drive() as two:
        await one.entries(ROOT_NODE)
        desk.http.lose_replies = 1
        desk.http.cut_after_next = True
        await one.make(ROOT_NODE, b"folder", Kind.FOLDER, 0o755, 0, 0)
        assert one.reach.apart
        assert await names(one) == [b"folder"]
        assert await names(two) == [b"folder"]
        await back(desk, one)
        assert await names(one) == [b"folder"]


async def test_rules_of_the_file_system_hold_apart(world: World, autojump_clock: object) -> None:
    desk = world.place("desk")
    async with desk.drive() as one:
        folder = await one.make(ROOT_NODE, b"folder", Kind.FOLDER, 0o755, 0, 0)
        await write(one, b"file", b"x", folder.id)
        await one.entries(ROOT_NODE)
        await cut_off(desk, one)
        for refused in (
            one.make(ROOT_NODE, b"folder", Kind.FOLDER, 0o755, 0, 0),
            one.rmdir(ROOT_NODE, b"folder"),
            one.unlink(ROOT_NODE, b"absent"),
        ):
            with pytest.raises(Refused):
                await refused
        await back(desk, one)
        assert await names(one) == [b"folder"]


async def test_a_strict_drive_refuses_instead(world: World, autojump_clock: object) -> None:
    desk = world.place("desk")
    async with desk.drive(strict=True) as one:
        await write(one, b"file", b"x")
        desk.http.cut = True
        await trio.sleep(20)
        with pytest.raises(Offline):
            await one.lookup(ROOT_NODE, b"file")
        with pytest.raises(Offline):
            await one.make(ROOT_NODE, b"folder", Kind.FOLDER, 0o755, 0, 0)
        assert not one.reach.apart


async def test_a_drive_that_begins_without_its_server_shows_what_it_knew(world: World, autojump_clock: object) -> None:
    desk = world.place("desk")
    async with desk.drive() as one:
        await write(one, b"file", b"x")
        await one.entries(ROOT_NODE)
    desk.http.cut = True
    async with desk.drive() as one:
        assert await names(one) == [b"file"]
        assert await read(one, b"file") == b"x"
        await write(one, b"more", b"y")
        await back(desk, one)
        assert await names(one) == [b"file", b"more"]


async def test_a_drive_that_begins_again_asks_only_for_what_changed(world: World, autojump_clock: object) -> None:
    desk, laptop = world.place("desk"), world.place("laptop")
    async with desk.drive() as one:
        for number in range(3):
            await write(one, b"file %d" % number, b"x")
        await one.entries(ROOT_NODE)
    async with laptop.drive() as two:
        await write(two, b"file 1", b"changed")
    async with desk.drive() as one:
        desk.http.requests.clear()
        assert await read(one, b"file 0") == b"x"
        assert await names(one) == [b"file 0", b"file 1", b"file 2"]
        assert len([request for request in desk.http.requests if "/nodes/" in request]) == 1
        assert await read(one, b"file 1") == b"changed"


async def test_hundreds_of_small_files_are_bounded_in_memory(world: World, autojump_clock: object) -> None:
    desk, laptop = world.place("desk"), world.place("laptop")
    async with desk.drive() as one, laptop.drive() as two:
        await one.entries(ROOT_NODE)
        await cut_off(desk, one)
        contents = [os.urandom(60_000) for _ in range(600)]
        for number, content in enumerate(contents):
            await write(one, b"%03d" % number, content)
        apart = one._apart
        assert apart._own.held_bytes < HELD_MAX_BYTES + 100_000
        assert await read(one, b"599") == contents[599]
        await back(desk, one)
        for number in (0, 599):
            assert await read(two, b"%03d" % number) == contents[number]


async def test_what_a_name_means_is_not_forgotten_over_a_create_that_is_sent_again(
    world: World, autojump_clock: object
) -> None:
    """Its mount crashed before it heard that the file has another name, and is cut off before it hears it again."""
    desk, laptop = world.place("desk"), world.place("laptop")
    async with laptop.drive() as two:
        async with desk.crashing_drive() as one:
            mine = await one.create(ROOT_NODE, b"file", 0o644, 0, 0, exclusive=False)
            await mine.write(0, b"mine")
            theirs = await write(two, b"file", b"theirs")
            desk.http.lose_changes = True
            with trio.move_on_after(1):
                await one.flush(mine)
        desk.disk = desk.disk.kill()
        async with desk.drive() as one:
            assert len(await one.entries(ROOT_NODE)) == 2
            await cut_off(desk, one)
            await trio.testing.wait_all_tasks_blocked()
            desk.http.lose_changes = False
            for _ in range(2):
                found = await one.lookup(ROOT_NODE, b"file")
                assert found is not None
                assert found.id == theirs
                await back(desk, one)


async def test_a_drive_that_begins_without_its_server_after_a_crash_shows_what_was_known_of_late(
    world: World, autojump_clock: object
) -> None:
    """Not what was known when a mount last ended or lost its server: an edit of that would be one against itself."""
    desk = world.place("desk")
    async with desk.drive() as one:
        await write(one, b"file", b"first")
        await one.entries(ROOT_NODE)
    async with desk.crashing_drive() as one:
        await write(one, b"file", b"second")
        await write(one, b"new", b"x")
        await trio.sleep(REMEMBERED_EVERY_S + 1)
    desk.http.cut = True
    async with desk.crashing_drive() as one:
        assert await names(one) == [b"file", b"new"]
        assert await read(one, b"file") == b"second"
        await write(one, b"file", b"third")
        await back(desk, one)
        assert await names(one) == [b"file", b"new"]
        assert await read(one, b"file") == b"third"


async def test_a_drive_whose_server_goes_while_it_begins_works_apart(world: World, autojump_clock: object) -> None:
    desk = world.place("desk")
    async with desk.drive() as one:
        await write(one, b"file", b"x")
        await one.entries(ROOT_NODE)
    desk.http.cut_before_join = True
    async with desk.drive() as one:
        assert one.reach.apart
        assert await read(one, b"file") == b"x"
        await write(one, b"file", b"y")
        await back(desk, one)
        assert await read(one, b"file") == b"y"


# ── how much room there is ──


async def test_a_mount_that_never_asked_says_what_room_there_is_here(world: World, autojump_clock: object) -> None:
    desk = world.place("desk")
    async with desk.drive() as one:
        await cut_off(desk, one)
        usage = await one.usage()
        assert (usage.total_bytes, usage.free_bytes) == desk.disk.room_bytes(desk.folder)
        assert usage.free_bytes > 0


async def test_a_mount_that_begins_apart_says_what_its_predecessor_heard(world: World, autojump_clock: object) -> None:
    desk = world.place("desk")
    async with desk.drive() as one:
        heard = await one.usage()
    desk.http.cut = True
    async with desk.drive() as one:
        assert await one.usage() == heard


# ── a link that is lost again ──


@pytest.mark.parametrize("is_polled", [False, True], ids=["at once", "after a poll"])
async def test_what_was_done_apart_is_shown_when_the_server_is_lost_again(
    world: World, autojump_clock: object, is_polled: bool
) -> None:
    desk = world.place("desk")
    async with desk.drive() as one:
        await write(one, b"edited", b"before")
        await write(one, b"removed", b"before")
        await one.entries(ROOT_NODE)
        await cut_off(desk, one)
        await write(one, b"edited", b"after")
        await write(one, b"made", b"made")
        await one.unlink(ROOT_NODE, b"removed")
        folder = await one.make(ROOT_NODE, b"folder", Kind.FOLDER, 0o755, 0, 0)
        await write(one, b"inside", b"inside", folder.id)
        await one.rename(ROOT_NODE, b"made", folder.id, b"moved", RenameMode.REPLACE)
        await back(desk, one)
        if is_polled:
            await trio.sleep(LEASE_S)
        await cut_off(desk, one)
        assert await names(one) == [b"edited", b"folder"]
        assert await names(one, folder.id) == [b"inside", b"moved"]
        assert await read(one, b"edited") == b"after"
        assert await read(one, b"moved", folder.id) == b"made"
        assert await one.lookup(ROOT_NODE, b"removed") is None
        assert (await one.attributes(ROOT_NODE)).nlink == 3


async def test_what_another_did_meanwhile_is_not_hidden_by_what_the_answers_said(
    world: World, autojump_clock: object
) -> None:
    desk, laptop = world.place("desk"), world.place("laptop")
    async with desk.drive() as one, laptop.drive() as two:
        await write(one, b"file", b"base")
        await one.entries(ROOT_NODE)
        await cut_off(desk, one)
        await write(one, b"file", b"mine")
        desk.http.before_answer = partial(write, two, b"file", b"theirs")
        await back(desk, one)
        await trio.sleep(LEASE_S)
        assert await read(one, b"file") == await read(two, b"file") == b"theirs"
