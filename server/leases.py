"""Who may answer from caches, and when all of them have dropped what a change outdated.

A session is one mount of one workspace. While it holds a lease, its mount and that machine's kernel answer from
caches. So nothing may reveal a change before every lease holder has dropped what the change outdated: ``settled``.

Rules (docs/consistency.md argues for them):

- a lease begins when a poll comes in and ends ``lease_s`` and LEASE_DRIFT later, by a clock that goes on during
  suspend; the mount counts from when it sent the poll, and shorter, so its end is always earlier;
- a grant is made before the head is read for the answer, and a change is committed before leases are looked at: one
  of the two sees the other;
- a session that let a wait run into the end of its lease gets none until it has acknowledged what was waited for; and
  while it lets somebody wait, its lease is soon not renewed: who hears no answers and asks on holds nobody up;
- after a restart every session that may hold a lease counts as holding one that has just begun.

State is in memory, but for the rows that name the sessions: one server process a database. Synchronous but for
``settled``; nothing here reads or writes the database.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Final, NamedTuple

import trio

from protocol.ids import JournalId, Seq, SessionId, WorkspaceId
from protocol.limits import LEASE_DRIFT

FORGOTTEN_AFTER_S: Final = 3600.0
"""A session without a lease that nothing was heard of for so long has to join anew."""

PROMPT_PART: Final = 0.25
"""A session that somebody waits for gets new leases for this part of one: no wait is longer than both together."""

_GRAIN_S: Final = 0.001
"""So much longer a wait takes than what it waits for: two clocks never agree on a moment."""

_ENDED: Final = float("-inf")


def boottime_s() -> float:
    """Seconds that go on during suspend (clock_gettime(2), CLOCK_BOOTTIME)."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class SessionRow(NamedTuple):
    """A session as the database names it."""

    workspace: WorkspaceId
    session: SessionId
    journal: JournalId
    lease_s: float


class _Session:
    __slots__ = ("acknowledged", "awaited", "awaited_since_s", "ends_s", "heard_s", "journal", "owes")

    def __init__(self, journal: JournalId, acknowledged: Seq, owes: Seq, heard_s: float) -> None:
        self.journal = journal
        self.acknowledged = acknowledged
        self.owes = owes
        """No lease is given before this is acknowledged."""
        self.awaited = Seq(0)
        """Somebody waits until this is acknowledged."""
        self.awaited_since_s = heard_s
        """Since when without any progress."""
        self.ends_s = _ENDED
        self.heard_s = heard_s


