"""Replies about the tree are held back until every lease holder has dropped what they reveal, by HTTP.

Ada asks while a change of Carol's, who has no session, is committed and Bob's mount has yet to drop what it outdated.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

import httpx
import pytest
import trio
import trio.testing

from protocol.ids import DeviceId, Seq
from protocol.limits import LEASE_DRIFT, NEWS_MAX_CHANGES
from protocol.messages.accounts import Role
from protocol.messages.batches import Applied, BatchReply, Refused
from protocol.messages.changes import AnyChange
from protocol.messages.notices import Notice, Notices
from protocol.messages.sessions import Join, JoinReply, PollReply
from protocol.messages.wire import Message
from server.leases import FORGOTTEN_AFTER_S
from server.metadata import feed
from server.metadata.store import Transaction
from tests.server.world import LEASE_S, NOW_NS, Client, World, commit, create, good, problem

ENDS_S = LEASE_S * (1 + LEASE_DRIFT)
FILE = 100


@dataclass
class Devices:
    """Three devices of one workspace. Two have mounted it."""

    ada: Client
    bob: Client
    carol: Client

    async def reveal(self, *changes: AnyChange) -> None:
        """Carol's next changes, committed and not yet acknowledged by anybody."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.carol.call, "POST", "./changes", self.carol.batch(*changes))
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
        self.carol.next_number += len(changes)

    async def both_know(self, seq: int) -> None:
        """The mounts have dropped what changes up to this one outdated."""
        for mount in (self.ada, self.bob):
            mount.standing = Seq(seq), Seq(seq)
            await mount.poll()


@pytest.fixture
async def devices(world: World, ada: Client) -> Devices:
    """With a file that everybody knows."""
    bob = await (await world.member(ada, "bob", Role.EDITOR)).join()
    carol = await (await (await world.member(ada, "carol", Role.EDITOR)).join()).leave()
    devices = Devices(ada, bob, carol)
    await devices.reveal(create(b"file", FILE))
    await devices.both_know(1)
    return devices


Ask = Callable[[Client], Awaitable[httpx.Response]]


def get(path: str) -> Ask:
    return lambda client: client.call("GET", path)


def send(make: Callable[[Client], AnyChange]) -> Ask:
    return lambda client: client.call("POST", "./changes", client.batch(make(client)))


async def send_again(client: Client) -> httpx.Response:
    """A batch whose first answer was lost."""
    batch = client.batch(create(b"again", 200))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(client.call, "POST", "./changes", batch)
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    return await client.call("POST", "./changes", batch)


READS = {
    "node": get(f"./nodes/{FILE}"),
    "look-up": get("./nodes/1/entries/file"),
    "look-up of nothing": get("./nodes/1/entries/nothing"),
    "listing": get("./nodes/1/entries"),
}
CHANGES = {
    "commit": send(lambda client: commit(client, FILE, b"content")),
    "a change that a rule refuses": send(lambda client: create(b"file", 300)),
    "a batch sent again": send_again,
}
PROBLEMS = {
    "no such node": get("./nodes/77"),
    "no such folder": get("./nodes/77/entries/file"),
    "the listing changed": get("./nodes/1/entries?limit=1&after=a&generation=0"),
}


async def waits_for(world: World, holder: Client, ask: Callable[[], Awaitable[httpx.Response]]) -> httpx.Response:
    """The answer, which doesn't come before the holder has acknowledged everything, and then at once."""
    answers: list[httpx.Response] = []

    async def asking() -> None:
        answers.append(await ask())

    began_s = trio.current_time()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(asking)
        await trio.testing.wait_all_tasks_blocked()
        assert answers == []
        holder.absorb((await holder.poll()).notices)
        await holder.poll()
    assert trio.current_time() == began_s
    return answers[0]


class Told(Message, frozen=True):
    """What is alike in all replies about the tree."""

    notices: Notices


def news_of(response: httpx.Response) -> Notices:
    return good(Told, response).notices


# ── what waits ──


