"""The rows that name sessions: for whom a restarted server has to wait (see ``server.leases``)."""

from __future__ import annotations

from protocol.ids import DeviceId, JournalId, SessionId, WorkspaceId
from server.leases import SessionRow
from server.metadata.store import Transaction


def add(
    tx: Transaction,
    workspace: WorkspaceId,
    session: SessionId,
    device: DeviceId,
    journal: JournalId,
    lease_s: float,
) -> None:
    """A mount begins; before it is given a lease."""
    tx.execute(
        "INSERT INTO sessions (workspace, session, device, journal, lease_s) VALUES (?, ?, ?, ?, ?)"
        " ON CONFLICT (workspace, session) DO UPDATE SET lease_s = excluded.lease_s",
        (workspace, session, device, journal, lease_s),
    )


def remove(tx: Transaction, workspace: WorkspaceId, session: SessionId) -> None:
    """A mount is gone, and nothing is cached there."""
    tx.execute("DELETE FROM sessions WHERE workspace = ? AND session = ?", (workspace, session))


def all_of(tx: Transaction) -> list[SessionRow]:
    """Every session that may hold a lease."""
    return [SessionRow(*row) for row in tx.all("SELECT workspace, session, journal, lease_s FROM sessions")]
