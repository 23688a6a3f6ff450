"""Drives and a server together, without a kernel: what one writes, and what is then seen."""

from __future__ import annotations

import errno
import os

import pytest
import trio
import trio.testing

from backend.errors import Corrupt, DriveError, NotFound, Unauthorized
from protocol.ids import ROOT_NODE
from protocol.messages.changes import RenameMode, XattrMode
from protocol.messages.nodes import Kind, State
from protocol.messages.notices import Notices
from tests.together.kinds import in_both_kinds
from tests.together.programs import names, read, write
from tests.together.world import World

pytestmark = in_both_kinds


async def test_others_see_the_content_and_then_the_next_one(world: World) -> None:
    desk, laptop = world.place("desk"), world.place("laptop")
    async with desk.drive() as one, laptop.drive() as two:
        assert await two.lookup(ROOT_NODE, b"file") is None
        await write(one, b"file", b"first")
        assert await read(two, b"file") == b"first"
        await write(one, b"file", b"second")
        assert await read(two, b"file") == b"second"
        assert any(outdated.contents for outdated in laptop.outdated)


async def test_an_open_file_stays_on_its_version(world: World) -> None:
    desk, laptop = world.place("desk"), world.place("laptop")
    async with desk.drive() as one, laptop.drive() as two:
        node = await write(one, b"file", b"first")
        file = await two.open(node)
        await write(one, b"file", b"second, longer")
        assert await file.read(0, 100) == b"first"
        assert file.detached
        await two.release(file)
        assert await read(two, b"file") == b"second, longer"


async def test_what_is_written_to_a_file_removed_here_is_nobodys(world: World) -> None:
    place = world.place("desk")
    async with place.drive() as drive:
        node = await write(drive, b"file", b"base")
        file = await drive.open(node)
        await drive.unlink(ROOT_NODE, b"file")
        await file.write(0, b"gone")
        assert await file.read(0, 10) == b"gone"
        await drive.flush(file)
        await drive.release(file)
        assert await names(drive) == []


async def test_a_new_file_is_pending_until_its_content_is_there(world: World) -> None:
    desk, laptop = world.place("desk"), world.place("laptop")
    async with desk.drive() as one, laptop.drive() as two:
        file = await one.create(ROOT_NODE, b"file", 0o644, 0, 0, exclusive=True)
        pending = await two.lookup(ROOT_NODE, b"file")
        assert pending is not None
        assert pending.state is State.PENDING
        await file.write(0, b"x")
        await one.flush(file)
        await one.release(file)
        uploaded = await two.lookup(ROOT_NODE, b"file")
        assert uploaded is not None
        assert uploaded.state is State.UPLOADED


async def test_attributes_of_a_file_that_is_being_written_travel_with_it(world: World) -> None:
    place = world.place("desk")
    async with place.drive() as drive:
        await drive.entries(ROOT_NODE)
        place.http.requests.clear()
        file = await drive.create(ROOT_NODE, b"file", 0o600, 0, 0, exclusive=False)
        await file.write(0, b"x")
        await drive.set_attributes(file.node, mtime_ns=5_000, mode=0o640)
        await drive.flush(file)
        await drive.release(file)
        assert len(place.http.requests) == 1
        found = await drive.lookup(ROOT_NODE, b"file")
        assert found is not None
        assert (found.mtime_ns, found.mode) == (5_000, 0o640)


async def test_folders_names_and_attributes(world: World) -> None:
    place = world.place("desk")
    async with place.drive() as drive:
        folder = await drive.make(ROOT_NODE, b"folder", Kind.FOLDER, 0o755, 0, 0)
        link = await drive.make(folder.id, b"link", Kind.SYMLINK, 0o777, 0, 0, target=b"\xff/x")
        assert link.target == b"\xff/x"
        node = await write(drive, b"\xff name", b"1", folder.id)
        await drive.link(node, ROOT_NODE, b"second")
        assert (await drive.attributes(node)).nlink == 2
        await drive.rename(folder.id, b"\xff name", ROOT_NODE, b"second name", RenameMode.NOREPLACE)
        await drive.set_xattr(node, b"user.a", b"\0", XattrMode.CREATE)
        assert (await drive.attributes(node)).xattrs == {"user.a": b"\0"}
        with pytest.raises(DriveError) as refused:
            await drive.rmdir(ROOT_NODE, b"folder")
        assert refused.value.errno == errno.ENOTEMPTY
        await drive.unlink(folder.id, b"link")
        await drive.rmdir(ROOT_NODE, b"folder")
        assert await names(drive) == [b"second", b"second name"]
        with pytest.raises(NotFound):
            await drive.unlink(ROOT_NODE, b"nothing")


