"""One change under way: what it outdates, and the primitives that keep entries, links and counts right.

Owns the invariants of the tree, which ``invariants`` verifies:

- a node has as many entries as its nlink says; a folder has one (the root none), and nlink 2 and one a subfolder;
- a node without entries has nlink 0 and keeps where its last one was, and which change took it;
- no folder is below itself; every entry's parent is a folder in the tree;
- whatever a change wrote is in its notice, parents included.

It decides nothing: rules are in the modules that use it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, NamedTuple

from protocol.ids import NO_VERSION, NodeId, OriginId, Seq, VersionNumber, WorkspaceId
from protocol.limits import NAME_MAX_BYTES
from protocol.messages.batches import Conflict
from protocol.messages.nodes import Kind, Node, State
from protocol.messages.notices import Notice, Touched, TouchedEntry
from server.metadata import tree
from server.metadata.accounts import Caller
from server.metadata.store import Transaction
from server.metadata.texts import Texts


class Rule(Exception):
    """A rule of file systems refuses the change. ``errno`` is its name."""

    def __init__(self, errno: str, reason: str) -> None:
        super().__init__(reason)
        self.errno = errno


class Outcome(NamedTuple):
    """What became of a change, where its mount could not know (see ``protocol.messages.batches.Applied``)."""

    conflict: Conflict | None = None
    merged: NodeId | None = None
    version: VersionNumber = NO_VERSION
    folder: NodeId | None = None


AS_ASKED: Final = Outcome()


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
    texts: Texts
    """How the workspace has names and what else people write."""
    nodes: dict[NodeId, bool] = field(default_factory=dict)
    """Touched nodes, and whether their content changed."""
    entries: dict[tuple[NodeId, bytes], None] = field(default_factory=dict)
    """Touched names, in order."""
    more_nodes: int = 0
    """Nodes that got their first entry, less those that lost their last."""
    state: State | None = None
    """Of the file that was created or committed."""

    def touch(self, node: NodeId, *, content: bool = False) -> None:
        """This node's row is outdated."""
        self.nodes[node] = self.nodes.get(node, False) or content

    def notice(self, what: str, origin: OriginId) -> Notice:
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
        """A node that exists, linked or not; raises Rule."""
        row = tree.node(self.tx, self.workspace, node)
        if row is None:
            raise Rule("ENOENT", "there is no such file or folder")
        return row

    def check_folder(self, node: NodeId) -> None:
        """Raises Rule where this is not a folder that is in the tree."""
        row = self.tx.one("SELECT kind, nlink FROM nodes WHERE workspace = ? AND id = ?", (self.workspace, node))
        if row is None:
            raise Rule("ENOENT", "there is no such folder")
        if row[0] != Kind.FOLDER:
            raise Rule("ENOTDIR", "not a folder")
        if row[1] == 0:
            raise Rule("ENOENT", "the folder has been removed")

    def entry(self, parent: NodeId, name: bytes) -> NodeId | None:
        """What a name means."""
        row = self.tx.one(
            "SELECT node FROM entries WHERE workspace = ? AND parent = ? AND name = ?", (self.workspace, parent, name)
        )
        return None if row is None else NodeId(row[0])

    def named(self, parent: NodeId, name: bytes, expected: NodeId) -> Node:
        """The node of an entry, which must be the expected one; raises Rule."""
        self.check_folder(parent)
        found = self.entry(parent, name)
        if found is None:
            raise Rule("ENOENT", "there is no such name")
        if found != expected:
            raise Rule("ESTALE", "the name means another file by now")
        return self.node(found)

    def is_empty(self, folder: NodeId) -> bool:
        """Whether a folder has no entries."""
        sql = "SELECT 1 FROM entries WHERE workspace = ? AND parent = ? LIMIT 1"
        return self.tx.one(sql, (self.workspace, folder)) is None

    def is_below(self, folder: NodeId, ancestor: NodeId) -> bool:
        """Whether a folder is ``ancestor`` or below it."""
        return tree.is_below(self.tx, self.workspace, folder, ancestor)

    def check_name(self, name: bytes) -> None:
        """Raises Rule for what can't be an entry's name."""
        length = self.texts.name_bytes(name)
        if length is None:
            raise Rule("EINVAL", "not a name in this workspace")
        if length > NAME_MAX_BYTES:
            raise Rule("ENAMETOOLONG", f"a name has at most {NAME_MAX_BYTES} bytes")

    # ── primitives ──

    def set(self, node: NodeId, **columns: object) -> None:
        """Update columns of a node, and say that it is outdated."""
        names = ", ".join(f"{name} = ?" for name in columns)
        self.tx.execute(
            f"UPDATE nodes SET {names} WHERE workspace = ? AND id = ?", (*columns.values(), self.workspace, node)
        )
        self.touch(node)

    def add_entry(self, parent: NodeId, name: bytes, node: Node, time_ns: int) -> None:
        """Give a node a name in a folder where that name is free. ``node`` is its row as it is before."""
        self.tx.execute(
            "INSERT INTO entries (workspace, parent, name, node) VALUES (?, ?, ?, ?)",
            (self.workspace, parent, name, node.id),
        )
        is_folder = node.kind is Kind.FOLDER
        self.more_nodes += is_folder or node.nlink == 0
        self._names_changed(parent, name, time_ns, subfolders=int(is_folder))
        self.set(node.id, ctime_ns=time_ns, nlink=node.nlink if is_folder else node.nlink + 1)

    def remove_entry(self, parent: NodeId, name: bytes, node: Node, time_ns: int) -> None:
        """Take a name away. A folder must be empty; a node without names keeps where its last one was."""
        self.tx.execute(
            "DELETE FROM entries WHERE workspace = ? AND parent = ? AND name = ?", (self.workspace, parent, name)
        )
        is_folder = node.kind is Kind.FOLDER
        nlink = 0 if is_folder else node.nlink - 1
        self.more_nodes -= nlink == 0
        self._names_changed(parent, name, time_ns, subfolders=-int(is_folder))
        self.set(node.id, ctime_ns=time_ns, nlink=nlink, last_parent=parent, last_name=name, removed_seq=self.seq)

    def move_entry(self, node: Node, source: tuple[NodeId, bytes], target: tuple[NodeId, bytes], time_ns: int) -> None:
        """Rename to a free name."""
        self.tx.execute(
            "UPDATE entries SET parent = ?, name = ? WHERE workspace = ? AND parent = ? AND name = ?",
            (*target, self.workspace, *source),
        )
        subfolders = int(node.kind is Kind.FOLDER)
        self._names_changed(*source, time_ns, subfolders=-subfolders)
        self._names_changed(*target, time_ns, subfolders=subfolders)
        self.set(node.id, ctime_ns=time_ns)

    def swap_entries(self, one: tuple[NodeId, bytes, Node], other: tuple[NodeId, bytes, Node], time_ns: int) -> None:
        """Let each of two names mean what the other meant."""
        for (parent, name, before), (_, _, after) in ((one, other), (other, one)):
            self.tx.execute(
                "UPDATE entries SET node = ? WHERE workspace = ? AND parent = ? AND name = ?",
                (after.id, self.workspace, parent, name),
            )
            subfolders = (after.kind is Kind.FOLDER) - (before.kind is Kind.FOLDER)
            self._names_changed(parent, name, time_ns, subfolders=subfolders)
            self.set(before.id, ctime_ns=time_ns)

    def _names_changed(self, parent: NodeId, name: bytes, time_ns: int, *, subfolders: int) -> None:
        self.entries[parent, name] = None
        self.tx.execute(
            "UPDATE nodes SET generation = ?, mtime_ns = ?, ctime_ns = ?, nlink = nlink + ?"
            " WHERE workspace = ? AND id = ?",
            (self.seq, time_ns, time_ns, subfolders, self.workspace, parent),
        )
        self.touch(parent)
