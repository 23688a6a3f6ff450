"""Who waits for a workspace's next change, and how they are woken.

No wake-up is lost: a waiter takes its ``Waiter`` before it reads the log, and a change rings after its commit.
"""

from __future__ import annotations

import trio

from protocol.ids import JournalId, WorkspaceId


class Waiter:
    """One long poll."""

    __slots__ = ("journal", "rung")

    def __init__(self, journal: JournalId) -> None:
        self.journal = journal
        self.rung = trio.Event()


class Notifier:
    """The bells of all workspaces."""

    def __init__(self) -> None:
        self._waiters: dict[WorkspaceId, set[Waiter]] = {}
        self.stopping = False

    def wait(self, workspace: WorkspaceId, journal: JournalId) -> Waiter:
        """Begin to wait, before reading the log."""
        waiter = Waiter(journal)
        self._waiters.setdefault(workspace, set()).add(waiter)
        if self.stopping:
            waiter.rung.set()
        return waiter

    def leave(self, workspace: WorkspaceId, waiter: Waiter) -> None:
        """Stop waiting."""
        waiters = self._waiters[workspace]
        waiters.discard(waiter)
        if not waiters:
            del self._waiters[workspace]

    def ring(self, workspace: WorkspaceId, origin: JournalId) -> None:
        """A change was committed. Its own mount isn't woken: the answer to the change told it."""
        for waiter in self._waiters.get(workspace, ()):
            if waiter.journal != origin:
                waiter.rung.set()

    def stop(self) -> None:
        """The server stops: let every poll return."""
        self.stopping = True
        for waiters in self._waiters.values():
            for waiter in waiters:
                waiter.rung.set()
