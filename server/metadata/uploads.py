"""Files that wait for a content which comes without a mount.

Invariant: a row is there from the create of such a file until its content is committed, or it is removed because the
upload broke off. A pending file without a row is a mount's, whose journal has its content: it stays.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from protocol.ids import NO_VERSION, NOBODY, DeviceId, NodeId, UserId, WorkspaceId
from protocol.messages.changes import Rmdir, Unlink
from server.metadata import tree
from server.metadata.accounts import Caller
from server.metadata.changes import apply_one
from server.metadata.store import Transaction


def note(
    tx: Transaction,
    workspace: WorkspaceId,
    node: NodeId,
    device: DeviceId,
    folders: Sequence[NodeId],
    expires_ns: int,
) -> None:
    """This file was made for an upload, which ends at the latest then, and the folders on the way to it, in order."""
    tx.execute(
        "INSERT INTO uploads (workspace, node, device, folders, expires_ns) VALUES (?, ?, ?, ?, ?)",
        (workspace, node, device, msgspec.msgpack.encode(folders[::-1]), expires_ns),
    )


def forget(tx: Transaction, workspace: WorkspaceId, node: NodeId) -> None:
    """Its content is committed."""
    tx.execute("DELETE FROM uploads WHERE workspace = ? AND node = ?", (workspace, node))


def expired(tx: Transaction, now_ns: int, most: int = 100) -> list[tuple[WorkspaceId, NodeId]]:
    """Some of those whose time is over."""
    rows = tx.all(
        "SELECT workspace, node FROM uploads WHERE expires_ns <= ? ORDER BY expires_ns LIMIT ?", (now_ns, most)
    )
    return [(WorkspaceId(workspace), NodeId(node)) for workspace, node in rows]


def give_up(tx: Transaction, workspace: WorkspaceId, node: NodeId, now_ns: int) -> None:
    """The upload broke off: its file goes under all its names, where nobody has given it a content meanwhile.

    So do the folders that were made for it, where they are empty.
    """
    row = tx.one("SELECT device, folders FROM uploads WHERE workspace = ? AND node = ?", (workspace, node))
    if row is None:
        return
    forget(tx, workspace, node)
    found = tree.node(tx, workspace, node)
    if found is None or found.version != NO_VERSION:
        return
    device = Caller(UserId(""), "", False, DeviceId(row[0]), "")
    for parent, name in _names(tx, workspace, node):
        apply_one(tx, workspace, device, Unlink(now_ns, parent, name, node), {}, now_ns, NOBODY)
    for folder in msgspec.msgpack.decode(row[1], type=list[NodeId]):
        if tx.one("SELECT 1 FROM entries WHERE workspace = ? AND parent = ?", (workspace, folder)) is None:
            for parent, name in _names(tx, workspace, folder):
                apply_one(tx, workspace, device, Rmdir(now_ns, parent, name, folder), {}, now_ns, NOBODY)


def _names(tx: Transaction, workspace: WorkspaceId, node: NodeId) -> list[tuple[NodeId, bytes]]:
    rows = tx.all("SELECT parent, name FROM entries WHERE workspace = ? AND node = ?", (workspace, node))
    return [(NodeId(parent), name) for parent, name in rows]
