"""What was removed and can come back: nodes that have lost their last name, whoever took it.

Files that a program replaced by another are in the trash too; a file that nothing was uploaded to has nothing to bring
back. What was removed *with* a folder isn't listed, and comes back with it: that is what was taken out of the folder at
most ``TOGETHER_NS`` before the folder itself went (a folder is empty when it goes, and ``rm -r`` on a mount empties it
file by file). Of several that had one name, the one that went last comes back, and the others stay in the trash.

A file that had several names comes back under the one that it lost last.

Something comes back where it was, and the folders above it with it. Where its name is taken by now, it gets a name that
says when it came back.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Final, NamedTuple

import msgspec

from protocol.ids import NodeId, Seq, WorkspaceId
from protocol.messages.items import Item, RemovedItem, Trash
from protocol.messages.nodes import Kind, Node
from server.metadata import tree
from server.metadata.conflicts import free_restored_name
from server.metadata.editing import AS_ASKED, Edit, Outcome
from server.metadata.items import item_of, last_path
from server.metadata.returning import place_of
from server.metadata.store import Row, Transaction
from server.metadata.tree import NoSuchNode
from server.metadata.unmounted import Editing

TOGETHER_NS: Final = 10 * 60 * 10**9
"""Ten minutes: `rm -r` of a large folder takes its time. A folder that somebody emptied earlier comes back empty."""

STEP_RETURNS: Final = 128
"""In one transaction, some tens of milliseconds, which everybody else's changes wait for."""

SCAN_REMOVED: Final = 50_000
"""Looked at for one page, some tenths of a second: of a large folder that was removed, all but it is passed over."""

_HAS_CONTENT: Final = "n.nlink = 0 AND (n.kind <> 'file' OR n.version > 0)"
_REMOVED: Final = (
    f"WHERE n.workspace = ? AND {_HAS_CONTENT} AND (n.removed_seq, n.id) < (?, ?)"
    " ORDER BY n.removed_seq DESC, n.id DESC"
)


def trash(tx: Transaction, workspace: WorkspaceId, after: NodeId | None, limit: int, scan: int = SCAN_REMOVED) -> Trash:
    """What was removed before the node ``after`` was, newest first."""
    # A node keeps its place in the order when it is back in the tree, so pages go on from it.
    row = tx.one(
        "SELECT removed_seq, id FROM nodes WHERE workspace = ? AND id = ? AND removed_seq IS NOT NULL",
        (workspace, after),
    )
    place = (1 << 62, 0) if after is None else row or (-1, 0)
    rows = tx.all(
        "SELECT n.id, c.at_ns, d.name, u.name"
        f" FROM (SELECT n.id, n.last_parent, n.removed_seq, n.ctime_ns FROM nodes n {_REMOVED} LIMIT ?) n"
        " LEFT JOIN nodes p ON p.workspace = ? AND p.id = n.last_parent AND p.nlink = 0"
        " LEFT JOIN changes c ON c.workspace = ? AND c.seq = n.removed_seq"
        " LEFT JOIN devices d ON d.id = c.device LEFT JOIN users u ON u.id = d.user_id"
        " WHERE p.id IS NULL OR n.ctime_ns < p.ctime_ns - ?"
        " ORDER BY n.removed_seq DESC, n.id DESC LIMIT ?",
        (workspace, *place, scan, workspace, workspace, TOGETHER_NS, limit + 1),
    )
    if len(rows) > limit:
        last: Row | None = rows[limit - 1]
    else:
        last = tx.one(f"SELECT n.id FROM nodes n {_REMOVED} LIMIT 1 OFFSET ?", (workspace, *place, scan - 1))
    items = [_removed(tx, workspace, *row) for row in rows[:limit]]
    return Trash(items, None if last is None else str(last[0]))


def _removed(
    tx: Transaction, workspace: WorkspaceId, node: NodeId, at_ns: int | None, device: str | None, user: str | None
) -> RemovedItem:
    found = tree.node(tx, workspace, node)
    assert found is not None
    item = item_of(tx, workspace, last_path(tx, workspace, node), found)
    removed_ns = found.ctime_ns if at_ns is None else at_ns
    return RemovedItem(**msgspec.structs.asdict(item), removed_ns=removed_ns, device=device or "", user=user or "")


class Emptied(NamedTuple):
    """A folder that is back, and when it went: what was removed with it is still to come back."""

    folder: NodeId
    removed_seq: Seq
    removed_ns: int


def bring_back(edit: Editing, node: NodeId) -> list[Emptied]:
    """Give something a name again, and say which folder is still to be filled; raises NoSuchNode."""
    found = tree.node(edit.tx, edit.workspace, node)
    if found is None or found.nlink > 0 or (found.kind is Kind.FILE and found.version == 0):
        raise NoSuchNode("there is no such thing in the trash")

    def work(change: Edit) -> Outcome:
        parent, name = place_of(change, node, change.now_ns)
        if change.entry(parent, name) is not None:
            name = free_restored_name(change, parent, name)
        return _return(change, parent, name, found)

    edit.log("bring back", work)
    return _emptied(edit, found)


def fill_some(edit: Editing, ahead: Sequence[Emptied], most: int = STEP_RETURNS) -> list[Emptied]:
    """Bring back a part of what was removed with these folders, and return what is left."""
    left = list(ahead)
    while left and most > 0:
        emptied = left[-1]
        rows = edit.tx.all(
            "SELECT n.id, n.last_name FROM nodes n"
            " JOIN nodes p ON p.workspace = n.workspace AND p.id = n.last_parent AND p.nlink > 0"
            " LEFT JOIN entries e ON e.workspace = n.workspace AND e.parent = n.last_parent AND e.name = n.last_name"
            f" WHERE n.workspace = ? AND n.last_parent = ? AND {_HAS_CONTENT} AND e.node IS NULL"
            " AND n.removed_seq <= ? AND n.ctime_ns >= ? ORDER BY n.removed_seq DESC, n.id DESC LIMIT ?",
            (
                *(edit.workspace, emptied.folder),
                *(emptied.removed_seq, emptied.removed_ns - TOGETHER_NS, most),
            ),
        )
        if not rows:
            left.pop()
        most -= max(1, len(rows))
        newest = {name: NodeId(node) for node, name in reversed(rows)}
        for name, node in newest.items():
            found = tree.node(edit.tx, edit.workspace, node)
            assert found is not None
            edit.log("bring back", partial(_return, parent=emptied.folder, name=name, node=found))
            left += _emptied(edit, found)
    return left


def _emptied(edit: Editing, removed: Node) -> list[Emptied]:
    """What is to be filled of something that was removed: a folder."""
    row = edit.tx.one("SELECT removed_seq FROM nodes WHERE workspace = ? AND id = ?", (edit.workspace, removed.id))
    assert row is not None
    return [Emptied(removed.id, Seq(row[0]), removed.ctime_ns)] if removed.kind is Kind.FOLDER else []


def item_back(tx: Transaction, workspace: WorkspaceId, node: NodeId) -> Item:
    """What has come back, where it is now; raises NoSuchNode."""
    found = tree.node(tx, workspace, node)
    if found is None or found.nlink == 0:
        raise NoSuchNode("it has been removed again")
    return item_of(tx, workspace, last_path(tx, workspace, node), found)


def _return(edit: Edit, parent: NodeId, name: bytes, node: Node) -> Outcome:
    row = msgspec.structs.replace(node, nlink=2) if node.kind is Kind.FOLDER else node
    edit.add_entry(parent, name, row, edit.now_ns)
    return AS_ASKED
