"""The changes of this mount on their way to the server: numbered, in order, one batch at a time.

Owns the numbers of the journal's changes. A batch is sent again, unchanged, until it is answered, so that no number
ever stands for two changes: the server answers a repeated batch with what it answered first. Only where its numbers
turn out to be those of a killed mount's batch, which came late, or to follow on some that a server which was restored
from a backup has forgotten, does it go under others. Whatever queues up meanwhile goes into the next batch, so
concurrent programs share round trips.

A change that nobody waits for (``submit_later``: the create of a file that is about to be written) waits
a moment for company, and goes at once when a change that somebody waits for is queued behind it.

While the mount works apart from its server (``reach``), changes are applied and kept here instead (``apart``), and sent
in order when the server answers again.

Invariants: numbers are given when a batch is formed, without gaps; a change is answered exactly once, after
the notices that came with its answer have been applied.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Final, Protocol

import trio

from backend.apart import Apart
from backend.errors import REFUSALS, DriveError, JournalTaken, LocalFailure, Offline, Refused, Unauthorized
from backend.reach import Reach
from protocol.diversions import Diversions
from protocol.ids import JournalId, Seq, new_batch_id
from protocol.limits import BATCH_MAX_CHANGES, BATCH_MAX_INLINE_BYTES
from protocol.messages.batches import AnyAnswer, Applied, Batch, BatchReply, JournalReply
from protocol.messages.batches import Refused as RefusedAnswer
from protocol.messages.changes import AnyChange, Commit, Create
from protocol.messages.notices import Notices

COMPANY_S: Final = 0.1
"""How long a change that nobody waits for may stay, so that the write that follows shares its round trip."""

_RETRY_FIRST_S: Final = 0.25
_RETRY_MOST_S: Final = 5.0
_REFUSED_MOST_S: Final = 60.0
"""Between two tries to send what was kept where the device or its user may not: only a person changes that."""

log = logging.getLogger(__name__)


class BatchRemote(Protocol):
    """Where batches go: ``backend.remote.WorkspaceRemote``, or a simulated server."""

    async def send(self, batch: Batch) -> BatchReply:
        """Raises DriveError, JournalTaken among them."""
        ...

    async def take_journal(self, journal: JournalId) -> JournalReply:
        """From now on this mount sends for the journal; raises DriveError."""
        ...


class Pending:
    """One change in the outbox.

    It has at most one ``final`` outcome. Trouble on the way (no connection) is told to whoever waits, while a change
    that may have reached the server stays until the server says what became of it.
    """

    __slots__ = ("_stirred", "change", "final", "kept", "sent", "trouble")

    def __init__(self, change: AnyChange, *, kept: bool) -> None:
        self.change = change
        self.kept = kept
        self.sent = False
        self.final: tuple[AnyAnswer, Seq] | DriveError | None = None
        self.trouble: DriveError | None = None
        self._stirred = trio.Event()

    def settle(self, outcome: tuple[AnyAnswer, Seq] | DriveError) -> None:
        """The end of it; by the outbox."""
        self.final = outcome
        self._stirred.set()

    def disturb(self, trouble: DriveError) -> None:
        """Tell whoever waits that it takes longer than they should wait; by the outbox."""
        self.trouble = trouble
        self._stirred.set()
        self._stirred = trio.Event()

    async def answer(self) -> tuple[AnyAnswer, Seq]:
        """The answer and the change that its nodes are true at; raises DriveError, also for trouble on the way."""
        if self.final is None:
            await self._stirred.wait()
        match self.final:
            case None:
                assert self.trouble is not None
                raise self.trouble
            case DriveError() as error:
                raise error
            case final:
                return final

    async def applied(self) -> tuple[Applied, Seq]:
        """The same of a change that is no commit; raises Refused where it was refused."""
        answer, seq = await self.answer()
        match answer:
            case Applied():
                return answer, seq
            case RefusedAnswer(errno=name, reason=reason):
                raise Refused.named(name, reason)
            case _:
                raise DriveError("the server asks for blocks of a change that has none")

    async def end(self) -> tuple[AnyAnswer, Seq]:
        """Like ``answer``, but waits through trouble."""
        while self.final is None:
            await self._stirred.wait()
        return await self.answer()


class Outbox:
    """The queue, and the task that sends it."""

    def __init__(
        self,
        remote: BatchRemote,
        journal: JournalId,
        reach: Reach,
        apart: Apart,
        absorb: Callable[[Notices], Awaitable[None]],
        answered: Callable[[AnyChange, AnyAnswer, Seq | None], None],
        renamed: Callable[[], Awaitable[None]],
        rejoin: Callable[[], Awaitable[None]],
        trouble_apart: Callable[[DriveError], Awaitable[None]],
    ) -> None:
        """``absorb`` applies the notices of a reply; ``answered`` then takes each answer, before its waiter does: with
        the change that it is true at, or None where it was given here, apart from the server.

        ``renamed`` is called in between where something that the kernel was told the name of has another, or none.
        ``rejoin`` is called when all that was done apart is at the server, and ends that; ``trouble_apart`` is told why
        it isn't there yet.
        """
        self._reach = reach
        self._apart = apart
        self._rejoin = rejoin
        self._trouble_apart = trouble_apart
        self._keeping = trio.Lock()
        self._told_after = 1 if reach.strict else 2
        """Failures of a batch after which those who wait for it are told: a server that comes back deserves another."""
        self._remote = remote
        self._journal = journal
        self._last_number = 0
        self._absorb = absorb
        self._answered = answered
        self._renamed = renamed
        self._queue: deque[Pending] = deque()
        self._urgent = trio.Event()
        self._again = trio.Event()
        """Somebody waits for what was kept: send it now."""
        self._any = trio.Event()
        self._idle = trio.Event()
        self._idle.set()
        self._in_flight: list[Pending] = []
        self._alone = 0
        """So many of the next changes go one by one: together they were refused."""

    def begin(self, last_number: int) -> None:
        """The server has applied the journal's changes up to this one; before the first is sent."""
        self._last_number = last_number

    def __len__(self) -> int:
        return len(self._queue) + len(self._in_flight)

    def part(self) -> None:
        """The mount works apart from now on: what is queued is kept."""
        self._any.set()
        self._urgent.set()

    def submit_later(self, change: AnyChange) -> Pending:
        """Queue a change that nobody waits for yet: trouble doesn't take it out of the queue."""
        return self._enqueue(Pending(change, kept=True))

    def submit(self, change: AnyChange) -> Pending:
        """Queue a change that the caller waits for, and let the queue go at once.

        Where the server can't be reached it is withdrawn, unless it may have been sent by then.
        """
        pending = self._enqueue(Pending(change, kept=False))
        self._urgent.set()
        return pending

    def _enqueue(self, pending: Pending) -> Pending:
        self._queue.append(pending)
        if self._idle.is_set():
            self._idle = trio.Event()
        self._any.set()
        return pending

    def hurry(self) -> None:
        """Let the queue go at once: somebody waits now."""
        self._urgent.set()

    async def wait_idle(self) -> None:
        """Return when everything queued has been answered."""
        self.hurry()
        self._again.set()
        await self._idle.wait()

    async def run(self) -> None:
        """Send until cancelled."""
        while True:
            if self._reach.apart:
                await self._run_apart()
            else:
                await self._run_joined()

    async def _run_joined(self) -> None:
        """Until the mount parts from its server."""
        while not self._reach.apart:
            await self._any.wait()
            if not self._urgent.is_set():
                with trio.move_on_after(COMPANY_S):
                    await self._urgent.wait()
            if self._reach.apart:
                return
            self._in_flight = self._next_batch()
            if self._in_flight:
                await self._deliver(self._in_flight)
            self._in_flight = []
            self._rest()

    def _rest(self) -> None:
        if not self._queue:
            self._any = trio.Event()
            self._urgent = trio.Event()
            if not self._reach.apart:
                self._idle.set()

    async def _run_apart(self) -> None:
        """Apply and keep what comes; meanwhile wait for the server, and send it all when it answers."""
        if self._idle.is_set():
            self._idle = trio.Event()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._keep_what_comes)
            pause_s = _RETRY_FIRST_S
            while True:
                self._again = trio.Event()
                try:
                    self._last_number = await self._apart.replay.send_all()
                except DriveError as error:
                    await self._trouble_apart(error)
                    with trio.move_on_after(pause_s):
                        await self._again.wait()
                    pause_s = min(2 * pause_s, _REFUSED_MOST_S if isinstance(error, REFUSALS) else _RETRY_MOST_S)
                    continue
                async with self._keeping:
                    if not self._queue and len(self._apart) == 0:
                        await self._rejoin()
                        break
            nursery.cancel_scope.cancel()
        self._rest()

    async def _keep_what_comes(self) -> None:
        while True:
            await self._any.wait()
            async with self._keeping:
                if not self._reach.apart:
                    return  # It came while the mount rejoined: it is for the server.
                batch = list(self._queue)
                self._queue.clear()
                for pending, outcome in zip(
                    batch, await self._apart.keep([pending.change for pending in batch]), strict=True
                ):
                    self._settle_apart(pending, outcome)
                self._rest()

    def _settle_apart(self, pending: Pending, outcome: AnyAnswer | DriveError) -> None:
        if isinstance(outcome, DriveError):
            pending.settle(outcome)
            return
        seq = outcome.seq if isinstance(outcome, Applied) else Seq(0)
        self._answered(pending.change, outcome, None)
        pending.settle((outcome, seq))

    def _settle_adopted(self, pending: Pending, outcome: AnyAnswer | DriveError) -> None:
        """The same of one that is in the journal whatever the outcome: who was told that it is done was told right."""
        is_done = pending.kept and isinstance(outcome, DriveError)
        self._settle_apart(pending, Applied(Seq(0)) if is_done else outcome)

    def _next_batch(self) -> list[Pending]:
        batch: list[Pending] = []
        size_bytes = 0
        most = 1 if self._alone else BATCH_MAX_CHANGES
        self._alone = max(0, self._alone - 1)
        while self._queue and len(batch) < most:
            change = self._queue[0].change
            if isinstance(change, Commit):
                size_bytes += len(change.manifest) + sum(len(block.sealed) for block in change.blocks)
                if batch and size_bytes > BATCH_MAX_INLINE_BYTES:
                    break
            pending = self._queue.popleft()
            pending.sent = True
            batch.append(pending)
        return batch

    async def _deliver(self, batch: list[Pending]) -> None:
        """Send one batch until it is answered. Whoever waits is told of trouble; the batch stays."""
        first, name = self._last_number + 1, new_batch_id()
        changes = [pending.change for pending in batch]
        pause_s, failures, takes, is_ours = _RETRY_FIRST_S, 0, 0, True
        while True:
            try:
                if not is_ours:
                    first = (await self._remote.take_journal(self._journal)).number_for(name, first)
                    is_ours = True
                reply = await self._remote.send(Batch(self._journal, first, changes, id=name))
                break
            except (Offline, Unauthorized) as error:
                trouble: DriveError = error
                if isinstance(error, JournalTaken):
                    log.warning("the journal is taken again: %s", error)
                    is_ours, takes = False, takes + 1
                    if takes == 1:
                        continue  # Should that go on, it goes on with pauses.
                elif await self._has_parted(error):
                    try:
                        outcomes = await self._apart.adopt(first, name, changes)
                    except LocalFailure as full:
                        trouble, failures = full, self._told_after
                        await self._return_with_nothing_kept()
                    else:
                        for pending, outcome in zip(batch, outcomes, strict=True):
                            self._settle_adopted(pending, outcome)
                        return
                failures += 1
                if failures >= self._told_after:
                    self._tell_waiters(batch, trouble)
                await trio.sleep(pause_s)
                pause_s = min(2 * pause_s, _RETRY_MOST_S)
            except DriveError as error:
                # Refused as a whole: nothing of it was applied, its numbers are free.
                if len(batch) == 1:
                    batch[0].settle(error)
                    return
                for pending in batch:
                    pending.sent = False
                self._queue.extendleft(reversed(batch))
                self._alone = len(batch)
                return
        self._last_number = first + len(batch) - 1
        await self._absorb(reply.notices)
        # The answers of a batch that is sent again are of its first time: what others did since is not in them.
        seq = max((answer.seq for answer in reply.answers if isinstance(answer, Applied)), default=Seq(0))
        diversions = Diversions()
        answered = list(zip(batch, reply.answers, strict=True))
        for pending, answer in answered:
            done = diversions.follow(pending.change)  # As the server followed it, within the batch.
            diversions.learn(pending.change, answer)
            self._answered(pending.change if isinstance(done, Create) else done, answer, seq)
        if any(pending.kept and _is_renamed(pending.change, answer) for pending, answer in answered):
            await self._renamed()
        for pending, answer in answered:
            pending.settle((answer, seq))

    async def _return_with_nothing_kept(self) -> None:
        """There is no room to keep anything here: work with the server again as soon as it answers."""
        try:
            await self._apart.replay.send_all()  # Nothing is: the mount had not kept a change before it parted.
        except DriveError as error:
            await self._trouble_apart(error)
        else:
            await self._rejoin()

    async def _has_parted(self, error: DriveError) -> bool:
        """After a batch that got no answer: whether the mount works apart from its server now."""
        if isinstance(error, Offline) and not self._reach.strict:
            await self._reach.wait_verdict()
        return self._reach.apart

    def _tell_waiters(self, batch: list[Pending], error: DriveError) -> None:
        for pending in batch:
            pending.disturb(error)
        waiting, self._queue = self._queue, deque(pending for pending in self._queue if pending.kept)
        for pending in waiting:
            if not pending.kept:
                pending.settle(error)


def _is_renamed(change: AnyChange, answer: AnyAnswer) -> bool:
    """Whether what was created isn't where it was to be."""
    return isinstance(change, Create) and (not isinstance(answer, Applied) or answer.conflict is not None)
