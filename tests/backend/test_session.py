"""The mount's end of the lease: how long it counts, what is applied before what, and when that is acknowledged."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import trio
import trio.testing

from backend.errors import DriveError, Offline, Refused, SessionEnded, Unauthorized
from backend.reach import Reach
from backend.session import MARGIN_S, POLLS_A_LEASE, Session
from backend.standing import Standing
from backend.tree import Outdated, Tree
from protocol.ids import JournalId, NodeId, OriginId, Seq, SessionId, origin_of
from protocol.limits import LEASE_DRIFT
from protocol.messages.batches import JournalReply
from protocol.messages.nodes import Kind, Node
from protocol.messages.notices import Notice, Notices, Touched
from protocol.messages.sessions import JoinReply, PollReply

JOURNAL = JournalId(b"j" * 16)
SESSION = SessionId(b"s" * 16)
MINE, OTHER = origin_of(SESSION), OriginId(b"o" * 16)
FILE = NodeId(7)
LEASE_S = 10.0
COUNTS_S = LEASE_S * (1 - LEASE_DRIFT) - MARGIN_S


def touching(seq: int, origin: OriginId = OTHER, node: NodeId = FILE) -> Notices:
    """One change's news."""
    return Notices(Seq(seq), [Notice(Seq(seq), "commit", origin, [Touched(node, True)])])


class Server:
    """Answers polls with what the test puts there, each after ``takes_s``; notes with what each request came."""

    def __init__(self) -> None:
        self.standing = Standing(SESSION)
        self.takes_s = 0.0
        self.polls: list[tuple[Seq, Seq]] = []
        """What each said was applied and acknowledged."""
        self.waits_s: list[float] = []
        self.joins: list[Seq | None] = []
        self.left = 0
        self.join_news = Notices(Seq(10))
        self.join_lease_s = LEASE_S
        self.failure: DriveError | None = None
        self.questions = 0
        """Small ones."""
        self.question_failure: DriveError | None = None
        self.moves = 0
        self._send, self._answers = trio.open_memory_channel[PollReply | DriveError](100)

    def answer(self, what: PollReply | DriveError) -> None:
        """To the next poll."""
        self._send.send_nowait(what)

    async def join(self, journal: JournalId, after: Seq | None) -> JoinReply:
        self.joins.append(after)
        await trio.sleep(self.takes_s)
        if self.failure is not None:
            raise self.failure
        return JoinReply(self.join_news, 1, 4, self.join_lease_s)

    async def poll(self, wait_s: float) -> PollReply:
        self.polls.append((self.standing.applied, self.standing.acknowledged))
        self.waits_s.append(wait_s)
        await trio.sleep(self.takes_s)
        if self.failure is not None:
            raise self.failure
        answer = await self._answers.receive()
        if isinstance(answer, DriveError):
            raise answer
        return answer

    async def journal(self, journal: JournalId) -> JournalReply:
        self.questions += 1
        await trio.sleep(self.takes_s)
        if self.question_failure is not None:
            raise self.question_failure
        return JournalReply(1, 0)

    async def leave(self) -> None:
        self.left += 1
        await trio.lowlevel.checkpoint()
        if self.failure is not None:
            raise self.failure


class Kernel:
    """Takes its time to drop things."""

    def __init__(self) -> None:
        self.told: list[Outdated] = []
        self.gate = trio.Event()
        self.gate.set()
        self.when_told: Callable[[], None] = lambda: None

    async def drop(self, outdated: Outdated) -> None:
        self.when_told()
        await self.gate.wait()
        self.told.append(outdated)


