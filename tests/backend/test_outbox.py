"""Numbered changes on their way: order, company, trouble, repetition; kept while the mount works apart."""

from __future__ import annotations

import errno
from collections.abc import Callable
from random import Random

import pytest
import trio
import trio.testing

from backend.apart import Apart
from backend.errors import DriveError, JournalTaken, NoSpace, Offline
from backend.outbox import COMPANY_S, Outbox, Pending
from backend.reach import Reach
from protocol.ids import JournalId, NodeId, Seq
from protocol.messages.batches import AnyAnswer, Applied, Batch, BatchReply, JournalReply
from protocol.messages.changes import AnyChange, Create, SetAttributes
from protocol.messages.nodes import Kind, Node
from protocol.messages.notices import Notices
from tests.backend.parting import Device, MemoryReplay
from tests.simulation.disk import SimDisk


class Server:
    """Applies each number once; ``script`` says what happens to the next batches."""

    def __init__(self) -> None:
        self.batches: list[Batch] = []
        self.applied: list[int] = []
        self.script: list[Callable[[Batch], BatchReply]] = []
        self.gate: trio.Event | None = None

    async def send(self, batch: Batch) -> BatchReply:
        await trio.lowlevel.checkpoint()
        self.batches.append(batch)
        if self.gate is not None:
            await self.gate.wait()
        if self.script:
            return self.script.pop(0)(batch)
        return self.answer(batch)

    def answer(self, batch: Batch) -> BatchReply:
        for number, change in enumerate(batch.changes, start=batch.first):
            if number > len(self.applied):
                if number != len(self.applied) + 1:
                    raise JournalTaken(f"{number} is not the next one")
                self.applied.append(change.node)
        seq = Seq(len(self.applied))
        return BatchReply([Applied(seq) for _ in batch.changes], Notices(seq))

    def lose_reply(self, batch: Batch) -> BatchReply:
        self.answer(batch)
        raise Offline("the reply was lost")


class World:
    """Of a strict mount, unless it may part."""

    def __init__(self, nursery: trio.Nursery, *, strict: bool) -> None:
        self.server = Server()
        self.told: list[str] = []
        self.replay = MemoryReplay()
        self.disk = SimDisk(Random(1))
        self.device = Device(self.disk, self.replay)
        for node in range(1, 10):
            self.device.tree.keep_node(Node(NodeId(node), Kind.FILE, 0o644, 0, 0, 1, 0, 0, 0), Seq(0))
        self.reach = Reach(strict=strict)
        self.rejoining: Callable[[], None] = lambda: None
        self.troubles: list[DriveError] = []
        self.outbox = Outbox(
            self,
            self.device.journal.id,
            self.reach,
            self.apart,
            self.absorb,
            self.answered,
            self.renamed,
            self.rejoin,
            self.note,
        )
        nursery.start_soon(self.outbox.run)

    @property
    def apart(self) -> Apart:
        return self.device.apart

    async def send(self, batch: Batch) -> BatchReply:
        """As a caller does that is cut when the mount parts."""
        return await self.reach.guard(lambda: self.server.send(batch))

    async def take_journal(self, journal: JournalId) -> JournalReply:
        await trio.lowlevel.checkpoint()
        return JournalReply(len(self.server.applied), len(self.server.applied))

    def part(self) -> None:
        self.reach.part()
        self.outbox.part()

    async def rejoin(self) -> None:
        self.apart.settle()
        self.reach.join()
        self.rejoining()
        await trio.lowlevel.checkpoint()
        self.told.append("rejoined")

    async def renamed(self) -> None:
        await trio.lowlevel.checkpoint()
        self.told.append("renamed")

    async def note(self, error: DriveError) -> None:
        self.troubles.append(error)

    async def absorb(self, notices: Notices) -> None:
        self.told.append(f"notices {notices.seq}")

    def answered(self, change: AnyChange, answer: AnyAnswer, seq: Seq | None) -> None:
        self.told.append(f"answer {change.node}")


@pytest.fixture
async def world(autojump_clock: trio.testing.MockClock, nursery: trio.Nursery) -> World:
    return World(nursery, strict=True)


