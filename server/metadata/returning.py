"""What was removed and is needed again: it comes back where it was, and the folders above it with it.

A removed node keeps where its last entry was (``editing``). A folder's last place was in a folder that was in the tree
then, and so was removed later than it: the way up from a removed folder ends.
"""

from __future__ import annotations

import msgspec

from protocol.ids import ROOT_NODE, NodeId, WorkspaceId
from protocol.messages.batches import Conflict
from protocol.messages.nodes import Kind, Node
from server.metadata.conflicts import free_name
from server.metadata.editing import Edit, Rule
from server.metadata.store import Transaction


def folder_in_tree(edit: Edit, folder: NodeId, time_ns: int) -> NodeId:
    """A folder, which comes back where it has been removed; raises Rule where it never was one.

    Where its last name is taken by another folder, that one is returned; taken by something else, it comes back
    beside that.
    """
    if edit.node(folder).kind is not Kind.FOLDER:
        raise Rule("ENOTDIR", "not a folder")
    removed: list[Node] = []
    above: NodeId | None = folder
    while above is not None and (row := edit.node(above)).nlink == 0:
        removed.append(row)
        above = last_place(edit.tx, edit.workspace, above)[0]
    at = above or ROOT_NODE
    for row in reversed(removed):
        name = last_place(edit.tx, edit.workspace, row.id)[1]
        taken = edit.entry(at, name)
        if taken is not None and edit.node(taken).kind is Kind.FOLDER:
            at = taken
            continue
        if taken is not None:
            name = free_name(edit, at, name)
            edit.set(row.id, conflict_of=taken)
        edit.add_entry(at, name, msgspec.structs.replace(row, nlink=2), time_ns)
        at = row.id
    return at


def place_of(edit: Edit, node: NodeId, time_ns: int) -> tuple[NodeId, bytes]:
    """Parent and name of a node's first entry, else of its last one, whose folder comes back."""
    row = edit.tx.one(
        "SELECT parent, name FROM entries WHERE workspace = ? AND node = ? ORDER BY parent, name LIMIT 1",
        (edit.workspace, node),
    )
    if row is not None:
        return NodeId(row[0]), row[1]
    parent, name = last_place(edit.tx, edit.workspace, node)
    return ROOT_NODE if parent is None else folder_in_tree(edit, parent, time_ns), name


def bring_back(edit: Edit, row: Node, time_ns: int) -> Conflict | None:
    """Edit against delete: the edit wins, and the file is again where it was; else it is said where."""
    last = last_place(edit.tx, edit.workspace, row.id)
    parent, wanted = place_of(edit, row.id, time_ns)
    taken = edit.entry(parent, wanted)
    name = wanted if taken is None else free_name(edit, parent, wanted)
    edit.add_entry(parent, name, row, time_ns)
    if taken is not None:
        edit.set(row.id, conflict_of=taken)
    return None if (parent, name) == last else Conflict(row.id, parent, name)


def last_place(tx: Transaction, workspace: WorkspaceId, node: NodeId) -> tuple[NodeId | None, bytes]:
    """Where a removed node's last entry was; no parent where nothing is known of that folder."""
    row = tx.one(
        "SELECT p.id, n.last_name FROM nodes n"
        " LEFT JOIN nodes p ON p.workspace = n.workspace AND p.id = n.last_parent AND p.kind = 'folder'"
        " WHERE n.workspace = ? AND n.id = ?",
        (workspace, node),
    )
    assert row is not None
    assert row[1] is not None, "a node without entries has had one"
    return row[0], row[1]
