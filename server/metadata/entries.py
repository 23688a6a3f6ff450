"""Changes of names: create, link, unlink, rmdir, by the rules of the system calls of these names."""

from __future__ import annotations

from typing import Final

from protocol.ids import NodeId
from protocol.limits import SYMLINK_MAX_BYTES
from protocol.messages.batches import Conflict
from protocol.messages.changes import Create, Link, OnClash, Rmdir, Unlink
from protocol.messages.nodes import Kind, State
from server.metadata import audit
from server.metadata.conflicts import free_name
from server.metadata.editing import AS_ASKED, Edit, Outcome, Rule
from server.metadata.returning import folder_in_tree

LINK_MAX: Final = 65_000
"""As ext4; EMLINK beyond."""

_NODE_ID_MAX: Final = 1 << 62


def create(edit: Edit, change: Create) -> Outcome:
    """Make a node and its first entry; raises Rule."""
    edit.check_name(change.name)
    _check_attributes(change)
    target_bytes = _target_bytes(edit, change)
    if _was_made(edit, change):
        return _where_it_is(edit, change)
    parent, name, taken = _place_for(edit, change)
    if taken is not None and change.on_clash is OnClash.MERGE and edit.node(taken).kind is Kind.FOLDER:
        return Outcome(merged=taken)
    if taken is not None:
        name = free_name(edit, parent, name)
    edit.tx.execute(
        "INSERT INTO nodes (workspace, id, kind, mode, uid, gid, rdev, nlink, mtime_ns, ctime_ns, atime_ns, birth_ns,"
        " target, version, size, data_bytes, pieces, conflict_of)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0, ?, 0, 0, ?)",
        (
            edit.workspace,
            change.node,
            change.kind.value,
            change.mode,
            change.uid,
            change.gid,
            change.rdev,
            2 if change.kind is Kind.FOLDER else 0,
            change.time_ns,
            change.time_ns,
            change.time_ns,
            change.time_ns,
            change.target if change.kind is Kind.SYMLINK else None,
            target_bytes,
            taken,
        ),
    )
    edit.add_entry(parent, name, edit.node(change.node), change.time_ns)
    edit.state = State.PENDING if change.kind is Kind.FILE else None
    return _kept_as(change, parent, name)


def _place_for(edit: Edit, change: Create | Link) -> tuple[NodeId, bytes, NodeId | None]:
    """Folder and name for a new entry, and what is there; raises Rule where that is refused."""
    if change.on_clash is OnClash.REFUSE:
        edit.check_folder(change.parent)
        parent = change.parent
    else:
        parent = folder_in_tree(edit, change.parent, change.time_ns)
    taken = edit.entry(parent, change.name)
    if taken is not None and change.on_clash is OnClash.REFUSE:
        raise Rule("EEXIST", "the name is taken")
    return parent, change.name, taken


def _kept_as(change: Create | Link, parent: NodeId, name: bytes) -> Outcome:
    """Where a new entry is, if that is not where it was asked for."""
    if (parent, name) == (change.parent, change.name):
        return AS_ASKED
    return Outcome(Conflict(change.node, parent, name), folder=parent if parent != change.parent else None)


def _check_attributes(change: Create) -> None:
    if not 1 < change.node < _NODE_ID_MAX:
        raise Rule("EINVAL", "not a node id")
    if not 0 <= change.mode <= 0o7777:
        raise Rule("EINVAL", "not a mode")
    if change.on_clash is OnClash.MERGE and change.kind is not Kind.FOLDER:
        raise Rule("EINVAL", "only folders are merged")
    if change.target and change.kind is not Kind.SYMLINK:
        raise Rule("EINVAL", "only symlinks have a target")


def _target_bytes(edit: Edit, change: Create) -> int:
    """The length of a symlink's target, 0 of what has none; raises Rule."""
    length = edit.texts.target_bytes(change.target) if change.target else 0
    if length is None:
        raise Rule("EINVAL", "not a target in this workspace")
    if length > SYMLINK_MAX_BYTES:
        raise Rule("ENAMETOOLONG", f"a symlink's target has at most {SYMLINK_MAX_BYTES} bytes")
    return length


def _where_it_is(edit: Edit, change: Create) -> Outcome:
    """Of what was made before: its place, where that is not the one that is asked for."""
    if edit.entry(change.parent, change.name) == change.node:
        return AS_ASKED
    place = edit.tx.one(
        "SELECT parent, name FROM entries WHERE workspace = ? AND node = ? ORDER BY parent, name LIMIT 1",
        (edit.workspace, change.node),
    )
    return AS_ASKED if place is None else Outcome(Conflict(change.node, NodeId(place[0]), place[1]))


def _was_made(edit: Edit, change: Create) -> bool:
    """Whether this very create was applied before, sent again by a mount that crashed before its answer.

    The node may have been renamed, committed or removed since: then that stays. Raises Rule for a clash of ids.
    """
    row = edit.tx.one("SELECT kind, birth_ns FROM nodes WHERE workspace = ? AND id = ?", (edit.workspace, change.node))
    if row is None:
        return False
    kind, birth_ns = row
    is_same = birth_ns == change.time_ns or edit.entry(change.parent, change.name) == change.node
    if kind != change.kind or not is_same:
        raise Rule("EEXIST", "the node id is taken")
    return True


def link(edit: Edit, change: Link) -> Outcome:
    """A second entry of a node; raises Rule."""
    edit.check_name(change.name)
    if change.on_clash is OnClash.MERGE:
        raise Rule("EINVAL", "only folders are merged")
    parent, name, taken = _place_for(edit, change)
    node = edit.node(change.node)
    if node.kind is Kind.FOLDER:
        raise Rule("EPERM", "folders have one name")
    if node.nlink == 0 and change.on_clash is OnClash.REFUSE:
        raise Rule("ENOENT", "the file has been removed")
    if node.nlink >= LINK_MAX:
        raise Rule("EMLINK", f"a file has at most {LINK_MAX} names")
    if taken is not None:
        name = free_name(edit, parent, name)
    edit.add_entry(parent, name, node, change.time_ns)
    return _kept_as(change, parent, name)


def unlink(edit: Edit, change: Unlink) -> None:
    """Remove an entry that is not a folder's; raises Rule."""
    node = edit.named(change.parent, change.name, change.node)
    if node.kind is Kind.FOLDER:
        raise Rule("EISDIR", "a folder is removed with rmdir")
    if change.version is not None and change.version != node.version:
        raise Rule("ESTALE", "the file has another content by now")
    if change.others > 0 and node.nlink == 1:
        raise Rule("ESTALE", "the file's other names have been removed meanwhile")
    audit.note_deleted(edit, change.parent, change.name, node)
    edit.remove_entry(change.parent, change.name, node, change.time_ns)


def rmdir(edit: Edit, change: Rmdir) -> None:
    """Remove an empty folder; raises Rule."""
    node = edit.named(change.parent, change.name, change.node)
    if node.kind is not Kind.FOLDER:
        raise Rule("ENOTDIR", "not a folder")
    if not edit.is_empty(node.id):
        raise Rule("ENOTEMPTY", "the folder is not empty")
    audit.note_deleted(edit, change.parent, change.name, node)
    edit.remove_entry(change.parent, change.name, node, change.time_ns)