@pytest.fixture
async def parting(autojump_clock: trio.testing.MockClock, nursery: trio.Nursery) -> World:
    """Its server for what was kept can't be reached at first."""
    world = World(nursery, strict=False)
    world.replay.failure = Offline("cut")
    return world


def change(node: int) -> SetAttributes:
    return SetAttributes(time_ns=0, node=NodeId(node), mode=0o600)


async def test_changes_arrive_in_order_with_numbers_without_gaps(world: World) -> None:
    for node in range(1, 6):
        await world.outbox.submit(change(node)).answer()
    assert world.server.applied == [1, 2, 3, 4, 5]
    assert [batch.first for batch in world.server.batches] == [1, 2, 3, 4, 5]


async def test_numbers_go_on_where_the_server_says_that_the_journal_is(world: World) -> None:
    await world.outbox.submit(change(1)).answer()
    world.server.applied += [2, 3]  # By an earlier mount of this journal.
    world.outbox.begin(3)
    await world.outbox.submit(change(4)).answer()
    assert world.server.batches[-1].first == 4


async def test_a_server_that_was_restored_from_a_backup_gets_the_numbers_that_it_expects(world: World) -> None:
    for node in range(1, 4):
        await world.outbox.submit(change(node)).answer()
    del world.server.applied[1:]
    for node in range(4, 6):
        await world.outbox.submit(change(node)).answer()
    assert world.server.applied == [1, 4, 5]
    assert [batch.first for batch in world.server.batches] == [1, 2, 3, 4, 2, 3]


async def test_what_queues_up_shares_a_round_trip(world: World) -> None:
    pending = [world.outbox.submit(change(node)) for node in range(1, 6)]
    for one in pending:
        await one.answer()
    assert [len(batch.changes) for batch in world.server.batches] == [5]


async def test_a_change_that_nobody_waits_for_goes_with_the_next_one(world: World, autojump_clock: object) -> None:
    world.outbox.submit_later(change(1))
    await trio.sleep(COMPANY_S / 2)
    await world.outbox.submit(change(2)).answer()
    assert [len(batch.changes) for batch in world.server.batches] == [2]


async def test_a_change_that_nobody_waits_for_goes_alone_after_a_while(world: World, autojump_clock: object) -> None:
    pending = world.outbox.submit_later(change(1))
    await trio.sleep(COMPANY_S * 1.5)
    assert pending.final is not None


async def test_notices_are_applied_before_anybody_sees_the_answer(world: World) -> None:
    await world.outbox.submit(change(1)).answer()
    assert world.told == ["notices 1", "answer 1"]


async def test_a_lost_reply_makes_the_same_batch_go_again(world: World) -> None:
    world.server.script = [world.server.lose_reply]
    pending = world.outbox.submit(change(1))
    with pytest.raises(Offline):
        await pending.answer()
    await pending.end()
    assert world.server.applied == [1]
    assert world.server.batches[0] == world.server.batches[1]


async def test_trouble_withdraws_what_was_not_sent_and_keeps_what_nobody_waits_for(world: World) -> None:
    world.server.script = [world.server.lose_reply]
    world.server.gate = trio.Event()
    first = world.outbox.submit(change(1))
    await trio.testing.wait_all_tasks_blocked()
    kept, withdrawn = world.outbox.submit_later(change(2)), world.outbox.submit(change(3))
    world.server.gate.set()
    with pytest.raises(Offline):
        await withdrawn.answer()
    await first.end()
    await kept.end()
    assert world.server.applied == [1, 2]


async def test_a_refused_batch_is_taken_apart_and_its_numbers_are_used_again(world: World) -> None:
    def refuse(batch: Batch) -> BatchReply:
        raise NoSpace("full")

    world.server.script = [refuse, world.server.answer, refuse, world.server.answer]
    pending = [world.outbox.submit(change(node)) for node in (1, 2, 3)]
    outcomes: list[object] = []
    for one in pending:
        try:
            outcomes.append((await one.answer())[1])
        except DriveError as error:
            outcomes.append(type(error))
    assert outcomes == [1, NoSpace, 2]
    assert world.server.applied == [1, 3]


