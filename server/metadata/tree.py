"""Reading the tree: nodes, names, listings, manifests. Each function is one snapshot's work.

A listing is one query, attributes and short manifests included. Nothing here changes a row.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import msgspec

from protocol.ids import ROOT_NODE, NodeId, Seq, VersionNumber, WorkspaceId
from protocol.limits import INLINE_MANIFEST_PIECES, LISTING_PAGE_ENTRIES
from protocol.messages.nodes import Kind, Node, State
from protocol.messages.tree import Entry, ManifestReply, SpaceReply, UsageReply
from server.metadata.store import Row, Transaction


class NoSuchNode(Exception):
    """The node is not there, or no folder."""


class ListingChanged(Exception):
    """The folder's entries changed since the page before."""


class Version(NamedTuple):
    """A content that a file has or had, and when it was committed, by the server's clock."""

    manifest: bytes
    committed_ns: int


class Page(NamedTuple):
    """A part of a folder in order of names' bytes; all pages of one generation belong together."""

    generation: int
    entries: list[Entry]
    more: bool


_COLUMNS: Final = (
    "n.id, n.kind, n.mode, n.uid, n.gid, n.nlink, n.mtime_ns, n.ctime_ns, n.atime_ns, n.size, n.data_bytes, n.rdev,"
    " n.version, n.target, n.xattrs, n.conflict_of, v.manifest"
)
_FROM: Final = (
    f" LEFT JOIN versions v ON v.workspace = n.workspace AND v.node = n.id AND v.number = n.version"
    f" AND n.pieces <= {INLINE_MANIFEST_PIECES}"
)
_decode_xattrs = msgspec.msgpack.Decoder(dict[str, bytes]).decode


def head(tx: Transaction, workspace: WorkspaceId) -> Seq:
    """The number of the last change."""
    row = tx.one("SELECT head_seq FROM workspaces WHERE id = ?", (workspace,))
    return Seq(0 if row is None else row[0])


def node(tx: Transaction, workspace: WorkspaceId, identity: NodeId) -> Node | None:
    """A node's attributes, also of an unlinked one (nlink 0)."""
    row = tx.one(f"SELECT {_COLUMNS} FROM nodes n{_FROM} WHERE n.workspace = ? AND n.id = ?", (workspace, identity))
    return None if row is None else _node(row)


def lookup(tx: Transaction, workspace: WorkspaceId, folder: NodeId, name: bytes) -> Node | None:
    """What a name means; raises NoSuchNode where there is no such folder."""
    row = tx.one(
        f"SELECT {_COLUMNS} FROM entries e JOIN nodes n ON n.workspace = e.workspace AND n.id = e.node{_FROM}"
        " WHERE e.workspace = ? AND e.parent = ? AND e.name = ?",
        (workspace, folder, name),
    )
    if row is None:
        generation_of(tx, workspace, folder)
        return None
    return _node(row)


def generation_of(tx: Transaction, workspace: WorkspaceId, folder: NodeId) -> int:
    """The change that last changed a folder's entries; raises NoSuchNode."""
    row = tx.one(
        "SELECT generation FROM nodes WHERE workspace = ? AND id = ? AND kind = 'folder' AND nlink > 0",
        (workspace, folder),
    )
    if row is None:
        raise NoSuchNode("there is no such folder")
    generation: int = row[0]
    return generation


def listing(
    tx: Transaction,
    workspace: WorkspaceId,
    folder: NodeId,
    after: bytes,
    limit: int = LISTING_PAGE_ENTRIES,
    generation: int | None = None,
) -> Page:
    """A page of a folder past the name ``after``; raises NoSuchNode, and ListingChanged for another generation."""
    current = generation_of(tx, workspace, folder)
    if generation is not None and generation != current:
        raise ListingChanged("the folder changed while it was being listed")
    rows = tx.all(
        f"SELECT {_COLUMNS}, e.name FROM entries e"
        f" JOIN nodes n ON n.workspace = e.workspace AND n.id = e.node{_FROM}"
        " WHERE e.workspace = ? AND e.parent = ? AND e.name > ? ORDER BY e.name LIMIT ?",
        (workspace, folder, after, limit + 1),
    )
    return Page(current, [Entry(row[17], _node(row)) for row in rows[:limit]], len(rows) > limit)


