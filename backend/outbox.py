"""The changes of this mount on their way to the server: numbered, in order, one batch at a time.

Owns the numbers of the journal's changes. A batch is sent again, unchanged, until it is answered, so that no number
ever stands for two changes: the server answers a repeated batch with what it answered first. Whatever queues up
meanwhile goes into the next batch, so concurrent programs share round trips.

A change that nobody waits for (``submit_later``: the create of a file that is about to be written) waits
a moment for company, and goes at once when a change that somebody waits for is queued behind it.

Invariants: numbers are given when a batch is formed, without gaps; a change is answered exactly once, after
the notices that came with its answer have been applied.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable
from typing import Final, Protocol

import trio

from backend.errors import DriveError, Offline, Unauthorized
from protocol.diversions import Diversions
from protocol.ids import JournalId, Seq
from protocol.limits import BATCH_MAX_CHANGES, BATCH_MAX_INLINE_BYTES
from protocol.messages import AnyAnswer, AnyChange, Applied, Batch, BatchReply, Commit, Create, Notices

COMPANY_S: Final = 0.1
"""How long a change that nobody waits for may stay, so that the write that follows shares its round trip."""

_RETRY_FIRST_S: Final = 0.25
_RETRY_MOST_S: Final = 5.0


class BatchRemote(Protocol):
    """Where batches go: ``backend.remote.WorkspaceRemote``, or a simulated server."""

    async def send(self, batch: Batch) -> BatchReply:
        """Raises DriveError."""
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
        absorb: Callable[[Notices], Awaitable[None]],
        answered: Callable[[AnyChange, AnyAnswer, Seq], None],
    ) -> None:
        """``absorb`` applies the notices of a reply; ``answered`` then takes each answer, before its waiter does."""
        self._remote = remote
        self._journal = journal
        self._last_number = 0
        self._absorb = absorb
        self._answered = answered
        self._queue: deque[Pending] = deque()
        self._urgent = trio.Event()
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
        await self._idle.wait()

    async def run(self) -> None:
        """Send until cancelled."""
        while True:
            await self._any.wait()
            if not self._urgent.is_set():
                with trio.move_on_after(COMPANY_S):
                    await self._urgent.wait()
            self._in_flight = self._next_batch()
            await self._deliver(self._in_flight)
            self._in_flight = []
            if not self._queue:
                self._any = trio.Event()
                self._urgent = trio.Event()
                self._idle.set()

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
        first = self._last_number + 1
        changes = [pending.change for pending in batch]
        pause_s = _RETRY_FIRST_S
        while True:
            try:
                reply = await self._remote.send(Batch(self._journal, first, changes))
                break
            except (Offline, Unauthorized) as error:
                self._tell_waiters(batch, error)
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
        for pending, answer in zip(batch, reply.answers, strict=True):
            done = diversions.follow(pending.change)  # As the server followed it, within the batch.
            diversions.learn(pending.change, answer)
            self._answered(pending.change if isinstance(done, Create) else done, answer, seq)
            pending.settle((answer, seq))

    def _tell_waiters(self, batch: list[Pending], error: DriveError) -> None:
        for pending in batch:
            pending.disturb(error)
        waiting, self._queue = self._queue, deque(pending for pending in self._queue if pending.kept)
        for pending in waiting:
            if not pending.kept:
                pending.settle(error)
