"""Who may answer from caches, and who waits for whom, on a virtual clock."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
import trio.testing

from protocol.ids import JournalId, Seq, SessionId, WorkspaceId
from protocol.limits import LEASE_DRIFT
from server.leases import FORGOTTEN_AFTER_S, PROMPT_PART, Leases, SessionRow

LEASE_S = 10.0
ENDS_S = LEASE_S * (1 + LEASE_DRIFT)
SPACE, OTHER_SPACE = WorkspaceId("a" * 32), WorkspaceId("b" * 32)
DESK, LAPTOP = SessionId(b"d" * 16), SessionId(b"l" * 16)
JOURNAL = JournalId(b"j" * 16)


class World:
    """Leases, and what they do to who waits."""

    def __init__(self) -> None:
        self.nudged: list[SessionId] = []
        self.leases = Leases(LEASE_S, trio.current_time, self._nudge)

    def _nudge(self, workspace: WorkspaceId, session: SessionId) -> None:
        self.nudged.append(session)

    def join(self, session: SessionId, head: int = 0, workspace: WorkspaceId = SPACE) -> None:
        """A mount that has nothing cached, with a lease."""
        self.leases.join(workspace, session, JOURNAL, Seq(head), Seq(head))
        assert self.leases.grant(workspace, session) == LEASE_S

    async def settled(self, seq: int, asking: SessionId | None = None) -> float:
        """How long that takes."""
        began_s = trio.current_time()
        await self.leases.settled(SPACE, Seq(seq), asking)
        return trio.current_time() - began_s

    @asynccontextmanager
    async def waiting(self, seq: int) -> AsyncIterator[trio.Event]:
        """Somebody waits meanwhile; the event is set when that is over."""
        over = trio.Event()

        async def wait() -> None:
            await self.settled(seq)
            over.set()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait)
            await trio.testing.wait_all_tasks_blocked()
            yield over
            nursery.cancel_scope.cancel()


@pytest.fixture
def world() -> World:
    return World()


async def test_without_sessions_nobody_waits(world: World, autojump_clock: object) -> None:
    assert await world.settled(5) == 0


async def test_what_every_lease_holder_has_acknowledged_is_settled(world: World, autojump_clock: object) -> None:
    world.join(DESK)
    world.leases.heard(SPACE, DESK, Seq(5))
    assert await world.settled(5) == 0


async def test_a_lease_holder_that_says_nothing_is_waited_for_until_its_lease_ends(
    world: World, autojump_clock: object
) -> None:
    """Longer than the lease by what its clock may go slower, and no longer."""
    world.join(DESK)
    assert await world.settled(1) == pytest.approx(ENDS_S, abs=0.01)


async def test_a_lease_counts_from_its_last_renewal(world: World, autojump_clock: object) -> None:
    world.join(DESK)
    await trio.sleep(4)
    assert world.leases.grant(SPACE, DESK) == LEASE_S
    assert await world.settled(1) == pytest.approx(ENDS_S, abs=0.01)


async def test_an_acknowledgement_ends_the_wait(world: World, autojump_clock: object) -> None:
    world.join(DESK)
    async with world.waiting(1) as over:
        world.leases.heard(SPACE, DESK, Seq(1))
        await trio.testing.wait_all_tasks_blocked()
        assert over.is_set()


async def test_an_older_acknowledgement_does_not_end_the_wait(world: World, autojump_clock: object) -> None:
    world.join(DESK)
    async with world.waiting(2) as over:
        world.leases.heard(SPACE, DESK, Seq(1))
        await trio.testing.wait_all_tasks_blocked()
        assert not over.is_set()


async def test_an_acknowledgement_never_falls(world: World, autojump_clock: object) -> None:
    world.join(DESK)
    world.leases.heard(SPACE, DESK, Seq(2))
    world.leases.heard(SPACE, DESK, Seq(1))
    assert await world.settled(2) == 0


async def test_all_lease_holders_are_waited_for(world: World, autojump_clock: object) -> None:
    world.join(DESK)
    world.join(LAPTOP)
    async with world.waiting(1) as over:
        world.leases.heard(SPACE, DESK, Seq(1))
        await trio.testing.wait_all_tasks_blocked()
        assert not over.is_set()
        world.leases.heard(SPACE, LAPTOP, Seq(1))
        await trio.testing.wait_all_tasks_blocked()
        assert over.is_set()


async def test_who_asks_is_not_waited_for(world: World, autojump_clock: object) -> None:
    world.join(DESK)
    assert await world.settled(1, asking=DESK) == 0
    world.join(LAPTOP)
    assert await world.settled(1, asking=DESK) == pytest.approx(ENDS_S, abs=0.01)


async def test_waits_for_several_changes_each_end_with_their_own(world: World, autojump_clock: object) -> None:
    world.join(DESK)
    async with world.waiting(1) as first, world.waiting(3) as third, world.waiting(2) as second:
        world.leases.heard(SPACE, DESK, Seq(2))
        await trio.testing.wait_all_tasks_blocked()
        assert (first.is_set(), second.is_set(), third.is_set()) == (True, True, False)
        world.leases.heard(SPACE, DESK, Seq(3))
        await trio.testing.wait_all_tasks_blocked()
        assert third.is_set()


async def test_no_wake_up_is_lost_between_an_acknowledgement_and_the_wait(world: World, autojump_clock: object) -> None:
    """Many wait and many acknowledge, in every order that the scheduler finds: nobody waits for a lease's end."""
    world.join(DESK)
    began_s = trio.current_time()

    async def acknowledge() -> None:
        for seq in range(1, 51):
            await trio.lowlevel.checkpoint()
            world.leases.heard(SPACE, DESK, Seq(seq))

    async with trio.open_nursery() as nursery:
        for seq in range(1, 51):
            nursery.start_soon(world.settled, seq)
        nursery.start_soon(acknowledge)
    assert trio.current_time() == began_s


