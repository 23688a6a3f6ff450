"""Who waits for a workspace's next change, and how they are woken.

Invariant: no wake-up is lost. A waiter subscribes before it reads the log, resets its bell before it reads again, and a
change rings after its commit.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import trio

from protocol.ids import SessionId, WorkspaceId


class Waiter:
    """One long poll."""

    __slots__ = ("rung", "session")

    def __init__(self, session: SessionId | None) -> None:
        self.session = session
        self.rung = trio.Event()

    def reset(self) -> None:
        """Before reading the log again: what is committed from now on rings anew."""
        self.rung = trio.Event()


class Notifier:
    """The bells of all workspaces."""

    def __init__(self) -> None:
        self._waiters: dict[WorkspaceId, set[Waiter]] = {}
        self.stopping = False

    @contextmanager
    def waiting_for(self, workspace: WorkspaceId, session: SessionId | None = None) -> Iterator[Waiter]:
        """Subscribed until the block ends; begin it before reading the log. Changes of ``session`` don't ring."""
        waiter = Waiter(session)
        waiters = self._waiters.setdefault(workspace, set())
        waiters.add(waiter)
        if self.stopping:
            waiter.rung.set()
        try:
            yield waiter
        finally:
            waiters.discard(waiter)
            if not waiters:
                self._waiters.pop(workspace, None)

    def ring(self, workspace: WorkspaceId, origin: SessionId | None) -> None:
        """A change was committed. Its own mount, if it has one, isn't woken: the answer to the change told it."""
        for waiter in self._waiters.get(workspace, ()):
            if origin is None or waiter.session != origin:
                waiter.rung.set()

    def nudge(self, workspace: WorkspaceId, session: SessionId) -> None:
        """Somebody waits for this session's acknowledgement: let its poll return."""
        for waiter in self._waiters.get(workspace, ()):
            if waiter.session == session:
                waiter.rung.set()

    def waiting(self, workspace: WorkspaceId) -> int:
        """How many polls wait for this workspace."""
        return len(self._waiters.get(workspace, ()))

    def stop(self) -> None:
        """The server stops: let every poll return."""
        self.stopping = True
        for waiters in self._waiters.values():
            for waiter in waiters:
                waiter.rung.set()