async def test_idle_means_that_everything_was_answered(world: World) -> None:
    pending = [world.outbox.submit_later(change(node)) for node in (1, 2)]
    await world.outbox.wait_idle()
    assert all(one.final is not None for one in pending)
    assert len(world.outbox) == 0


# ── trouble, and the mount may part ──


async def outcome_of(world: World, node: int) -> str:
    try:
        await world.outbox.submit(change(node)).answer()
    except DriveError as error:
        return str(error)
    return "answered"


async def test_nobody_is_told_of_the_first_failure_before_there_is_a_verdict(
    parting: World, autojump_clock: object
) -> None:
    parting.server.script = [parting.server.lose_reply]
    pending = parting.outbox.submit(change(1))
    with trio.move_on_after(60) as waiting:
        await pending.answer()
    assert waiting.cancelled_caught
    parting.reach.heard()
    await pending.answer()
    assert parting.server.applied == [1]


async def test_whoever_waits_is_told_of_the_second_failure(parting: World, autojump_clock: object) -> None:
    parting.server.script = [parting.server.lose_reply, parting.server.lose_reply]
    pending = parting.outbox.submit(change(1))
    for _ in range(2):
        await trio.sleep(10)
        parting.reach.heard()
    with pytest.raises(Offline):
        await pending.answer()
    await pending.end()
    assert parting.server.applied == [1]


async def test_a_batch_under_way_is_adopted_and_answered_here(parting: World, autojump_clock: object) -> None:
    parting.server.gate = trio.Event()
    pending = parting.outbox.submit(change(1))
    await trio.testing.wait_all_tasks_blocked()
    parting.part()
    answer, _ = await pending.answer()
    assert isinstance(answer, Applied)
    assert [row.mode for row in answer.nodes] == [0o600]
    sending = parting.device.journal.sending
    assert sending is not None
    assert (sending.first, sending.adopted) == (1, True)


async def test_a_create_under_way_that_can_not_be_shown_here_counts_as_done(
    parting: World, autojump_clock: object
) -> None:
    """It is in the journal: the file that waits for it must not be taken for one that nobody else will ever see."""
    parting.server.gate = trio.Event()
    create = Create(0, NodeId(50), b"file", NodeId(99), Kind.FILE, 0o600, 0, 0)
    pending = parting.outbox.submit_later(create)
    parting.outbox.hurry()
    await trio.testing.wait_all_tasks_blocked()
    parting.part()
    assert await pending.end() == (Applied(Seq(0)), 0)
    assert [kept.node for _, kept in parting.device.journal.kept()] == [99]


async def test_who_waits_for_a_change_under_way_that_can_not_be_done_here_is_told(
    parting: World, autojump_clock: object
) -> None:
    parting.server.gate = trio.Event()
    pending = parting.outbox.submit(change(99))
    await trio.testing.wait_all_tasks_blocked()
    parting.part()
    with pytest.raises(Offline):
        await pending.answer()


async def test_what_is_queued_is_kept_when_the_mount_parts(parting: World, autojump_clock: object) -> None:
    parting.outbox.submit_later(change(1))
    pending = parting.outbox.submit(change(2))
    parting.part()
    await pending.answer()
    assert [kept.node for _, kept in parting.device.journal.kept()] == [1, 2]
    assert parting.server.batches == []


async def test_what_is_kept_goes_to_the_server_in_order_before_the_mount_rejoins(
    parting: World, autojump_clock: object
) -> None:
    parting.part()
    for node in range(1, 5):
        await parting.outbox.submit(change(node)).answer()
    parting.replay.failure = None
    await parting.reach.wait_joined()
    assert [sent.node for sent in parting.replay.applied] == [1, 2, 3, 4]
    parting.server.applied += [1, 2, 3, 4]
    await parting.outbox.submit(change(5)).answer()
    assert parting.server.batches[-1].first == 5


async def test_a_change_that_comes_during_the_last_answer_is_sent_too(parting: World, autojump_clock: object) -> None:
    parting.part()
    await parting.outbox.submit(change(1)).answer()
    parting.replay.failure, parting.replay.gate = None, trio.Event()
    await parting.replay.waiting.wait()
    later = parting.outbox.submit(change(2))
    await later.answer()
    parting.replay.gate.set()
    await parting.reach.wait_joined()
    assert [sent.node for sent in parting.replay.applied] == [1, 2]


