"""Changes whose sending fails: replies that are lost, servers that are full, mounts that crash meanwhile."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from typing import TypeVar

import pytest
import trio
import trio.testing

from backend.caller import Caller
from backend.codec import PlainCodec
from backend.drive import Drive
from backend.errors import DriveError, LocalFailure, NoSpace, Offline
from backend.journal import Journal
from backend.openfile import OpenFile
from backend.records import Flushed
from backend.remote import WorkspaceRemote
from backend.standing import Standing
from backend.threads import InlineThreads
from backend.unsent import RETRY_FIRST_S, RETRY_MOST_S
from protocol.ids import ROOT_NODE, NodeId, new_session_id
from protocol.messages.nodes import Kind
from protocol.messages.tree import NodeReply
from tests.simulation.disk import Crashed, SimDisk
from tests.together.parting import cut_off
from tests.together.programs import names, read, write
from tests.together.world import LEASE_S, Place, World

T = TypeVar("T")


async def _row(place: Place, node: NodeId) -> NodeReply:
    caller = Caller(place.http, await place.world.issue_token("desk"))
    remote = WorkspaceRemote(caller, place.world.workspace.id, Standing(new_session_id()), PlainCodec())
    return await remote.node(node)


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


async def test_what_a_program_is_writing_is_not_sent_with_what_could_not_be(
    world: World, autojump_clock: object
) -> None:
    desk, laptop = world.place("desk"), world.place("laptop")
    async with desk.drive() as one, laptop.drive() as two:
        await one.entries(ROOT_NODE)
        with world.full(), pytest.raises(NoSpace):
            await write(one, b"file", b"content")
        found = await one.lookup(ROOT_NODE, b"file")
        assert found is not None
        writing = await one.open(found.id)
        await writing.truncate(0)
        await trio.sleep(2 * RETRY_MOST_S)
        assert (await two.attributes(found.id)).version == 0
        await writing.write(0, b"new")
        await one.flush(writing)
        assert await read(two, b"file") == b"new"
        await one.release(writing)


async def test_what_is_cut_behind_a_commit_under_way_is_not_sent_by_who_waited_for_it(
    world: World, autojump_clock: object
) -> None:
    desk, laptop = world.place("desk"), world.place("laptop")
    async with desk.drive() as one, laptop.drive() as two, trio.open_nursery() as nursery:
        await one.entries(ROOT_NODE)
        writing = await one.create(ROOT_NODE, b"file", 0o644, 0, 0, exclusive=True)
        await writing.write(0, b"content")

        async def wait_for_it() -> None:
            nursery.start_soon(writing.flush_what_was_closed)
            await trio.testing.wait_all_tasks_blocked()

        desk.http.before_answer = wait_for_it
        await writing.flush()
        await writing.truncate(0)
        await trio.testing.wait_all_tasks_blocked()
        assert await read(two, b"file") == b"content"
        await one.flush(writing)
        await one.release(writing)


async def test_what_is_cut_while_a_retry_waits_for_an_answer_is_not_sent_by_it(
    world: World, autojump_clock: object
) -> None:
    desk, laptop = world.place("desk"), world.place("laptop")
    async with desk.drive(strict=True) as one, laptop.drive() as two, trio.open_nursery() as nursery:
        await one.entries(ROOT_NODE)
        writing = await one.create(ROOT_NODE, b"file", 0o644, 0, 0, exclusive=False)
        await writing.write(0, b"content")
        desk.http.lose_changes = True
        with pytest.raises(Offline):
            await one.flush(writing)
        nursery.start_soon(writing.flush_what_was_closed)
        await trio.testing.wait_all_tasks_blocked()
        await writing.truncate(0)
        desk.http.lose_changes = False
        await trio.sleep(2 * RETRY_MOST_S)
        assert await read(two, b"file") == b"content"
        await writing.write(0, b"new")
        await one.flush(writing)
        await one.release(writing)
        assert await read(two, b"file") == b"new"


async def test_what_is_cut_while_the_last_handle_waits_to_be_given_up_is_not_sent_by_that(
    world: World, autojump_clock: object
) -> None:
    desk, laptop = world.place("desk"), world.place("laptop")
    async with desk.drive(strict=True) as one, laptop.drive() as two, trio.open_nursery() as nursery:
        await one.entries(ROOT_NODE)
        closed = await one.create(ROOT_NODE, b"file", 0o644, 0, 0, exclusive=True)
        await closed.write(0, b"content")
        desk.http.lose_changes = True
        with pytest.raises(Offline):
            await one.flush(closed)
        nursery.start_soon(one.release, closed)
        await trio.testing.wait_all_tasks_blocked()
        writing = await one.open(closed.node)
        await writing.truncate(0)
        desk.http.lose_changes = False
        await trio.sleep(2 * RETRY_MOST_S)
        assert await read(two, b"file") == b"content"
        await writing.write(0, b"new")
        await one.flush(writing)
        await one.release(writing)
        assert await read(two, b"file") == b"new"


@pytest.mark.parametrize("moment", range(8))
async def test_what_is_cut_while_a_retry_is_at_work_is_not_sent_by_it(
    world: World, autojump_clock: object, moment: int
) -> None:
    desk, laptop = world.place("desk"), world.place("laptop")
    content = os.urandom(1_000_000)
    async with desk.drive() as one, laptop.drive() as two, trio.open_nursery() as nursery:
        await one.entries(ROOT_NODE)
        writing = await one.create(ROOT_NODE, b"file", 0o644, 0, 0, exclusive=True)
        await writing.write(0, content)
        with world.full(), pytest.raises(NoSpace):
            await one.flush(writing)
        nursery.start_soon(writing.flush_what_was_closed)
        for _ in range(moment):
            await trio.lowlevel.checkpoint()
        await writing.truncate(0)
        await trio.sleep(2 * RETRY_MOST_S)
        row = await two.attributes(writing.node)
        assert row.version == 0 or await read(two, b"file") == content
        await writing.write(0, b"new")
        await one.flush(writing)
        await one.release(writing)
        assert await read(two, b"file") == b"new"


class SlowThreads(InlineThreads):
    """Work waits for ``hold``, where set."""

    def __init__(self) -> None:
        self.hold: trio.Event | None = None

    async def run(self, work: Callable[[], T]) -> T:
        """See ``Threads``."""
        if self.hold is not None:
            await self.hold.wait()
        return await super().run(work)


async def test_others_go_on_while_what_could_not_be_sent_is_put_safe(world: World, autojump_clock: object) -> None:
    desk, threads = world.place("desk"), SlowThreads()
    desk.threads = threads
    async with desk.drive() as one, trio.open_nursery() as nursery:
        await one.entries(ROOT_NODE)
        file = await one.create(ROOT_NODE, b"file", 0o644, 0, 0, exclusive=True)
        await file.write(0, os.urandom(1_000_000))
        desk.http.hold = trio.Event()
        told: list[DriveError] = []

        async def close() -> None:
            try:
                await one.flush(file)
            except DriveError as error:
                told.append(error)

        nursery.start_soon(close)
        await desk.http.held.wait()
        threads.hold = trio.Event()
        with world.full():
            desk.http.hold.set()
            desk.http.hold = None
            await trio.testing.wait_all_tasks_blocked(0.01)
            assert not told
            await one.make(ROOT_NODE, b"folder", Kind.FOLDER, 0o755, 0, 0)
            threads.hold.set()
            await trio.testing.wait_all_tasks_blocked(0.01)
        assert [type(error) for error in told] == [NoSpace]
        await one.synced()
        await one.release(file)


async def test_a_close_does_not_wait_forever_for_what_could_not_be_sent_to_be_put_safe(
    world: World, autojump_clock: object
) -> None:
    desk, threads = world.place("desk"), SlowThreads()
    desk.threads = threads
    async with desk.drive() as one:
        await one.entries(ROOT_NODE)
        file = await one.create(ROOT_NODE, b"file", 0o644, 0, 0, exclusive=True)
        await file.write(0, b"content")
        threads.hold = hold = trio.Event()
        with desk.http.no_space(), pytest.raises(LocalFailure):
            await one.flush(file)
        hold.set()
        await one.synced()
        await one.release(file)


async def close_cancelled_while_blocks_are_sent(place: Place, drive: Drive, file: OpenFile) -> trio.CancelScope:
    """As by a deadline, or because the program was killed."""
    place.http.hold, scope = trio.Event(), trio.CancelScope()
    async with trio.open_nursery() as nursery:

        async def close() -> None:
            with scope:
                await drive.flush(file)

        nursery.start_soon(close)
        await place.http.held.wait()
        scope.cancel()
    place.http.hold.set()
    place.http.hold = None
    return scope


@pytest.mark.parametrize("how", ["", "kill", "power_loss"])
async def test_a_large_file_whose_close_was_cancelled_is_sent_later(
    world: World, autojump_clock: object, how: str
) -> None:
    desk, laptop = world.place("desk"), world.place("laptop")
    content = os.urandom(1_000_000)
    async with laptop.drive() as two:
        async with desk.crashing_drive() as one:
            await one.entries(ROOT_NODE)
            file = await one.create(ROOT_NODE, b"file", 0o644, 0, 0, exclusive=True)
            await file.write(0, content)
            await close_cancelled_while_blocks_are_sent(desk, one, file)
            if not how:
                await trio.sleep(RETRY_MOST_S)
                assert await read(two, b"file") == content
                return
        desk.disk = getattr(desk.disk, how)()
        async with desk.drive() as one:
            await one.synced()
            assert await read(two, b"file") == content


async def contents(drive: Drive) -> list[bytes]:
    """Of all files in the root."""
    return [await read(drive, name) for name in await names(drive)]


@pytest.mark.parametrize("by", ["the same mount", "the next mount"])
async def test_what_a_failed_close_kept_survives_a_power_loss_while_it_is_tried_again(
    world: World, autojump_clock: object, by: str
) -> None:
    desk = world.place("desk")
    after: list[SimDisk] = []

    async def lose_power_meanwhile() -> None:
        await trio.sleep(RETRY_MOST_S)
        after.extend(desk.disk.power_loss() for _ in range(100))

    try:
        async with desk.crashing_drive() as one:
            await one.entries(ROOT_NODE)
            file = await one.create(ROOT_NODE, b"file", 0o644, 0, 0, exclusive=True)
            await file.write(0, os.urandom(1_000_000))
            await close_cancelled_while_blocks_are_sent(desk, one, file)
            desk.http.hold = trio.Event()
            if by == "the same mount":
                await lose_power_meanwhile()
        desk.disk = desk.disk.kill()
        async with desk.crashing_drive():
            await lose_power_meanwhile()
    except* Crashed:
        pass
    assert after
    for disk in after:
        with Journal(disk, desk.folder / "journal") as journal:
            assert any(record.synced for _, record in journal.live())


async def overtake(desk: Place, two: Drive) -> None:
    """Kill a mount before its new file's content is sent, and let another write the file first."""
    async with desk.crashing_drive() as one:
        file = await one.create(ROOT_NODE, b"file", 0o644, 0, 0, exclusive=True)
        await file.write(0, b"second")
        desk.http.withheld = "/changes"
        async with trio.open_nursery() as nursery:
            nursery.start_soon(one.flush, file)
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
    await write(two, b"file", b"first, and longer")
    desk.disk = desk.disk.kill()