class World:
    def __init__(self, nursery: trio.Nursery, *, strict: bool = False) -> None:
        self.server = Server()
        self.tree = Tree(Seq(0))
        self.kernel = Kernel()
        self.reach = Reach(strict=strict)
        self.parted_s: list[float] = []
        """When."""
        self.session = Session(self.server, self.tree, JOURNAL, self.reach, self.part, trio.current_time)
        self._nursery = nursery

    def part(self) -> None:
        self.parted_s.append(trio.current_time())
        self.reach.part()

    @property
    def standing(self) -> tuple[Seq, Seq]:
        return self.server.standing.applied, self.server.standing.acknowledged

    async def run(self) -> None:
        """Joined, and the first poll waits."""
        await self.session.join()
        await self.start()

    async def start(self) -> None:
        """It does what it has to do first."""
        self._nursery.start_soon(self.session.run, self.kernel.drop)
        await trio.testing.wait_all_tasks_blocked()

    async def polled(self, what: PollReply | DriveError) -> None:
        """The poll is answered, and that is done with."""
        self.server.answer(what)
        await trio.testing.wait_all_tasks_blocked()

    def know(self, seq: int) -> None:
        """A row is cached that is true at ``seq``."""
        self.tree.keep_node(Node(FILE, Kind.FILE, 0o644, 0, 0, 1, 0, 0, 0), Seq(seq))
        assert self.tree.node(FILE) is not None


@pytest.fixture
async def world(nursery: trio.Nursery) -> World:
    return World(nursery)


# ── how long the lease counts ──


async def test_before_the_join_there_is_no_lease(world: World, autojump_clock: object) -> None:
    assert world.session.lease_left_s() == 0


async def test_a_lease_is_shorter_here_than_at_the_server(world: World, autojump_clock: object) -> None:
    """By what this clock may go slower than the server's, and by a margin."""
    await world.session.join()
    assert world.session.lease_left_s() == pytest.approx(COUNTS_S)
    await trio.sleep(COUNTS_S - 0.01)
    assert world.session.lease_left_s() > 0
    await trio.sleep(0.02)
    assert world.session.lease_left_s() == 0


async def test_a_lease_counts_from_when_its_request_was_sent(world: World, autojump_clock: object) -> None:
    world.server.takes_s = 3
    await world.session.join()
    assert world.session.lease_left_s() == pytest.approx(COUNTS_S - 3)


async def test_a_poll_renews_the_lease_from_when_it_was_sent(world: World, autojump_clock: object) -> None:
    await world.run()
    await trio.sleep(4)
    await world.polled(PollReply(Notices(Seq(10)), LEASE_S))  # It was sent four seconds ago.
    assert world.session.lease_left_s() == pytest.approx(COUNTS_S - 4)
    await world.polled(PollReply(Notices(Seq(10)), LEASE_S))
    assert world.session.lease_left_s() == pytest.approx(COUNTS_S)


async def test_a_renewed_lease_does_not_count_before_the_kernel_has_dropped_what_came_with_it(
    world: World, autojump_clock: object
) -> None:
    await world.run()
    await trio.sleep(4)
    await world.polled(PollReply(Notices(Seq(10)), LEASE_S))
    world.kernel.gate = trio.Event()
    await world.polled(PollReply(touching(11), LEASE_S))
    assert world.session.lease_left_s() == pytest.approx(COUNTS_S - 4)
    world.kernel.gate.set()
    await trio.testing.wait_all_tasks_blocked()
    assert world.session.lease_left_s() == pytest.approx(COUNTS_S)


async def test_an_answer_without_a_lease_renews_nothing(world: World, autojump_clock: object) -> None:
    await world.run()
    await trio.sleep(4)
    await world.polled(PollReply(Notices(Seq(10))))
    assert world.session.lease_left_s() == pytest.approx(COUNTS_S - 4)


async def test_a_join_without_a_lease_gives_none(world: World, autojump_clock: object) -> None:
    """It is given by a poll, which acknowledges the changes that came with the join."""
    world.server.join_lease_s = 0.0
    world.server.answer(PollReply(Notices(Seq(10))))
    await world.session.join()
    assert world.server.polls == [(10, 10)]
    assert world.session.lease_left_s() == 0


async def test_polls_come_several_times_a_lease(world: World, autojump_clock: object) -> None:
    await world.run()
    assert world.server.waits_s == [pytest.approx(LEASE_S / POLLS_A_LEASE)]


# ── what is applied, and acknowledged ──


async def test_a_mount_begins_at_the_head_with_nothing(world: World, autojump_clock: object) -> None:
    await world.session.join()
    assert world.server.joins == [None]
    assert world.standing == (10, 10)


async def test_what_was_asked_before_a_mount_began_is_not_kept_under_its_lease(
    world: World, autojump_clock: object
) -> None:
    """A program's question may be older than the join, and its answer come later."""
    lease_when_told_s: list[float] = []
    world.kernel.when_told = lambda: lease_when_told_s.append(world.session.lease_left_s())
    await world.start()
    assert world.kernel.told == [Outdated(names=True)]
    assert lease_when_told_s == [0.0]


