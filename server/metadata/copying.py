"""Copies made without a mount: by manifest, so that no content moves and nothing counts towards the quota.

A folder is copied with all that is in it, in steps of one bounded transaction each: everybody sees the copy grow, and
it is of no one moment. Several names of one file become files of their own. A file that nothing has been uploaded to
yet has nothing to copy; in a folder it is passed over.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Final, NamedTuple

import msgspec

from protocol.ids import NodeId, VersionNumber, new_node_id
from protocol.messages.changes import Create
from protocol.messages.nodes import Kind, Node
from server.metadata import tree
from server.metadata.contents import take_content
from server.metadata.editing import AS_ASKED, Edit, Outcome, Rule
from server.metadata.entries import create
from server.metadata.naming import below_root
from server.metadata.paths import place
from server.metadata.unmounted import Editing

STEP_COPIES: Final = 128
"""In one transaction, some tens of milliseconds, which everybody else's changes wait for."""

_encode = msgspec.msgpack.Encoder().encode


class Ahead(NamedTuple):
    """A folder whose entries past a name are still to be copied into another."""

    source: NodeId
    target: NodeId
    after: bytes


def copy(
    edit: Editing,
    names: Sequence[bytes],
    new_names: Sequence[bytes],
    *,
    replace: bool,
    version: VersionNumber | None,
) -> list[Ahead]:
    """Copy an item, of a folder the folder alone, and say what is still to be copied; raises Rule and NoSuchNode."""
    source, target = place(edit.tx, edit.workspace, names), place(edit.tx, edit.workspace, new_names)
    node = below_root(source)
    if version is not None and node.kind is not Kind.FILE:
        raise Rule("EINVAL", f"a {node.kind} has no versions")
    if node.kind is Kind.FILE and node.version == 0:
        raise Rule("EBUSY", "nothing of the file has been uploaded yet")
    number = node.version if version is None else version
    if replace and target.node is not None:
        edit.log("copy", lambda change: _overwrite(change, target.taken(), node, number))
        return []
    made = new_node_id()

    def work(change: Edit) -> Outcome:
        if node.kind is Kind.FOLDER:
            _check_apart(edit, node.id, target.parent)
        return _copy(change, node, number, target.parent, target.name, made)

    edit.log("copy", work)
    return [Ahead(node.id, made, b"")] if node.kind is Kind.FOLDER else []


def copy_some(edit: Editing, ahead: Sequence[Ahead], most: int = STEP_COPIES) -> list[Ahead]:
    """Copy a part of what is still ahead, and return what is left; raises Rule."""
    left = list(ahead)
    while left and most > 0:
        source, target, after = left.pop()
        if not _is_there(edit, source):
            continue  # It has been removed meanwhile: what is there no more isn't copied.
        _check_apart(edit, source, target)
        page = tree.listing(edit.tx, edit.workspace, source, after, most)
        most -= max(1, len(page.entries))
        if page.more:
            left.append(Ahead(source, target, page.entries[-1].name))
        for entry in page.entries:
            node = entry.node
            if node.kind is Kind.FILE and node.version == 0:
                continue
            made = new_node_id()
            edit.log("copy", partial(_copy, node=node, number=node.version, parent=target, name=entry.name, made=made))
            if node.kind is Kind.FOLDER:
                left.append(Ahead(node.id, made, b""))
    return left


def _check_apart(edit: Editing, source: NodeId, target: NodeId) -> None:
    """Raises Rule where a folder would be copied into itself, as it would where it was moved meanwhile: without end."""
    if tree.is_below(edit.tx, edit.workspace, target, source):
        raise Rule("EINVAL", "a folder can't be copied into itself")


def _is_there(edit: Editing, folder: NodeId) -> bool:
    found = tree.node(edit.tx, edit.workspace, folder)
    return found is not None and found.nlink > 0


def _overwrite(edit: Edit, target: Node, source: Node, number: VersionNumber) -> Outcome:
    """The content becomes a new version of the file that is there."""
    if source.kind is not Kind.FILE or target.kind is not Kind.FILE:
        raise Rule("EEXIST", "only a file takes the content of another: the name is taken")
    if source.id != target.id or number != target.version:
        take_content(edit, target, source, number, edit.now_ns, edit.now_ns)
    return AS_ASKED


def _copy(edit: Edit, node: Node, number: VersionNumber, parent: NodeId, name: bytes, made: NodeId) -> Outcome:
    create(
        edit,
        Create(
            edit.now_ns,
            parent,
            name,
            made,
            node.kind,
            node.mode,
            node.uid,
            node.gid,
            node.rdev,
            node.target,
        ),
    )
    if node.xattrs:
        edit.set(made, xattrs=_encode(node.xattrs))
    if node.kind is Kind.FILE:
        mtime_ns = node.mtime_ns if number == node.version else edit.now_ns
        take_content(edit, edit.node(made), node, number, mtime_ns, edit.now_ns)
    return AS_ASKED
