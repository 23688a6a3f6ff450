"""The rows that changes are made of: what one change touches, and the primitives that keep entries and links right.

Owns the invariants of the tree (``check_tree`` verifies them in tests):

- each node but the root has as many entries as its nlink says (folders: one entry, nlink 2 and one a subfolder);
- a node without entries has nlink 0 and keeps its last place; folders are never without an entry but when removed;
- no folder is below itself.
"""

from __future__ import annotations

import posixpath
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

from protocol.ids import ROOT_NODE, JournalId, NodeId, Seq, VersionNumber, WorkspaceId
from protocol.limits import NAME_MAX_BYTES
from protocol.messages import Kind, Node, Notice, State, Touched, TouchedEntry
from server.metadata import tree
from server.metadata.accounts import Caller
from server.metadata.store import Transaction

LINK_MAX: Final = 65_000
"""As ext4; EMLINK beyond."""


class Rule(Exception):
    """A rule of file systems refuses the change. ``errno`` is its name."""

    def __init__(self, errno: str, reason: str) -> None:
        super().__init__(reason)
        self.errno = errno


@dataclass(slots=True)
class Edit:
    """One change under way: where it happens, and what it has outdated so far."""

    tx: Transaction
    workspace: WorkspaceId
    caller: Caller
    seq: Seq
    """The number that the change will have."""
    now_ns: int
    """The server's clock."""
    nodes: dict[NodeId, bool] = field(default_factory=dict)
    """Touched nodes, and whether their content changed."""
    entries: dict[tuple[NodeId, bytes], None] = field(default_factory=dict)
    state: State | None = None

    def touch(self, node: NodeId, *, content: bool = False) -> None:
        """This node's row is outdated."""
        self.nodes[node] = self.nodes.get(node, False) or content

    def notice(self, what: str, origin: JournalId) -> Notice:
        """What everybody is told of the change."""
        return Notice(
            seq=self.seq,
            what=what,
            origin=origin,
            nodes=[Touched(node, content) for node, content in self.nodes.items()],
            entries=[TouchedEntry(parent, name) for parent, name in self.entries],
            state=self.state,
        )

    # ── questions ──

    def node(self, node: NodeId) -> Node:
        """A node that exists, linked or not."""
        row = tree.node(self.tx, self.workspace, node)
        if row is None:
            raise Rule("ENOENT", "there is no such file or folder")
        return row

    def folder(self, node: NodeId) -> Node:
        """A folder that is in the tree."""
        row = self.node(node)
        if row.kind is not Kind.FOLDER:
            raise Rule("ENOTDIR", "not a folder")
        if row.nlink == 0:
            raise Rule("ENOENT", "the folder has been removed")
        return row

    def entry(self, parent: NodeId, name: bytes) -> NodeId | None:
        """What a name means."""
        row = self.tx.one(
            "SELECT node FROM entries WHERE workspace = ? AND parent = ? AND name = ?", (self.workspace, parent, name)
        )
        return None if row is None else NodeId(row[0])

    def named(self, parent: NodeId, name: bytes, expected: NodeId) -> Node:
        """The node of an entry that must be the expected one."""
        self.folder(parent)
        found = self.entry(parent, name)
        if found is None:
            raise Rule("ENOENT", "there is no such name")
        if found != expected:
            raise Rule("ESTALE", "the name means another file by now")
        return self.node(found)

    def is_empty(self, folder: NodeId) -> bool:
        """Whether a folder has no entries."""
        return (
            self.tx.one("SELECT 1 FROM entries WHERE workspace = ? AND parent = ? LIMIT 1", (self.workspace, folder))
            is None
        )

    def is_below(self, folder: NodeId, ancestor: NodeId) -> bool:
        """Whether a folder is ``ancestor`` or below it."""
        while folder != ROOT_NODE:
            if folder == ancestor:
                return True
            row = self.tx.one("SELECT parent FROM entries WHERE workspace = ? AND node = ?", (self.workspace, folder))
            if row is None:
                return False
            folder = NodeId(row[0])
        return ancestor == ROOT_NODE

    # ── primitives ──

    def set(self, node: NodeId, **columns: object) -> None:
        """Update columns of a node, and say that it is outdated."""
        names = ", ".join(f"{name} = ?" for name in columns)
        self.tx.execute(
            f"UPDATE nodes SET {names} WHERE workspace = ? AND id = ?", (*columns.values(), self.workspace, node)
        )
        self.touch(node)

    def add_entry(self, parent: NodeId, name: bytes, node: Node, time_ns: int) -> None:
        """Give a node a name in a folder where that name is free."""
        valid_name(name)
        self.tx.execute("INSERT INTO entries VALUES (?, ?, ?, ?)", (self.workspace, parent, name, node.id))
        self._entries_changed(parent, name, time_ns, +1 if node.kind is Kind.FOLDER else 0)
        if node.kind is not Kind.FOLDER:
            self._count_links(node.id, +1)
        self.set(node.id, ctime_ns=time_ns)

    def remove_entry(self, parent: NodeId, name: bytes, node: Node, time_ns: int) -> None:
        """Take a name away; a node without names keeps where its last one was."""
        self.tx.execute(
            "DELETE FROM entries WHERE workspace = ? AND parent = ? AND name = ?", (self.workspace, parent, name)
        )
        self._entries_changed(parent, name, time_ns, -1 if node.kind is Kind.FOLDER else 0)
        if node.kind is not Kind.FOLDER:
            self._count_links(node.id, -1)
        self.set(node.id, ctime_ns=time_ns, last_parent=parent, last_name=name)

    def move_entry(self, node: Node, source: tuple[NodeId, bytes], target: tuple[NodeId, bytes], time_ns: int) -> None:
        """Rename to a free name."""
        valid_name(target[1])
        self.tx.execute(
            "UPDATE entries SET parent = ?, name = ? WHERE workspace = ? AND parent = ? AND name = ?",
            (*target, self.workspace, *source),
        )
        folder = node.kind is Kind.FOLDER
        self._entries_changed(*source, time_ns, -1 if folder else 0)
        self._entries_changed(*target, time_ns, +1 if folder else 0)
        self.set(node.id, ctime_ns=time_ns)

    def _entries_changed(self, parent: NodeId, name: bytes, time_ns: int, links: int) -> None:
        self.entries[parent, name] = None
        self.tx.execute(
            "UPDATE nodes SET generation = ?, mtime_ns = ?, ctime_ns = ?, nlink = nlink + ?"
            " WHERE workspace = ? AND id = ?",
            (self.seq, time_ns, time_ns, links, self.workspace, parent),
        )
        self.touch(parent)

    def _count_links(self, node: NodeId, links: int) -> None:
        self.tx.execute(
            "UPDATE nodes SET nlink = nlink + ? WHERE workspace = ? AND id = ?", (links, self.workspace, node)
        )

    # ── conflict copies ──

    def conflict_name(self, parent: NodeId, name: bytes) -> bytes:
        """A free name for bytes that came second: ``NAME (conflict from DEVICE YYYY-MM-DD HH.MM.SS).EXT``."""
        when = datetime.fromtimestamp(self.now_ns / 1e9, UTC).strftime("%Y-%m-%d %H.%M.%S")
        device = self.caller.device_name.replace("/", "-").encode()
        stem, extension = _split(name)
        for count in range(1, 10_000):
            again = b"" if count == 1 else b" %d" % count
            mark = b" (conflict from " + device + b" " + when.encode() + again + b")"
            extension = extension[: NAME_MAX_BYTES - len(mark) - 1]
            candidate = stem[: NAME_MAX_BYTES - len(mark) - len(extension)] + mark + extension
            if self.entry(parent, candidate) is None:
                return candidate
        raise Rule("EEXIST", "too many conflict copies of one second")

    def add_copy(self, of: Node, node: NodeId, version: VersionNumber) -> None:
        """A new node with the attributes and a version of another, marked as its conflict; it has no entry yet."""
        self.tx.execute(
            "INSERT INTO nodes (workspace, id, kind, mode, uid, gid, rdev, nlink, mtime_ns, ctime_ns, atime_ns,"
            " target, xattrs, version, size, data_bytes, pieces, conflict_of)"
            " SELECT workspace, ?, kind, mode, uid, gid, rdev, 0, mtime_ns, ctime_ns, atime_ns,"
            " target, xattrs, ?, size, data_bytes, pieces, id FROM nodes WHERE workspace = ? AND id = ?",
            (node, version, self.workspace, of.id),
        )

    def place_of(self, node: NodeId) -> tuple[NodeId, bytes]:
        """Parent and name of a node's first entry, else of its last one; in the root where that folder is gone."""
        row = self.tx.one(
            "SELECT parent, name FROM entries WHERE workspace = ? AND node = ? ORDER BY parent, name LIMIT 1",
            (self.workspace, node),
        ) or self.tx.one(
            "SELECT last_parent, last_name FROM nodes WHERE workspace = ? AND id = ?", (self.workspace, node)
        )
        if row is None or row[1] is None:
            return ROOT_NODE, b"recovered file"
        parent = tree.node(self.tx, self.workspace, NodeId(row[0]))
        if parent is None or parent.nlink == 0 or parent.kind is not Kind.FOLDER:
            return ROOT_NODE, row[1]
        return parent.id, row[1]


