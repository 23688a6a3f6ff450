"""The changes that were kept while the server was away, on their way to it when it answers again.

Owns how far they have been sent, and what became of them (``protocol.diversions``). Sent, they are ordinary batches, so
other mounts see prefixes of what was done here; a batch whose answer was lost, across a restart too, is sent again as
it was.

Invariants: a change is sent only when it is durable here, and after all that were kept before it. It leaves the queue
when the server has answered it, and else only when it can never be sent (its bytes are damaged on this disk): that is
an error in the log.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final, Protocol, TypeGuard

import msgspec
import trio

from backend.blockcache import BlockCache
from backend.confirmed import Confirmed
from backend.errors import DriveError, LocalFailure, NotFound, Refused
from backend.journal import Journal
from backend.keys import Keys, for_server
from backend.ownblocks import OwnBlocks
from backend.records import Sending
from backend.reserve import FULL
from backend.threads import Threads
from backend.tree import Tree
from backend.upload import PUTS
from protocol import manifest as manifests
from protocol.diversions import Diversions
from protocol.ids import ROOT_NODE, BlockId, JournalId, NodeId, Seq, VersionNumber, new_batch_id
from protocol.limits import BATCH_MAX_INLINE_BYTES, MIB, MISSING_QUERY_BLOCKS
from protocol.messages.accounts import Workspace
from protocol.messages.batches import AnyAnswer, Applied, Batch, BatchReply, JournalReply, MissingBlocks
from protocol.messages.batches import Refused as RefusedAnswer
from protocol.messages.blocks import SealedBlock
from protocol.messages.changes import AnyChange, Commit, Create, OnClash
from protocol.messages.nodes import Kind, Node
from protocol.messages.sessions import JoinReply
from protocol.sealing import CorruptBlock, UnknownKey, key_id_of

CACHE_GIVEN_BYTES: Final = 16 * MIB
"""Of the block cache, given up each time that what is kept can't be sent because the disk is full."""

REPLAY_BATCH: Final = 64
"""Changes sent at once: what is lost with a lost answer, and how soon others see the first of many."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Moved:
    """Content that was written here and became a conflict copy."""

    here: VersionNumber
    """Which version of its file it is here."""
    row: Node
    """The copy, as it was when this was heard: others may have edited it by then."""
    version: VersionNumber
    """Which version of the copy the content is."""
    content: bytes
    """Its manifest: another device's version may have the same number."""


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

    async def workspace(self) -> Workspace:
        """The workspace with its keys."""
        ...