async def test_a_change_of_others_is_dropped_told_and_then_acknowledged(world: World, autojump_clock: object) -> None:
    await world.run()
    world.know(10)
    world.kernel.gate = trio.Event()
    await world.polled(PollReply(touching(11), LEASE_S))
    assert world.tree.node(FILE) is None
    assert world.standing == (11, 10)
    world.kernel.gate.set()
    await trio.testing.wait_all_tasks_blocked()
    assert world.kernel.told == [Outdated(frozenset({FILE}), frozenset({FILE}), names=True)]
    assert world.standing == (11, 11)
    assert world.server.polls[-1] == (11, 11)


async def test_changes_that_come_with_a_reply_are_applied_and_acknowledged_alike(
    world: World, autojump_clock: object
) -> None:
    await world.run()
    world.know(10)
    await world.session.absorb(touching(11))
    assert world.tree.node(FILE) is None
    assert len(world.kernel.told) == 1
    assert world.standing == (11, 11)


async def test_one_set_of_changes_is_applied_at_a_time(world: World, autojump_clock: object) -> None:
    """A later reply is not used before what came earlier has been dropped by the kernel."""
    await world.run()
    world.kernel.gate = trio.Event()
    used: list[int] = []

    async def use(seq: int) -> None:
        await world.session.absorb(touching(seq))
        used.append(seq)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(use, 11)
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(use, 12)
        await trio.testing.wait_all_tasks_blocked()
        assert (used, world.standing) == ([], (11, 10))
        world.kernel.gate.set()
    assert (used, world.standing) == ([11, 12], (12, 12))


async def test_news_that_touch_nothing_are_acknowledged_without_a_word_to_the_kernel(
    world: World, autojump_clock: object
) -> None:
    await world.run()
    await world.polled(PollReply(Notices(Seq(15)), LEASE_S))
    assert (world.kernel.told, world.standing) == ([], (15, 15))


async def test_an_own_change_is_applied_by_its_answer_and_acknowledged_by_a_poll(
    world: World, autojump_clock: object
) -> None:
    """Until its system call has returned, the kernel holds what the change outdated."""
    await world.run()
    world.know(10)
    await world.session.absorb_answer(touching(11, MINE))
    assert world.tree.node(FILE) is None
    assert (world.kernel.told, world.standing) == ([], (11, 10))
    await world.polled(PollReply(Notices(Seq(11)), LEASE_S))
    assert world.kernel.told == [Outdated(frozenset({FILE}))]
    assert world.standing == (11, 11)


async def test_a_reply_without_news_tells_the_kernel_nothing_of_an_own_change(
    world: World, autojump_clock: object
) -> None:
    """Each look-up after it would let the kernel forget every name."""
    await world.run()
    await world.session.absorb_answer(touching(11, MINE))
    await world.session.absorb(Notices(Seq(11)))
    assert (world.kernel.told, world.standing) == ([], (11, 10))


async def test_an_answer_that_carries_changes_of_others_is_acknowledged_at_once(
    world: World, autojump_clock: object
) -> None:
    await world.run()
    mixed = Notices(Seq(12), [*touching(11).notices, *touching(12, MINE, NodeId(8)).notices])
    await world.session.absorb_answer(mixed)
    assert world.kernel.told == [Outdated(frozenset({FILE, NodeId(8)}), frozenset({FILE}), names=True)]
    assert world.standing == (12, 12)


async def test_what_own_changes_outdated_is_told_with_the_next_news(world: World, autojump_clock: object) -> None:
    await world.run()
    await world.session.absorb_answer(touching(11, MINE))
    await world.session.absorb(touching(12, OTHER, NodeId(8)))
    assert world.kernel.told == [Outdated(frozenset({FILE, NodeId(8)}), frozenset({NodeId(8)}), names=True)]
    assert world.standing == (12, 12)