async def test_what_an_earlier_mount_left_does_not_hide_what_another_device_wrote_first(
    world: World, autojump_clock: object
) -> None:
    """Also while it can't be sent."""
    desk = world.place("desk")
    async with world.place("laptop").drive() as two:
        await overtake(desk, two)
        async with desk.crashing_drive() as one:
            assert await read(one, b"file") == b"first, and longer"
            desk.http.withheld = ""
            await one.synced()
            assert await read(one, b"file") == b"first, and longer"
            assert sorted(await contents(one)) == [b"first, and longer", b"second"]


async def test_what_an_earlier_mount_left_is_not_taken_for_a_version_that_can_not_be_reached(
    world: World, autojump_clock: object
) -> None:
    """Its length would be the other's."""
    desk = world.place("desk")
    async with world.place("laptop").drive() as two:
        await overtake(desk, two)
        async with desk.crashing_drive() as one:
            found = await one.lookup(ROOT_NODE, b"file")
            assert found is not None
            assert found.size == len(b"first, and longer")
            await cut_off(desk, one)
            with pytest.raises(Offline):
                await read(one, b"file")


async def test_a_broken_disk_does_not_keep_a_close_from_being_cancelled(world: World, autojump_clock: object) -> None:
    desk = world.place("desk")
    async with desk.drive() as one:
        await one.entries(ROOT_NODE)
        file = await one.create(ROOT_NODE, b"file", 0o644, 0, 0, exclusive=True)
        await file.write(0, os.urandom(1_000_000))
        steps = desk.disk.steps
        desk.disk.fail_at(steps + 2, errno.EIO)  # After a record was put into the journal.
        scope = await close_cancelled_while_blocks_are_sent(desk, one, file)
        assert scope.cancelled_caught
        assert desk.disk.steps > steps + 1
        await one.synced()
        await one.release(file)


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