class Replay:
    """One mount's."""

    def __init__(
        self,
        remote: ReplayRemote,
        tree: Tree,
        journal: Journal,
        own: OwnBlocks,
        cache: BlockCache,
        keys: Keys,
        threads: Threads,
        durable: Callable[[int], Iterable[tuple[int, AnyChange]]],
    ) -> None:
        """``durable`` gives so many of the first of the kept changes, by their records, up to one that isn't yet."""
        self.is_sending = False
        """Whether the server answers, and takes what is kept."""
        self.moved: dict[NodeId, Moved] = {}
        """Files whose content, written here, became a conflict copy; by the node that it was for."""
        self.stranded: set[NodeId] = set()
        """Files of which a version that was written here is none of the server's."""
        self._remote = remote
        self._tree = tree
        self._journal = journal
        self._own = own
        self._cache = cache
        self._keys = keys
        self._threads = threads
        self._durable = durable
        self._diversions = Diversions()
        self._followed: dict[int, AnyChange] = {}
        """Kept changes as they have to be sent, by their record."""
        self._rescued: dict[NodeId, set[tuple[VersionNumber, bytes]]] = {}
        """Content, by base and manifest, that is kept once more since the server knew nothing of its file."""
        self._alone = 0
        """So many of the next changes go one by one: together they were refused."""
        self._confirmed = Confirmed()

    def take_up(self) -> None:
        """Learn what became of changes that an earlier mount had sent."""
        for change, answer in self._journal.past():
            self._diversions.follow(change)
            self._diversions.learn(change, answer)
            if _is_homeless(change, answer):
                self._note_rescue(change)

    async def send_all(self) -> int:
        """Send what is kept until nothing is left; returns the last number. Raises DriveError: try again later."""
        taken = await self._remote.take_journal(self._journal.id)
        last = taken.last_number
        self.is_sending = True
        try:
            if last == 0 and self._journal.kept_count > 0:  # It may never have joined, at this server or in its backup.
                await self._remote.join(self._journal.id, None)
                await self._remote.leave()
            if any(isinstance(change, Commit) for _, change in self._journal.kept()):
                await self._keys.learn_from(self._remote)  # A server that was restored may have lost its last key.
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
        batch = [self._for_server(self._as_sent(number, change)) for number, change in changes.items()]
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
        for number, change in self._durable(1 if self._alone else REPLAY_BATCH):
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

    def _for_server(self, change: AnyChange) -> AnyChange:
        """With blocks in it that the server can open."""
        keys = self._keys.now
        if not isinstance(change, Commit) or all(key_id_of(one.sealed) <= keys.key_id for one in change.blocks):
            return change
        try:
            blocks = [SealedBlock(one.id, for_server(keys, one.id, one.sealed)) for one in change.blocks]
        except CorruptBlock:
            return change  # The server says so, too.
        return msgspec.structs.replace(change, blocks=blocks)

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
                    if isinstance(sealed, UnknownKey):  # A mount that knew a later key than this one sealed it.
                        await self._keys.learn_from(self._remote)
                        sealed = await self._threads.run(partial(self._sealed, block))
                    if isinstance(sealed, UnknownKey) and self._keys.now.end_to_end:
                        raise self._keys.not_unlocked()
                    if not isinstance(sealed, bytes):
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

    def _sealed(self, block: BlockId) -> bytes | UnknownKey | None:
        """A block that this device has, undamaged; UnknownKey where that can't be told."""
        unknown: UnknownKey | None = None
        for source in (self._own.find, self._cache.get):
            if (sealed := source(block)) is not None:
                try:
                    return for_server(self._keys.now, block, sealed)
                except UnknownKey as error:
                    unknown = error
                except CorruptBlock as error:
                    log.error("block %s on this device is damaged: %s", block.hex(), error)
        return unknown

    async def _take_answers(
        self, sending: Sending, changes: dict[int, AnyChange], answers: Sequence[AnyAnswer]
    ) -> None:
        taken: dict[int, tuple[AnyChange, AnyAnswer]] = {}
        for (number, change), answer in zip(changes.items(), answers, strict=True):
            if isinstance(answer, MissingBlocks) or (isinstance(answer, RefusedAnswer) and sending.adopted):
                continue  # It is sent again: with its blocks, or as it is kept, and not as one who asks would send it.
            taken[number] = change, answer
        if taken:
            self._write_answers(taken)
        else:
            self._journal.send_anew()  # Nothing of it is done, and its numbers are used up.
        for number, (change, answer) in taken.items():
            self._followed.pop(number, None)
            self._learn(change, answer)
        await self._threads.run(self._journal.sync)

    def _write_answers(self, taken: dict[int, tuple[AnyChange, AnyAnswer]]) -> None:
        """Into the journal, after what they make necessary. Raises LocalFailure, as if none had come."""
        rescue: list[int] = []
        made: set[NodeId] = set()
        try:
            for change, answer in taken.values():
                if _is_homeless(change, answer) and not self._is_rescued(change):
                    if change.node not in made and change.node not in self._rescued:
                        rescue.append(self._journal.keep(self._made_anew(change)))
                    made.add(change.node)
                    rescue.append(self._journal.keep(change))
            self._journal.answered(list(taken), [_without_rows(answer) for _, answer in taken.values()])
        except LocalFailure:
            self._journal.give_up(rescue)
            raise

    def _learn(self, change: AnyChange, answer: AnyAnswer) -> None:
        """What the journal has by now."""
        self._diversions.learn(change, answer)
        if isinstance(answer, RefusedAnswer):
            self._note_refusal(change, answer)
        if isinstance(change, Commit) and isinstance(answer, Applied):
            self._note_copy(change, answer)

    def _strand(self, change: AnyChange) -> None:
        if isinstance(change, Commit):
            self.stranded.add(change.node)

    def _note_refusal(self, change: AnyChange, answer: RefusedAnswer) -> None:
        """It can't be done any more. Content is never given up for that: its file is made anew, in the root."""
        self._strand(change)
        path = self._tree.path_of(change.node)
        if not _is_homeless(change, answer) or self._is_rescued(change):
            log.warning("%s: what was done while the server was away can't be done: %s", path, answer.reason)
            return
        log.warning("%s: the server knows nothing of this file: it is put into the root folder", path)
        self._note_rescue(change)

    def _note_rescue(self, change: Commit) -> None:
        """It is kept once more, behind a create: the versions that are made here count from there."""
        if change.node not in self._rescued:
            self._diversions.made_anew(change.node, change.base)
        self._rescued.setdefault(change.node, set()).add((change.base, change.manifest))

    def _is_rescued(self, change: Commit) -> bool:
        return (change.base, change.manifest) in self._rescued.get(change.node, ())

    def _made_anew(self, change: Commit) -> Create:
        row, place = self._tree.node(change.node), self._tree.place_of(change.node)
        return Create(
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

    def _note_copy(self, change: Commit, answer: Applied) -> None:
        copy = None if answer.conflict is None else answer.conflict.node
        at = self.moved.get(change.node)
        for row in answer.nodes:
            if row.id == copy or (at is not None and row.id == at.row.id):
                here = VersionNumber(change.base + 1)
                self.moved[change.node] = Moved(here, row, answer.version, change.manifest)

    def settle(self) -> None:
        """All is at the server, and the local rows are dropped: what its answers said is known from now on."""
        self._confirmed.tell(self._tree)
        self._diversions = Diversions()
        self._followed.clear()
        self._rescued.clear()
        self.moved = {}
        self.stranded = set()


def _blocks_of(change: AnyChange) -> list[BlockId]:
    """Those of a commit that don't travel in it."""
    if not isinstance(change, Commit):
        return []
    inline = {block.id for block in change.blocks}
    return [block for block in manifests.decode(change.manifest).blocks() if block not in inline]


def _names_any(change: AnyChange, blocks: set[BlockId]) -> bool:
    return not blocks.isdisjoint(_blocks_of(change))


def _is_homeless(change: AnyChange, answer: AnyAnswer) -> TypeGuard[Commit]:
    """Whether this is content of which the server knows no file: it was restored from a backup, for instance."""
    return isinstance(change, Commit) and isinstance(answer, RefusedAnswer) and answer.errno == "ENOENT"


def _without_rows(answer: AnyAnswer) -> AnyAnswer:
    return msgspec.structs.replace(answer, nodes=[]) if isinstance(answer, Applied) else answer