def valid_name(name: bytes) -> None:
    """Raises Rule for what can't be an entry's name."""
    if len(name) > NAME_MAX_BYTES:
        raise Rule("ENAMETOOLONG", f"a name has at most {NAME_MAX_BYTES} bytes")
    if not name or name in (b".", b"..") or b"/" in name or b"\0" in name:
        raise Rule("EINVAL", "not a name")


def _split(name: bytes) -> tuple[bytes, bytes]:
    stem, extension = posixpath.splitext(name)
    return stem, extension


def check_tree(tx: Transaction, workspace: WorkspaceId) -> None:
    """Assert the invariants; for tests."""
    entries = tx.all("SELECT parent, name, node FROM entries WHERE workspace = ?", (workspace,))
    nodes = {row[0]: row for row in tx.all("SELECT id, kind, nlink FROM nodes WHERE workspace = ?", (workspace,))}
    parents: dict[int, list[int]] = {}
    for parent, _, node in entries:
        assert nodes[parent][1] == "folder"
        assert nodes[parent][2] > 0
        parents.setdefault(node, []).append(parent)
    for node, kind, nlink in nodes.values():
        names = parents.get(node, [])
        if kind != "folder":
            assert nlink == len(names), (node, nlink, names)
            continue
        subfolders = sum(nodes[child][1] == "folder" for parent, _, child in entries if parent == node)
        assert len(names) == (0 if node == ROOT_NODE or nlink == 0 else 1)
        assert nlink in ((0,) if node != ROOT_NODE and not names else (2 + subfolders,))
        seen = {node}
        while names:
            assert names[0] not in seen, "a folder below itself"
            seen.add(names[0])
            names = parents.get(names[0], [])
