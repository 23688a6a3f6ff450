"""Batches of numbered changes: applied in order, each once, each telling everybody what it outdated.

Invariants: a change that a rule refuses changes nothing and takes no number of the change log; a change that changed
something takes the next one. A batch that comes again is answered with the answers that it got, whenever that is: they
are kept as long as the device. What is kept names the nodes of an answer; their rows are filled in as they are when it
is given, which is never older than the notices that go with it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import msgspec

from protocol.diversions import Diversions
from protocol.ids import NOBODY, BatchId, BlockId, DeviceId, JournalId, NodeId, OriginId, Seq, WorkspaceId, origin_of
from protocol.messages.batches import AnyAnswer, Applied, Batch, BatchReply, MissingBlocks, Refused
from protocol.messages.changes import (
    AnyChange,
    Commit,
    Create,
    Link,
    RemoveXattr,
    Rename,
    Resolve,
    Rmdir,
    SetAttributes,
    SetXattr,
    Unlink,
)
from protocol.messages.nodes import Node
from protocol.messages.wire import out_of_range
from server.metadata import feed, tree
from server.metadata.accounts import Caller
from server.metadata.attributes import remove_xattr, set_attributes, set_xattr
from server.metadata.contents import Lacking, commit
from server.metadata.editing import AS_ASKED, Edit, Outcome, Rule
from server.metadata.entries import create, link, rmdir, unlink
from server.metadata.rename import rename
from server.metadata.resolving import resolve
from server.metadata.store import Transaction
from server.metadata.texts import texts_of


class OutOfOrder(Exception):
    """The batch's numbers don't follow those applied. ``last_number`` is the journal's."""

    def __init__(self, reason: str, last_number: int) -> None:
        super().__init__(reason)
        self.last_number = last_number


class Done(NamedTuple):
    """A change that was applied."""

    seq: Seq
    """What it is numbered; where it changed nothing, the head."""
    outcome: Outcome
    nodes: list[NodeId]
    """Whose rows its author wants to know."""


class _Kept(msgspec.Struct, array_like=True, frozen=True):
    """An answer as ``journals.answers`` has it: without nodes, which are named."""

    answer: AnyAnswer
    nodes: list[NodeId] = []


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[_Kept]).decode


def apply_batch(
    tx: Transaction,
    workspace: WorkspaceId,
    caller: Caller,
    batch: Batch,
    verified: Mapping[BlockId, int],
    applied: Seq | None,
    now_ns: int,
) -> BatchReply:
    """Apply a batch, or repeat its answers; raises OutOfOrder, BadManifest, OverQuota: then nothing was applied.

    ``verified`` has the plain length of each block that travels in the batch: they have been opened. The reply carries
    the news after ``applied``, as ``feed.news`` does.
    """
    found = _found(tx, workspace, caller, batch)
    if found.is_next(batch):
        kept = _apply_all(tx, workspace, caller, batch, verified, now_ns)
        tx.execute(
            "UPDATE journals SET last_number = ?, first_number = ?, answers = ?, batch = ?"
            " WHERE workspace = ? AND device = ? AND journal = ?",
            (
                batch.first + len(batch.changes) - 1,
                batch.first,
                _encode(kept),
                batch.id,
                *_key(workspace, caller, batch),
            ),
        )
    else:
        kept = found.answers_to(batch)
    return BatchReply(_with_nodes(tx, workspace, kept), feed.news(tx, workspace, applied))


def repeated(
    tx: Transaction, workspace: WorkspaceId, caller: Caller, batch: Batch, applied: Seq | None
) -> BatchReply | None:
    """The reply to a batch that was applied before, whatever its caller may do by now; None where it would be new.

    Raises OutOfOrder.
    """
    found = _found(tx, workspace, caller, batch)
    if found.is_next(batch):
        return None
    return BatchReply(_with_nodes(tx, workspace, found.answers_to(batch)), feed.news(tx, workspace, applied))


class _LastBatch(NamedTuple):
    """The last batch of a journal."""

    last: int
    first: int
    answers: bytes
    batch: BatchId

    def is_next(self, batch: Batch) -> bool:
        return batch.first == self.last + 1

    def answers_to(self, batch: Batch) -> list[_Kept]:
        """Where ``batch`` is this one; raises OutOfOrder."""
        if batch.id and self.batch and batch.id != self.batch:
            raise OutOfOrder("an earlier mount's changes have these numbers", self.last)
        if (batch.first, batch.first + len(batch.changes) - 1) != (self.first, self.last):
            reason = f"the next change of this journal is number {self.last + 1}, not {batch.first}"
            raise OutOfOrder(reason, self.last)
        return _decode(self.answers)


def _key(workspace: WorkspaceId, caller: Caller, batch: Batch) -> tuple[WorkspaceId, DeviceId, JournalId]:
    return workspace, caller.device, batch.journal