async def test_a_file_that_the_server_took_from_an_earlier_mount_is_removed_there(
    world: World, autojump_clock: object
) -> None:
    """Its create is sent once more, and refused: that doesn't mean that the server has never heard of it."""
    desk, laptop = world.place("desk"), world.place("laptop")
    async with desk.crashing_drive(strict=True) as one:
        await one.entries(ROOT_NODE)
        desk.http.lose_changes = True
        with pytest.raises(Offline):
            await write(one, b"file", b"content")
    desk.http.lose_changes = False
    await trio.sleep(2 * LEASE_S)  # Until nobody waits for the mount that crashed.
    async with desk.drive() as one, laptop.drive() as two:
        with desk.http.no_space():
            await trio.sleep(RETRY_FIRST_S / 2)
        await one.unlink(ROOT_NODE, b"file")
        await one.synced()
        assert await names(one) == await names(two) == []


async def overtaken(desk: Place, two: Drive) -> None:
    """desk's "mine" arrived and its mount crashed before it knew; "theirs" came after it."""
    async with desk.crashing_drive(strict=True) as one:
        await one.entries(ROOT_NODE)
        desk.http.lose_changes = True
        with pytest.raises(Offline):
            await write(one, b"file", b"mine")
    desk.http.lose_changes = False
    await write(two, b"file", b"theirs")


async def test_a_commit_that_had_arrived_makes_no_conflict_with_what_came_after_it(
    world: World, autojump_clock: object
) -> None:
    desk, laptop = world.place("desk"), world.place("laptop")
    async with laptop.drive() as two:
        await overtaken(desk, two)
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
        await overtaken(desk, two)
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


async def test_the_kernel_drops_what_an_earlier_mount_left_where_another_device_was_first(
    world: World, autojump_clock: object
) -> None:
    """It may have been shown as the file's content, while nothing else was known."""
    desk, laptop = world.place("desk"), world.place("laptop")
    async with laptop.drive() as two:
        node = await write(two, b"file", b"before")
        async with desk.crashing_drive(strict=True) as one:
            await read(one, b"file")
            desk.http.cut = True
            with pytest.raises(Offline):
                await write(one, b"file", b"mine")
        desk.http.cut = False
        await write(two, b"file", b"theirs is longer")
        async with desk.drive() as one:
            await one.synced()
            assert any(node in outdated.contents for outdated in desk.outdated)
            assert await read(one, b"file") == b"theirs is longer"
