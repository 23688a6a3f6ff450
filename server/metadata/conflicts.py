"""Bytes that came second: where they are kept, and under which name.

Nothing is lost where two devices change one file: the first change wins, the second one's bytes become a conflict copy
beside it, named for its device and time.
"""

from __future__ import annotations

from collections.abc import Callable
from hashlib import blake2b
from typing import Final

from protocol.ids import NodeId, WorkspaceId
from protocol.marks import conflict_mark, marked, numbered_mark, restored_mark
from protocol.messages.batches import Conflict
from protocol.messages.changes import Replaced
from protocol.messages.nodes import Kind, Node
from server.metadata import tree
from server.metadata.editing import Edit, Rule
from server.metadata.store import Transaction

_COUNTER_MAX: Final = 10_000


def free_name(edit: Edit, parent: NodeId, name: bytes, device_name: str | None = None) -> bytes:
    """A conflict name that no entry of the folder has; raises Rule after 10,000.

    It names the device that sends the change, where the content is not another's.
    """
    device = device_name or edit.caller.device_name
    return _free(edit, parent, name, lambda count: conflict_mark(device, edit.now_ns, count))


def free_numbered_name(tx: Transaction, workspace: WorkspaceId, parent: NodeId, name: bytes) -> bytes:
    """``name``, or ``NAME (2).EXT`` and so on where that is taken; raises Rule after 10,000, and NoSuchNode."""
    for count in range(1, _COUNTER_MAX):
        candidate = name if count == 1 else marked(name, numbered_mark(count))
        if tree.lookup(tx, workspace, parent, candidate) is None:
            return candidate
    raise Rule("EEXIST", "all names for it are taken")


def free_restored_name(edit: Edit, parent: NodeId, name: bytes) -> bytes:
    """``NAME (restored YYYY-MM-DD HH.MM.SS).EXT``, for what comes back where its name is taken; raises Rule."""
    return _free(edit, parent, name, lambda count: restored_mark(edit.now_ns, count))


def _free(edit: Edit, parent: NodeId, name: bytes, nth_mark: Callable[[int], bytes]) -> bytes:
    for count in range(1, _COUNTER_MAX):
        candidate = edit.texts.marked(name, nth_mark(count))
        if edit.entry(parent, candidate) is None:
            return candidate
    raise Rule("EEXIST", "too many copies of one name within one second")


def copy_beside(edit: Edit, of: Node, parent: NodeId, name: bytes, time_ns: int) -> Conflict:
    """A new file beside a place of another, with its attributes and no content yet."""
    name = free_name(edit, parent, name)
    copy = _copy_id(edit)
    edit.tx.execute(
        "INSERT INTO nodes (workspace, id, kind, mode, uid, gid, rdev, nlink, mtime_ns, ctime_ns, atime_ns, birth_ns,"
        " xattrs, version, size, data_bytes, pieces, conflict_of)"
        " SELECT workspace, ?, kind, mode, uid, gid, rdev, 0, mtime_ns, ctime_ns, atime_ns, ?, xattrs, 0, 0, 0, 0, id"
        " FROM nodes WHERE workspace = ? AND id = ?",
        (copy, time_ns, edit.workspace, of.id),
    )
    edit.add_entry(parent, name, edit.node(copy), time_ns)
    return Conflict(copy, parent, name)


def move_aside(edit: Edit, row: Node, by: Node, parent: NodeId, name: bytes, time_ns: int) -> Conflict:
    """``by`` is about to take a name whose content its mount had not seen: that gets a name of its own."""
    aside = free_name(edit, parent, name, _author(edit, row))
    edit.move_entry(row, (parent, name), (parent, aside), time_ns)
    edit.set(row.id, conflict_of=by.id)
    return Conflict(row.id, parent, aside)


def inherit(edit: Edit, heir: Node, replaced: Node) -> None:
    """A node takes another's name, so the other's conflict copies are beside it now; it is none of them any more."""
    copies = edit.tx.all("SELECT id FROM nodes WHERE workspace = ? AND conflict_of = ?", (edit.workspace, replaced.id))
    for (copy,) in copies:
        edit.set(copy, conflict_of=None if copy == heir.id else heir.id)


def _author(edit: Edit, row: Node) -> str | None:
    """The name of the device that made a node's content; None where that is not known."""
    found = edit.tx.one(
        "SELECT d.name FROM versions v JOIN devices d ON d.id = v.device"
        " WHERE v.workspace = ? AND v.node = ? AND v.number = ?",
        (edit.workspace, row.id, row.version),
    )
    return None if found is None else found[0]


def is_unseen(found: Node, seen: Replaced | None) -> bool:
    """Whether there is something under a name that its mount didn't see there, and that would be lost.

    A file that nothing has been uploaded to yet comes back by itself with its first commit.
    """
    if found.kind is Kind.FILE and found.version == 0:
        return False
    if seen is None or (seen.node, seen.version) != (found.id, found.version):
        return True
    return seen.others > 0 and found.nlink == 1


def _copy_id(edit: Edit) -> NodeId:
    """An id that follows from the change, so that the same changes make the same tree; spread like the mounts' own."""
    for attempt in range(_COUNTER_MAX):
        digest = blake2b(f"{edit.workspace} {edit.seq} {attempt}".encode(), digest_size=8).digest()
        copy = NodeId((int.from_bytes(digest, "big") >> 2) | 1 << 32)
        if tree.node(edit.tx, edit.workspace, copy) is None:
            return copy
    raise Rule("EIO", "no free node id was found")