async def test_a_folder_that_comes_back_for_a_file_is_seen_by_who_removed_it_at_that_moment(world: World) -> None:
    """Both changes travel in one batch: what the first one's answer says of the name is outdated by the second."""
    desk = world.place("desk")
    async with desk.drive() as drive, trio.open_nursery() as nursery:
        folder = await drive.make(ROOT_NODE, b"folder", Kind.FOLDER, 0o755, 0, 0)

        async def meanwhile() -> None:
            nursery.start_soon(drive.rmdir, ROOT_NODE, b"folder")
            await trio.testing.wait_all_tasks_blocked()
            file = await drive.create(folder.id, b"file", 0o644, 0, 0, exclusive=False)
            nursery.start_soon(drive.release, file)

        desk.http.before_answer = meanwhile
        await drive.make(ROOT_NODE, b"other", Kind.FOLDER, 0o755, 0, 0)
        await drive.synced()
        assert await drive.lookup(ROOT_NODE, b"folder") is not None


async def test_a_revoked_device_is_shown_nothing_any_more(world: World, autojump_clock: object) -> None:
    place = world.place("desk")
    async with place.drive() as drive:
        await write(drive, b"file", b"content")
        await world.issue_token("desk")  # The old token is void from now on.
        while drive.status().state != "refused":
            await place.wait_outdated()
            await trio.lowlevel.checkpoint()
        for question in (drive.lookup(ROOT_NODE, b"file"), drive.entries(ROOT_NODE)):
            with pytest.raises(Unauthorized):
                await question
        assert drive.cache_timeout_s() == 0


async def test_a_folder_shows_the_time_of_a_create_that_is_not_answered_yet(world: World) -> None:
    place = world.place("desk")
    async with place.drive() as drive:
        await drive.entries(ROOT_NODE)
        file = await drive.create(ROOT_NODE, b"file", 0o644, 0, 0, exclusive=False)
        before = await drive.attributes(ROOT_NODE)
        assert before.mtime_ns == file.attributes().atime_ns
        await drive.flush(file)
        await drive.release(file)
        assert (await drive.attributes(ROOT_NODE)).mtime_ns == before.mtime_ns


async def test_the_barrier_waits_for_a_detached_file_too(world: World) -> None:
    desk, laptop = world.place("desk"), world.place("laptop")
    async with desk.drive() as one, laptop.drive() as two:
        node = await write(one, b"file", b"base")
        mine = await two.open(node)
        await mine.write(0, b"mine")
        await write(one, b"file", b"theirs")
        await two.synced()
        assert not mine.is_dirty
        await two.release(mine)
        assert len(await names(two)) == 2


async def test_a_damaged_block_is_told_with_the_files_name(world: World, caplog: pytest.LogCaptureFixture) -> None:
    desk, laptop = world.place("desk"), world.place("laptop")
    async with desk.drive() as one, laptop.drive() as two:
        folder = await one.make(ROOT_NODE, b"folder", Kind.FOLDER, 0o755, 0, 0)
        await write(one, b"file", os.urandom(300_000), folder.id)
        await two.entries(ROOT_NODE)
        world.damage_blocks()
        with pytest.raises(Corrupt):
            await read(two, b"file", folder.id)
        assert "folder/file can't be read" in caplog.text


async def test_renaming_one_name_of_a_file_over_another_keeps_both(world: World) -> None:
    place = world.place("desk")
    async with place.drive() as drive:
        node = await write(drive, b"one", b"x")
        await drive.link(node, ROOT_NODE, b"two")
        await drive.rename(ROOT_NODE, b"one", ROOT_NODE, b"two", RenameMode.REPLACE)
        assert await names(drive) == [b"one", b"two"]


async def test_a_flush_ends_although_somebody_goes_on_writing(world: World) -> None:
    place = world.place("desk")
    async with place.drive() as drive, trio.open_nursery() as nursery:
        file = await drive.create(ROOT_NODE, b"log", 0o644, 0, 0, exclusive=True)

        async def go_on_writing() -> None:
            for offset in range(1 << 30):
                await file.write(offset, b"x")
                await trio.lowlevel.checkpoint()

        nursery.start_soon(go_on_writing)
        await drive.flush(file)
        await drive.flush(file)
        nursery.cancel_scope.cancel()


async def test_what_is_written_by_who_opened_it_before_a_reset_is_seen_by_who_opens_it_after(
    world: World, autojump_clock: object
) -> None:
    """A mount that is told to drop everything doesn't know whether what it has open is the present version."""
    desk = world.place("desk")
    async with desk.drive() as one:
        await write(one, b"file", b"first")
        found = await one.lookup(ROOT_NODE, b"file")
        assert found is not None
        writer = await one.open(found.id)
        await one.session.absorb(Notices(one.status().seq, reset=True))
        await writer.write(0, b"again")
        await one.flush(writer)
        reader = await one.open(found.id)
        assert await reader.read(0, 100) == b"again"
        await writer.write(0, b"later")
        await one.flush(writer)
        assert await read(one, b"file") == b"later"
        assert await reader.read(0, 100) == b"again"
        assert any(outdated.contents == {found.id} for outdated in desk.outdated)
        await one.release(reader)
        await one.release(writer)
