"""Nodes as items, for who has no mount."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import quote

from protocol.ids import WorkspaceId
from protocol.messages.items import Item, etag_of
from protocol.messages.nodes import Kind, Node
from server.metadata import tree
from server.metadata.store import Transaction


def item(tx: Transaction, workspace: WorkspaceId, names: Sequence[bytes], node: Node) -> Item:
    """What is at a path."""
    return Item(
        path=path_text(names),
        name=name_text(names[-1]) if names else "",
        kind=node.kind,
        size=node.size,
        mtime_ns=node.mtime_ns,
        version=node.version,
        etag=etag_of(node.id, node.version),
        node=str(node.id),
        mode=node.mode,
        state=node.state,
        target=name_text(node.target) if node.kind is Kind.SYMLINK else None,
        conflict_of=_original(tx, workspace, node),
    )


def path_text(names: Sequence[bytes]) -> str:
    """A path as requests name it."""
    return "/".join(quote(name, safe="") for name in names)


def name_text(name: bytes) -> str:
    """A name for people."""
    return name.decode(errors="replace")


def _original(tx: Transaction, workspace: WorkspaceId, node: Node) -> str | None:
    original = None if node.conflict_of is None else tree.node(tx, workspace, node.conflict_of)
    if original is None or original.nlink == 0:
        return None
    return path_text(tree.path_of(tx, workspace, original.id)[1])
