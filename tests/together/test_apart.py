"""Drives that lose their server: what is cached goes on, what is done is kept, and arrives in order when it is back."""

from __future__ import annotations

import os

import pytest
import trio

from backend.drive import Drive
from backend.errors import Offline, Refused
from protocol.ids import ROOT_NODE, NodeId
from protocol.messages import Kind, RenameMode, XattrMode
from tests.together.test_drive import names, read, write
from tests.together.world import Place, World


async def cut_off(place: Place, drive: Drive) -> None:
    place.http.cut = True
    await drive.reach.wait_parted()


async def back(place: Place, drive: Drive) -> None:
    place.http.cut = False
    await drive.synced()


async def conflicts(drive: Drive) -> list[bytes]:
    return [name for name in await names(drive) if b"(conflict from " in name]


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


async def test_of_two_edits_the_one_made_apart_becomes_a_copy(world: World, autojump_clock: object) -> None:
    desk, laptop = world.place("desk"), world.place("laptop")
    async with desk.drive() as one, laptop.drive() as two:
        node = await write(one, b"file", b"base")
        await cut_off(desk, one)
        file = await one.open(node)
        await file.write(0, b"mine")
        await one.flush(file)
        await write(two, b"file", b"theirs")
        await file.write(4, b" more")
        await one.flush(file)
        await back(desk, one)
        (copy,) = await conflicts(one)
        assert await read(one, b"file") == await read(two, b"file") == b"theirs"
        assert await read(one, copy) == await read(two, copy) == b"mine more"
        await file.write(9, b" and later")
        await one.flush(file)
        await one.release(file)
        assert await read(two, copy) == b"mine more and later"
        assert await read(two, b"file") == b"theirs"


async def test_an_edit_wins_against_a_removal_made_apart(world: World, autojump_clock: object) -> None:
    desk, laptop = world.place("desk"), world.place("laptop")
    async with desk.drive() as one, laptop.drive() as two:
        await write(one, b"file", b"base")
        await cut_off(desk, one)
        await one.unlink(ROOT_NODE, b"file")
        await write(two, b"file", b"edited")
        await back(desk, one)
        assert await read(one, b"file") == await read(two, b"file") == b"edited"


async def test_folders_that_both_make_are_one(world: World, autojump_clock: object) -> None:
    desk, laptop = world.place("desk"), world.place("laptop")
    async with desk.drive() as one, laptop.drive() as two:
        await one.entries(ROOT_NODE)
        await cut_off(desk, one)
        mine = await one.make(ROOT_NODE, b"folder", Kind.FOLDER, 0o755, 0, 0)
        await write(one, b"mine", b"mine", mine.id)
        theirs = await two.make(ROOT_NODE, b"folder", Kind.FOLDER, 0o755, 0, 0)
        await write(two, b"theirs", b"theirs", theirs.id)
        await back(desk, one)
        assert await names(one) == await names(two) == [b"folder"]
        assert await names(one, theirs.id) == await names(two, theirs.id) == [b"mine", b"theirs"]


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


async def test_others_see_prefixes_of_what_was_done_apart(world: World, autojump_clock: object) -> None:
    desk, laptop = world.place("desk"), world.place("laptop")
    async with desk.drive() as one, laptop.drive() as two:
        await one.entries(ROOT_NODE)
        await cut_off(desk, one)
        nodes: list[NodeId] = []
        for number in range(200):
            nodes.append(await write(one, b"%03d" % number, b"x"))
            if number % 3 == 0:
                await one.unlink(ROOT_NODE, b"%03d" % number)
        seen: list[list[bytes]] = []
        async with trio.open_nursery() as nursery:

            async def watch() -> None:
                while True:
                    seen.append(await names(two))
                    await trio.sleep(0.01)

            nursery.start_soon(watch)
            await back(desk, one)
            nursery.cancel_scope.cancel()
        for listing in seen:
            last = int(listing[-1]) if listing else -1
            assert listing[:-1] == [b"%03d" % number for number in range(last) if number % 3]
