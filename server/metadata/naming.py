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

FOLDER_MODE: Final = 0o755
PARENTS_MAX: Final = 256
"""Folders made on the way to a path: one transaction."""


def make_folder(edit: Editing, names: Sequence[bytes], *, parents: bool) -> Item:
    """A new folder, and with ``parents`` those above it that are not there; raises Rule and NoSuchNode."""
    if not names:
        raise Rule("EEXIST", "the root is there already")
    at = make_parents(edit, names) if parents else _folder(place(edit.tx, edit.workspace, names[:-1]).taken())
    _make(edit, at, names[-1])
    return item_at(edit.tx, edit.workspace, names)


def make_parents(edit: Editing, names: Sequence[bytes]) -> Node:
    """The folder that a path's last name is in; those that are not there are made. Raises Rule."""
    if len(names) > PARENTS_MAX:
        raise Rule("EINVAL", f"at most {PARENTS_MAX} folders are made at once")
    at = _known(edit, ROOT_NODE)
    for name in names[:-1]:
        found = tree.lookup(edit.tx, edit.workspace, at.id, name)
        at = _make(edit, at, name) if found is None else _folder(found)
    return at


def _make(edit: Editing, folder: Node, name: bytes) -> Node:
    """Its owner is the folder's."""
    made = new_node_id()
    edit.apply(Create(edit.now_ns, folder.id, name, made, Kind.FOLDER, FOLDER_MODE, folder.uid, folder.gid))
    return _known(edit, made)


def _known(edit: Editing, node: NodeId) -> Node:
    found = tree.node(edit.tx, edit.workspace, node)
    assert found is not None
    return found


def _folder(node: Node) -> Node:
    if node.kind is not Kind.FOLDER:
        raise Rule("ENOTDIR", "a name on the way is not a folder's")
    return node


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
