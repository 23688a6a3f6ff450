"""Items: nodes as people and scripts are told of them, by the paths that lead to them.

Nothing here changes a row.
"""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import quote_from_bytes

from protocol.ids import ROOT_NODE, NodeId, VersionNumber, WorkspaceId
from protocol.messages.items import FolderPage, Item
from protocol.messages.nodes import Kind, Node
from server.metadata import tree
from server.metadata.editing import Rule
from server.metadata.paths import Place, place
from server.metadata.resolving import original_of
from server.metadata.returning import last_place
from server.metadata.store import Transaction


def encoded(names: Sequence[bytes]) -> str:
    """Names as a path."""
    return "/".join(quote_from_bytes(name, safe="") for name in names)


def etag_of(node: NodeId, version: VersionNumber) -> str:
    """The strong entity tag of a version (RFC 9110, section 8.8.3)."""
    return f'"{node:x}-{version}"'


def shown(name: bytes) -> str:
    """A name as text for people."""
    return name.decode(errors="replace")


def item_of(tx: Transaction, workspace: WorkspaceId, names: Sequence[bytes], node: Node) -> Item:
    """A node under one of its names."""
    return Item(
        path=encoded(names),
        name=shown(names[-1]) if names else "",
        kind=node.kind,
        size=node.size,
        mtime_ns=node.mtime_ns,
        version=node.version,
        etag=etag_of(node.id, node.version),
        node=str(node.id),
        mode=node.mode,
        state=node.state,
        target=shown(node.target) if node.kind is Kind.SYMLINK else None,
        conflict_of=_conflict_of(tx, workspace, node),
    )


def item_at(tx: Transaction, workspace: WorkspaceId, names: Sequence[bytes]) -> Item:
    """What a path leads to; raises NoSuchNode."""
    return item_of(tx, workspace, names, place(tx, workspace, names).taken())


def folder_at(tx: Transaction, workspace: WorkspaceId, names: Sequence[bytes]) -> Place:
    """The folder that a path leads to; raises NoSuchNode, and Rule for what is none."""
    found = place(tx, workspace, names)
    if found.taken().kind is not Kind.FOLDER:
        raise Rule("ENOTDIR", "this is not a folder")
    return found


def file_at(tx: Transaction, workspace: WorkspaceId, names: Sequence[bytes]) -> Node:
    """The file that a path leads to; raises NoSuchNode, and Rule for what is none."""
    found = place(tx, workspace, names).taken()
    if found.kind is Kind.FOLDER:
        raise Rule("EISDIR", "this is a folder")
    if found.kind is not Kind.FILE:
        raise Rule("EISDIR", f"this is a {found.kind}, which has no versions")
    return found


def page(tx: Transaction, workspace: WorkspaceId, names: Sequence[bytes], after: bytes, limit: int) -> FolderPage:
    """A folder's items past the name ``after``, in order of names' bytes; raises NoSuchNode and Rule."""
    folder = folder_at(tx, workspace, names).taken()
    found = tree.listing(tx, workspace, folder.id, after, limit)
    return FolderPage(
        item_of(tx, workspace, names, folder),
        [item_of(tx, workspace, [*names, entry.name], entry.node) for entry in found.entries],
        found.more,
    )


def last_path(tx: Transaction, workspace: WorkspaceId, node: NodeId) -> list[bytes]:
    """The names from the root to a node; where it or a folder above it has been removed, as they were last."""
    names: list[bytes] = []
    at: NodeId | None = node
    while at is not None and at != ROOT_NODE:
        row = tx.one(
            "SELECT parent, name FROM entries WHERE workspace = ? AND node = ? ORDER BY parent, name LIMIT 1",
            (workspace, at),
        )
        at, name = last_place(tx, workspace, at) if row is None else row
        names.append(name)
    return names[::-1]


def _conflict_of(tx: Transaction, workspace: WorkspaceId, node: Node) -> str | None:
    if not node.conflict_of:
        return None
    original = original_of(tx, workspace, node.conflict_of, node.id)
    return None if original is None else encoded(last_path(tx, workspace, original.id))
