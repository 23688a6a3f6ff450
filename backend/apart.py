"""The changes that this mount makes apart from its server: applied here, journaled, and answered.

Owns the local rows (``branch``) and what is kept in the journal, which ``Replay`` later sends. Each change is durable
before it is answered.

Nobody is asked any more when a change is sent: so a name that is taken by then keeps both files, a folder that is there
by then is the same folder, and a file that was edited meanwhile is not removed (``lenient``).

Invariants: the kept changes are a queue: what is appended while an earlier one is being sent goes behind it. A change
that could not be made durable is as if it had not been asked for.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Final

import msgspec

from backend.blockcache import BlockCache
from backend.branch import Branch
from backend.errors import DriveError, LocalFailure, Offline, Refused
from backend.journal import Journal
from backend.keys import Keys
from backend.ownblocks import OwnBlocks
from backend.records import Sending
from backend.replay import Replay, ReplayRemote
from backend.threads import Threads
from backend.tree import Tree
from protocol.ids import NO_VERSION, BatchId, NodeId, VersionNumber
from protocol.limits import MIB
from protocol.messages.batches import AnyAnswer, Applied
from protocol.messages.batches import Refused as RefusedAnswer
from protocol.messages.changes import AnyChange, Commit, Create, Link, OnClash, Rename, Replaced, Unlink
from protocol.messages.nodes import Kind

HELD_MAX_BYTES: Final = 32 * MIB
"""Of blocks that are kept inside their commits, and so in memory: beyond that they become files of their own."""

log = logging.getLogger(__name__)


class Apart:
    """See the head of this module."""

    def __init__(
        self,
        remote: ReplayRemote,
        tree: Tree,
        journal: Journal,
        own: OwnBlocks,
        cache: BlockCache,
        keys: Keys,
        threads: Threads,
    ) -> None:
        self.replay = Replay(remote, tree, journal, own, cache, keys, threads, self._durable)
        """Sends what is kept when the server answers again."""
        self._tree = tree
        self._journal = journal
        self._own = own
        self._threads = threads
        self._branch = Branch(tree)
        self._unsynced: int | None = None
        """From this record on, changes are being made durable."""

    def __len__(self) -> int:
        return self._journal.kept_count

    @property
    def is_settled(self) -> bool:
        """Whether an earlier mount left nothing: neither changes nor what it knew of those before them."""
        return len(self) == 0 and not self._journal.past()

    def nodes(self) -> set[NodeId]:
        """Nodes that something was done to here and is not at the server."""
        return self._branch.nodes

    def take_up(self) -> None:
        """Apply what an earlier mount did apart to what is cached, as far as that is known here.

        What is at the server already too: what is cached is from before it. But not what that did not take.
        """
        self.replay.take_up()
        for change, answer in self._journal.past():
            if isinstance(answer, Applied):
                self._show_again(change)
        for _, change in self._journal.kept():
            self._hold_blocks(change)
            self._show_again(change)
        self._branch.keep()

    def _show_again(self, change: AnyChange) -> None:
        try:
            self._branch.apply(change)
        except DriveError as error:
            log.info("a change that an earlier mount kept can't be shown here: %s", error)

    async def keep(self, changes: Sequence[AnyChange]) -> list[AnyAnswer | DriveError]:
        """Apply changes here and make them durable; returns each one's outcome. One call at a time."""
        outcomes: list[AnyAnswer | DriveError] = []
        kept: dict[int, AnyChange] = {}
        if (full := await self._without_reserve()) is not None:
            return [full for _ in changes]
        began = self._branch.mark()
        for change in changes:
            mark = self._branch.mark()
            outcome: AnyAnswer | DriveError
            try:
                lenient = await self._with_few_bytes(self._lenient(change))
                outcome = self._applied_here(lenient)
                if isinstance(outcome, Applied):
                    number = self._journal.keep(lenient)
                    kept[number] = lenient
                    self._unsynced = self._unsynced or number
            except LocalFailure as error:
                self._branch.undo(mark)
                outcome = error
            outcomes.append(outcome)
        try:
            if kept:
                await self._threads.run(self._journal.sync)
        except LocalFailure as error:
            self._branch.undo(began)
            self._journal.give_up(list(kept))
            return [error if isinstance(outcome, Applied) else outcome for outcome in outcomes]
        finally:
            self._unsynced = None
        self._branch.keep()
        for change in kept.values():
            self._hold_blocks(change)
        return outcomes

    async def adopt(self, first: int, batch: BatchId, changes: Sequence[AnyChange]) -> list[AnyAnswer | DriveError]:
        """The same for a batch that may have reached the server under numbers from ``first`` on.

        Raises LocalFailure, and has adopted nothing: its changes may be done or not, and nobody must be told either.
        """
        outcomes: list[AnyAnswer | DriveError] = []
        kept: dict[int, AnyChange] = {}
        if (full := await self._without_reserve()) is not None:
            raise full
        began = self._branch.mark()
        try:
            for change in changes:
                lenient = self._lenient(change)  # By what the changes before it did.
                outcomes.append(self._applied_here(lenient))
                kept[self._journal.keep(lenient)] = lenient
            self._journal.send(Sending(first, list(kept), adopted=True, batch=batch))
            await self._threads.run(self._journal.sync)
        except LocalFailure:
            self._branch.undo(began)
            self._journal.give_up(list(kept))
            raise
        self._branch.keep()
        for change in kept.values():
            self._hold_blocks(change)
        return outcomes

    def _applied_here(self, change: AnyChange) -> AnyAnswer | DriveError:
        version = VersionNumber(change.base + 1) if isinstance(change, Commit) else NO_VERSION
        try:
            return Applied(self._tree.applied, self._branch.apply(change), version=version)
        except Offline as error:
            return error
        except Refused as error:
            return RefusedAnswer(error.name, str(error))

    async def _with_few_bytes(self, change: AnyChange) -> AnyChange:
        """The change, its blocks being files of their own where much is in memory already. Raises LocalFailure."""
        if not isinstance(change, Commit) or not change.blocks or self._own.held_bytes < HELD_MAX_BYTES:
            return change
        for block in change.blocks:
            await self._threads.run(partial(self._own.put, block.id, block.sealed))
        return msgspec.structs.replace(change, blocks=[])

    async def _without_reserve(self) -> LocalFailure | None:
        """Why nothing more can be kept here, where there would be no room to send it."""
        if not self._journal.has_reserve:
            try:
                await self._threads.run(self._journal.hold_reserve)
            except LocalFailure as error:
                return error
        return None

    def _hold_blocks(self, change: AnyChange) -> None:
        """What travels in a commit can be read from the journal."""
        if isinstance(change, Commit):
            for block in change.blocks:
                self._own.hold(block.id, block.sealed)

    def _lenient(self, change: AnyChange) -> AnyChange:
        match change:
            case Create():
                on_clash = OnClash.MERGE if change.kind is Kind.FOLDER else OnClash.KEEP_BOTH
                return msgspec.structs.replace(change, on_clash=on_clash)
            case Link():
                return msgspec.structs.replace(change, on_clash=OnClash.KEEP_BOTH)
            case Rename(replaced=Replaced() as seen):
                row = self._tree.node(seen.node)
                others = 0 if row is None or row.kind is Kind.FOLDER else max(0, row.nlink - 1)
                return msgspec.structs.replace(change, replaced=msgspec.structs.replace(seen, others=others))
            case Unlink():
                row = self._tree.node(change.node)
                if row is None or row.kind is not Kind.FILE:
                    return change
                return msgspec.structs.replace(change, version=row.version, others=max(0, row.nlink - 1))
            case _:
                return change

    def _durable(self, most: int) -> Iterator[tuple[int, AnyChange]]:
        """See ``Replay``."""
        for number, change in self._journal.kept(most):
            if self._unsynced is not None and number >= self._unsynced:
                return
            yield number, change

    def settle(self) -> set[NodeId]:
        """All is at the server, whose word goes: drop the local rows; returns their nodes. No checkpoint."""
        touched = set(self._branch.nodes)
        self._tree.drop(touched, self._branch.names)
        self._branch.clear()
        self._own.clear()
        self.replay.settle()
        self._journal.settle()
        return touched
