"""rename(2) and renameat2(2) on the tree, with a compare-and-set on what is replaced."""

from __future__ import annotations

from protocol.ids import NodeId
from protocol.messages import Conflict, Kind, Node, Rename, RenameMode
from server.metadata.contents import keep_replaced
from server.metadata.editing import Edit, Rule


def rename(edit: Edit, change: Rename) -> Conflict | None:
    """Apply a rename; raises Rule."""
    node = edit.named(change.parent, change.name, change.node)
    edit.folder(change.new_parent)
    source, target = (change.parent, change.name), (change.new_parent, change.new_name)
    if node.kind is Kind.FOLDER and edit.is_below(change.new_parent, node.id):
        raise Rule("EINVAL", "a folder can't be moved into itself")
    found = edit.entry(*target)
    over = None if found is None else edit.node(found)
    if change.rename_mode is RenameMode.EXCHANGE:
        if over is None:
            raise Rule("ENOENT", "there is nothing to exchange with")
        _exchange(edit, node, over, change)
        return None
    if over is None:
        edit.move_entry(node, source, target, change.time_ns)
        return None
    if change.rename_mode is RenameMode.NOREPLACE:
        raise Rule("EEXIST", "the new name is taken")
    if over.id == node.id:
        return None  # Two names of one file: rename(2) does nothing.
    conflict = _make_room(edit, node, over, change)
    edit.move_entry(node, source, target, change.time_ns)
    return conflict


def _make_room(edit: Edit, node: Node, over: Node, change: Rename) -> Conflict | None:
    target = (change.new_parent, change.new_name)
    if over.kind is Kind.FOLDER:
        if node.kind is not Kind.FOLDER:
            raise Rule("EISDIR", "the new name is a folder")
        if not edit.is_empty(over.id):
            raise Rule("ENOTEMPTY", "the folder under the new name is not empty")
        remove_folder(edit, over, *target, change.time_ns)
        return None
    if node.kind is Kind.FOLDER:
        raise Rule("ENOTDIR", "the new name is not a folder")
    seen = change.replaced
    if (
        over.kind is Kind.FILE
        and over.version
        and (seen is None or (seen.node, seen.version) != (over.id, over.version))
    ):
        return keep_replaced(edit, over, *target, change.time_ns)
    edit.remove_entry(*target, over, change.time_ns)
    return None


def remove_folder(edit: Edit, folder: Node, parent: NodeId, name: bytes, time_ns: int) -> None:
    """Take an empty folder out of the tree."""
    edit.remove_entry(parent, name, folder, time_ns)
    edit.set(folder.id, nlink=0)


def _exchange(edit: Edit, node: Node, over: Node, change: Rename) -> None:
    if over.kind is Kind.FOLDER and edit.is_below(change.parent, over.id):
        raise Rule("EINVAL", "a folder can't be moved into itself")
    if node.id == over.id:
        return
    source, target = (change.parent, change.name), (change.new_parent, change.new_name)
    edit.remove_entry(*target, over, change.time_ns)
    edit.move_entry(node, source, target, change.time_ns)
    edit.add_entry(*source, over, change.time_ns)