async def test_what_a_cancelled_reader_left_untold_is_told_before_it_is_acknowledged(
    world: World, autojump_clock: object
) -> None:
    await world.run()
    world.kernel.gate = trio.Event()
    with trio.move_on_after(1) as cut:
        await world.session.absorb(touching(11, OTHER))
    assert (cut.cancelled_caught, world.standing) == (True, (11, 10))
    world.kernel.gate.set()
    await world.session.absorb(touching(12, OTHER, NodeId(8)))
    assert world.kernel.told == [Outdated(*[frozenset({FILE, NodeId(8)})] * 2, names=True)]
    assert world.standing == (12, 12)


async def test_a_reset_drops_everything_before_it_is_acknowledged(world: World, autojump_clock: object) -> None:
    await world.run()
    world.know(10)
    seen: list[tuple[Seq, Seq]] = []
    world.kernel.when_told = lambda: seen.append(world.standing)
    await world.polled(PollReply(Notices(Seq(5), reset=True), LEASE_S))  # The server was restored from a backup.
    assert world.tree.node(FILE) is None
    assert world.kernel.told == [Outdated(everything=True, names=True)]
    assert (seen, world.standing) == ([(5, 10)], (5, 5))


async def test_a_reset_in_an_answer_to_own_changes_is_told_at_once(world: World, autojump_clock: object) -> None:
    await world.run()
    await world.session.absorb_answer(Notices(Seq(50), reset=True))
    assert [outdated.everything for outdated in world.kernel.told] == [True]
    assert world.standing == (50, 50)


# ── trouble ──


async def test_a_session_that_has_ended_is_begun_anew_with_what_is_applied(
    world: World, autojump_clock: object
) -> None:
    await world.run()
    world.know(10)
    await world.polled(PollReply(Notices(Seq(12)), LEASE_S))
    world.server.join_news = touching(13)
    await world.polled(SessionEnded("forgotten"))
    assert world.server.joins == [None, 12]
    assert world.tree.node(FILE) is None
    assert len(world.kernel.told) == 1
    assert world.server.polls[-1] == (13, 13)
    assert world.session.trouble is None


async def test_a_join_that_fails_is_tried_again(world: World, autojump_clock: object) -> None:
    await world.run()
    world.server.failure = Offline("gone")
    await world.polled(SessionEnded("forgotten"))
    await trio.sleep(5)
    assert isinstance(world.session.trouble, Offline)
    world.server.failure = None
    await trio.sleep(5)
    assert set(world.server.joins[1:]) == {10}
    assert world.session.trouble is None


async def test_without_the_server_the_lease_runs_out_and_what_is_cached_stays(
    world: World, autojump_clock: object
) -> None:
    await world.run()
    world.know(10)
    world.server.failure = Offline("gone")
    await world.polled(Offline("gone"))
    assert world.session.lease_left_s() > 0
    await trio.sleep(LEASE_S)
    assert world.session.lease_left_s() == 0
    assert world.tree.node(FILE) is not None
    assert isinstance(world.session.trouble, Offline)


async def test_polls_go_on_when_the_server_is_back(world: World, autojump_clock: object) -> None:
    await world.run()
    world.server.failure = Offline("gone")
    await world.polled(Offline("gone"))
    await trio.sleep(2 * LEASE_S)
    world.server.failure = None
    await trio.sleep(5)
    await world.polled(PollReply(touching(11), LEASE_S))
    assert world.session.trouble is None
    assert world.session.lease_left_s() > 0
    assert world.standing == (11, 11)


async def test_a_device_whose_token_was_revoked_believes_nothing_any_more(world: World, autojump_clock: object) -> None:
    await world.run()
    world.know(10)
    world.server.failure = Unauthorized("revoked")
    await world.polled(Unauthorized("revoked"))
    assert world.session.lease_left_s() == 0
    assert world.tree.node(FILE) is None
    assert world.kernel.told == [Outdated(everything=True, names=True)]
    await trio.sleep(LEASE_S)
    assert len(world.kernel.told) == 1, "it is told once"


# ── apart ──


async def cut(world: World) -> None:
    """Nothing is answered any more."""
    world.server.failure = world.server.question_failure = Offline("gone")
    await world.polled(Offline("gone"))


