"""What became of a journal's changes where their mount could not foresee it, and the later changes that build on them.

A mount that is offline, or quick, makes changes on top of changes that have no answer yet: it edits what it has
created, removes what it has edited. It names what it expects: the id that it chose for a folder, version ``base + 1``
for what a commit makes, the name that it gave. Where an answer says otherwise (a folder was merged, content became a
conflict copy, a name was taken), a later change has to name what is there instead, and above all must not take
another device's version for its own because it happens to have the expected number.

Both ends use this: the server for the changes of one batch, a mount for what it sends after an answer came.

Invariant: what ``follow`` returns names nothing that an answer learnt so far has shown to be something else.
"""

from __future__ import annotations

from typing import NamedTuple

from msgspec.structs import replace

from protocol.ids import NO_VERSION, NodeId, VersionNumber
from protocol.messages.batches import AnyAnswer, Applied
from protocol.messages.changes import AnyChange, Commit, Create, Link, Rename, Replaced, Rmdir, Unlink

_Place = tuple[NodeId, bytes]


class _Content(NamedTuple):
    """Where content is that a commit made."""

    node: NodeId
    version: VersionNumber


class Diversions:
    """What one journal's changes led to, as far as their mount expected something else."""

    def __init__(self) -> None:
        self._nodes: dict[NodeId, NodeId] = {}
        """Folders that others stand for."""
        self._contents: dict[tuple[NodeId, VersionNumber], _Content] = {}
        """By the node and version that the mount expected."""
        self._entries: dict[tuple[NodeId, _Place | None], _Place] = {}
        """By the node and place that the mount expected; None, for renames alone: wherever it expects it."""

    def follow(self, change: AnyChange) -> AnyChange:
        """The change as it has to be sent. Called once for each change, in order."""
        match change:
            case Create() | Link():
                return replace(change, parent=self._folder(change.parent))
            case Commit():
                return self._follow_commit(change)
            case Unlink():
                return self._follow_unlink(change)
            case Rmdir():
                parent, name = self._place(change.node, (change.parent, change.name))
                return replace(change, node=self._folder(change.node), parent=parent, name=name)
            case Rename():
                return self._follow_rename(change)
            case _:
                return replace(change, node=self._folder(change.node))

    def learn(self, change: AnyChange, answer: AnyAnswer) -> None:
        """Take a change's answer; ``change`` as its mount made it, before ``follow``."""
        if not isinstance(answer, Applied):
            return
        conflict = answer.conflict
        match change:
            case Create() if answer.merged is not None:
                self._nodes[change.node] = answer.merged
            case Create() | Link() if conflict is not None:
                if answer.folder is not None:
                    self._nodes[change.parent] = answer.folder
                self._entries[change.node, (change.parent, change.name)] = (conflict.parent, conflict.name)
            case Commit():
                at = self._content_at(change).node if conflict is None else conflict.node
                self._expect(change, _Content(at, answer.version))
                if conflict is not None and conflict.node == change.node:
                    self._entries[change.node, None] = (conflict.parent, conflict.name)

    def made_anew(self, node: NodeId, base: VersionNumber) -> None:
        """A file that was lost at the server is created there again: empty, it stands for the version ``base``."""
        self._contents[node, base] = _Content(node, NO_VERSION)

    # ── inside ──

    def _folder(self, node: NodeId) -> NodeId:
        return self._nodes.get(node, node)

    def _place(self, node: NodeId, expected: _Place) -> _Place:
        """Where a node's entry is that the mount expects at a place."""
        found = self._entries.get((node, expected)) or self._entries.get((node, None))
        return found or (self._folder(expected[0]), expected[1])

    def _content_at(self, change: Commit) -> _Content:
        """What a commit is made from."""
        return self._contents.get((change.node, change.base), _Content(change.node, change.base))

    def _expect(self, change: Commit, made: _Content) -> None:
        key = (change.node, VersionNumber(change.base + 1))
        if made == key:
            self._contents.pop(key, None)
        else:
            self._contents[key] = made

    def _follow_commit(self, change: Commit) -> Commit:
        at = self._content_at(change)
        self._expect(change, _Content(at.node, VersionNumber(at.version + 1)))
        return replace(change, node=at.node, base=at.version)

    def _follow_unlink(self, change: Unlink) -> Unlink:
        """Of content that is a conflict copy by now, or of a file that came back elsewhere, it is refused.

        That has one name for all that the mount knows of the file, so it stays even if this was the last of them.
        """
        expected = (change.parent, change.name)
        parent, name = self._entries.get((change.node, expected)) or (self._folder(change.parent), change.name)
        if change.version is None:
            return replace(change, parent=parent, name=name)
        node, version = self._contents.get((change.node, change.version), (change.node, change.version))
        return replace(change, parent=parent, name=name, node=node, version=version)

    def _follow_rename(self, change: Rename) -> Rename:
        parent, name = self._place(change.node, (change.parent, change.name))
        replaced = change.replaced
        if replaced is not None and (at := self._contents.get((replaced.node, replaced.version))) is not None:
            replaced = Replaced(at.node, at.version, replaced.others)
        for place in ((change.parent, change.name), (change.new_parent, change.new_name), None):
            self._entries.pop((change.node, place), None)
        return replace(
            change,
            node=self._folder(change.node),
            parent=parent,
            name=name,
            new_parent=self._folder(change.new_parent),
            replaced=replaced,
        )