def manifest(tx: Transaction, workspace: WorkspaceId, identity: NodeId, number: VersionNumber) -> ManifestReply | None:
    """The content of a version."""
    row = tx.one(
        "SELECT size, manifest FROM versions WHERE workspace = ? AND node = ? AND number = ?",
        (workspace, identity, number),
    )
    return None if row is None else ManifestReply(head(tx, workspace), identity, number, row[0], row[1])


def version(tx: Transaction, workspace: WorkspaceId, identity: NodeId, number: VersionNumber) -> Version | None:
    """A version of a file."""
    row = tx.one(
        "SELECT manifest, committed_ns FROM versions WHERE workspace = ? AND node = ? AND number = ?",
        (workspace, identity, number),
    )
    return None if row is None else Version(*row)


def path_of(tx: Transaction, workspace: WorkspaceId, identity: NodeId) -> tuple[NodeId, list[bytes]]:
    """The folder of a node's first entry, and the names from the root to the node, which must be in the tree."""
    names: list[bytes] = []
    parent, at = ROOT_NODE, identity
    while at != ROOT_NODE:
        row = tx.one(
            "SELECT parent, name FROM entries WHERE workspace = ? AND node = ? ORDER BY parent, name LIMIT 1",
            (workspace, at),
        )
        assert row is not None, "a node with entries is reached from the root"
        at = NodeId(row[0])
        parent = parent if names else at
        names.append(row[1])
    return parent, names[::-1]


def is_below(tx: Transaction, workspace: WorkspaceId, folder: NodeId, ancestor: NodeId) -> bool:
    """Whether a folder is ``ancestor`` or below it."""
    while folder not in (ancestor, ROOT_NODE):
        row = tx.one("SELECT parent FROM entries WHERE workspace = ? AND node = ?", (workspace, folder))
        if row is None:
            return False
        folder = NodeId(row[0])
    return folder == ancestor


def usage(tx: Transaction, workspace: WorkspaceId, free_on_disk_bytes: int) -> UsageReply:
    """What the workspace holds and may still take: by its quota, and by what is free where blocks are stored."""
    row = tx.one("SELECT quota_bytes, used_bytes, node_count FROM workspaces WHERE id = ?", (workspace,))
    quota, used, count = (None, 0, 0) if row is None else row
    free = free_on_disk_bytes if quota is None else max(0, min(quota - used, free_on_disk_bytes))
    return UsageReply(total_bytes=used + free if quota is None else quota, free_bytes=free, nodes=count)


def space(tx: Transaction, workspace: WorkspaceId, free_on_disk_bytes: int) -> SpaceReply:
    """What the workspace holds. It adds up every row: for a person who looks, not for each statfs."""
    files, content = _sums(tx, "nodes", "size", workspace, "AND kind = 'file' AND nlink > 0")
    versions, lengths = _sums(tx, "versions", "size", workspace)
    _, plain = _sums(tx, "blocks", "plain_bytes", workspace)
    row = tx.one("SELECT quota_bytes, used_bytes FROM workspaces WHERE id = ?", (workspace,))
    quota, used = (None, 0) if row is None else row
    return SpaceReply(
        files=files,
        versions=versions,
        content_bytes=content,
        versions_bytes=lengths,
        blocks_bytes=plain,
        stored_bytes=used,
        free_bytes=free_on_disk_bytes if quota is None else max(0, min(quota - used, free_on_disk_bytes)),
        quota_bytes=quota,
    )


def _sums(tx: Transaction, table: str, column: str, workspace: WorkspaceId, condition: str = "") -> tuple[int, int]:
    row = tx.one(f"SELECT count(*), total({column}) FROM {table} WHERE workspace = ? {condition}", (workspace,))
    return (0, 0) if row is None else (row[0], int(row[1]))


def _node(row: Row) -> Node:
    kind = Kind(row[1])
    is_file = kind is Kind.FILE
    return Node(
        id=row[0],
        kind=kind,
        mode=row[2],
        uid=row[3],
        gid=row[4],
        nlink=row[5],
        mtime_ns=row[6],
        ctime_ns=row[7],
        atime_ns=row[8],
        size=row[9],
        data_bytes=row[10],
        rdev=row[11],
        version=row[12],
        state=State.PENDING if is_file and row[12] == 0 else State.UPLOADED,
        target=row[13] or b"",
        manifest=row[16],
        xattrs={} if row[14] is None else _decode_xattrs(row[14]),
        conflict_of=row[15],
    )