async def test_a_slow_device_slows_no_workspace_that_it_has_not_mounted(world: World, autojump_clock: object) -> None:
    world.join(DESK, workspace=OTHER_SPACE)
    assert await world.settled(1) == 0


async def test_a_session_that_leaves_ends_the_wait(world: World, autojump_clock: object) -> None:
    world.join(DESK)
    async with world.waiting(1) as over:
        world.leases.leave(SPACE, DESK)
        await trio.testing.wait_all_tasks_blocked()
        assert over.is_set()
    assert world.leases.journal_of(SPACE, DESK) is None


async def test_a_session_that_left_is_given_no_lease(world: World, autojump_clock: object) -> None:
    world.join(DESK)
    world.leases.leave(SPACE, DESK)
    assert world.leases.grant(SPACE, DESK) == 0
    assert await world.settled(1) == 0


# ── who let a wait run into the end of its lease ──


async def test_it_gets_no_lease_before_it_has_acknowledged_what_was_waited_for(
    world: World, autojump_clock: object
) -> None:
    world.join(DESK)
    await world.settled(5)
    assert world.leases.grant(SPACE, DESK) == 0
    world.leases.heard(SPACE, DESK, Seq(4))
    assert world.leases.grant(SPACE, DESK) == 0
    world.leases.heard(SPACE, DESK, Seq(5))
    assert world.leases.grant(SPACE, DESK) == LEASE_S


async def test_it_costs_the_others_one_lease_once(world: World, autojump_clock: object) -> None:
    world.join(DESK)
    assert await world.settled(1) == pytest.approx(ENDS_S, abs=0.01)
    assert world.leases.grant(SPACE, DESK) == 0
    assert [await world.settled(seq) for seq in (2, 3)] == [0, 0]


async def test_a_lease_that_ended_unawaited_is_renewed_at_once(world: World, autojump_clock: object) -> None:
    world.join(DESK)
    await trio.sleep(3 * LEASE_S)
    assert world.leases.grant(SPACE, DESK) == LEASE_S


async def test_a_lease_that_ended_is_not_waited_for(world: World, autojump_clock: object) -> None:
    world.join(DESK)
    await trio.sleep(3 * LEASE_S)
    assert await world.settled(1) == 0
    assert world.leases.grant(SPACE, DESK) == 0, "what it has missed was revealed meanwhile"


async def test_who_asks_on_and_never_acknowledges_is_not_waited_for_longer(
    world: World, autojump_clock: object
) -> None:
    """Its requests arrive and the answers to them don't."""
    world.join(DESK)

    async def ask() -> None:
        while True:
            await trio.sleep(1)
            world.leases.heard(SPACE, DESK, Seq(0))
            world.leases.grant(SPACE, DESK)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask)
        assert await world.settled(1) <= ENDS_S + LEASE_S * PROMPT_PART
        nursery.cancel_scope.cancel()


async def test_who_acknowledges_promptly_keeps_its_lease_however_much_is_changed(
    world: World, autojump_clock: object
) -> None:
    world.join(DESK)
    async with trio.open_nursery() as nursery:
        for seq in range(1, 31):
            nursery.start_soon(world.settled, seq + 1)  # The next is committed before this one is acknowledged.
            await trio.sleep(1)
            world.leases.heard(SPACE, DESK, Seq(seq))
            assert world.leases.grant(SPACE, DESK) == LEASE_S
        world.leases.heard(SPACE, DESK, Seq(31))


# ── joining ──


