"""Drives and a server together, without a kernel: what one writes, what others see, what trouble does."""

from __future__ import annotations

import errno
import os
from random import Random

import pytest
import trio

from backend.drive import Drive
from backend.errors import Corrupt, DriveError, NoSpace, NotFound, Offline, Refused, Unauthorized
from backend.journal import Flushed, Journal
from backend.remote import Caller, Standing, WorkspaceRemote
from protocol.ids import ROOT_NODE, NodeId, new_session_id
from protocol.messages import Kind, NodeReply, Notices, RenameMode, State, XattrMode
from tests.together.world import Place, World


async def write(drive: Drive, name: bytes, content: bytes, parent: NodeId = ROOT_NODE) -> NodeId:
    """Like a program that opens with O_CREAT and O_TRUNC, writes and closes."""
    found = await drive.lookup(parent, name)
    if found is None:
        file = await drive.create(parent, name, 0o644, 1, 2, exclusive=False)
    else:
        file = await drive.open(found.id)
        await file.truncate(0)
    try:
        await file.write(0, content)
        await drive.flush(file)
        return file.node
    finally:
        await drive.release(file)


async def read(drive: Drive, name: bytes, parent: NodeId = ROOT_NODE) -> bytes:
    found = await drive.lookup(parent, name)
    assert found is not None
    file = await drive.open(found.id)
    try:
        return await file.read(0, found.size + 1)
    finally:
        await drive.release(file)


async def names(drive: Drive, folder: NodeId = ROOT_NODE) -> list[bytes]:
    return [entry.name for entry in await drive.entries(folder)]


async def test_a_small_file_costs_one_request(world: World) -> None:
    place = world.place("desk")
    async with place.drive() as drive:
        await drive.entries(ROOT_NODE)
        place.http.requests.clear()
        await write(drive, b"file", b"content")
        assert place.http.requests == [f"POST /v1/workspaces/{world.workspace.id}/changes"]
        assert await read(drive, b"file") == b"content"


async def test_what_was_seen_is_answered_without_a_request(world: World) -> None:
    place = world.place("desk")
    async with place.drive() as drive:
        await write(drive, b"file", b"content")
        await drive.entries(ROOT_NODE)
        place.http.requests.clear()
        assert await drive.lookup(ROOT_NODE, b"file") is not None
        assert await drive.lookup(ROOT_NODE, b"other") is None
        await drive.entries(ROOT_NODE)
        await read(drive, b"file")
        file = await drive.open((await drive.entries(ROOT_NODE))[0].node.id)
        await drive.flush(file)
        await drive.release(file)
        assert [request for request in place.http.requests if "blocks" not in request] == []


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


async def test_a_lost_reply_does_no_harm(world: World) -> None:
    place = world.place("desk")
    async with place.drive(strict=True) as drive:
        await drive.entries(ROOT_NODE)
        place.http.lose_replies = 1
        with pytest.raises(Offline):
            await write(drive, b"file", b"content")
        await drive.synced()
        assert await names(drive) == [b"file"]
        assert await read(drive, b"file") == b"content"


async def test_what_could_not_be_sent_is_told_and_sent_later(world: World, autojump_clock: object) -> None:
    place = world.place("desk")
    async with place.drive(strict=True) as drive:
        await drive.entries(ROOT_NODE)
        file = await drive.create(ROOT_NODE, b"file", 0o644, 0, 0, exclusive=False)
        await file.write(0, b"content")
        place.http.cut = True
        with pytest.raises(Offline):
            await drive.flush(file)
        await drive.release(file)
        assert [unsent.path for unsent in drive.status().sending] == ["file"]
        place.http.cut = False
        await drive.synced()
        assert drive.status().sending == []
        assert await read(drive, b"file") == b"content"


