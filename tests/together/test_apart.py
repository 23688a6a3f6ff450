"""Drives that lose their server: what is cached goes on, what is done is kept, and arrives in order when it is back."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from random import Random

import pytest
import trio
import trio.testing

from backend.apart import HELD_MAX_BYTES
from backend.drive import Drive
from backend.errors import DriveError, Offline, Refused
from backend.status import FileState
from protocol.ids import ROOT_NODE, NodeId
from protocol.messages import Kind, RenameMode, XattrMode
from tests.simulation.disk import Crashed, SimDisk
from tests.together.test_drive import names, read, write
from tests.together.world import LEASE_S, Place, World


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


# ── files that are open meanwhile ──


async def test_a_commit_in_flight_when_the_mount_parts_is_kept(world: World, autojump_clock: object) -> None:
    desk, laptop = world.place("desk"), world.place("laptop")
    async with desk.crashing_drive() as one:
        await one.entries(ROOT_NODE)
        desk.http.cut_after_next = True
        await write(one, b"file", b"content")
        assert one.reach.apart
    desk.disk = desk.disk.power_loss()
    async with desk.crashing_drive() as one:
        assert await read(one, b"file") == b"content"
        await back(desk, one)
        async with laptop.drive() as two:
            assert await names(two) == [b"file"]
            assert await read(two, b"file") == b"content"


async def test_a_new_file_that_is_open_while_the_mount_parts(world: World, autojump_clock: object) -> None:
    desk, laptop = world.place("desk"), world.place("laptop")
    async with desk.drive() as one, laptop.drive() as two:
        await one.entries(ROOT_NODE)
        desk.http.cut = True
        file = await one.create(ROOT_NODE, b"file", 0o644, 0, 0, exclusive=False)
        await file.write(0, b"one")
        await one.reach.wait_parted()
        await one.flush(file)
        await file.write(3, b" two")
        await back(desk, one)
        await file.write(7, b" three")
        await one.flush(file)
        await one.release(file)
        assert await names(two) == [b"file"]
        assert await read(two, b"file") == await read(one, b"file") == b"one two three"


async def test_bytes_written_apart_and_flushed_after_it(world: World, autojump_clock: object) -> None:
    desk, laptop = world.place("desk"), world.place("laptop")
    async with desk.drive() as one, laptop.drive() as two:
        node = await write(one, b"file", b"base")
        file = await one.open(node)
        await cut_off(desk, one)
        await file.write(4, b" apart")
        desk.http.cut = False
        await one.reach.wait_joined()
        await one.flush(file)
        await one.release(file)
        assert await read(two, b"file") == b"base apart"


async def test_a_file_that_was_open_and_changed_elsewhere_before_the_mount_parted(
    world: World, autojump_clock: object
) -> None:
    """What is written to it is durable at once, and becomes a copy when the server is back."""
    desk, laptop = world.place("desk"), world.place("laptop")
    async with desk.crashing_drive() as one:
        async with laptop.drive() as two:
            node = await write(one, b"file", b"base")
            file = await one.open(node)
            await write(two, b"file", b"theirs")
            assert await read(one, b"file") == b"theirs"
            await cut_off(desk, one)
            await file.write(0, b"mine")
            await one.flush(file)
            assert await read(one, b"file") == b"theirs"
    desk.disk = desk.disk.power_loss()
    async with desk.crashing_drive() as one, laptop.drive() as two:
        await back(desk, one)
        (copy,) = await conflicts(two)
        assert await read(two, copy) == b"mine"
        assert await read(two, b"file") == b"theirs"


async def test_a_file_whose_row_is_not_known_when_the_mount_parts_is_written_on(
    world: World, autojump_clock: object
) -> None:
    desk, laptop = world.place("desk"), world.place("laptop")
    async with desk.drive() as one, laptop.drive() as two:
        node = await write(one, b"file", b"base")
        file = await one.open(node)
        await two.set_attributes(node, mode=0o600)
        await cut_off(desk, one)
        await file.write(0, b"mine")
        await one.flush(file)
        await file.write(4, b" and more")
        await one.flush(file)
        await back(desk, one)
        await one.release(file)
        assert await names(two) == [b"file"]
        assert await read(two, b"file") == b"mine and more"


async def test_who_reads_an_older_version_stays_on_it_when_what_was_written_becomes_a_copy(
    world: World, autojump_clock: object
) -> None:
    desk, laptop = world.place("desk"), world.place("laptop")
    async with desk.drive() as one, laptop.drive() as two:
        node = await write(one, b"file", b"first")
        reader = await one.open(node)
        await write(two, b"file", b"second")
        assert await read(one, b"file") == b"second"
        await cut_off(desk, one)
        await write(two, b"file", b"theirs")
        writer = await one.open(node)
        await writer.write(0, b"mine")
        await one.flush(writer)
        await back(desk, one)
        assert await reader.read(0, 100) == b"first"
        assert reader.node == node
        assert writer.node != node
        for file in (reader, writer):
            await one.release(file)
        assert await read(one, b"file") == await read(two, b"file") == b"theirs"
        (copy,) = await conflicts(two)
        assert await read(two, copy) == b"minend"


async def test_unlinking_and_replacing_open_files_apart(world: World, autojump_clock: object) -> None:
    desk, laptop = world.place("desk"), world.place("laptop")
    async with desk.drive() as one, laptop.drive() as two:
        removed = await one.open(await write(one, b"removed", b"removed"))
        replaced = await one.open(await write(one, b"replaced", b"replaced"))
        await write(one, b"new", b"new")
        await cut_off(desk, one)
        await one.unlink(ROOT_NODE, b"removed")
        await one.rename(ROOT_NODE, b"new", ROOT_NODE, b"replaced", RenameMode.REPLACE)
        for file, content in ((removed, b"removed"), (replaced, b"replaced")):
            assert await file.read(0, 100) == content
            await file.write(0, b"X")
            await one.flush(file)
        await back(desk, one)
        for file in (removed, replaced):
            assert (await file.read(0, 1)) == b"X"
            await one.release(file)
        for drive in (one, two):
            assert await names(drive) == [b"replaced"]
            assert await read(drive, b"replaced") == b"new"


# ── sending ──


async def test_a_mount_that_loses_its_server_again_while_it_is_sending(world: World, autojump_clock: object) -> None:
    desk, laptop = world.place("desk"), world.place("laptop")
    async with desk.drive() as one, laptop.drive() as two:
        await one.entries(ROOT_NODE)
        await cut_off(desk, one)
        for number in range(150):
            await write(one, b"%03d" % number, b"%d" % number)
        for _ in range(3):
            desk.http.cut_after_next, desk.http.cut = True, False
            await trio.sleep(20)
            assert one.reach.apart
            await write(one, b"again", b"x")
        await back(desk, one)
        await cut_off(desk, one)
        await write(one, b"last", b"y")
        await back(desk, one)
        assert await names(two) == [*(b"%03d" % number for number in range(150)), b"again", b"last"]
        assert await read(two, b"149") == b"149"


async def test_a_full_server_takes_what_was_kept_when_there_is_room(world: World, autojump_clock: object) -> None:
    desk = world.place("desk")
    async with desk.drive() as one:
        await one.entries(ROOT_NODE)
        await cut_off(desk, one)
        await write(one, b"small", b"small")
        await write(one, b"large", os.urandom(1_000_000))
        with desk.http.no_space(), world.full():
            desk.http.cut = False
            await trio.sleep(60)
            status = one.status()
            assert (status.state, status.queued_changes) == ("offline", 4)
            assert status.trouble
        await one.synced()
        assert one.status().state == "online" or one.status().trouble
        assert one.status().queued_changes == 0


async def test_a_mount_is_called_offline_from_when_it_parts_and_waiting_before(
    world: World, autojump_clock: object
) -> None:
    desk = world.place("desk")
    async with desk.drive() as one:
        assert one.status().state == "online"
        desk.http.cut = True
        await trio.sleep(LEASE_S / 2)
        assert (one.status().state, one.status().trouble) == ("waiting", "cut")
        await one.reach.wait_parted()
        assert (one.status().state, one.status().trouble) == ("offline", "cut")
        desk.http.cut = False
        await one.synced()
        await trio.sleep(1)
        assert (one.status().state, one.status().trouble) == ("online", "")


async def test_a_state_is_local_while_apart_uploading_while_it_is_sent_and_then_synced(
    world: World, autojump_clock: object
) -> None:
    desk = world.place("desk")
    async with desk.drive() as one:
        await one.entries(ROOT_NODE)
        await cut_off(desk, one)
        node = await write(one, b"file", os.urandom(1_000_000))
        assert one.state_of(await one.attributes(node), None) is FileState.LOCAL
        desk.http.hold = trio.Event()
        desk.http.cut = False
        await desk.http.held.wait()
        assert one.state_of(await one.attributes(node), None) is FileState.UPLOADING
        desk.http.hold.set()
        desk.http.hold = None
        await one.synced()
        assert one.state_of(await one.attributes(node), None) is FileState.SYNCED


async def test_a_damaged_block_stops_nothing_but_its_own_commit(world: World, autojump_clock: object) -> None:
    desk = world.place("desk")
    async with desk.crashing_drive() as one:
        await one.entries(ROOT_NODE)
        await cut_off(desk, one)
        await write(one, b"before", b"x")
        await write(one, b"damaged", os.urandom(1_000_000))
        await write(one, b"after", b"y")
    desk.disk = desk.disk.kill()
    for folder in ("own", "blocks"):
        damage(desk.disk, desk.folder / folder)
    async with desk.crashing_drive() as one:
        await back(desk, one)
        assert await names(one) == [b"after", b"before", b"damaged"]
        assert await read(one, b"after") == b"y"
        assert (await one.lookup(ROOT_NODE, b"damaged")).version == 0  # type: ignore[union-attr]


async def test_what_is_written_over_content_that_was_given_up_does_not_replace_what_others_wrote(
    world: World, autojump_clock: object
) -> None:
    """Version 2 is one thing here, and another at the server."""
    desk, laptop = world.place("desk"), world.place("laptop")
    async with desk.drive() as one, laptop.drive() as two:
        file = await one.open(await write(one, b"file", b"base"))
        await cut_off(desk, one)
        await file.write(0, os.urandom(300_000))
        await one.flush(file)
        await write(two, b"file", b"theirs")
        for folder in ("own", "blocks"):
            damage(desk.disk, desk.folder / folder)
        await back(desk, one)
        await file.truncate(0)
        await file.write(0, b"mine")
        await one.flush(file)
        await one.release(file)
        assert await read(one, b"file") == await read(two, b"file") == b"theirs"
        (copy,) = await conflicts(two)
        assert await read(two, copy) == b"mine"


def damage(disk: SimDisk, folder: Path) -> None:
    for entry in disk.entries(folder):
        if entry.is_folder:
            damage(disk, folder / entry.name)
        elif entry.size_bytes > 100:
            disk.open(folder / entry.name).write(90, b"damage")


async def test_a_strict_mount_sends_what_an_earlier_one_kept_before_it_begins(
    world: World, autojump_clock: object
) -> None:
    desk = world.place("desk")
    async with desk.crashing_drive() as one:
        await one.entries(ROOT_NODE)
        await cut_off(desk, one)
        await write(one, b"file", b"content")
    desk.disk = desk.disk.kill()
    desk.http.cut = False
    async with desk.drive(strict=True) as one:
        assert not one.reach.apart
        assert await read(one, b"file") == b"content"


# ── crashes ──


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


# ── who is interrupted, and who is refused ──


async def interrupted(call: Callable[[], Awaitable[object]], checkpoints: int) -> None:
    """A call that is cancelled after so many turns of the event loop."""
    with trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery:

            async def cancel() -> None:
                for _ in range(checkpoints):
                    await trio.lowlevel.checkpoint()
                scope.cancel()

            nursery.start_soon(cancel)
            with contextlib.suppress(DriveError):
                await call()


async def test_a_program_that_is_killed_at_any_moment_apart_leaves_nothing_halfway(
    world: World, autojump_clock: object
) -> None:
    desk, laptop = world.place("desk"), world.place("laptop")
    async with desk.drive() as one, laptop.drive() as two:
        await write(one, b"edited", b"before")
        await one.entries(ROOT_NODE)
        await cut_off(desk, one)
        for moment in range(30):
            await interrupted(partial(write, one, b"%03d" % moment, b"content"), moment)
            await interrupted(partial(write, one, b"edited", b"after %d" % moment), moment)
        await back(desk, one)
        assert [name for name in await names(two) if b"conflict" in name] == []
        for name in await names(two):
            if name != b"edited":
                assert await read(two, name) in (b"", b"content")
        assert await names(one) == await names(two)
        assert await read(one, b"edited") == await read(two, b"edited") == b"after 29"


@pytest.mark.parametrize("moment", range(0, 24, 2))
async def test_a_program_that_is_killed_while_the_mount_parts_leaves_nothing_halfway(
    world: World, autojump_clock: object, moment: int
) -> None:
    desk, laptop = world.place("desk"), world.place("laptop")
    async with desk.drive() as one, laptop.drive() as two:
        await write(one, b"edited", b"before")
        await one.entries(ROOT_NODE)
        desk.http.cut_after_next = True
        await interrupted(partial(write, one, b"edited", b"after"), moment)
        desk.http.cut = True
        await one.reach.wait_parted()
        await interrupted(partial(write, one, b"edited", b"and after that"), moment)
        await write(one, b"edited", b"last")
        await back(desk, one)
        assert await names(one) == await names(two) == [b"edited"]
        assert await read(one, b"edited") == await read(two, b"edited") == b"last"


async def test_what_a_revoked_device_kept_is_shown_to_nobody_and_sent_when_it_may_again(
    world: World, autojump_clock: object
) -> None:
    desk, laptop = world.place("desk"), world.place("laptop")
    async with desk.crashing_drive() as one:
        await write(one, b"before", b"x")
        await one.entries(ROOT_NODE)
        await cut_off(desk, one)
        await write(one, b"mine", b"mine")
        await world.issue_token("desk")  # The old token is void from now on.
        desk.http.cut = False
        await trio.sleep(30)
        assert one.status().state == "refused"
        with pytest.raises(Offline):
            await one.lookup(ROOT_NODE, b"mine")
    desk.disk = desk.disk.power_loss()
    async with desk.crashing_drive() as one, laptop.drive() as two:
        await one.synced()
        assert await names(two) == [b"before", b"mine"]
        assert await read(two, b"mine") == b"mine"


# ── bounds ──


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
