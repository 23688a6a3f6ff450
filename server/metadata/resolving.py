"""Conflict copies that are in the tree: which there are, what each conflicts with, and how a person ends a conflict.

A copy's original is the node that it is marked with, while that has a name; after that, whatever has the name that the
node had last (programs save by removing and creating, too).
"""

from __future__ import annotations

from typing import Final, NamedTuple

from protocol.ids import NodeId, WorkspaceId
from protocol.messages.changes import Resolve
from protocol.messages.conflicts import ConflictCopy, Keep, Original
from protocol.messages.nodes import Kind, Node
from server.metadata import tree
from server.metadata.contents import take_content
from server.metadata.editing import Edit, Rule
from server.metadata.returning import place_of
from server.metadata.store import Transaction

CONFLICTS_PAGE: Final = 200
"""Paths of a page are at most some hundred kilobytes, unless somebody tries."""


class Page(NamedTuple):
    """Some of the conflict copies, and whether there are more."""

    conflicts: list[ConflictCopy]
    more: bool


def listed(tx: Transaction, workspace: WorkspaceId, after: NodeId, limit: int = CONFLICTS_PAGE) -> Page:
    """The conflict copies with ids past ``after``, in order of ids."""
    rows = tx.all(
        "SELECT n.id, n.kind, n.version, n.size, n.mtime_ns, n.conflict_of, d.name, v.committed_ns FROM nodes n"
        " LEFT JOIN versions v ON v.workspace = n.workspace AND v.node = n.id AND v.number = n.version"
        " LEFT JOIN devices d ON d.id = v.device"
        # Not by the primary key, which holds every node: "+" leaves the index of conflicts.
        " WHERE n.workspace = ? AND n.conflict_of > 0 AND n.nlink > 0 AND +n.id > ? ORDER BY +n.id LIMIT ?",
        (workspace, after, limit + 1),
    )
    found = []
    for node, kind, version, size, mtime_ns, conflict_of, device, committed_ns in rows[:limit]:
        parent, path = tree.path_of(tx, workspace, node)
        original = original_of(tx, workspace, NodeId(conflict_of), node)
        found.append(
            ConflictCopy(
                node=node,
                parent=parent,
                path=path,
                kind=Kind(kind),
                version=version,
                size=size,
                mtime_ns=mtime_ns,
                device=device or "",
                committed_ns=committed_ns or 0,
                original=None
                if original is None
                else Original(original.id, original.version, tree.path_of(tx, workspace, original.id)[1]),
            )
        )
    return Page(found, len(rows) > limit)


def resolve(edit: Edit, change: Resolve) -> None:
    """End a conflict; raises Rule."""
    copy = edit.named(change.parent, change.name, change.node)
    if copy.conflict_of is None:
        raise Rule("EINVAL", "this is not a conflict copy, or not any more")
    if copy.version != change.version:
        raise Rule("ESTALE", "the conflict copy has another content by now: look again")
    original = original_of(edit.tx, edit.workspace, copy.conflict_of, copy.id)
    if change.keep is not Keep.BOTH and (None if original is None else original.version) != change.original_version:
        raise Rule("ESTALE", "what it conflicts with has changed meanwhile: look again")
    match change.keep:
        case Keep.BOTH:
            edit.set(copy.id, conflict_of=None)
        case Keep.THEIRS if original is None:
            raise Rule("ENOENT", "what it conflicts with is gone: keep mine, or remove the conflict copy")
        case Keep.THEIRS:
            _remove(edit, copy, change)
        case Keep.MINE if original is None:
            _take_name(edit, copy, change)
        case Keep.MINE:
            _check_takes_content(copy, original)
            take_content(edit, original, copy, copy.version, copy.mtime_ns, change.time_ns)
            _remove(edit, copy, change)


def original_of(tx: Transaction, workspace: WorkspaceId, marked: NodeId, copy: NodeId) -> Node | None:
    """What a copy conflicts with; None where that is gone."""
    row = tx.one(
        "SELECT n.nlink, e.node FROM nodes n LEFT JOIN entries e ON e.workspace = n.workspace AND n.nlink = 0"
        " AND e.parent = n.last_parent AND e.name = n.last_name WHERE n.workspace = ? AND n.id = ?",
        (workspace, marked),
    )
    if row is None:
        return None
    found = marked if row[0] > 0 else row[1]
    return None if found in (None, copy) else tree.node(tx, workspace, NodeId(found))


def _check_takes_content(copy: Node, original: Node) -> None:
    if copy.kind is not Kind.FILE or original.kind is not Kind.FILE:
        raise Rule("EINVAL", "only a file's content takes the place of another's: move what you keep there yourself")
    if copy.version == 0:
        raise Rule("EBUSY", "nothing of the conflict copy has been uploaded yet: wait for its device")


def _remove(edit: Edit, copy: Node, change: Resolve) -> None:
    if copy.kind is Kind.FOLDER and not edit.is_empty(copy.id):
        raise Rule("ENOTEMPTY", "the folder is not empty: move or remove what is in it first")
    edit.set(copy.id, conflict_of=None)
    edit.remove_entry(change.parent, change.name, copy, change.time_ns)


def _take_name(edit: Edit, copy: Node, change: Resolve) -> None:
    """The original is gone: the copy has its name and its folder from now on."""
    edit.set(copy.id, conflict_of=None)
    if copy.conflict_of is None or tree.node(edit.tx, edit.workspace, copy.conflict_of) is None:
        return  # Nobody knows its name any more.
    place = place_of(edit, copy.conflict_of, change.time_ns)
    if place == (change.parent, change.name):
        return
    if edit.entry(*place) is not None:
        raise Rule("EEXIST", "the name of what it conflicts with has been taken")
    if copy.kind is Kind.FOLDER and edit.is_below(place[0], copy.id):
        raise Rule("EINVAL", "a folder can't be moved into itself")
    edit.move_entry(copy, (change.parent, change.name), place, change.time_ns)
