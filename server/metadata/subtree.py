"""Everything below a folder, on one snapshot."""

from __future__ import annotations

from typing import Final, NamedTuple

from protocol.ids import NodeId, VersionNumber, WorkspaceId
from protocol.messages.nodes import Kind
from server.metadata.store import Transaction

_BELOW: Final = (
    "WITH RECURSIVE below (parent, name, node) AS ("
    " SELECT e.parent, e.name, e.node FROM entries e WHERE e.workspace = ? AND e.parent = ?"
    " UNION ALL"
    " SELECT e.parent, e.name, e.node FROM below b JOIN entries e ON e.workspace = ? AND e.parent = b.node)"
    " SELECT b.parent, b.name, n.id, n.kind, n.mode, n.mtime_ns, n.size, n.version"
    " FROM below b JOIN nodes n ON n.workspace = ? AND n.id = b.node LIMIT ?"
)


class Below(NamedTuple):
    """An entry below a folder."""

    parent: NodeId
    name: bytes
    node: NodeId
    kind: Kind
    mode: int
    mtime_ns: int
    size: int
    version: VersionNumber


def below(tx: Transaction, workspace: WorkspaceId, folder: NodeId, most: int) -> list[Below] | None:
    """The entries below a folder, in no order; None where there are more than ``most``."""
    rows = tx.all(_BELOW, (workspace, folder, workspace, workspace, most + 1))
    return None if len(rows) > most else [Below._make((*row[:3], Kind(row[3]), *row[4:])) for row in rows]
