"""rename(2) and renameat2(2) on the tree, with a compare-and-set on what is replaced."""

from __future__ import annotations

from protocol.messages.batches import Conflict
from protocol.messages.changes import Rename, RenameMode
from protocol.messages.nodes import Kind, Node
from server.metadata import links
from server.metadata.conflicts import inherit, is_unseen, move_aside
from server.metadata.editing import AS_ASKED, Edit, Outcome, Rule


def rename(edit: Edit, change: Rename) -> Outcome:
    """Apply a rename; raises Rule."""
    edit.check_name(change.new_name)
    node = edit.named(change.parent, change.name, change.node)
    edit.check_folder(change.new_parent)
    if node.kind is Kind.FOLDER and edit.is_below(change.new_parent, node.id):
        raise Rule("EINVAL", "a folder can't be moved into itself")
    found = edit.entry(change.new_parent, change.new_name)
    over = None if found is None else edit.node(found)
    if change.rename_mode is RenameMode.EXCHANGE:
        _exchange(edit, node, over, change)
        return AS_ASKED
    if over is not None and change.rename_mode is RenameMode.NOREPLACE:
        raise Rule("EEXIST", "the new name is taken")
    if over is not None and over.id == node.id:
        return AS_ASKED  # Two names of one file: rename(2) does nothing.
    conflict = None
    if over is not None:
        conflict = _make_room(edit, node, over, change)
        inherit(edit, node, over)
    edit.move_entry(node, (change.parent, change.name), (change.new_parent, change.new_name), change.time_ns)
    return Outcome(conflict)


def _make_room(edit: Edit, node: Node, over: Node, change: Rename) -> Conflict | None:
    if over.kind is Kind.FOLDER:
        if node.kind is not Kind.FOLDER:
            raise Rule("EISDIR", "the new name is a folder")
        if not edit.is_empty(over.id):
            raise Rule("ENOTEMPTY", "the folder under the new name is not empty")
    elif node.kind is Kind.FOLDER:
        raise Rule("ENOTDIR", "the new name is not a folder")
    elif is_unseen(over, change.replaced):
        return move_aside(edit, over, node, change.new_parent, change.new_name, change.time_ns)
    edit.remove_entry(change.new_parent, change.new_name, over, change.time_ns)
    if over.nlink == 1:
        links.follow(edit.tx, edit.workspace, over.id, node.id)
    return None


def _exchange(edit: Edit, node: Node, over: Node | None, change: Rename) -> None:
    if over is None:
        raise Rule("ENOENT", "there is nothing to exchange with")
    if over.kind is Kind.FOLDER and edit.is_below(change.parent, over.id):
        raise Rule("EINVAL", "a folder can't be moved into itself")
    if node.id != over.id:
        edit.swap_entries(
            (change.parent, change.name, node), (change.new_parent, change.new_name, over), change.time_ns
        )
