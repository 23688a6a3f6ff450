"""Batches: numbered changes, and their answers.

A mount sends its changes in numbered batches, one at a time, each one transaction per change in order; the server
keeps the answers of the last batch, so that a batch whose reply was lost can be sent again at any later time. The
answer to a batch carries every change of the workspace after the number that the mount has applied, its own included:
the mount drops what they outdate first, then keeps the nodes that the answers carry.
"""

from __future__ import annotations

from protocol.ids import BatchId, BlockId, JournalId, NodeId, Seq, SessionId, VersionNumber
from protocol.messages.changes import AnyChange
from protocol.messages.nodes import Node
from protocol.messages.notices import Notices
from protocol.messages.texts import EntryName
from protocol.messages.wire import Message


class Batch(Message, frozen=True):
    """Changes ``first`` to ``first + len(changes) - 1`` of a journal, in order.

    A mount names its session: refused are those of one whose journal another session has taken since. ``id`` tells the
    batch from one of a killed mount that took its numbers.
    """

    journal: JournalId
    first: int
    changes: list[AnyChange]
    session: SessionId = SessionId(b"")
    id: BatchId = BatchId(b"")


class Answer(Message, tag_field="answer", frozen=True):
    """Base of the answers, one for each change of a batch."""


class Conflict(Message, frozen=True):
    """What did not find its place as its mount saw it was kept as this node, in this folder, under this name."""

    node: NodeId
    parent: NodeId
    name: EntryName


class Applied(Answer, tag="applied", frozen=True):
    """Done at ``seq``. ``nodes`` are those that it changed, as they are when the batch is answered: never older than
    the notices that go with the answer."""

    seq: Seq
    nodes: list[Node] = []
    conflict: Conflict | None = None
    """Of a create or link: where it is, if that is not where it was asked for. Of a commit: where the content is, if it
    lost, or came back elsewhere. Of a rename: what was under the new name and its mount had not seen."""
    merged: NodeId | None = None
    """Of a create with MERGE: the folder that is there; the id that the mount chose means nothing."""
    version: VersionNumber = VersionNumber(0)
    """Of a commit: the number of its content, of the file or of its conflict copy."""
    folder: NodeId | None = None
    """Of a create or link whose folder is gone: the one that stands for it."""


class Refused(Answer, tag="refused", frozen=True):
    """Nothing was changed. ``errno`` is a name such as EEXIST."""

    errno: str
    reason: str


class MissingBlocks(Answer, tag="missing", frozen=True):
    """The commit names blocks that the server lacks: put them, then send it again as a new change."""

    blocks: list[BlockId]


AnyAnswer = Applied | Refused | MissingBlocks


class BatchReply(Message, frozen=True):
    """Answers in order of the changes, and the notices that go first."""

    answers: list[AnyAnswer]
    notices: Notices


class JournalReply(Message, frozen=True):
    """The last batch that a journal's changes reached: what is to be sent again, and which number is next."""

    first_number: int
    last_number: int
    batch: BatchId = BatchId(b"")

    def number_for(self, batch: BatchId, first: int) -> int:
        """From which number on a batch goes that may have been sent from ``first`` on; by who has taken the journal.

        Another where it surely was not applied and its numbers stand for other changes: those of a batch that a killed
        mount had sent, or those of a server that was restored from a backup.
        """
        is_free = first == self.last_number + 1
        is_applied = first <= self.last_number and (not batch or not self.batch or batch == self.batch)
        return first if is_free or is_applied else self.last_number + 1
