"""The changes that this mount made apart from its server: applied here, journaled, and later sent in order.

Owns the local rows (``branch``), the kept changes of the journal, and what became of them (``protocol.diversions``).
Each change is durable before it is answered. Sent, they are ordinary batches, so other mounts see prefixes of what
was done here; a batch whose answer was lost, across a restart too, is sent again as it was.

Nobody is asked any more when a change is sent: so a name that is taken by then keeps both files, a folder that is there
by then is the same folder, and a file that was edited meanwhile is not removed (``lenient``).

Invariants: the kept changes are a queue: what is appended while an earlier one is being sent goes behind it. A change
that could not be made durable is as if it had not been asked for. A kept change leaves the queue when the server has
answered it, and else only when it can never be sent (its bytes are damaged on this disk): that is an error in the log.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import partial
from typing import Final, Protocol

import msgspec
import trio

from backend.blockcache import BlockCache
from backend.branch import Branch
from backend.confirmed import Confirmed
from backend.errors import DriveError, LocalFailure, NotFound, Offline, Refused
from backend.journal import Journal
from backend.ownblocks import OwnBlocks
from backend.records import Sending
from backend.reserve import FULL
from backend.threads import Threads
from backend.tree import Tree
from backend.upload import PUTS
from protocol import manifest as manifests
from protocol.diversions import Diversions
from protocol.ids import NO_VERSION, ROOT_NODE, BatchId, BlockId, JournalId, NodeId, Seq, VersionNumber, new_batch_id
from protocol.keys import WorkspaceKeys
from protocol.limits import BATCH_MAX_INLINE_BYTES, MIB, MISSING_QUERY_BLOCKS
from protocol.messages.batches import AnyAnswer, Applied, Batch, BatchReply, JournalReply, MissingBlocks
from protocol.messages.batches import Refused as RefusedAnswer
from protocol.messages.changes import AnyChange, Commit, Create, Link, OnClash, Rename, Replaced, Unlink
from protocol.messages.nodes import Kind, Node
from protocol.messages.sessions import JoinReply
from protocol.sealing import CorruptBlock, unseal

REPLAY_BATCH: Final = 64
"""Changes sent at once: what is lost with a lost answer, and how soon others see the first of many."""

HELD_MAX_BYTES: Final = 32 * MIB
"""Of blocks that are kept inside their commits, and so in memory: beyond that they become files of their own."""

CACHE_GIVEN_BYTES: Final = 16 * MIB
"""Of the block cache, given up each time that what is kept can't be sent because the disk is full."""

log = logging.getLogger(__name__)


