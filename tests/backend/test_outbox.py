"""Numbered changes on their way: order, company, trouble, repetition."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import trio
import trio.testing

from backend.errors import DriveError, NoSpace, Offline
from backend.outbox import COMPANY_S, Outbox
from protocol.ids import JournalId, NodeId, Seq
from protocol.messages import AnyAnswer, AnyChange, Applied, Batch, BatchReply, Notices, SetAttributes

JOURNAL = JournalId(b"j" * 16)


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
                assert number == len(self.applied) + 1
                self.applied.append(change.node)
        seq = Seq(len(self.applied))
        return BatchReply([Applied(seq) for _ in batch.changes], Notices(seq))

    def lose_reply(self, batch: Batch) -> BatchReply:
        self.answer(batch)
        raise Offline("the reply was lost")


class World:
    def __init__(self, nursery: trio.Nursery) -> None:
        self.server = Server()
        self.told: list[str] = []
        self.outbox = Outbox(self.server, JOURNAL, self.absorb, self.answered)
        nursery.start_soon(self.outbox.run)

    async def absorb(self, notices: Notices) -> None:
        self.told.append(f"notices {notices.seq}")

    def answered(self, change: AnyChange, answer: AnyAnswer, seq: Seq) -> None:
        self.told.append(f"answer {change.node}")


@pytest.fixture
async def world(autojump_clock: trio.testing.MockClock, nursery: trio.Nursery) -> World:
    return World(nursery)


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


async def test_what_queues_up_shares_a_round_trip(world: World) -> None:
    pending = [world.outbox.submit(change(node)) for node in range(1, 6)]
    for one in pending:
        await one.answer()
    assert [len(batch.changes) for batch in world.server.batches] == [5]


async def test_a_change_that_nobody_waits_for_goes_with_the_next_one(world: World) -> None:
    world.outbox.submit_later(change(1))
    await trio.sleep(COMPANY_S / 2)
    await world.outbox.submit(change(2)).answer()
    assert [len(batch.changes) for batch in world.server.batches] == [2]


async def test_a_change_that_nobody_waits_for_goes_alone_after_a_while(world: World) -> None:
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