@pytest.mark.parametrize("ask", READS.values(), ids=READS)
async def test_a_read_waits_for_another_mount_and_carries_the_news(
    world: World, devices: Devices, autojump_clock: object, ask: Ask
) -> None:
    await devices.reveal(create(b"new", 101))
    answer = await waits_for(world, devices.bob, lambda: ask(devices.ada))
    news = news_of(answer)
    assert (news.seq, [notice.seq for notice in news.notices]) == (2, [2])


@pytest.mark.parametrize("ask", CHANGES.values(), ids=CHANGES)
async def test_a_batch_waits_for_another_mount_and_carries_the_news(
    world: World, devices: Devices, autojump_clock: object, ask: Ask
) -> None:
    await devices.reveal(create(b"new", 101))
    answer = await waits_for(world, devices.bob, lambda: ask(devices.ada))
    news = news_of(answer)
    assert [notice.seq for notice in news.notices] == list(range(2, news.seq + 1))


async def test_a_refused_change_tells_nothing_before_it_may(
    world: World, devices: Devices, autojump_clock: object
) -> None:
    await devices.reveal(create(b"lock", 101))
    answer = await waits_for(world, devices.bob, lambda: send(lambda _: create(b"lock", 300))(devices.ada))
    assert [type(one) for one in good(BatchReply, answer).answers] == [Refused]


async def test_a_batch_sent_again_is_applied_once_and_waits_again(
    world: World, devices: Devices, autojump_clock: object
) -> None:
    answer = await waits_for(world, devices.bob, lambda: send_again(devices.ada))
    assert [one.seq for one in good(BatchReply, answer).answers if isinstance(one, Applied)] == [2]


@pytest.mark.parametrize("ask", PROBLEMS.values(), ids=PROBLEMS)
async def test_a_problem_that_depends_on_the_tree_waits_for_another_mount(
    world: World, devices: Devices, autojump_clock: object, ask: Ask
) -> None:
    await devices.reveal(create(b"new", 101))
    devices.ada.standing = Seq(2), Seq(2)
    problem(await waits_for(world, devices.bob, lambda: ask(devices.ada)))


@pytest.mark.parametrize("ask", PROBLEMS.values(), ids=PROBLEMS)
async def test_a_problem_carries_no_news_and_waits_for_the_asking_mount_too(
    world: World, devices: Devices, autojump_clock: object, ask: Ask
) -> None:
    await devices.reveal(create(b"new", 101))
    devices.bob.standing = Seq(2), Seq(2)
    await devices.bob.poll()
    unchanged = replace(devices.ada)
    problem(await waits_for(world, devices.ada, lambda: ask(unchanged)))


@pytest.mark.parametrize("ask", (READS | PROBLEMS).values(), ids=READS | PROBLEMS)
async def test_who_has_no_session_waits_for_every_mount(
    world: World, devices: Devices, autojump_clock: object, ask: Ask
) -> None:
    await devices.reveal(create(b"new", 101))
    devices.ada.standing = Seq(2), Seq(2)
    await devices.ada.poll()
    await waits_for(world, devices.bob, lambda: ask(devices.carol))


async def test_who_follows_the_changes_without_a_session_waits_for_every_mount(
    world: World, devices: Devices, autojump_clock: object
) -> None:
    await devices.reveal(create(b"new", 101))
    devices.ada.standing = Seq(2), Seq(2)
    await devices.ada.poll()
    answer = await waits_for(world, devices.bob, lambda: devices.carol.call("GET", "./changes?after=1&wait_s=50"))
    assert [notice.seq for notice in good(PollReply, answer).notices.notices] == [2]


async def test_a_change_waits_for_every_mount_but_its_own(
    world: World, devices: Devices, autojump_clock: object
) -> None:
    dora = await (await world.member(devices.ada, "dora", Role.EDITOR)).join()
    began_s = trio.current_time()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(devices.ada.send, create(b"new", 101))
        await trio.testing.wait_all_tasks_blocked()
        for mount in (devices.bob, dora):
            assert world.service.leases.is_awaited(mount.workspace, mount.session)
            mount.standing = Seq(2), Seq(2)
            await mount.poll()
    assert trio.current_time() == began_s