async def test_what_a_crashed_mount_left_is_sent_by_the_next(world: World, autojump_clock: object) -> None:
    place = world.place("desk")
    content = os.urandom(300_000)
    async with place.crashing_drive(strict=True) as drive:
        await drive.entries(ROOT_NODE)
        file = await drive.create(ROOT_NODE, b"file", 0o640, 5, 6, exclusive=False)
        await file.write(0, content)
        place.http.cut = True
        with pytest.raises(Offline):
            await drive.flush(file)
    place.http.cut = False
    async with place.drive() as drive:
        await drive.synced()
        found = await drive.lookup(ROOT_NODE, b"file")
        assert found is not None
        assert (found.mode, found.uid, found.gid) == (0o640, 5, 6)
        assert await read(drive, b"file") == content


async def test_a_commit_that_had_arrived_makes_no_conflict_with_itself(world: World, autojump_clock: object) -> None:
    place = world.place("desk")
    async with place.crashing_drive(strict=True) as drive:
        await drive.entries(ROOT_NODE)
        place.http.lose_replies = 1
        with pytest.raises(Offline):
            await write(drive, b"file", b"content")
    async with place.drive() as drive:
        await drive.synced()
        assert await names(drive) == [b"file"]
        assert (await drive.attributes((await drive.entries(ROOT_NODE))[0].node.id)).version == 1


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


async def test_a_patch_inside_a_large_file_sends_little(world: World) -> None:
    place = world.place("desk")
    content = bytearray(Random(1).randbytes(24 << 20))
    async with place.drive() as drive:
        node = await write(drive, b"large", bytes(content))
        sent = drive.status().blocks_up
        file = await drive.open(node)
        await file.write(11 << 20, b"x" * 4096)
        content[11 << 20 : (11 << 20) + 4096] = b"x" * 4096
        await drive.flush(file)
        await drive.release(file)
        assert drive.status().blocks_up - sent <= 3
        assert await read(drive, b"large") == bytes(content)
        sent = drive.status().blocks_up
        await write(drive, b"copy", bytes(content))
        assert drive.status().blocks_up == sent
        await write(drive, b"shifted", b"1" + bytes(content))
        assert drive.status().blocks_up - sent <= 3


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


async def test_a_patch_asks_nothing_before_it_sends(world: World) -> None:
    place = world.place("desk")
    async with place.drive() as drive:
        node = await write(drive, b"large", os.urandom(6 << 20))
        file = await drive.open(node)
        place.http.requests.clear()
        await file.write(3 << 20, b"x" * 4096)
        await drive.flush(file)
        await drive.release(file)
        puts = [request for request in place.http.requests if request.startswith("PUT")]
        assert 1 <= len(puts) <= 2
        assert len(place.http.requests) == len(puts) + 1


async def test_a_copy_over_another_file_sends_no_block(world: World) -> None:
    place = world.place("desk")
    content = os.urandom(500_000)
    async with place.drive() as drive:
        await write(drive, b"original", content)
        await write(drive, b"target", os.urandom(400_000))
    async with place.drive() as drive:
        await write(drive, b"target", content)
        assert drive.status().blocks_up == 0
        assert await read(drive, b"target") == content


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


async def test_a_full_server_is_told_and_tried_again(world: World) -> None:
    place = world.place("desk")
    async with place.drive() as drive:
        await drive.entries(ROOT_NODE)
        with world.full(), pytest.raises(NoSpace):
            await write(drive, b"small", b"content")
        assert [unsent.path for unsent in drive.status().sending] == ["small"]
        await drive.synced()
        assert drive.status().sending == []
        assert await read(drive, b"small") == b"content"


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


async def test_what_lies_unsynced_from_before_a_power_loss_is_given_up(world: World) -> None:
    """The journal says at which start of the machine a record was written."""
    place = world.place("desk")
    async with place.drive() as drive:
        node = await write(drive, b"file", b"good")
    with Journal(place.disk, place.folder / "journal") as journal:
        row = (await _row(place, node)).node
        journal.begin(
            Flushed(
                row=row,
                create=None,
                manifest=row.manifest or b"",
                mtime_ns=1,
                size=4,
                base_visible=0,
                segments=[(0, 4)],
                boot="an earlier start",
                synced=False,
                file="0",
                content=b"\0\0\0\0",
            )
        )
    async with place.drive() as drive:
        await drive.synced()
        assert await read(drive, b"file") == b"good"
        assert (await drive.attributes(node)).version == 1