class Leases:
    """The sessions of one server."""

    def __init__(
        self,
        lease_s: float,
        clock: Callable[[], float] = boottime_s,
        nudge: Callable[[WorkspaceId, SessionId], None] = lambda workspace, session: None,
    ) -> None:
        """``nudge`` lets a session's waiting poll return: somebody waits for its acknowledgement."""
        self.lease_s = lease_s
        self._clock = clock
        self._nudge = nudge
        self._sessions: dict[WorkspaceId, dict[SessionId, _Session]] = {}
        self._stirred: dict[WorkspaceId, trio.Event] = {}
        self._forgetting: set[tuple[WorkspaceId, SessionId]] = set()

    # ── sessions ──

    def recover(self, rows: Iterable[SessionRow]) -> None:
        """The server starts: what these have dropped, and when their leases end, is not known."""
        for row in rows:
            session = _Session(row.journal, Seq(0), Seq(0), self._clock())
            session.ends_s = self._clock() + row.lease_s * (1 + LEASE_DRIFT)
            self._sessions.setdefault(row.workspace, {})[row.session] = session

    def join(
        self, workspace: WorkspaceId, session: SessionId, journal: JournalId, acknowledged: Seq, head: Seq
    ) -> None:
        """A mount begins, whose row is durable; ``head`` is what it must have acknowledged before it gets a lease."""
        known = self._sessions.setdefault(workspace, {}).get(session)
        if known is None:
            self._sessions[workspace][session] = _Session(journal, acknowledged, head, self._clock())
        else:  # Its answer was lost.
            self.heard(workspace, session, acknowledged)

    def leave(self, workspace: WorkspaceId, session: SessionId) -> None:
        """Its mount is gone, and with it all that it had cached."""
        if self._sessions.get(workspace, {}).pop(session, None) is not None:
            self._stir(workspace)

    def may_join(self, workspace: WorkspaceId, session: SessionId) -> bool:
        """Before a join changes any row; False while the row of this session's earlier time is being removed."""
        if (known := self._sessions.get(workspace, {}).get(session)) is not None:
            known.heard_s = self._clock()
        return (workspace, session) not in self._forgetting

    def forget_silent(self) -> list[tuple[WorkspaceId, SessionId]]:
        """Forget sessions that are long without a lease; returns them, whose rows may go.

        Until ``forgotten`` says that they have gone, these sessions can't join again.
        """
        now_s = self._clock()
        silent = [
            (workspace, identity)
            for workspace, sessions in self._sessions.items()
            for identity, session in sessions.items()
            if session.ends_s < now_s and session.heard_s + FORGOTTEN_AFTER_S < now_s
        ]
        for workspace, identity in silent:
            self.leave(workspace, identity)
        self._forgetting.update(silent)
        return silent

    def forgotten(self, silent: Iterable[tuple[WorkspaceId, SessionId]]) -> None:
        """The rows of these have been removed, or stay where they could not be: then they are waited for once more."""
        self._forgetting.difference_update(silent)

    def journal_of(self, workspace: WorkspaceId, session: SessionId) -> JournalId | None:
        """The journal of a session; None where it has to join anew."""
        known = self._sessions.get(workspace, {}).get(session)
        return None if known is None else known.journal

    # ── leases ──

    def heard(self, workspace: WorkspaceId, session: SessionId, applied: Seq) -> None:
        """The mount says that it has dropped what changes up to ``applied`` outdated."""
        known = self._sessions.get(workspace, {}).get(session)
        if known is None:
            return
        known.heard_s = self._clock()
        if applied > known.acknowledged:
            known.acknowledged = applied
            known.awaited_since_s = known.heard_s
            self._stir(workspace)

    def grant(self, workspace: WorkspaceId, session: SessionId) -> float:
        """Renew a lease, before the head is read for the answer; returns its seconds, 0 for none."""
        known = self._sessions.get(workspace, {}).get(session)
        if known is None or known.acknowledged < known.owes:
            return 0.0
        now_s = self._clock()
        if known.awaited > known.acknowledged and now_s - known.awaited_since_s > self.lease_s * PROMPT_PART:
            return 0.0
        known.ends_s = now_s + self.lease_s * (1 + LEASE_DRIFT)
        return self.lease_s

    def is_awaited(self, workspace: WorkspaceId, session: SessionId) -> bool:
        """Whether somebody waits for its acknowledgement."""
        known = self._sessions.get(workspace, {}).get(session)
        return known is not None and known.awaited > known.acknowledged

    async def settled(self, workspace: WorkspaceId, seq: Seq, asking: SessionId | None) -> None:
        """Return when every lease holder but ``asking`` has dropped what changes up to ``seq`` outdated."""
        await trio.lowlevel.checkpoint()
        while True:
            stirred = self._stirred.setdefault(workspace, trio.Event())
            left_s = self._left_s(workspace, seq, asking)
            if left_s is None:
                return
            with trio.move_on_after(left_s + _GRAIN_S):
                await stirred.wait()

    def _left_s(self, workspace: WorkspaceId, seq: Seq, asking: SessionId | None) -> float | None:
        """How long to wait for an acknowledgement at the most; None where none is needed any more. No checkpoint."""
        now_s = self._clock()
        ends_s: list[float] = []
        for identity, session in self._sessions.get(workspace, {}).items():
            if identity == asking or session.acknowledged >= seq or session.ends_s == _ENDED:
                continue
            if session.ends_s <= now_s:
                session.ends_s, session.owes = _ENDED, max(session.owes, seq)
                continue
            ends_s.append(session.ends_s)
            if session.awaited < seq:
                if session.awaited <= session.acknowledged:
                    session.awaited_since_s = now_s
                session.awaited = seq
                self._nudge(workspace, identity)
        return min(ends_s) - now_s if ends_s else None

    def _stir(self, workspace: WorkspaceId) -> None:
        if (stirred := self._stirred.pop(workspace, None)) is not None:
            stirred.set()
