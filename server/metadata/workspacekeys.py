"""The wrapped keys of workspaces, and which one seals: the last.

Knows nothing of what they are wrapped under.

Invariants: a workspace's keys are numbered from FIRST_KEY without gaps up to ``workspaces.key_id``; an end-to-end
workspace has none here, but an envelope (``workspaces.envelope``).
"""

from __future__ import annotations

from collections.abc import Callable

from protocol.ids import WorkspaceId
from protocol.limits import KEYS_MAX
from server.metadata.accounts import Taken, Unknown
from server.metadata.store import Transaction


def last_id(tx: Transaction, workspace: WorkspaceId) -> int:
    """Of the key that seals; raises Unknown."""
    row = tx.one("SELECT key_id FROM workspaces WHERE id = ?", (workspace,))
    if row is None:
        raise Unknown("there is no such workspace")
    return int(row[0])


def wrapped_keys(tx: Transaction, workspace: WorkspaceId) -> dict[int, bytes]:
    """All of a workspace, by id."""
    return dict(tx.all("SELECT id, wrapped FROM workspace_keys WHERE workspace = ? ORDER BY id", (workspace,)))


def add(tx: Transaction, workspace: WorkspaceId, wrapped: bytes | None, after: int, now_ns: int) -> int:
    """A key that seals from now on, in place of ``after``; returns its id. An end-to-end workspace's is None here.

    Every block that the server can open is under an older key then. Raises Taken where another key was added, and where
    there may be no more.
    """
    if last_id(tx, workspace) != after:
        raise Taken(f"key {after} isn't the one that seals any more: it was rotated meanwhile")
    if after >= KEYS_MAX:
        raise Taken(f"a workspace has at most {KEYS_MAX} keys")
    added = after + 1
    if wrapped is not None:
        tx.execute(
            "INSERT INTO workspace_keys (workspace, id, wrapped, made_ns) VALUES (?, ?, ?, ?)",
            (workspace, added, wrapped, now_ns),
        )
    tx.execute("UPDATE workspaces SET key_id = ?, old_blocks = block_count WHERE id = ?", (added, workspace))
    if wrapped is None:  # What was lost with the last backup, and comes back, may have sealed blocks since.
        tx.execute(
            "UPDATE workspaces SET old_blocks = old_blocks"
            " - (SELECT count(*) FROM blocks WHERE workspace = ? AND key_id = ?) WHERE id = ?",
            (workspace, added, workspace),
        )
    return added


def any_wrapped(tx: Transaction) -> tuple[WorkspaceId, bytes] | None:
    """Some workspace's key, where there is one: to see whether a master key fits."""
    row = tx.one("SELECT workspace, wrapped FROM workspace_keys LIMIT 1")
    return None if row is None else (WorkspaceId(row[0]), row[1])


def rewrap(tx: Transaction, anew: Callable[[WorkspaceId, bytes], bytes]) -> int:
    """Replace every wrapped key by what ``anew`` makes of it; returns how many."""
    rows = tx.all("SELECT workspace, id, wrapped FROM workspace_keys")
    for workspace, key_id, wrapped in rows:
        tx.execute(
            "UPDATE workspace_keys SET wrapped = ? WHERE workspace = ? AND id = ?",
            (anew(WorkspaceId(workspace), wrapped), workspace, key_id),
        )
    return len(rows)