def _found(tx: Transaction, workspace: WorkspaceId, caller: Caller, batch: Batch) -> _LastBatch:
    """The last batch of this one's journal; raises OutOfOrder where its sender doesn't send for that."""
    row = tx.one(
        "SELECT last_number, first_number, answers, batch, session FROM journals"
        " WHERE workspace = ? AND device = ? AND journal = ?",
        _key(workspace, caller, batch),
    )
    if row is None:
        raise OutOfOrder("this journal has not joined the workspace", 0)
    *found, session = row
    if batch.session and session is not None and batch.session != session:
        raise OutOfOrder("a later mount has taken this journal", found[0])
    return _LastBatch(*found)


def _with_nodes(tx: Transaction, workspace: WorkspaceId, kept: Sequence[_Kept]) -> list[AnyAnswer]:
    """The answers with their nodes as they are now."""
    rows: dict[NodeId, Node | None] = {}
    answers: list[AnyAnswer] = []
    for one in kept:
        if not isinstance(one.answer, Applied):
            answers.append(one.answer)
            continue
        for node in one.nodes:
            if node not in rows:
                rows[node] = tree.node(tx, workspace, node)
        nodes = [row for node in one.nodes if (row := rows[node]) is not None]
        answers.append(msgspec.structs.replace(one.answer, nodes=nodes))
    return answers


def _apply_all(
    tx: Transaction,
    workspace: WorkspaceId,
    caller: Caller,
    batch: Batch,
    verified: Mapping[BlockId, int],
    now_ns: int,
) -> list[_Kept]:
    """The changes in order. Later ones may build on what earlier ones were expected to do."""
    diversions = Diversions()
    kept: list[_Kept] = []
    for change in batch.changes:
        done = _apply(tx, workspace, caller, diversions.follow(change), batch, verified, now_ns)
        diversions.learn(change, done.answer)
        kept.append(done)
    return kept


def _apply(
    tx: Transaction,
    workspace: WorkspaceId,
    caller: Caller,
    change: AnyChange,
    batch: Batch,
    verified: Mapping[BlockId, int],
    now_ns: int,
) -> _Kept:
    # A person resolves a conflict beside the file system: the mount that sends it has to be told like the others.
    origin = NOBODY if isinstance(change, Resolve) else origin_of(batch.session)
    try:
        done = tx.attempt(lambda: apply_one(tx, workspace, caller, change, verified, now_ns, origin))
    except Rule as rule:
        return _Kept(Refused(rule.errno, str(rule)))
    except Lacking as lacking:
        return _Kept(MissingBlocks(lacking.missing))
    return _Kept(Applied(done.seq, [], *done.outcome), done.nodes)


def apply_one(
    tx: Transaction,
    workspace: WorkspaceId,
    caller: Caller,
    change: AnyChange,
    verified: Mapping[BlockId, int],
    now_ns: int,
    origin: OriginId,
) -> Done:
    """Apply and log a change; raises Rule, Lacking, OverQuota and BadManifest: then the transaction is of no use.

    ``origin`` is the session whose mount needs no news of it, NOBODY where there is none.
    """
    what = str(change.__struct_config__.tag)
    done = logged(tx, workspace, caller, what, lambda edit: _dispatch(edit, change, verified), now_ns, origin)
    return done if done.nodes else done._replace(nodes=[change.node])


def logged(
    tx: Transaction,
    workspace: WorkspaceId,
    caller: Caller,
    what: str,
    work: Callable[[Edit], Outcome],
    now_ns: int,
    origin: OriginId,
) -> Done:
    """Let ``work`` change the tree, and log it as one change, called ``what``; raises what ``work`` raises."""
    head = tree.head(tx, workspace)
    edit = Edit(tx, workspace, caller, Seq(head + 1), now_ns, texts_of(tx, workspace))
    outcome = work(edit)
    if edit.nodes:
        feed.append(tx, workspace, caller.device, edit.notice(what, origin), edit.more_nodes, now_ns)
    return Done(edit.seq if edit.nodes else head, outcome, _named(edit, outcome))


def _named(edit: Edit, outcome: Outcome) -> list[NodeId]:
    """The nodes whose rows an answer carries."""
    also = {} if outcome.merged is None else {outcome.merged: None}
    return list(dict.fromkeys(edit.nodes) | also)


def _dispatch(edit: Edit, change: AnyChange, verified: Mapping[BlockId, int]) -> Outcome:
    if (number := out_of_range(change)) is not None:
        raise Rule("EINVAL", f"{number} is out of range")
    match change:
        case Commit():
            return commit(edit, change, verified)
        case Create():
            return create(edit, change)
        case Rename():
            return rename(edit, change)
        case SetAttributes():
            set_attributes(edit, change)
        case SetXattr():
            set_xattr(edit, change)
        case RemoveXattr():
            remove_xattr(edit, change)
        case Link():
            return link(edit, change)
        case Unlink():
            unlink(edit, change)
        case Rmdir():
            rmdir(edit, change)
        case Resolve():
            resolve(edit, change)
    return AS_ASKED
