"""The mount's end of the lease: the long poll, and how long the caches may be believed.

Owns the poll and the ways in which changes are applied: drop rows, tell the kernel, and only then acknowledge, with the
next request. While the lease holds, what is cached here and in the kernel is answered without asking; without it
each question goes to the server.

Rules (docs/consistency.md argues for them):

- the lease ends ``lease_s`` less LEASE_DRIFT and a margin after the poll was *sent*, on CLOCK_BOOTTIME, which goes on
  while the machine sleeps;
- a renewed lease counts only after its answer has been applied completely, kernel included;
- changes are applied before the reply that carries them is used;
- a change of this mount's own is acknowledged only by a poll's answer, which tells the kernel of it: until its
  system call has returned, the kernel may hold what it outdated.

Invariants: ``standing.acknowledged`` never passes a change whose rows the kernel still holds; changes are applied
one set at a time and in order.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Final, Protocol

import trio

from backend.errors import REFUSALS, DriveError, Offline, SessionEnded, Unauthorized
from backend.reach import Reach
from backend.standing import Standing
from backend.tree import Outdated, Snapshot, Tree
from protocol.ids import JournalId, Seq, origin_of
from protocol.limits import LEASE_DRIFT
from protocol.messages.batches import JournalReply
from protocol.messages.notices import Notice, Notices
from protocol.messages.sessions import JoinReply, PollReply

POLLS_A_LEASE: Final = 3
"""The server answers a poll with nothing after this part of a lease: two answers may be lost before the lease is."""

MARGIN_S: Final = 0.1
"""Between looking at the clock and acting on it."""

_RETRY_FIRST_S: Final = 0.1
_RETRY_MOST_S: Final = 2.0
_GOODBYE_S: Final = 5.0
_QUESTION_S: Final = 3.0
"""For the answer to a small question, after a poll got none and the lease is over."""

log = logging.getLogger(__name__)

Clock = Callable[[], float]
Listener = Callable[[Outdated], Awaitable[None]]


def boottime_s() -> float:
    """Seconds that go on during suspend (clock_gettime(2), CLOCK_BOOTTIME)."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class SessionRemote(Protocol):
    """Where sessions are kept: ``backend.remote.WorkspaceRemote``."""

    standing: Standing

    @property
    def moves(self) -> int:
        """How often bytes moved, to the server or from it, but for polls."""
        ...

    async def join(self, journal: JournalId, after: Seq | None) -> JoinReply:
        """Raises DriveError."""
        ...

    async def poll(self, wait_s: float) -> PollReply:
        """Raises DriveError, SessionEnded among them."""
        ...

    async def leave(self) -> None:
        """Raises DriveError."""
        ...

    async def journal(self, journal: JournalId) -> JournalReply:
        """A small question; raises DriveError."""
        ...


