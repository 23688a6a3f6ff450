"""Changes applied to what is cached here, while the server can't be asked. Pure.

Owns which rows are local: they are dropped when the changes are at the server, whose word goes. The rules are those of
the system calls (and of ``server/metadata``), on the rows that are known; where a rule turns on what isn't known
here, the change is refused as unreachable: that something can't be read never means that it is gone.

A commit gives a file the version number after its base; the server gives it the same, where nobody else was first.
What a change did can be undone until the next ``keep``: it was promised to nobody as long as it isn't durable.
"""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from backend.errors import Deferred, NotFound, Offline, Refused
from backend.tree import ABSENT, Absent, Tree
from protocol import manifest as manifests
from protocol.ids import NodeId, VersionNumber
from protocol.limits import NAME_MAX_BYTES, XATTR_NAME_MAX_BYTES, XATTRS_MAX_BYTES
from protocol.messages.changes import (
    AnyChange,
    Commit,
    Create,
    Link,
    RemoveXattr,
    Rename,
    RenameMode,
    Resolve,
    Rmdir,
    SetAttributes,
    SetXattr,
    Unlink,
    XattrMode,
)
from protocol.messages.nodes import Kind, Node, State


class Branch:
    """The local rows of one mount that works apart."""

    def __init__(self, tree: Tree) -> None:
        self._tree = tree
        self.nodes: set[NodeId] = set()
        """Those that a change touched."""
        self.names: set[tuple[NodeId, bytes]] = set()
        self._now: dict[NodeId, None] = {}
        self._unmade: set[NodeId] = set()
        """Files whose create could not be applied."""
        self._undo: list[_WasNode | _WasName] = []

    def apply(self, change: AnyChange) -> list[Node]:
        """Do it; returns the rows of the nodes that it changed. Raises Refused and Offline, with nothing changed."""
        self._now = {}
        match change:
            case Create():
                self._create(change)
            case Commit():
                self._commit(change)
            case SetAttributes():
                self._set_attributes(change)
            case SetXattr():
                self._set_xattr(change)
            case RemoveXattr():
                self._remove_xattr(change)
            case Link():
                self._link(change)
            case Unlink():
                self._unlink(change)
            case Rmdir():
                self._rmdir(change)
            case Rename():
                self._rename(change)
            case Resolve():
                raise Offline("a conflict is decided when the server can be reached")
        return [self._row(node) for node in self._now]

    def mark(self) -> int:
        """Where ``undo`` goes back to."""
        return len(self._undo)

    def undo(self, mark: int) -> None:
        """As if what was applied since had not been. No checkpoint."""
        while len(self._undo) > mark:
            match self._undo.pop():
                case _WasNode(node, None):
                    self._tree.drop([node], [])
                case _WasNode(_, row) if row is not None:
                    self._tree.keep_local(row)
                case _WasName(folder, name, meaning):
                    self._tree.keep_name(folder, name, meaning, self._tree.applied)

    def keep(self) -> None:
        """What was applied stays."""
        self._undo.clear()

    def clear(self) -> None:
        """The local rows are dropped: the server has the changes."""
        self.nodes.clear()
        self.names.clear()
        self._unmade.clear()
        self._undo.clear()

    # ── what is known ──

    def _row(self, node: NodeId) -> Node:
        row = self._tree.node(node)
        if row is None:
            raise Offline("the server can't be reached, and this is not cached here")
        return row

    def _check_folder(self, node: NodeId) -> None:
        row = self._tree.node(node)
        if row is not None and row.kind is not Kind.FOLDER:
            raise Refused.named("ENOTDIR", "not a folder")
        if row is not None and row.nlink == 0:
            raise NotFound("the folder has been removed")

    def _meaning(self, folder: NodeId, name: bytes) -> NodeId | None:
        self._check_folder(folder)
        known = self._tree.lookup(folder, name)
        if known is None:
            raise Offline("the server can't be reached, and whether this name is taken is not known here")
        return None if known is ABSENT else NodeId(known)

    def _named(self, folder: NodeId, name: bytes, expected: NodeId) -> Node:
        found = self._meaning(folder, name)
        if found is None:
            raise NotFound("there is no such name")
        if found != expected:
            raise Refused.named("ESTALE", "the name means another file by now")
        return self._row(found)

    def _must_be_empty(self, folder: NodeId) -> None:
        entries = self._tree.listing(folder)
        if entries is None:
            raise Offline("the server can't be reached, and whether the folder is empty is not known here")
        if entries:
            raise Refused.named("ENOTEMPTY", "the folder is not empty")

    # ── what is written ──

    def _set(self, row: Node, **changes: object) -> Node:
        changed = msgspec.structs.replace(row, **changes)
        self._undo.append(_WasNode(row.id, self._tree.node(row.id)))
        self._tree.keep_local(changed)
        self.nodes.add(row.id)
        self._now[row.id] = None
        return changed

    def _name(self, folder: NodeId, name: bytes, node: NodeId | None, time_ns: int, subfolders: int = 0) -> None:
        before = self._tree.lookup(folder, name)
        assert before is not None, "what a name means is known before it is changed"
        self._undo.append(_WasName(folder, name, before))
        self._tree.keep_name(folder, name, ABSENT if node is None else node, self._tree.applied)
        self.names.add((folder, name))
        if (parent := self._tree.node(folder)) is not None:
            self._set(parent, mtime_ns=time_ns, ctime_ns=time_ns, nlink=parent.nlink + subfolders)

    def _lose_name(self, row: Node, folder: NodeId, name: bytes, time_ns: int) -> None:
        is_folder = row.kind is Kind.FOLDER
        self._name(folder, name, None, time_ns, subfolders=-int(is_folder))
        self._set(row, ctime_ns=time_ns, nlink=0 if is_folder else row.nlink - 1)

    # ── the changes ──

    def _create(self, change: Create) -> None:
        _check_name(change.name)
        if (made := self._tree.node(change.node)) is not None and made.kind is change.kind:
            self._now[change.node] = None  # By this very create, of a mount that crashed before it knew.
            return
        self._unmade.add(change.node)
        if self._meaning(change.parent, change.name) is not None:
            raise Refused.named("EEXIST", "the name is taken")
        self._unmade.discard(change.node)
        is_folder = change.kind is Kind.FOLDER
        row = Node(
            id=change.node,
            kind=change.kind,
            mode=change.mode,
            uid=change.uid,
            gid=change.gid,
            nlink=2 if is_folder else 1,
            mtime_ns=change.time_ns,
            ctime_ns=change.time_ns,
            atime_ns=change.time_ns,
            size=len(change.target),
            rdev=change.rdev,
            target=change.target,
            state=State.PENDING if change.kind is Kind.FILE else State.UPLOADED,
        )
        self._name(change.parent, change.name, change.node, change.time_ns, subfolders=int(is_folder))
        self._set(row)
        if is_folder:
            self._tree.keep_listing(change.node, [], self._tree.applied)

    def _commit(self, change: Commit) -> None:
        row = self._tree.node(change.node)
        if change.node in self._unmade:
            raise Offline("the server can't be reached, and the file could not be made here")
        if row is None:
            # Its writer has it open and knows it; nobody else here can take the version for another device's.
            self.nodes.add(change.node)
            return
        if row.kind is not Kind.FILE:
            raise Refused.named("EINVAL", "only regular files have content")
        if change.base != row.version:
            raise Deferred("another device has changed this file: what was written is kept until the server is asked")
        manifest = manifests.decode(change.manifest)
        self._set(
            row,
            version=VersionNumber(change.base + 1),
            size=change.size,
            data_bytes=manifest.data_bytes,
            manifest=change.manifest,
            mtime_ns=change.mtime_ns,
            ctime_ns=change.ctime_after(row.ctime_ns),
            state=State.UPLOADED,
        )

    def _set_attributes(self, change: SetAttributes) -> None:
        named = {name: getattr(change, name) for name in ("mode", "uid", "gid", "mtime_ns", "atime_ns")}
        given = {name: value for name, value in named.items() if value is not None}
        row = self._row(change.node)
        self._now[row.id] = None
        if given:
            self._set(row, ctime_ns=change.time_ns, **given)

    def _set_xattr(self, change: SetXattr) -> None:
        row = self._row(change.node)
        if not 0 < len(change.name) <= XATTR_NAME_MAX_BYTES:
            raise Refused.named("ERANGE", f"an attribute's name has 1 to {XATTR_NAME_MAX_BYTES} bytes")
        if change.xattr_mode is XattrMode.CREATE and change.name in row.xattrs:
            raise Refused.named("EEXIST", "the attribute is there already")
        if change.xattr_mode is XattrMode.REPLACE and change.name not in row.xattrs:
            raise Refused.named("ENODATA", "there is no such attribute")
        xattrs = {**row.xattrs, change.name: change.value}
        if sum(len(name) + len(value) for name, value in xattrs.items()) > XATTRS_MAX_BYTES:
            raise Refused.named("ENOSPC", f"the attributes of one file are bounded to {XATTRS_MAX_BYTES} bytes")
        self._set(row, xattrs=xattrs, ctime_ns=change.time_ns)

    def _remove_xattr(self, change: RemoveXattr) -> None:
        row = self._row(change.node)
        if change.name not in row.xattrs:
            raise Refused.named("ENODATA", "there is no such attribute")
        xattrs = {name: value for name, value in row.xattrs.items() if name != change.name}
        self._set(row, xattrs=xattrs, ctime_ns=change.time_ns)

    def _link(self, change: Link) -> None:
        _check_name(change.name)
        if self._meaning(change.parent, change.name) is not None:
            raise Refused.named("EEXIST", "the name is taken")
        row = self._row(change.node)
        if row.kind is Kind.FOLDER:
            raise Refused.named("EPERM", "folders have one name")
        if row.nlink == 0:
            raise NotFound("the file has been removed")
        self._name(change.parent, change.name, change.node, change.time_ns)
        self._set(row, ctime_ns=change.time_ns, nlink=row.nlink + 1)

    def _unlink(self, change: Unlink) -> None:
        row = self._named(change.parent, change.name, change.node)
        if row.kind is Kind.FOLDER:
            raise Refused.named("EISDIR", "a folder is removed with rmdir")
        self._lose_name(row, change.parent, change.name, change.time_ns)

    def _rmdir(self, change: Rmdir) -> None:
        row = self._named(change.parent, change.name, change.node)
        if row.kind is not Kind.FOLDER:
            raise Refused.named("ENOTDIR", "not a folder")
        self._must_be_empty(row.id)
        self._lose_name(row, change.parent, change.name, change.time_ns)

    def _rename(self, change: Rename) -> None:
        _check_name(change.new_name)
        row = self._named(change.parent, change.name, change.node)
        self._check_folder(change.new_parent)
        self._check_no_loop(row, change.new_parent)
        there = self._meaning(change.new_parent, change.new_name)
        over = None if there is None else self._row(there)
        source, target = (change.parent, change.name), (change.new_parent, change.new_name)
        if change.rename_mode is RenameMode.EXCHANGE:
            if over is None:
                raise NotFound("there is nothing to exchange with")
            self._check_no_loop(over, change.parent)
            self._now[row.id] = None
            if over.id == row.id:
                return
            self._move(row, target, change.time_ns, leaves=over)
            self._move(over, source, change.time_ns, leaves=row)
            return
        if over is not None and change.rename_mode is RenameMode.NOREPLACE:
            raise Refused.named("EEXIST", "the new name is taken")
        if over is not None and over.id == row.id:
            self._now[row.id] = None
            return  # Two names of one file: rename(2) does nothing.
        if over is not None:
            self._check_replaces(row, over)
            self._lose_name(over, *target, change.time_ns)
        self._name(*source, None, change.time_ns, subfolders=-int(row.kind is Kind.FOLDER))
        self._move(row, target, change.time_ns, leaves=None)

    def _move(self, row: Node, to: tuple[NodeId, bytes], time_ns: int, *, leaves: Node | None) -> None:
        """Let a name mean this node, in the place of ``leaves``."""
        subfolders = int(row.kind is Kind.FOLDER) - int(leaves is not None and leaves.kind is Kind.FOLDER)
        self._name(*to, row.id, time_ns, subfolders=subfolders)
        self._set(self._row(row.id), ctime_ns=time_ns)

    def _check_no_loop(self, row: Node, into: NodeId) -> None:
        if row.kind is Kind.FOLDER and self._tree.is_below(into, row.id):
            raise Refused.named("EINVAL", "a folder can't be moved into itself")

    def _check_replaces(self, row: Node, over: Node) -> None:
        if over.kind is Kind.FOLDER:
            if row.kind is not Kind.FOLDER:
                raise Refused.named("EISDIR", "the new name is a folder")
            self._must_be_empty(over.id)
        elif row.kind is Kind.FOLDER:
            raise Refused.named("ENOTDIR", "the new name is not a folder")


class _WasNode(NamedTuple):
    """A node's row before a change; None where it was not known."""

    node: NodeId
    row: Node | None


class _WasName(NamedTuple):
    """What a name meant before a change."""

    folder: NodeId
    name: bytes
    meaning: NodeId | Absent


def _check_name(name: bytes) -> None:
    if len(name) > NAME_MAX_BYTES:
        raise Refused.named("ENAMETOOLONG", f"a name has at most {NAME_MAX_BYTES} bytes")
    if not name or name in (b".", b"..") or b"/" in name or b"\0" in name:
        raise Refused.named("EINVAL", "not a name")
