"""What was done without the server, and how it is sent when that is back."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
import pytest
import trio
import trio.testing

from backend.errors import Offline
from backend.journal import Journal
from backend.status import FileState
from protocol.ids import ROOT_NODE, NodeId, Seq, VersionNumber
from protocol.messages.batches import Applied
from protocol.messages.changes import Commit
from protocol.messages.nodes import Kind
from tests.simulation.disk import SimDisk
from tests.together.parting import back, cut_off
from tests.together.programs import copies, names, read, write
from tests.together.world import LEASE_S, World


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
        (copy,) = await copies(one)
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


async def test_a_manifest_that_the_server_refuses_stops_nothing_but_its_own_commit(
    world: World, autojump_clock: object
) -> None:
    desk = world.place("desk")
    async with desk.crashing_drive() as one:
        await one.entries(ROOT_NODE)
        await cut_off(desk, one)
        await write(one, b"file", b"content")
    with Journal(desk.disk, desk.folder / "journal") as journal:
        (commit,) = [change for _, change in journal.kept() if isinstance(change, Commit)]
        journal.keep(msgspec.structs.replace(commit, base=VersionNumber(1), size=commit.size + 1))
        journal.sync()
    async with desk.crashing_drive() as one:
        await write(one, b"after", b"y")
        with trio.fail_after(600):
            await back(desk, one)
        assert await read(one, b"file") == b"content"
        assert await read(one, b"after") == b"y"


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
        (copy,) = await copies(two)
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


async def test_a_server_that_goes_while_a_mount_settles_what_an_earlier_one_had_sent_is_worked_without(
    world: World, autojump_clock: object
) -> None:
    desk = world.place("desk")
    async with desk.crashing_drive() as one:
        await one.entries(ROOT_NODE)
        await cut_off(desk, one)
        await write(one, b"file", b"content")
        desk.http.cut, desk.http.lose_changes = False, True
        await desk.http.lost.wait()
    desk.http.lose_changes = False
    with Journal(desk.disk, desk.folder / "journal") as journal:
        numbers = [number for number, _ in journal.kept()]
        journal.answered(numbers, [Applied(Seq(0))] * len(numbers))
        journal.sync()
        desk.http.withheld = journal.id.hex()
    async with desk.drive() as one:
        assert one.reach.apart
        assert await read(one, b"file") == b"content"
        desk.http.withheld = ""
        await one.synced()
        assert not one.reach.apart
        assert await read(one, b"file") == b"content"