async def test_a_mount_that_joins_behind_the_head_gets_a_lease_when_it_has_caught_up(
    world: World, autojump_clock: object
) -> None:
    world.leases.join(SPACE, DESK, JOURNAL, Seq(3), Seq(7))
    assert world.leases.grant(SPACE, DESK) == 0
    world.leases.heard(SPACE, DESK, Seq(7))
    assert world.leases.grant(SPACE, DESK) == LEASE_S


async def test_a_join_that_is_sent_again_leaves_the_lease(world: World, autojump_clock: object) -> None:
    world.join(DESK)
    world.leases.join(SPACE, DESK, JOURNAL, Seq(0), Seq(0))
    assert await world.settled(1) == pytest.approx(ENDS_S, abs=0.01)


async def test_a_session_has_its_journal(world: World, autojump_clock: object) -> None:
    assert world.leases.journal_of(SPACE, DESK) is None
    world.join(DESK)
    assert world.leases.journal_of(SPACE, DESK) == JOURNAL
    assert world.leases.journal_of(OTHER_SPACE, DESK) is None


# ── nudges ──


async def test_who_is_waited_for_is_nudged_once_for_a_change(world: World, autojump_clock: object) -> None:
    world.join(DESK)
    async with world.waiting(1), world.waiting(1):
        assert world.nudged == [DESK]
        assert world.leases.is_awaited(SPACE, DESK)
        async with world.waiting(2):
            assert world.nudged == [DESK, DESK]


async def test_who_has_acknowledged_is_neither_nudged_nor_awaited(world: World, autojump_clock: object) -> None:
    world.join(DESK)
    world.leases.heard(SPACE, DESK, Seq(1))
    await world.settled(1)
    assert world.nudged == []
    assert not world.leases.is_awaited(SPACE, DESK)


async def test_an_acknowledgement_ends_being_awaited(world: World, autojump_clock: object) -> None:
    world.join(DESK)
    async with world.waiting(1):
        world.leases.heard(SPACE, DESK, Seq(1))
        assert not world.leases.is_awaited(SPACE, DESK)


async def test_who_asks_is_not_nudged(world: World, autojump_clock: object) -> None:
    world.join(DESK)
    await world.settled(1, asking=DESK)
    assert world.nudged == []


# ── restarts ──


def row(session: SessionId, lease_s: float = LEASE_S) -> SessionRow:
    return SessionRow(SPACE, session, JOURNAL, lease_s)


async def test_after_a_restart_every_session_is_waited_for_as_if_its_lease_had_just_begun(
    world: World, autojump_clock: object
) -> None:
    world.leases.recover([row(DESK)])
    assert await world.settled(0) == 0
    assert await world.settled(1) == pytest.approx(ENDS_S, abs=0.01)


async def test_after_a_restart_the_lease_that_counts_is_the_one_that_was_given(
    world: World, autojump_clock: object
) -> None:
    """The setting may have been another."""
    world.leases.recover([row(DESK, lease_s=15)])
    assert await world.settled(1) == pytest.approx(15 * (1 + LEASE_DRIFT), abs=0.01)


async def test_after_a_restart_who_speaks_again_is_not_waited_for_longer(world: World, autojump_clock: object) -> None:
    world.leases.recover([row(DESK)])
    async with world.waiting(1) as over:
        assert world.nudged == [DESK]
        world.leases.heard(SPACE, DESK, Seq(1))
        await trio.testing.wait_all_tasks_blocked()
        assert over.is_set()
    assert world.leases.grant(SPACE, DESK) == LEASE_S


async def test_after_a_restart_a_session_is_known_by_its_journal(world: World, autojump_clock: object) -> None:
    world.leases.recover([row(DESK)])
    assert world.leases.journal_of(SPACE, DESK) == JOURNAL


# ── the silent ──


async def test_who_is_long_silent_without_a_lease_is_forgotten(world: World, autojump_clock: object) -> None:
    world.join(DESK)
    await trio.sleep(FORGOTTEN_AFTER_S)
    world.join(LAPTOP)
    assert world.leases.forget_silent() == []
    await trio.sleep(1)
    assert world.leases.forget_silent() == [(SPACE, DESK)]
    assert world.leases.journal_of(SPACE, DESK) is None
    assert world.leases.journal_of(SPACE, LAPTOP) == JOURNAL


async def test_who_was_heard_of_is_not_forgotten(world: World, autojump_clock: object) -> None:
    world.join(DESK)
    await trio.sleep(FORGOTTEN_AFTER_S)
    world.leases.heard(SPACE, DESK, Seq(0))
    await trio.sleep(1)
    assert world.leases.forget_silent() == []


async def test_a_stranger_that_speaks_is_no_session(world: World, autojump_clock: object) -> None:
    world.leases.heard(SPACE, DESK, Seq(5))
    assert world.leases.journal_of(SPACE, DESK) is None
    assert await world.settled(9) == 0
