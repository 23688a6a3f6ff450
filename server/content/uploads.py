"""Uploads without a mount: from a place in the tree and a stream of bytes to a committed version.

Knows the tree, ``write`` and who is told; knows nothing of HTTP. What a path means is looked up anew in the transaction
that commits the content: so an upload replaces what is there then, and never makes a conflict copy.

Invariants:

- a file that is new is there, pending, from when its upload begins, and gone when that breaks off, with the folders
  that were made for it; ``metadata.uploads`` says which those are, and the worker removes what a crash left;
- conditions are checked when an upload begins, so that nothing is sent in vain, and decide when it is committed.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, NamedTuple

import trio

from protocol import manifest as manifests
from protocol.ids import NO_VERSION, ROOT_NODE, NodeId, WorkspaceId, new_node_id
from protocol.messages.changes import Commit
from protocol.messages.items import Item, etag_of
from protocol.messages.nodes import Kind, Node
from protocol.sealing import Buffer
from server.conditions import Conditions
from server.content.writing import Written, write
from server.metadata import blocks, naming, paths, tree, uploads
from server.metadata.accounts import Caller
from server.metadata.conflicts import free_numbered_name
from server.metadata.editing import Rule
from server.metadata.items import item_of
from server.metadata.paths import Place
from server.metadata.store import StoreError, Transaction
from server.metadata.tree import NoSuchNode
from server.metadata.unmounted import Editing
from server.service import Service
from server.settling import edit

EXPIRE_AFTER_S: Final = 6 * 3600.0
"""What a crash left is removed after so long. An upload that takes longer still brings its file back at its end."""

_GIVE_UP_S: Final = 5.0

Allow = Callable[[Transaction], Caller]


@dataclass(frozen=True, slots=True)
class Goal:
    """Where a content is to go."""

    workspace: WorkspaceId
    names: Sequence[bytes]
    """From ``root``; not empty."""
    conditions: Conditions = field(default_factory=Conditions)
    makes_parents: bool = False
    """In the workspace's root alone."""
    root: NodeId = ROOT_NODE
    mtime_ns: int | None = None
    """None: when it is committed."""
    is_beside: bool = False
    """Always a new file, with a numbered name where the last one is taken; that is told by no error."""

    def free(self, editing: Editing) -> Goal:
        """The goal with a name that is free now, if it is to be beside what is there; raises Rule and NoSuchNode."""
        if not self.is_beside:
            return self
        *above, name = self.names
        folder = paths.place(editing.tx, self.workspace, above, self.root).taken()
        return replace(self, names=[*above, free_numbered_name(editing.tx, self.workspace, folder.id, name)])


class Begun(NamedTuple):
    """The file that an upload found, or made."""

    node: NodeId
    is_made: bool


class Uploaded(NamedTuple):
    """A content in its place."""

    item: Item
    is_new: bool
    """Whether it had none before."""


async def upload(service: Service, goal: Goal, parts: AsyncIterator[Buffer], allow: Allow) -> Uploaded:
    """Store a stream of any length as the content of a file, which others see as pending meanwhile.

    Raises Rule (ESTALE: a condition doesn't hold), NoSuchNode (no such folder), OverQuota, NoSpace, TooLong, and what
    ``parts`` and ``allow`` raise. Then what was there before is there still, and nothing else.
    """
    node = new_node_id()
    try:
        begun = await begin(service, goal, node, allow)
        written = await write(service.blocks, goal.workspace, parts, allow)
        return await commit(service, goal, written, allow, begun)
    except BaseException:
        await give_up(service, goal.workspace, node)
        raise


async def upload_small(service: Service, goal: Goal, parts: AsyncIterator[Buffer], allow: Allow) -> Uploaded:
    """The same for a stream that is here already: the file is made and gets its content in one transaction."""
    return await commit(service, goal, await write(service.blocks, goal.workspace, parts, allow), allow, None)


async def begin(service: Service, goal: Goal, node: NodeId, allow: Allow) -> Begun:
    """Make the file, if there is none, with the id ``node``; raises as ``upload`` does."""

    def work(editing: Editing) -> Begun:
        blocks.check_quota(editing.tx, goal.workspace, 1)
        made, place = _place(editing, goal.free(editing))
        _check(goal, place.node)
        if place.node is not None:
            return Begun(place.node.id, is_made=False)
        naming.make(editing, place, node, Kind.FILE)
        expires_ns = editing.now_ns + int(EXPIRE_AFTER_S * 10**9)
        uploads.note(editing.tx, goal.workspace, node, editing.caller.device, made, expires_ns)
        return Begun(node, is_made=True)

    service.blocks.space.check(1)
    return await edit(service, goal.workspace, allow, work)