async def _row(place: Place, node: NodeId) -> NodeReply:
    caller = Caller(place.http, await place.world.issue_token("desk"))
    return await WorkspaceRemote(caller, place.world.workspace.id, Standing(new_session_id())).node(node)


async def test_a_new_file_that_the_server_never_took_can_be_removed(world: World) -> None:
    place = world.place("desk")
    async with place.drive() as drive:
        await drive.entries(ROOT_NODE)
        with place.http.no_space(), pytest.raises(NoSpace):
            await write(drive, b"file", b"content")
        assert await names(drive) == [b"file"]
        await drive.unlink(ROOT_NODE, b"file")
        assert await names(drive) == []
        await drive.synced()
        assert drive.status().sending == []
    async with place.drive() as drive:
        await drive.synced()
        assert await names(drive) == []


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
        (copy,) = [name for name in await names(two) if b"(conflict from " in name]
        assert await read(two, copy) == b"mine more"


async def test_a_commit_that_had_arrived_makes_no_conflict_with_what_came_after_it(
    world: World, autojump_clock: object
) -> None:
    desk, laptop = world.place("desk"), world.place("laptop")
    async with laptop.drive() as two:
        async with desk.crashing_drive(strict=True) as one:
            await one.entries(ROOT_NODE)
            desk.http.lose_changes = True
            with pytest.raises(Offline):
                await write(one, b"file", b"mine")
        desk.http.lose_changes = False
        await write(two, b"file", b"theirs")
        async with desk.drive() as one:
            await one.synced()
            assert await names(one) == [b"file"]
            assert await read(one, b"file") == b"theirs"


async def test_what_is_written_after_a_crash_is_no_conflict_with_a_commit_that_had_arrived(
    world: World, autojump_clock: object
) -> None:
    desk = world.place("desk")
    async with desk.crashing_drive(strict=True) as one:
        node = await write(one, b"file", b"first")
        file = await one.open(node)
        await file.write(0, b"again")
        desk.http.lose_changes = True
        with pytest.raises(Offline):
            await one.flush(file)
    desk.http.lose_changes = False
    await trio.sleep(20)  # Until nobody waits for the mount that crashed.
    async with desk.drive() as one:
        await write(one, b"file", b"and again")
        assert await names(one) == [b"file"]
        assert await read(one, b"file") == b"and again"


async def test_a_commit_that_turns_out_to_be_overtaken_is_not_opened_any_more(
    world: World, autojump_clock: object
) -> None:
    desk, laptop = world.place("desk"), world.place("laptop")
    async with laptop.drive() as two:
        async with desk.crashing_drive(strict=True) as one:
            await one.entries(ROOT_NODE)
            desk.http.lose_changes = True
            with pytest.raises(Offline):
                await write(one, b"file", b"mine")
        desk.http.lose_changes = False
        await write(two, b"file", b"theirs")
        async with desk.drive() as one:
            (found,) = await one.entries(ROOT_NODE)
            file = await one.open(found.node.id)
            assert await file.read(0, 100) == b"theirs"
            await one.release(file)
            assert await read(one, b"file") == b"theirs"
            assert any(outdated.contents for outdated in desk.outdated)


async def test_a_new_file_that_got_another_name_before_a_crash_does_not_hide_what_has_its_name(
    world: World, autojump_clock: object
) -> None:
    desk, laptop = world.place("desk"), world.place("laptop")
    async with laptop.drive() as two:
        async with desk.crashing_drive(strict=True) as one:
            await one.entries(ROOT_NODE)
            file = await one.create(ROOT_NODE, b"file", 0o644, 0, 0, exclusive=False)
            await write(two, b"file", b"theirs")
            await file.write(0, b"mine")
            desk.http.lose_changes = True
            with pytest.raises(Offline):
                await one.flush(file)
        desk.http.lose_changes = False
        async with desk.drive() as one:
            await one.synced()
            assert await read(one, b"file") == b"theirs"
            assert await names(one) == await names(two)


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