# ── what doesn't ──


@pytest.mark.parametrize("ask", (READS | CHANGES).values(), ids=READS | CHANGES)
async def test_nobody_waits_for_the_mount_that_asks(
    world: World, devices: Devices, autojump_clock: object, ask: Ask
) -> None:
    await devices.bob.leave()
    await devices.reveal(create(b"new", 101))
    began_s = trio.current_time()
    news = news_of(await ask(devices.ada))
    assert [notice.seq for notice in news.notices] == list(range(2, news.seq + 1))
    assert trio.current_time() == began_s


async def test_two_that_change_at_once_do_not_wait_for_each_other(
    world: World, devices: Devices, autojump_clock: object
) -> None:
    """Each is told of the other's change by the answer to its poll."""
    began_s = trio.current_time()

    async def mount(client: Client, node: int) -> None:
        for number in range(5):
            reply = await client.send(create(b"%d" % (node + number), node + number))
            client.absorb(reply.notices)

    async def poll(client: Client) -> None:
        while True:
            client.absorb((await client.poll(3)).notices)

    async with trio.open_nursery() as polling:
        for client in (devices.ada, devices.bob):
            polling.start_soon(poll, client)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(mount, devices.ada, 1000)
            nursery.start_soon(mount, devices.bob, 2000)
        polling.cancel_scope.cancel()
    assert trio.current_time() == began_s


async def test_a_poll_of_a_session_is_not_held_back(world: World, devices: Devices, autojump_clock: object) -> None:
    began_s = trio.current_time()
    await devices.reveal(create(b"new", 101))
    reply = await devices.bob.poll(50)
    assert ([notice.seq for notice in reply.notices.notices], reply.lease_s) == ([2], LEASE_S)
    assert trio.current_time() == began_s


async def test_a_question_that_reveals_no_change_is_not_held_back(
    world: World, devices: Devices, autojump_clock: object
) -> None:
    began_s = trio.current_time()
    await devices.reveal(create(b"new", 101))
    assert (await devices.carol.call("GET", "./usage")).status_code == 200
    assert trio.current_time() == began_s


async def test_a_poll_that_waits_is_let_go_for_somebody_who_waits(
    world: World, devices: Devices, autojump_clock: object
) -> None:
    """For a change of the mount's own, which by itself ends no poll of it."""
    began_s = trio.current_time()
    await devices.bob.leave()
    replies: list[PollReply] = []

    async def poll() -> None:
        replies.append(await devices.ada.poll(50))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(poll)
        await trio.testing.wait_all_tasks_blocked()
        await devices.ada.send(create(b"mine", 101))
        await trio.testing.wait_all_tasks_blocked()
        assert replies == []
        nursery.start_soon(devices.carol.call, "GET", "./nodes/1/entries/mine")
        await trio.testing.wait_all_tasks_blocked()
        assert replies[0].notices.seq == 2
        devices.ada.absorb(replies[0].notices)
        await devices.ada.poll()
    assert trio.current_time() == began_s


# ── the cut off, the forgotten ──


async def test_a_mount_that_is_cut_off_costs_the_others_one_lease_once(
    world: World, devices: Devices, autojump_clock: object
) -> None:
    began_s = trio.current_time()
    devices.ada.absorb((await devices.ada.send(create(b"1", 101))).notices)
    assert trio.current_time() - began_s == pytest.approx(ENDS_S, abs=0.01)
    began_s = trio.current_time()
    await devices.ada.send(create(b"2", 102))
    assert trio.current_time() == began_s


async def test_who_was_waited_for_in_vain_gets_a_lease_when_it_has_dropped_that(
    world: World, devices: Devices, autojump_clock: object
) -> None:
    await devices.ada.send(create(b"1", 101))
    reply = await devices.bob.poll(50)
    assert (reply.notices.seq, reply.lease_s) == (2, 0)
    devices.bob.absorb(reply.notices)
    assert (await devices.bob.poll()).lease_s == LEASE_S


