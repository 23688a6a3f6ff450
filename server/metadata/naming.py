"""Changes of names by path, for who has no mount: folders made, files removed, items moved.

Each is one change by the rules of the system calls, or one a folder that is made; a rule that refuses it is raised.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from protocol.ids import ROOT_NODE, NodeId, new_node_id
from protocol.messages.changes import Create, Rename, RenameMode, Replaced, Unlink
from protocol.messages.items import Item, etag_of
from protocol.messages.nodes import Kind, Node
from server.metadata import tree
from server.metadata.editing import Rule
from server.metadata.items import item_at
from server.metadata.paths import Place, place
from server.metadata.unmounted import Editing

PARENTS_MAX: Final = 256
"""Folders made on the way to a path: one transaction."""

_MODES: Final = {Kind.FOLDER: 0o755, Kind.FILE: 0o644}


def make_folder(edit: Editing, names: Sequence[bytes], *, parents: bool) -> Item:
    """A new folder, and with ``parents`` those above it that are not there; raises Rule and NoSuchNode."""
    if not names:
        raise Rule("EEXIST", "the root is there already")
    if parents:
        make_folders(edit, names[:-1])
    else:
        way(edit, names[:-1])
    make(edit, place(edit.tx, edit.workspace, names), new_node_id(), Kind.FOLDER)
    return item_at(edit.tx, edit.workspace, names)


def make_folders(edit: Editing, names: Sequence[bytes]) -> list[NodeId]:
    """Make the folders of a path that are not there, and return them; raises Rule where something else is."""
    made: list[NodeId] = []
    at, missing = way(edit, names)
    for name in missing:
        made.append(new_node_id())
        make(edit, Place(at, name, None), made[-1], Kind.FOLDER)
        at = made[-1]
    return made


def way(edit: Editing, names: Sequence[bytes]) -> tuple[NodeId, Sequence[bytes]]:
    """The last folder on a path that is there, and the names of those that are to be made; raises Rule."""
    at = ROOT_NODE
    for index, name in enumerate(names):
        found = tree.lookup(edit.tx, edit.workspace, at, name)
        if found is None:
            if len(names) - index > PARENTS_MAX:
                raise Rule("EINVAL", f"at most {PARENTS_MAX} folders are made at once")
            return at, names[index:]
        if found.kind is not Kind.FOLDER:
            raise Rule("ENOTDIR", "a name on the way is not a folder's")
        at = found.id
    return at, []


def make(edit: Editing, at: Place, node: NodeId, kind: Kind) -> None:
    """A folder or a file without content, with this id; raises Rule.

    It belongs to whom its folder belongs to: there is no other user to ask.
    """
    folder = tree.node(edit.tx, edit.workspace, at.parent)
    assert folder is not None
    edit.apply(Create(edit.now_ns, at.parent, at.name, node, kind, _MODES[kind], folder.uid, folder.gid))


def below_root(found: Place) -> Node:
    """What is at a place that can change; raises Rule for the root, and NoSuchNode."""
    if not found.name:
        raise Rule("EBUSY", "the root of a workspace stays where it is")
    return found.taken()


def remove_file(edit: Editing, names: Sequence[bytes], allow: Callable[[str], bool] = lambda etag: True) -> None:
    """Take a name away that is not a folder's, if its etag is allowed; raises Rule and NoSuchNode."""
    found = place(edit.tx, edit.workspace, names)
    node = below_root(found)
    if not allow(etag_of(node.id, node.version)):
        raise Rule("ESTALE", "the file has another content by now")
    edit.apply(Unlink(edit.now_ns, found.parent, found.name, node.id))


def move(
    edit: Editing, names: Sequence[bytes], new_names: Sequence[bytes], *, replace: bool, replaces: str | None
) -> Item:
    """Give an item another name; raises Rule and NoSuchNode. See ``protocol.messages.items.Move``."""
    source, target = place(edit.tx, edit.workspace, names), place(edit.tx, edit.workspace, new_names)
    node = below_root(source)
    if not target.name:
        raise Rule("EEXIST", "the new name is the root's")
    over = target.node
    if replaces is not None and (over is None or etag_of(over.id, over.version) != replaces):
        raise Rule("ESTALE", "there is something else under the new name by now")
    edit.apply(
        Rename(
            edit.now_ns,
            node.id,
            source.parent,
            source.name,
            target.parent,
            target.name,
            RenameMode.REPLACE if replace else RenameMode.NOREPLACE,
            Replaced(over.id, over.version) if replace and over is not None else None,
        )
    )
    return item_at(edit.tx, edit.workspace, new_names)
