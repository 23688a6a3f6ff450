"""Objects of the block store that no row of blocks names: so that a crash leaves none behind that nobody knows of.

Who stores an object writes it down first, and takes it off the list in the transaction that names it in a row. The
object that the row named before goes on the list in the same transaction, to be deleted.

Invariant: what is doomed is never taken: it may be gone already.
"""

from __future__ import annotations

from collections.abc import Iterable

from protocol.ids import WorkspaceId
from server.metadata.store import Transaction


def announce(tx: Transaction, workspace: WorkspaceId, objects: Iterable[str]) -> None:
    """They are about to be stored."""
    _add(tx, workspace, objects, doomed=0)


def take(tx: Transaction, workspace: WorkspaceId, name: str) -> bool:
    """A row names this one from now on; False where it was doomed meanwhile."""
    sql = "DELETE FROM spare_objects WHERE workspace = ? AND object = ? AND doomed = 0"
    return tx.execute(sql, (workspace, name)) == 1


def doom(tx: Transaction, workspace: WorkspaceId, objects: Iterable[str]) -> None:
    """No row names them any more, and none will."""
    _add(tx, workspace, objects, doomed=1)


def doom_announced(tx: Transaction, workspace: WorkspaceId) -> None:
    """Whoever announced these has ended since."""
    tx.execute("UPDATE spare_objects SET doomed = 1 WHERE workspace = ?", (workspace,))


def doomed(tx: Transaction, workspace: WorkspaceId) -> list[str]:
    """To be deleted."""
    sql = "SELECT object FROM spare_objects WHERE workspace = ? AND doomed = 1"
    return [row[0] for row in tx.all(sql, (workspace,))]


def forget(tx: Transaction, workspace: WorkspaceId, objects: Iterable[str]) -> None:
    """They are deleted."""
    for name in objects:
        tx.execute("DELETE FROM spare_objects WHERE workspace = ? AND object = ?", (workspace, name))


def workspaces(tx: Transaction) -> list[WorkspaceId]:
    """Those that have any."""
    return [WorkspaceId(row[0]) for row in tx.all("SELECT DISTINCT workspace FROM spare_objects")]


def _add(tx: Transaction, workspace: WorkspaceId, objects: Iterable[str], doomed: int) -> None:
    for name in objects:
        tx.execute(
            "INSERT INTO spare_objects (workspace, object, doomed) VALUES (?, ?, ?)"
            " ON CONFLICT (workspace, object) DO UPDATE SET doomed = excluded.doomed",
            (workspace, name, doomed),
        )
