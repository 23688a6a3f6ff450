from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
import trio

from protocol.ids import NodeId
from protocol.messages.sessions import Join, JoinReply
from server import worker
from server.content.uploads import EXPIRE_AFTER_S, Goal, begin
from server.leases import FORGOTTEN_AFTER_S, SessionRow
from server.metadata import accounts, pruning, sessions
from server.metadata.accounts import Caller
from server.metadata.store import StoreUnavailable, Transaction
from server.passwords import hash_token
from server.worker import DAY_NS, ROUND_S, Retention
from tests.server.plainly import listed
from tests.server.world import NOW_NS, Client, World, a_world, create, problem


class Clock:
    """Seconds, as the leases see them."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def world(clock: Clock) -> AsyncIterator[World]:
    async with a_world(clock) as made:
        yield made


async def session_of(world: World) -> SessionRow:
    """The only one."""
    [row] = await world.metadata.read(sessions.all_of)
    return row


async def changes_kept(world: World) -> int:
    row = await world.metadata.read(lambda tx: tx.one("SELECT count(*) FROM changes"))
    assert row is not None
    return int(row[0])


async def test_old_changes_go_in_as_many_transactions_as_it_takes(world: World, ada: Client) -> None:
    made = pruning.PRUNE_CHANGES + 250
    world.service.leases.leave(ada.workspace, (await session_of(world)).session)  # Nobody waits for it.
    for start in range(0, made, 250):
        await ada.send(*(create(b"%d" % number, 1000 + number) for number in range(start, start + 250)))
    later = replace(world.service, now_ns=lambda: NOW_NS + 3 * DAY_NS)
    await worker.work_once(later, Retention(4.0, 7))
    assert await changes_kept(world) == made
    await worker.work_once(later, Retention(2.0, 7))
    assert await changes_kept(world) == 7


async def test_a_session_long_silent_is_forgotten_with_its_row(world: World, ada: Client, clock: Clock) -> None:
    row = await session_of(world)
    clock.now_s += FORGOTTEN_AFTER_S - 1
    await worker.work_once(world.service, Retention(30.0))
    assert world.service.leases.journal_of(ada.workspace, row.session) == row.journal
    clock.now_s += 2
    await worker.work_once(world.service, Retention(30.0))
    assert world.service.leases.journal_of(ada.workspace, row.session) is None
    assert await world.metadata.read(sessions.all_of) == []


async def test_a_forgotten_session_joins_anew_when_its_row_is_gone(world: World, ada: Client, clock: Clock) -> None:
    """Else the row of its new time would be removed, and a restarted server would not wait for its lease."""
    row = await session_of(world)
    clock.now_s += FORGOTTEN_AFTER_S + 20
    silent = world.service.leases.forget_silent()
    assert problem(await ada.call("POST", "./join", Join(row.session, row.journal))) == (503, "unavailable")
    world.service.leases.forgotten(silent)
    await ada.ask(JoinReply, "POST", "./join", Join(row.session, row.journal))
    assert len(await world.metadata.read(sessions.all_of)) == 1


async def test_a_session_that_begins_to_join_is_not_forgotten_meanwhile(
    world: World, ada: Client, clock: Clock
) -> None:
    row = await session_of(world)
    clock.now_s += FORGOTTEN_AFTER_S + 20
    assert world.service.leases.may_join(ada.workspace, row.session)
    assert world.service.leases.forget_silent() == []


async def test_a_file_whose_upload_was_lost_is_removed_when_its_time_is_over(world: World, ada: Client) -> None:
    await ada.leave()
    goal = Goal(ada.workspace, [b"lost"])

    def allow(tx: Transaction) -> Caller:
        found = accounts.caller_of(tx, hash_token(ada.token))
        assert found is not None
        return found

    await begin(world.service, goal, NodeId(200), allow)
    await ada.send(create(b"a mounts", 201))
    just_before = replace(world.service, now_ns=lambda: NOW_NS + int((EXPIRE_AFTER_S - 1) * 10**9))
    await worker.work_once(just_before, Retention(30.0))
    assert set(await listed(ada)) == {b"a mounts", b"lost"}
    at_its_end = replace(world.service, now_ns=lambda: NOW_NS + int(EXPIRE_AFTER_S * 10**9))
    await worker.work_once(at_its_end, Retention(30.0))
    assert set(await listed(ada)) == {b"a mounts"}
    assert (await ada.follow(2, 0)).notices[0].what == "unlink"


async def test_it_works_again_every_hour_and_after_trouble(world: World, ada: Client, autojump_clock: object) -> None:
    class Troubled:
        """A database that can't be used for a while."""

        reads = 0

        async def read(self, work: object) -> list[object]:
            await trio.lowlevel.checkpoint()
            self.reads += 1
            raise StoreUnavailable("for a while")

    metadata = Troubled()
    with trio.move_on_after(2.5 * ROUND_S):
        await worker.run(replace(world.service, metadata=metadata), Retention(30.0))  # type: ignore[arg-type]
    assert metadata.reads == 3