async def commit(service: Service, goal: Goal, written: Written, allow: Allow, begun: Begun | None) -> Uploaded:
    """Give the file its content; ``begun`` is what ``begin`` returned, None where it was not called."""
    return await edit(service, goal.workspace, allow, lambda editing: put_in_place(editing, goal, written, begun))


def put_in_place(editing: Editing, goal: Goal, written: Written, begun: Begun | None) -> Uploaded:
    """``commit``, as a part of a transaction."""
    tx, now_ns = editing.tx, editing.now_ns
    file = _file_now(editing, goal, begun)
    change = Commit(
        time_ns=now_ns,
        node=file.id,
        base=file.version,
        size=written.manifest.size_bytes,
        manifest=manifests.encode(written.manifest),
        mtime_ns=now_ns if goal.mtime_ns is None else goal.mtime_ns,
        blocks=written.inline,
    )
    editing.apply(change, written.verified)
    is_new = file.version == NO_VERSION
    if begun is not None and begun.is_made and file.id != begun.node:
        uploads.give_up(tx, goal.workspace, begun.node, now_ns)
    uploads.forget(tx, goal.workspace, file.id)
    return Uploaded(_item(editing, goal, file.id), is_new)


def check_goal(editing: Editing, goal: Goal) -> None:
    """Raises Rule and NoSuchNode where a content that came now could not be put in place."""
    node = _there(editing, goal)
    if goal.makes_parents:
        naming.way(editing, goal.names[:-1])
    elif node is None:
        paths.place(editing.tx, goal.workspace, goal.names)
    _check(goal, node)


async def give_up(service: Service, workspace: WorkspaceId, node: NodeId) -> None:
    """Remove what ``begin`` made and nothing was committed to; also where the caller was cancelled.

    Nobody waits for this to be settled: no answer tells of it. Where the database can't be used, the worker does it.
    """
    with trio.move_on_after(_GIVE_UP_S) as bounded:
        bounded.shield = True
        try:
            await service.metadata.write(lambda tx: uploads.give_up(tx, workspace, node, service.now_ns()))
        except StoreError:
            return
        service.notifier.ring(workspace, None)


def _file_now(editing: Editing, goal: Goal, begun: Begun | None) -> Node:
    """The file whose content is to change, as it is now; raises Rule and NoSuchNode."""
    if begun is not None and goal.is_beside:
        made = _node(editing, begun.node)
        if made.version == NO_VERSION:
            return made
        begun = None  # A mount has written into it meanwhile.
    if begun is None:
        _, place = _place(editing, goal.free(editing))
        _check(goal, place.node)
        if place.node is not None:
            return place.node
        node = new_node_id()
        naming.make(editing, place, node, Kind.FILE)
        return _node(editing, node)
    file, there = _node(editing, begun.node), _there(editing, goal)
    waits = begun.is_made and file.version == NO_VERSION
    is_as_made = waits and (there is None or there.id == file.id)
    _check(goal, None if is_as_made else there)
    if there is None or (waits and file.nlink > 0):
        return file  # It was moved, or removed, which a commit undoes as it does for a mount.
    return there


def _item(editing: Editing, goal: Goal, node: NodeId) -> Item:
    there = _there(editing, goal)
    is_there = there is not None and there.id == node
    names = goal.names if is_there and goal.root == ROOT_NODE else tree.path_of(editing.tx, goal.workspace, node)[1]
    return item_of(editing.tx, goal.workspace, names, _node(editing, node))


def _node(editing: Editing, node: NodeId) -> Node:
    found = tree.node(editing.tx, editing.workspace, node)
    if found is None:
        raise NoSuchNode("there is no such file")
    return found


def _place(editing: Editing, goal: Goal) -> tuple[list[NodeId], Place]:
    """The place, and the folders made on the way; raises NoSuchNode, and Rule where a folder can't be made."""
    made = naming.make_folders(editing, goal.names[:-1]) if goal.makes_parents else []
    return made, paths.place(editing.tx, goal.workspace, goal.names, goal.root)


def _there(editing: Editing, goal: Goal) -> Node | None:
    try:
        return paths.place(editing.tx, goal.workspace, goal.names, goal.root).node
    except NoSuchNode:
        return None


def _check(goal: Goal, there: Node | None) -> None:
    """Raises Rule where the conditions don't hold, or what is there can't be replaced."""
    if not goal.conditions.allow_change(None if there is None else etag_of(there.id, there.version)):
        raise Rule("ESTALE", "what is there is not what the request says")
    if there is not None and there.kind is Kind.FOLDER:
        raise Rule("EISDIR", "a folder is there")
    if there is not None and there.kind is not Kind.FILE:
        raise Rule("EEXIST", f"something else is there, a {there.kind}: remove it first")