class Session:
    """One mount's session."""

    def __init__(
        self,
        remote: SessionRemote,
        tree: Tree,
        journal: JournalId,
        reach: Reach,
        part: Callable[[], None],
        clock: Clock = boottime_s,
    ) -> None:
        """``part`` is called when the lease is over and the server can't be reached: the mount works apart then."""
        self.trouble: DriveError | None = None
        """Why the last poll, or the last sending of what was kept apart, failed."""
        self._refusal: DriveError | None = None
        self._refused = trio.Event()
        self._reach = reach
        self._part = part
        self._remote = remote
        self._standing = remote.standing
        self._origin = origin_of(remote.standing.session)
        self._tree = tree
        self._journal = journal
        self._clock = clock
        self._lease_s = 0.0
        self._lease_until_s = clock()
        self._joined = False
        self._knows = False
        """Whether what is cached is true at ``standing.applied``: else nothing is."""
        self._turn = trio.Lock()
        self._listener: Listener | None = None
        self._untold: list[Outdated] = []
        """What applied changes outdated and the kernel has not been told of."""
        self._owes_news = False
        """Whether others' changes are among these: who is to tell was cancelled."""

    def lease_left_s(self) -> float:
        """For how many seconds what is cached may be believed; 0 without a lease."""
        return max(0.0, self._lease_until_s - self._clock())

    async def wait_refused(self) -> DriveError:
        """The next answer that this device, or its user, may not do what the mount does."""
        await self._refused.wait()
        assert self._refusal is not None
        return self._refusal

    async def absorb(self, notices: Notices) -> None:
        """Apply the changes that came with a reply. When this returns, others' up to ``notices.seq`` have been dropped.

        Raises Offline where the mount has parted from its server meanwhile: then nothing of that reply may be used any
        more beside what was done here since, and the changes come again.
        """
        await self._take(notices, acknowledge=False)

    async def _take(self, notices: Notices, *, acknowledge: bool) -> None:
        async with self._turn:
            self._check_joined()
            self._untold.append(self._tree.apply(notices, self._origin))
            self._standing.applied = self._tree.applied
            self._owes_news = self._owes_news or notices.reset or any(map(self._is_news, notices.notices))
            if acknowledge or self._owes_news:
                # By calls that cannot block (see ``fs/notices.py``): the turn passes on. Who is cancelled meanwhile
                # leaves it to the next to tell the kernel.
                if self._listener is not None and (outdated := Outdated.all_of(self._untold)):
                    await self._listener(outdated)
                self._untold.clear()
                self._owes_news = False
                self._standing.acknowledged = self._tree.applied
            self._check_joined()

    def _is_news(self, notice: Notice) -> bool:
        """Whether a change did more than what a system call of this mount's own tells the kernel."""
        return notice.origin != self._origin or (notice.what == "commit" and bool(notice.entries))

    def _check_joined(self) -> None:
        if self._reach.apart:
            raise Offline("the server can't be reached any more")

    async def absorb_answer(self, notices: Notices) -> None:
        """The same for the answer to this mount's own changes, of which the kernel hears when their calls return.

        Of a commit that made a name (a conflict copy's, or that of a file brought back) it does not hear.
        """
        with contextlib.suppress(Offline):  # What was answered is known and true, whatever else isn't.
            await self.absorb(notices)

    def take_up(self, snapshot: Snapshot) -> None:
        """What an earlier mount knew; before ``join``."""
        self._tree.restore(snapshot)
        self._standing.applied = self._standing.acknowledged = snapshot.applied
        self._knows = True

    async def join(self) -> JoinReply:
        """Begin, or begin anew where the server has forgotten the session; raises DriveError."""
        sent_s = self._clock()
        reply = await self._remote.join(self._journal, self._standing.applied if self._knows else None)
        if not self._knows:
            # What was asked before, and is answered only now, may be older: it must not be kept under the new lease.
            self._tree.begin(reply.notices.seq)
            self._untold.append(Outdated(names=True))
        self._joined = self._knows = True
        await self._take(reply.notices, acknowledge=True)
        self._renew(sent_s, reply.lease_s)
        if reply.lease_s == 0:  # It is given when these changes are acknowledged.
            await self._poll(0)
        return reply

    async def _poll(self, wait_s: float) -> None:
        sent_s = self._clock()
        reply = await self._remote.poll(wait_s)
        self._standing.key_id = reply.key_id
        await self._take(reply.notices, acknowledge=True)
        self._renew(sent_s, reply.lease_s)

    async def run(self, listener: Listener) -> None:
        """Poll until cancelled, and join where that has not been done; not while the mount works apart."""
        self._listener = listener
        pause_s = _RETRY_FIRST_S
        while True:
            await self._reach.wait_joined()
            try:
                if not self._joined:
                    await self.join()
                else:
                    # After trouble at once: until it is answered there may be no lease, and status says that it waits.
                    await self._poll(0 if self.trouble is not None else self._lease_s / POLLS_A_LEASE)
            except SessionEnded:
                self._joined = False
                continue
            except DriveError as error:
                if isinstance(error, Unauthorized) and not isinstance(self.trouble, Unauthorized):
                    await self._distrust(listener)
                self._note(error)
                if isinstance(error, Offline) and await self._is_cut_off():
                    self._part()
                    continue
                if not isinstance(error, Offline):
                    self._reach.heard()
                await trio.sleep(pause_s)
                pause_s = min(2 * pause_s, _RETRY_MOST_S)
                continue
            if self.trouble is not None:
                log.info("the server answers again")
            self.trouble = None
            self._reach.heard()
            pause_s = _RETRY_FIRST_S

    async def _is_cut_off(self) -> bool:
        """After a poll that got no answer: whether nothing is vouched for any more, and nobody can be asked.

        Where content moves meanwhile, the server is there: on a slow link questions and answers queue up behind it.
        """
        if self._reach.strict or self.lease_left_s() > 0:
            return False
        moves, is_answered = self._remote.moves, False
        with trio.move_on_after(_QUESTION_S):
            try:
                await self._remote.journal(self._journal)
                is_answered = True
            except Offline:
                pass
            except DriveError:
                is_answered = True
        is_there = is_answered or self._remote.moves > moves
        if is_there:
            self._reach.heard()
        return not is_there

    async def leave(self) -> None:
        """Say goodbye, so that nobody waits for this mount's lease; when the kernel holds nothing of it any more."""
        self._lease_until_s = self._clock()
        if not self._joined or self._reach.apart:
            return
        with trio.move_on_after(_GOODBYE_S):
            try:
                await self._remote.leave()
            except DriveError as error:
                log.info("no goodbye to the server: %s", error)

    def _renew(self, sent_s: float, lease_s: float) -> None:
        if lease_s > 0:
            self._lease_s = lease_s
            self._lease_until_s = max(self._lease_until_s, sent_s + lease_s * (1 - LEASE_DRIFT) - MARGIN_S)

    async def note_apart(self, error: DriveError) -> None:
        """Why what was done apart is not at the server yet."""
        if isinstance(error, Unauthorized) and not isinstance(self.trouble, Unauthorized):
            assert self._listener is not None
            await self._distrust(self._listener)
        self._note(error, "what is kept here is not at the server yet")

    async def _distrust(self, listener: Listener) -> None:
        """The token was revoked: nothing that was cached is shown any more."""
        self._lease_until_s = self._clock()
        self._tree.forget_everything()
        await listener(Outdated(everything=True, names=True))

    def _note(self, error: DriveError, what: str = "the lease is not renewed") -> None:
        if self.trouble is None or type(self.trouble) is not type(error):
            level = logging.INFO if isinstance(error, Offline) else logging.WARNING
            log.log(level, "%s: %s", what, error)
        self.trouble = error
        if isinstance(error, REFUSALS):
            self._refusal = error
            self._refused.set()
            self._refused = trio.Event()
