"""Changes of names: create, link, unlink, rmdir, by the rules of the system calls of these names."""

from __future__ import annotations

from typing import Final

from protocol.limits import SYMLINK_MAX_BYTES
from protocol.messages import Conflict, Create, Kind, Link, OnClash, Rmdir, State, Unlink
from server.metadata.conflicts import free_name
from server.metadata.editing import Edit, Rule, check_name

LINK_MAX: Final = 65_000
"""As ext4; EMLINK beyond."""

_NODE_ID_MAX: Final = 1 << 62


def create(edit: Edit, change: Create) -> Conflict | None:
    """Make a node and its first entry; raises Rule."""
    check_name(change.name)
    _check_attributes(change)
    if _was_made(edit, change):
        return None
    edit.check_folder(change.parent)
    name, conflict = change.name, None
    taken = edit.entry(change.parent, name)
    if taken is not None:
        if change.on_clash is OnClash.REFUSE:
            raise Rule("EEXIST", "the name is taken")
        name = free_name(edit, change.parent, name)
        conflict = Conflict(change.node, change.parent, name)
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
            len(change.target),
            taken,
        ),
    )
    edit.add_entry(change.parent, name, edit.node(change.node), change.time_ns)
    edit.state = State.PENDING if change.kind is Kind.FILE else None
    return conflict


def _check_attributes(change: Create) -> None:
    if not 1 < change.node < _NODE_ID_MAX:
        raise Rule("EINVAL", "not a node id")
    if not 0 <= change.mode <= 0o7777:
        raise Rule("EINVAL", "not a mode")
    if change.target and change.kind is not Kind.SYMLINK:
        raise Rule("EINVAL", "only symlinks have a target")
    if len(change.target) > SYMLINK_MAX_BYTES:
        raise Rule("ENAMETOOLONG", f"a symlink's target has at most {SYMLINK_MAX_BYTES} bytes")


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


def link(edit: Edit, change: Link) -> None:
    """A second entry of a node; raises Rule."""
    check_name(change.name)
    edit.check_folder(change.parent)
    node = edit.node(change.node)
    if node.kind is Kind.FOLDER:
        raise Rule("EPERM", "folders have one name")
    if node.nlink == 0:
        raise Rule("ENOENT", "the file has been removed")
    if node.nlink >= LINK_MAX:
        raise Rule("EMLINK", f"a file has at most {LINK_MAX} names")
    if edit.entry(change.parent, change.name) is not None:
        raise Rule("EEXIST", "the name is taken")
    edit.add_entry(change.parent, change.name, node, change.time_ns)


def unlink(edit: Edit, change: Unlink) -> None:
    """Remove an entry that is not a folder's; raises Rule."""
    node = edit.named(change.parent, change.name, change.node)
    if node.kind is Kind.FOLDER:
        raise Rule("EISDIR", "a folder is removed with rmdir")
    edit.remove_entry(change.parent, change.name, node, change.time_ns)


def rmdir(edit: Edit, change: Rmdir) -> None:
    """Remove an empty folder; raises Rule."""
    node = edit.named(change.parent, change.name, change.node)
    if node.kind is not Kind.FOLDER:
        raise Rule("ENOTDIR", "not a folder")
    if not edit.is_empty(node.id):
        raise Rule("ENOTEMPTY", "the folder is not empty")
    edit.remove_entry(change.parent, change.name, node, change.time_ns)