class ReplayRemote(Protocol):
    """The server, for what was kept: ``backend.remote.WorkspaceRemote`` on a caller that is never cut."""

    async def take_journal(self, journal: JournalId) -> JournalReply:
        """The last batch that the server applied; no earlier mount's comes after it."""
        ...

    async def join(self, journal: JournalId, after: Seq | None) -> JoinReply:
        """Make the journal known."""
        ...

    async def leave(self) -> None:
        """End the session that came with that."""
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
        keys: WorkspaceKeys,
        threads: Threads,
    ) -> None:
        self.is_sending = False
        """Whether the server answers, and takes what is kept."""
        self.moved: dict[NodeId, tuple[VersionNumber, Node]] = {}
        """Files whose content, written here, became a conflict copy: which version it is here, and the copy's row.

        By the node that it was for.
        """
        self.stranded: set[NodeId] = set()
        """Files of which a version that was written here is none of the server's."""
        self._remote = remote
        self._tree = tree
        self._journal = journal
        self._own = own
        self._cache = cache
        self._keys = keys
        self._threads = threads
        self._branch = Branch(tree)
        self._confirmed = Confirmed()
        self._diversions = Diversions()
        self._followed: dict[int, AnyChange] = {}
        """Kept changes as they have to be sent, by their record."""
        self._unsynced: int | None = None
        """From this record on, changes are being made durable: they aren't sent before."""
        self._rescued: set[NodeId] = set()
        """Files that were made anew, of which the server knew nothing."""
        self._alone = 0
        """So many of the next changes go one by one: together they were refused."""

    def __len__(self) -> int:
        return self._journal.kept_count

    @property
    def is_settled(self) -> bool:
        """Whether an earlier mount left nothing: neither changes nor what it knew of those before them."""
        return len(self) == 0 and not self._journal.past()

    def nodes(self) -> set[NodeId]:
        """Nodes that something was done to here and is not at the server."""
        return self._branch.nodes

    # ── while apart ──

    def take_up(self) -> None:
        """Apply what an earlier mount did apart to what is cached, as far as that is known here.

        What is at the server already too: what is cached is from before it.
        """
        for change, answer in self._journal.past():
            self._diversions.follow(change)
            self._diversions.learn(change, answer)
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
        if (full := await self._without_reserve()) is not None:
            raise full
        outcomes: list[AnyAnswer | DriveError] = []
        kept: dict[int, AnyChange] = {}
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

    # ── when the server answers again ──

    async def send_all(self) -> int:
        """Send what is kept until nothing is left; returns the last number. Raises DriveError: try again later."""
        taken = await self._remote.take_journal(self._journal.id)
        last = taken.last_number
        self.is_sending = True
        try:
            if last == 0 and len(self) > 0:  # It may never have joined, at this server or in its backup.
                await self._remote.join(self._journal.id, None)
                await self._remote.leave()
            sending = self._journal.sending
            if sending is not None and taken.number_for(sending.batch, sending.first) != sending.first:
                log.warning("the server has other changes under the numbers of those that were being sent")
                self._journal.send_anew()
            while self._journal.sending is not None or self._next_batch():
                last = await self._send_batch(last)
        except LocalFailure as error:
            if error.errno in FULL:
                await self._threads.run(partial(self._cache.shrink, CACHE_GIVEN_BYTES))
            raise
        finally:
            self.is_sending = False
        return last

    async def _send_batch(self, last: int) -> int:
        """Send the first of what is kept, as it was sent before where it may have been; returns the last number."""
        again = self._journal.sending
        sending = again or Sending(last + 1, self._next_batch(), batch=new_batch_id())
        self._alone = max(0, self._alone - 1)
        changes = dict(zip(sending.numbers, self._journal.kept_as(sending.numbers), strict=True))
        batch = [self._as_sent(number, change) for number, change in changes.items()]
        lost = await self._put_blocks(batch)
        if again is None:
            unsendable = [number for number, change in zip(changes, batch, strict=True) if _names_any(change, lost)]
            if unsendable:
                await self._give_up(unsendable, "blocks of it are damaged on this device, and the server lacks them")
                return last
            self._journal.send(sending)
        await self._threads.run(self._journal.sync)  # Of one that is sent again, too: its sync may have failed.
        try:
            reply = await self._remote.replay(Batch(self._journal.id, sending.first, batch, id=sending.batch))
        except NotFound:
            raise
        except Refused as error:
            # Refused as a whole: nothing of it was applied, its numbers are free.
            self._journal.send_anew()
            self._alone = len(batch)
            if len(batch) == 1:
                await self._give_up(sending.numbers, str(error))
            return last
        self._confirmed.learn(batch, reply.answers)
        await self._take_answers(sending, changes, reply.answers)
        return sending.first + len(batch) - 1

    async def _give_up(self, numbers: Sequence[int], why: str) -> None:
        """These can never be sent."""
        for change in self._journal.kept_as(numbers):
            self._strand(change)
            path = self._tree.path_of(change.node)
            log.error("%s: a change that was made while the server was away can't be sent: %s", path, why)
        self._journal.answered(list(numbers), [RefusedAnswer("EIO", why) for _ in numbers])
        await self._threads.run(self._journal.sync)

    def _next_batch(self) -> list[int]:
        numbers: list[int] = []
        size_bytes = 0
        for number, change in self._journal.kept(1 if self._alone else REPLAY_BATCH):
            if self._unsynced is not None and number >= self._unsynced:
                break
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

    async def _put_blocks(self, batch: Sequence[AnyChange]) -> set[BlockId]:
        """Let the server have all blocks of these commits, before they come; returns those that nobody has.

        It is asked about each block: a commit that it answered with missing ones would be overtaken by later changes.
        """
        lost: set[BlockId] = set()
        ids = list(dict.fromkeys(block for change in batch for block in _blocks_of(change)))
        for at in range(0, len(ids), MISSING_QUERY_BLOCKS):
            lost |= await self._put_all(await self._remote.missing(ids[at : at + MISSING_QUERY_BLOCKS]))
        return lost

    async def _put_all(self, missing: Sequence[BlockId]) -> set[BlockId]:
        """Put these, several at once; returns those that this device doesn't have. Raises the first trouble."""
        lost: set[BlockId] = set()
        troubles: list[DriveError] = []
        places = trio.CapacityLimiter(PUTS)

        async def put(block: BlockId) -> None:
            try:
                async with places:
                    sealed = await self._threads.run(partial(self._sealed, block))
                    if sealed is None:
                        lost.add(block)
                    else:
                        await self._remote.put(block, sealed)
            except DriveError as error:
                troubles.append(error)
                nursery.cancel_scope.cancel()

        async with trio.open_nursery() as nursery:
            for block in missing:
                nursery.start_soon(put, block)
        if troubles:
            raise troubles[0]
        return lost

    def _sealed(self, block: BlockId) -> bytes | None:
        """A block that this device has, undamaged."""
        for source in (self._own.find, self._cache.get):
            if (sealed := source(block)) is not None:
                try:
                    unseal(self._keys, block, sealed)
                except CorruptBlock as error:
                    log.error("block %s on this device is damaged: %s", block.hex(), error)
                else:
                    return sealed
        return None

    async def _take_answers(
        self, sending: Sending, changes: dict[int, AnyChange], answers: Sequence[AnyAnswer]
    ) -> None:
        done: dict[int, AnyAnswer] = {}
        for (number, change), answer in zip(changes.items(), answers, strict=True):
            if isinstance(answer, MissingBlocks) or (isinstance(answer, RefusedAnswer) and sending.adopted):
                continue  # It is sent again: with its blocks, or as it is kept, and not as one who asks would send it.
            if isinstance(answer, RefusedAnswer):
                self._note_refusal(change, answer)
            self._diversions.learn(change, answer)
            if isinstance(change, Commit) and isinstance(answer, Applied):
                self._note_copy(change, answer)
            done[number] = _without_rows(answer)
            self._followed.pop(number, None)
        if done:
            self._journal.answered(list(done), list(done.values()))
        else:
            self._journal.send_anew()  # Nothing of it is done, and its numbers are used up.
        await self._threads.run(self._journal.sync)

    def _strand(self, change: AnyChange) -> None:
        if isinstance(change, Commit):
            self.stranded.add(change.node)

    def _note_refusal(self, change: AnyChange, answer: RefusedAnswer) -> None:
        """It can't be done any more. Content is never given up for that: its file is made anew, in the root."""
        self._strand(change)
        path = self._tree.path_of(change.node)
        if not isinstance(change, Commit) or answer.errno != "ENOENT" or change.node in self._rescued:
            log.warning("%s: what was done while the server was away can't be done: %s", path, answer.reason)
            return
        log.warning("%s: the server knows nothing of this file: it is put into the root folder", path)
        self._rescued.add(change.node)
        row, place = self._tree.node(change.node), self._tree.place_of(change.node)
        self._journal.keep(
            Create(
                time_ns=change.time_ns,
                parent=ROOT_NODE,
                name=b"recovered %d" % change.node if place is None else place[1],
                node=change.node,
                kind=Kind.FILE,
                mode=0o600 if row is None else row.mode,
                uid=0 if row is None else row.uid,
                gid=0 if row is None else row.gid,
                on_clash=OnClash.KEEP_BOTH,
            )
        )
        self._journal.keep(msgspec.structs.replace(change, base=NO_VERSION))

    def _note_copy(self, change: Commit, answer: Applied) -> None:
        copy = None if answer.conflict is None else answer.conflict.node
        at = self.moved.get(change.node)
        for row in answer.nodes:
            if row.id == copy or (at is not None and row.id == at[1].id):
                self.moved[change.node] = (VersionNumber(change.base + 1), row)

    def settle(self) -> set[NodeId]:
        """All is at the server, whose word goes: drop the local rows; returns their nodes. No checkpoint.

        What its answers said of these nodes and names is known from now on.
        """
        touched = set(self._branch.nodes)
        self._tree.drop(touched, self._branch.names)
        self._confirmed.tell(self._tree)
        self._branch.clear()
        self._own.clear()
        self._diversions = Diversions()
        self._followed.clear()
        self._rescued.clear()
        self.moved = {}
        self.stranded = set()
        self._journal.settle()
        return touched


def _blocks_of(change: AnyChange) -> list[BlockId]:
    """Those of a commit that don't travel in it."""
    if not isinstance(change, Commit):
        return []
    inline = {block.id for block in change.blocks}
    return [block for block in manifests.decode(change.manifest).blocks() if block not in inline]


def _names_any(change: AnyChange, blocks: set[BlockId]) -> bool:
    return not blocks.isdisjoint(_blocks_of(change))


def _without_rows(answer: AnyAnswer) -> AnyAnswer:
    return msgspec.structs.replace(answer, nodes=[]) if isinstance(answer, Applied) else answer
