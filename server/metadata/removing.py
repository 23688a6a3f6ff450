"""A folder removed with all that is in it, by who has no mount: in steps of one bounded transaction each.

Everybody sees it shrink; whatever a step removed is in the trash. All of it bears one time, which tells the trash what
belongs together (``trash``).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from protocol.ids import NodeId
from protocol.messages.changes import Rmdir, Unlink
from protocol.messages.nodes import Kind
from server.metadata.editing import Rule
from server.metadata.naming import below_root
from server.metadata.paths import place
from server.metadata.unmounted import Editing

STEP_REMOVALS: Final = 128
"""In one transaction, some tens of milliseconds, which everybody else's changes wait for."""


class Doomed(NamedTuple):
    """A folder that is being removed: its entry, and the time that its removal bears."""

    parent: NodeId
    name: bytes
    node: NodeId
    time_ns: int


def doom(edit: Editing, names: Sequence[bytes]) -> Doomed:
    """The folder at a path, which is to be removed; raises Rule and NoSuchNode. Nothing is changed yet."""
    found = place(edit.tx, edit.workspace, names)
    node = below_root(found)
    if node.kind is not Kind.FOLDER:
        raise Rule("ENOTDIR", "this is not a folder")
    return Doomed(found.parent, found.name, node.id, edit.now_ns)


def remove_empty(edit: Editing, names: Sequence[bytes]) -> None:
    """Remove the folder at a path; raises Rule, where it is not empty too, and NoSuchNode."""
    found = doom(edit, names)
    edit.apply(Rmdir(found.time_ns, found.parent, found.name, found.node))


def remove_some(edit: Editing, ahead: Sequence[Doomed], most: int = STEP_REMOVALS) -> list[Doomed]:
    """Remove a part, what lies deepest first, and return what is left; raises Rule where it was moved."""
    doomed = ahead[0]
    if _entry(edit, doomed.parent, doomed.name) != doomed.node:
        raise Rule("EEXIST", "the folder was moved or removed meanwhile")
    trail = [(doomed.parent, doomed.name, doomed.node)]
    while trail and most > 0:
        parent, name, folder = trail[-1]
        entries = edit.tx.all(
            "SELECT e.name, e.node, n.kind FROM entries e JOIN nodes n ON n.workspace = e.workspace AND n.id = e.node"
            " WHERE e.workspace = ? AND e.parent = ? ORDER BY e.name LIMIT ?",
            (edit.workspace, folder, most),
        )
        for inner_name, node, kind in entries:
            if kind == Kind.FOLDER:
                trail.append((folder, inner_name, node))
            else:
                edit.apply(Unlink(doomed.time_ns, folder, inner_name, node))
                most -= 1
        if not entries:
            edit.apply(Rmdir(doomed.time_ns, parent, name, folder))
            trail.pop()
            most -= 1
    return [doomed] if trail else []


def _entry(edit: Editing, parent: NodeId, name: bytes) -> NodeId | None:
    row = edit.tx.one(
        "SELECT node FROM entries WHERE workspace = ? AND parent = ? AND name = ?", (edit.workspace, parent, name)
    )
    return None if row is None else NodeId(row[0])