async def test_a_session_that_was_forgotten_is_told_and_joins_again(
    world: World, devices: Devices, autojump_clock: object
) -> None:
    await trio.sleep(LEASE_S + FORGOTTEN_AFTER_S + 1)
    world.service.leases.forgotten(world.service.leases.forget_silent())
    assert problem(await devices.bob.call("GET", "./changes?wait_s=50")) == (410, "session-ended")
    await devices.reveal(create(b"missed", 101))
    reply = await devices.bob.ask(JoinReply, "POST", "./join", Join(devices.bob.session, devices.bob.journal, Seq(1)))
    assert ([notice.seq for notice in reply.notices.notices], reply.lease_s) == ([2], 0)
    devices.bob.absorb(reply.notices)
    assert (await devices.bob.poll()).lease_s == LEASE_S


async def test_a_mount_that_joins_with_nothing_gets_a_lease_at_once(
    world: World, devices: Devices, autojump_clock: object
) -> None:
    dora = await world.member(devices.ada, "dora", Role.VIEWER)
    reply = await dora.ask(JoinReply, "POST", "./join", Join(dora.session, dora.journal))
    assert (reply.notices, reply.lease_s) == (Notices(Seq(1)), LEASE_S)


async def test_who_is_no_member_joins_nothing(world: World, devices: Devices) -> None:
    eve = replace(await world.user("eve"), workspace=devices.ada.workspace)
    assert problem(await eve.call("POST", "./join", Join(eve.session, eve.journal))) == (404, "not-found")


# ── restarts, restored backups ──


async def test_after_a_restart_a_silent_mount_is_waited_for_a_full_lease(
    world: World, devices: Devices, autojump_clock: object
) -> None:
    await trio.sleep(5)
    await world.restart()
    began_s = trio.current_time()
    await devices.ada.send(create(b"new", 101))
    assert trio.current_time() - began_s == pytest.approx(ENDS_S, abs=0.01)


async def test_after_a_restart_a_mount_that_polls_is_not_waited_for_longer(
    world: World, devices: Devices, autojump_clock: object
) -> None:
    await world.restart()
    answer = await waits_for(world, devices.bob, lambda: send(lambda _: create(b"new", 101))(devices.ada))
    assert good(BatchReply, answer).notices.seq == 2


async def test_after_a_restart_nobody_waits_for_who_left(
    world: World, devices: Devices, autojump_clock: object
) -> None:
    await devices.bob.leave()
    await world.restart()
    began_s = trio.current_time()
    await devices.ada.send(create(b"new", 101))
    assert trio.current_time() == began_s


async def test_what_is_acknowledged_past_the_head_does_not_count(
    world: World, devices: Devices, autojump_clock: object
) -> None:
    """The server was restored from a backup: that was another change with this number."""
    devices.bob.standing = Seq(7), Seq(7)
    reply = await devices.bob.poll(50)
    assert reply.notices == Notices(Seq(1), reset=True)
    began_s = trio.current_time()
    await devices.ada.send(create(b"new", 101))
    assert trio.current_time() - began_s == pytest.approx(ENDS_S, abs=0.01)


async def test_who_has_missed_very_many_changes_is_told_to_drop_everything(
    world: World, devices: Devices, autojump_clock: object
) -> None:
    def many(tx: Transaction) -> None:
        for seq in range(2, NEWS_MAX_CHANGES + 1):
            feed.append(tx, devices.ada.workspace, DeviceId("carol"), Notice(Seq(seq), "set"), 0, NOW_NS)

    await devices.bob.leave()
    await world.metadata.write(many)
    devices.ada.standing = Seq(0), Seq(0)
    assert len(news_of(await READS["node"](devices.ada)).notices) == NEWS_MAX_CHANGES
    reply = await devices.ada.send(create(b"one more", 101))
    assert reply.notices == Notices(Seq(NEWS_MAX_CHANGES + 1), reset=True)
