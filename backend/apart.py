"""The changes that this mount made apart from its server: applied here, journaled, and later sent in order.

Owns the local rows (``branch``), the kept changes of the journal, and what became of them (``protocol.diversions``).
Each change is durable before it is answered. Sent, they are ordinary batches, so other mounts see prefixes of what
was done here; a batch whose answer was lost, across a restart too, is sent again as it was.

Nobody is asked any more when a change is sent: so a name that is taken by then keeps both files, a folder that is there
by then is the same folder, and a file that was edited meanwhile is not removed (``lenient``).

Invariant: the kept changes are a queue. What is appended while an earlier one is being sent goes behind it.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import partial
from typing import Final, Protocol

import msgspec

from backend.blockcache import BlockCache
from backend.branch import Branch
from backend.errors import Corrupt, DriveError, LocalFailure, Offline, Refused
from backend.journal import Journal
from backend.ownblocks import OwnBlocks
from backend.threads import Threads
from backend.tree import Tree
from protocol import manifest as manifests
from protocol.diversions import Diversions
from protocol.ids import BlockId, JournalId, NodeId
from protocol.limits import BATCH_MAX_INLINE_BYTES, MISSING_QUERY_BLOCKS
from protocol.messages import (
    AnyAnswer,
    AnyChange,
    Applied,
    Batch,
    BatchReply,
    Commit,
    Create,
    JournalReply,
    Kind,
    Link,
    MissingBlocks,
    Node,
    OnClash,
    Unlink,
)
from protocol.messages import Refused as RefusedAnswer

REPLAY_BATCH: Final = 64
"""Changes sent at once: what is lost with a lost answer, and how soon others see the first of many."""

log = logging.getLogger(__name__)


class ReplayRemote(Protocol):
    """The server, for what was kept: ``backend.remote.WorkspaceRemote`` on a caller that is never cut."""

    async def journal(self, journal: JournalId) -> JournalReply:
        """The last batch that the server applied."""
        ...

    async def replay(self, batch: Batch) -> BatchReply:
        """Numbered changes, outside of any session."""
        ...

    async def missing(self, ids: Sequence[BlockId]) -> list[BlockId]:
        """Those that the server lacks."""
        ...

    async def put(self, block: BlockId, sealed: bytes | bytearray) -> None:
        """Store."""
        ...


class Apart:
    """See the head of this module."""

    def __init__(
        self,
        remote: ReplayRemote,
        tree: Tree,
        journal: Journal,
        own: OwnBlocks,
        cache: BlockCache,
        threads: Threads,
    ) -> None:
        self.moved: dict[NodeId, Node] = {}
        """Files whose content, written here, became a conflict copy: that copy's row, by the node that it was for."""
        self._remote = remote
        self._tree = tree
        self._journal = journal
        self._own = own
        self._cache = cache
        self._threads = threads
        self._branch = Branch(tree)
        self._diversions = Diversions()
        self._followed: dict[int, AnyChange] = {}
        """Kept changes as they have to be sent, by their record."""
        self._wanted: set[BlockId] = set()
        """Blocks that the server turned out to lack."""
        self._adopted: dict[int, AnyChange] = {}
        """Changes that may have been sent before the mount parted, as they were sent."""

    def __len__(self) -> int:
        return len(self._journal.kept())

    def nodes(self) -> set[NodeId]:
        """Nodes that something was done to here and is not at the server."""
        return self._branch.nodes

    # ── while apart ──

    def take_up(self) -> None:
        """Apply what an earlier mount kept to what is cached, as far as that is known here."""
        for change, answer in self._journal.past():
            self._diversions.follow(change)
            self._diversions.learn(change, answer)
        for _, change in self._journal.kept():
            self._hold_blocks(change)
            try:
                self._branch.apply(change)
            except DriveError as error:
                log.info("a change that an earlier mount kept can't be shown here: %s", error)

    async def keep(self, changes: Sequence[AnyChange]) -> list[AnyAnswer | DriveError]:
        """Apply changes here and make them durable; returns each one's outcome."""
        outcomes: list[AnyAnswer | DriveError] = []
        for change in changes:
            kept = self._lenient(change)
            outcomes.append(self._applied_here(kept))
            if isinstance(outcomes[-1], Applied):
                self._hold_blocks(kept)
                try:
                    self._journal.keep(kept)
                except LocalFailure as error:
                    self._branch_is_wrong()
                    outcomes[-1] = error
        try:
            await self._threads.run(self._journal.sync)
        except LocalFailure as error:
            return [error if isinstance(outcome, Applied) else outcome for outcome in outcomes]
        return outcomes

    async def adopt(self, first: int, changes: Sequence[AnyChange]) -> list[AnyAnswer | DriveError]:
        """The same for a batch that may have reached the server under numbers from ``first`` on."""
        kept = [self._lenient(change) for change in changes]
        numbers = [self._journal.keep(change) for change in kept]
        for change in kept:
            self._hold_blocks(change)
        self._adopted = dict(zip(numbers, changes, strict=True))
        self._journal.send(first, numbers)
        await self._threads.run(self._journal.sync)
        return [self._applied_here(change) for change in kept]

    def _applied_here(self, change: AnyChange) -> AnyAnswer | DriveError:
        try:
            return Applied(self._tree.applied, self._branch.apply(change))
        except Offline as error:
            return error
        except Refused as error:
            return RefusedAnswer(error.name, str(error))

    def _hold_blocks(self, change: AnyChange) -> None:
        """What travels in a commit can be read from the journal."""
        if isinstance(change, Commit):
            for block in change.blocks:
                self._own.hold(block.id, block.sealed)

    def _branch_is_wrong(self) -> None:
        """What was applied could not be journaled: what is cached of it is not true."""
        self._tree.drop(self._branch.nodes, self._branch.names)

    def _lenient(self, change: AnyChange) -> AnyChange:
        match change:
            case Create():
                on_clash = OnClash.MERGE if change.kind is Kind.FOLDER else OnClash.KEEP_BOTH
                return msgspec.structs.replace(change, on_clash=on_clash)
            case Link():
                return msgspec.structs.replace(change, on_clash=OnClash.KEEP_BOTH)
            case Unlink():
                row = self._tree.node(change.node)
                if row is None or row.kind is not Kind.FILE:
                    return change
                return msgspec.structs.replace(change, version=row.version, others=row.nlink - 1)
            case _:
                return change

    # ── when the server answers again ──

    async def send_all(self) -> int:
        """Send what is kept until nothing is left; returns the last number. Raises DriveError: try again later."""
        last = (await self._remote.journal(self._journal.id)).last_number
        while kept := self._journal.kept():
            sending = self._journal.sending
            if sending is not None:
                first, numbers = sending.first, sending.numbers
            else:
                first, numbers = last + 1, self._next_batch(kept)
            changes = dict(kept)
            batch = [self._as_sent(number, changes[number]) for number in numbers]
            await self._put_blocks(batch)
            if sending is None:
                self._journal.send(first, numbers)
                await self._threads.run(self._journal.sync)
            reply = await self._remote.replay(Batch(self._journal.id, first, batch))
            last = first + len(batch) - 1
            await self._take_answers(numbers, changes, reply.answers)
        return last

    def _next_batch(self, kept: Sequence[tuple[int, AnyChange]]) -> list[int]:
        numbers: list[int] = []
        size_bytes = 0
        for number, change in kept[:REPLAY_BATCH]:
            if isinstance(change, Commit):
                size_bytes += len(change.manifest) + sum(len(block.sealed) for block in change.blocks)
                if numbers and size_bytes > BATCH_MAX_INLINE_BYTES:
                    break
            numbers.append(number)
        return numbers

    def _as_sent(self, number: int, change: AnyChange) -> AnyChange:
        if number not in self._followed:
            self._followed[number] = self._diversions.follow(change)
        return self._followed[number]

    async def _put_blocks(self, batch: Sequence[AnyChange]) -> None:
        """The blocks that only this device has, before the commits that name them."""
        named = {
            block: None
            for change in batch
            if isinstance(change, Commit)
            for block in manifests.decode(change.manifest).blocks()
            if (block in self._own and all(block != inline.id for inline in change.blocks)) or block in self._wanted
        }
        ids = list(named)
        for at in range(0, len(ids), MISSING_QUERY_BLOCKS):
            for block in await self._remote.missing(ids[at : at + MISSING_QUERY_BLOCKS]):
                await self._remote.put(block, await self._threads.run(partial(self._sealed, block)))
        self._wanted.difference_update(ids)

    def _sealed(self, block: BlockId) -> bytes:
        if block in self._own:
            return self._own.get(block)
        if (sealed := self._cache.get(block)) is None:
            raise Corrupt(f"the server has lost block {block.hex()}, and this device doesn't have it either")
        return sealed

    async def _take_answers(
        self, numbers: Sequence[int], changes: dict[int, AnyChange], answers: Sequence[AnyAnswer]
    ) -> None:
        done: list[tuple[int, AnyAnswer]] = []
        for number, answer in zip(numbers, answers, strict=True):
            change = changes[number]
            if isinstance(answer, MissingBlocks):
                self._wanted.update(answer.blocks)
                # It is sent again, behind these; and then it follows what they were answered.
                self._followed.pop(number, None)
                continue
            if isinstance(answer, RefusedAnswer):
                if self._adopted.pop(number, change) != change:
                    continue  # It was sent as one who asks would send it; now it is sent as kept.
                log.warning("what was done here while the server was away can't be done any more: %s", answer.reason)
            self._diversions.learn(change, answer)
            if isinstance(change, Commit) and isinstance(answer, Applied):
                self._note_copy(change, answer)
            done.append((number, _without_rows(answer)))
        if done:
            self._journal.answered([number for number, _ in done], [answer for _, answer in done])
        else:
            self._journal.send(0, [])  # Nothing of it is done, and its numbers are used up.
        await self._threads.run(self._journal.sync)

    def _note_copy(self, change: Commit, answer: Applied) -> None:
        copy = None if answer.conflict is None else answer.conflict.node
        at = self.moved.get(change.node)
        for row in answer.nodes:
            if row.id == copy or (at is not None and row.id == at.id):
                self.moved[change.node] = row

    def settle(self) -> set[NodeId]:
        """All is at the server, whose word goes: drop the local rows; returns their nodes. No checkpoint."""
        touched = set(self._branch.nodes)
        self._tree.drop(touched, self._branch.names)
        self._branch.clear()
        self._own.clear()
        self._diversions = Diversions()
        self._followed.clear()
        self._adopted.clear()
        self.moved = {}
        self._journal.settle()
        return touched


def _without_rows(answer: AnyAnswer) -> AnyAnswer:
    return msgspec.structs.replace(answer, nodes=[]) if isinstance(answer, Applied) else answer