async def test_a_mount_parts_when_its_lease_is_over_and_neither_poll_nor_question_is_answered(
    world: World, autojump_clock: object
) -> None:
    await world.run()
    began_s = trio.current_time()
    await cut(world)
    assert not world.reach.apart, "the lease holds"
    assert world.server.questions == 0
    await world.reach.wait_parted()
    assert COUNTS_S <= trio.current_time() - began_s < COUNTS_S + 3
    assert world.server.questions == 1


async def test_a_mount_whose_polls_alone_fail_does_not_part(world: World, autojump_clock: object) -> None:
    await world.run()
    world.server.failure = Offline("gone")
    await world.polled(Offline("gone"))
    await trio.sleep(6 * LEASE_S)
    assert world.parted_s == []
    assert world.server.questions > 0


@pytest.mark.parametrize("answer", [None, Refused(2, "no such workspace"), Unauthorized("revoked")])
async def test_any_answer_to_the_small_question_is_a_verdict(
    world: World, autojump_clock: object, answer: DriveError | None
) -> None:
    await world.run()
    world.server.failure, world.server.question_failure = Offline("gone"), answer
    await world.polled(Offline("gone"))
    with trio.fail_after(3 * LEASE_S):
        await world.reach.wait_verdict()
    assert not world.reach.apart


async def test_a_mount_whose_content_moves_does_not_part(world: World, autojump_clock: object) -> None:
    """A large upload fills a slow link: neither polls nor questions come through it in time."""
    await world.run()
    world.server.failure = world.server.question_failure = Offline("it takes long")
    world.server.takes_s = 2.0
    world.server.answer(Offline("it takes long"))
    with trio.move_on_after(20 * LEASE_S):
        while True:
            await trio.sleep(1)
            world.server.moves += 1
    assert world.server.questions > 1
    assert world.parted_s == []
    await trio.sleep(LEASE_S)
    assert len(world.parted_s) == 1


async def test_a_refused_token_is_a_verdict(world: World, autojump_clock: object) -> None:
    await world.run()
    world.server.failure = Unauthorized("revoked")
    world._nursery.start_soon(world.polled, Unauthorized("revoked"))
    with trio.fail_after(3 * LEASE_S):
        await world.reach.wait_verdict()
    assert not world.reach.apart


async def test_a_strict_mount_never_parts(nursery: trio.Nursery, autojump_clock: object) -> None:
    world = World(nursery, strict=True)
    await world.run()
    await cut(world)
    await trio.sleep(6 * LEASE_S)
    assert world.parted_s == []
    assert world.session.lease_left_s() == 0


async def test_a_mount_that_has_parted_polls_again_when_it_has_rejoined(world: World, autojump_clock: object) -> None:
    await world.run()
    await cut(world)
    await world.reach.wait_parted()
    polls = len(world.server.polls)
    await trio.sleep(5 * LEASE_S)
    assert len(world.server.polls) == polls
    world.server.failure = world.server.question_failure = None
    world.reach.join()
    await trio.testing.wait_all_tasks_blocked()
    await world.polled(PollReply(touching(11), LEASE_S))
    assert world.session.lease_left_s() > 0


async def test_a_reply_that_is_taken_in_while_the_mount_parts_is_not_used(world: World, autojump_clock: object) -> None:
    """It may say the opposite of what was done here since."""
    await world.run()
    world.kernel.gate = trio.Event()
    used: list[str] = []

    async def use() -> None:
        try:
            await world.session.absorb(touching(11))
            used.append("used")
        except Offline:
            used.append("refused")

    world._nursery.start_soon(use)
    await trio.testing.wait_all_tasks_blocked()
    world.part()
    world.kernel.gate.set()
    await use()
    await trio.testing.wait_all_tasks_blocked()
    assert used == ["refused", "refused"]


# ── the end ──


async def test_who_is_apart_says_no_goodbye(world: World, autojump_clock: object) -> None:
    await world.session.join()
    world.part()
    await world.session.leave()
    assert world.server.left == 0


async def test_who_leaves_believes_nothing_from_before_it_says_so(world: World, autojump_clock: object) -> None:
    await world.session.join()
    await world.session.leave()
    assert world.server.left == 1
    assert world.session.lease_left_s() == 0


async def test_a_goodbye_that_fails_is_no_error(world: World, autojump_clock: object) -> None:
    await world.session.join()
    world.server.failure = Offline("gone")
    await world.session.leave()
    assert world.session.lease_left_s() == 0
