"""The oldest part of the change log goes: who was away for longer drops everything and begins anew.

Invariant: what is left of a workspace's log has no gaps and ends at the head.
"""

from __future__ import annotations

from typing import Final

from protocol.ids import WorkspaceId
from server.metadata.store import Transaction
from server.metadata.tree import head

KEPT_CHANGES_MIN: Final = 100_000
"""Kept however old they are: about 20 MB. Ten times what one answer carries (NEWS_MAX_CHANGES), so that a reset has
reasons of its own."""

PRUNE_CHANGES: Final = 1_000
"""Deleted in one transaction: a few milliseconds, which everybody else's changes wait for."""


def workspaces(tx: Transaction) -> list[WorkspaceId]:
    """Every workspace."""
    return [WorkspaceId(row[0]) for row in tx.all("SELECT id FROM workspaces ORDER BY id")]


def prune(
    tx: Transaction,
    workspace: WorkspaceId,
    before_ns: int,
    keep: int = KEPT_CHANGES_MIN,
    most: int = PRUNE_CHANGES,
) -> int:
    """Delete the oldest changes, at most ``most``, that were made before a time and aren't among the last ``keep``.

    Returns how many. Where the server's clock was set back, an old change stays as long as a younger one before it.
    """
    (first,) = tx.one("SELECT min(seq) FROM changes WHERE workspace = ?", (workspace,)) or (None,)
    if first is None:
        return 0
    last = min(first + most - 1, head(tx, workspace) - keep)
    (young,) = tx.one(
        "SELECT min(seq) FROM changes WHERE workspace = ? AND seq BETWEEN ? AND ? AND at_ns >= ?",
        (workspace, first, last, before_ns),
    ) or (None,)
    if young is not None:
        last = young - 1
    return tx.execute("DELETE FROM changes WHERE workspace = ? AND seq BETWEEN ? AND ?", (workspace, first, last))