async def test_a_change_that_comes_while_the_mount_rejoins_goes_to_the_server(
    parting: World, autojump_clock: object
) -> None:
    parting.part()
    await parting.outbox.submit(change(1)).answer()
    late: list[Pending] = []
    parting.rejoining = lambda: late.append(parting.outbox.submit(change(2)))
    parting.server.applied += [1]  # The server knows by then what was kept.
    parting.replay.failure = None
    await parting.reach.wait_joined()
    await late[0].answer()
    assert [sent.node for sent in parting.replay.applied] == [1]
    assert [sent.node for batch in parting.server.batches for sent in batch.changes] == [2]


async def test_who_waits_for_idle_goes_on_when_the_mount_has_parted_and_rejoined(
    parting: World, nursery: trio.Nursery, autojump_clock: object
) -> None:
    parting.server.gate = trio.Event()
    parting.outbox.submit(change(1))
    idle = trio.Event()

    async def wait() -> None:
        await parting.outbox.wait_idle()
        idle.set()

    nursery.start_soon(wait)
    await trio.testing.wait_all_tasks_blocked()
    parting.part()
    await trio.sleep(10)
    assert not idle.is_set()
    parting.replay.failure = None
    await idle.wait()
    assert [sent.node for sent in parting.replay.applied] == [1]


async def test_on_a_full_disk_a_change_is_refused_and_not_kept(parting: World, autojump_clock: object) -> None:
    parting.part()
    await parting.outbox.submit(change(1)).answer()
    parting.disk.is_full = True
    with pytest.raises(DriveError) as caught:
        await parting.outbox.submit(change(2)).answer()
    assert caught.value.errno == errno.ENOSPC
    assert [row.mode for node in (1, 2) if (row := parting.device.tree.node(NodeId(node)))] == [0o600, 0o644]
    parting.disk.is_full = False
    parting.replay.failure = None
    await parting.reach.wait_joined()
    assert [sent.node for sent in parting.replay.applied] == [1]


async def test_on_a_full_disk_a_batch_under_way_is_adopted_when_there_is_room(
    parting: World, autojump_clock: object
) -> None:
    parting.server.gate = trio.Event()
    parting.outbox.submit_later(change(1))
    pending = parting.outbox.submit(change(2))
    await trio.testing.wait_all_tasks_blocked()
    parting.disk.is_full = True
    parting.part()
    with pytest.raises(DriveError) as caught:
        await pending.answer()
    assert caught.value.errno == errno.ENOSPC
    assert await outcome_of(parting, 3) != "answered"
    parting.disk.is_full = False
    await pending.end()
    parting.replay.failure = None
    await parting.reach.wait_joined()
    assert [sent.node for sent in parting.replay.applied] == [1, 2]


async def test_a_server_that_is_back_before_the_disk_has_room_gets_the_batch_under_way(
    parting: World, autojump_clock: object
) -> None:
    parting.server.gate = trio.Event()
    pending = parting.outbox.submit(change(1))
    await trio.testing.wait_all_tasks_blocked()
    parting.disk.is_full = True
    parting.part()
    with pytest.raises(DriveError):
        await pending.answer()
    await trio.sleep(10)
    assert parting.reach.apart
    parting.server.gate, parting.replay.failure = None, None
    await parting.reach.wait_joined()
    await pending.end()
    await parting.outbox.submit(change(2)).answer()
    assert parting.server.applied == [1, 2]
    assert parting.replay.applied == []


async def test_trouble_with_sending_is_told_and_does_not_end_the_tries(parting: World, autojump_clock: object) -> None:
    parting.part()
    await parting.outbox.submit(change(1)).answer()
    parting.replay.failure = NoSpace("full")
    await trio.sleep(30)
    assert {type(error) for error in parting.troubles} >= {NoSpace}
    parting.replay.failure = None
    await parting.reach.wait_joined()
    assert [sent.node for sent in parting.replay.applied] == [1]
