"""What the answers to a mount's own changes say of the tree. Pure.

``meanings`` is what one says of names. ``Confirmed`` gathers what those to kept changes say while the mount still shows
its own rows, for when the server's word goes again: a mount that loses its server soon after shows what it did.

Invariant: of each node and name ``Confirmed`` has what the last answer said, with a change at which that was true.
"""

from __future__ import annotations

from collections.abc import Sequence

from backend.tree import ABSENT, Absent, Tree
from protocol.diversions import Diversions
from protocol.ids import NodeId, Seq
from protocol.messages.batches import AnyAnswer, Applied
from protocol.messages.changes import AnyChange, Create, Link, Rename, RenameMode, Rmdir, Unlink
from protocol.messages.nodes import Node

Meaning = tuple[NodeId, bytes, NodeId | Absent]
"""A folder, a name in it, and what that means."""


def meanings(change: AnyChange, answer: Applied) -> list[Meaning]:
    """What names mean after a change, as far as it changed that."""
    elsewhere = answer.conflict
    match change:
        case Create(node=node) if any(row.id == node and row.nlink == 0 for row in answer.nodes):
            return []  # It was made before its mount crashed, and removed since.
        case Create(parent=parent, name=name, node=node) | Link(parent=parent, name=name, node=node):
            if elsewhere is not None:
                parent, name = elsewhere.parent, elsewhere.name
            return [(parent, name, node if answer.merged is None else answer.merged)]
        case Unlink(parent=parent, name=name) | Rmdir(parent=parent, name=name):
            return [(parent, name, ABSENT)]
        case Rename(replaced=replaced, node=node) if replaced is not None and replaced.node == node:
            return []  # Two names of one file: rename(2) does nothing.
        case Rename(parent=parent, name=name, replaced=replaced):
            is_exchange = change.rename_mode is RenameMode.EXCHANGE and replaced is not None
            before = replaced.node if is_exchange and replaced is not None else ABSENT
            return [(parent, name, before), (change.new_parent, change.new_name, change.node)]
        case _:
            return []


class Confirmed:
    """Of the changes that one mount made apart."""

    def __init__(self) -> None:
        self._nodes: dict[NodeId, tuple[Seq, Node]] = {}
        self._names: dict[tuple[NodeId, bytes], tuple[Seq, NodeId | Absent]] = {}

    def learn(self, changes: Sequence[AnyChange], answers: Sequence[AnyAnswer]) -> None:
        """A batch of changes, as they were sent, was answered."""
        applied = [answer for answer in answers if isinstance(answer, Applied)]
        # Of a batch that was sent again the rows are newer, and what others did to names since isn't in the answers.
        seq = max((answer.seq for answer in applied), default=Seq(0))
        diversions = Diversions()
        for change, answer in zip(changes, answers, strict=True):
            done = diversions.follow(change)  # As the server followed it, within the batch.
            diversions.learn(change, answer)
            if not isinstance(answer, Applied):
                continue
            for row in answer.nodes:
                self._nodes[row.id] = seq, row
            for folder, name, meaning in meanings(done, answer):
                self._names[folder, name] = seq, meaning

    def tell(self, tree: Tree) -> None:
        """Let it be known, and forget it here."""
        for seq, row in self._nodes.values():
            tree.keep_node(row, seq)
        for (folder, name), (seq, meaning) in self._names.items():
            tree.keep_name(folder, name, meaning, seq)
        self._nodes.clear()
        self._names.clear()
