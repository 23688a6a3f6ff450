"""One device's kept changes on a simulated disk, and a server in memory that they go to."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import trio

from backend.apart import Apart
from backend.blockcache import BlockCache
from backend.disk import make_folders
from backend.errors import DriveError, Offline
from backend.journal import Journal
from backend.ownblocks import OwnBlocks
from backend.threads import InlineThreads
from backend.tree import Tree
from protocol import keys
from protocol.ids import NO_VERSION, BlockId, JournalId, Seq, VersionNumber
from protocol.keys import WorkspaceKeys
from protocol.messages.accounts import Workspace
from protocol.messages.batches import AnyAnswer, Applied, Batch, BatchReply, JournalReply, MissingBlocks
from protocol.messages.changes import AnyChange, Commit
from protocol.messages.notices import Notices
from protocol.messages.sessions import JoinReply
from tests.backend.memory_remote import MemoryKeys, known
from tests.simulation.disk import ROOT, SimDisk

KEYS = keys.derive(bytes(32))


class MemoryReplay:
    """Takes each numbered change once; ``script`` says what the next ones are answered."""

    def __init__(self) -> None:
        self.last = 0
        self.keys = MemoryKeys(bytes(32))
        self.joined = False
        self.failure: DriveError | None = None
        self.refusal: Callable[[Batch], DriveError | None] = lambda batch: None
        """Why a batch is refused as a whole."""
        self.lose_replies = 0
        self.gate: trio.Event | None = None
        """Where set, batches wait for it before they are answered."""
        self.waiting = trio.Event()
        """A batch came."""
        self.script: list[AnyAnswer] = []
        self.batches: list[Batch] = []
        self.applied: list[AnyChange] = []
        self.blocks: dict[BlockId, bytes] = {}
        self.most_puts_at_once = 0
        self._puts = 0
        self._answers: dict[int, list[AnyAnswer]] = {}

    async def journal(self, journal: JournalId) -> JournalReply:
        await self._pass()
        return JournalReply(1, self.last)

    async def take_journal(self, journal: JournalId) -> JournalReply:
        return await self.journal(journal)

    async def join(self, journal: JournalId, after: Seq | None) -> JoinReply:
        await self._pass()
        self.joined = True
        return JoinReply(Notices(Seq(0)), 1, self.last, 10.0)

    async def leave(self) -> None:
        await self._pass()

    async def replay(self, batch: Batch) -> BatchReply:
        await self._pass()
        self.batches.append(batch)
        if (error := self.refusal(batch)) is not None:
            raise error
        if batch.first in self._answers and self.last == batch.first + len(batch.changes) - 1:
            return BatchReply(self._answers[batch.first], Notices(Seq(self.last)))
        if batch.first != self.last + 1:
            raise Offline("out of order")
        answers = [self._answer(change) for change in batch.changes]
        self._answers[batch.first] = answers
        self.last = batch.first + len(batch.changes) - 1
        self.waiting.set()
        if self.gate is not None:
            await self.gate.wait()
        if self.lose_replies:
            self.lose_replies -= 1
            raise Offline("the reply was lost")
        return BatchReply(answers, Notices(Seq(self.last)))

    def _answer(self, change: AnyChange) -> AnyAnswer:
        answer = self.script.pop(0) if self.script else Applied(Seq(self.last), version=_version_of(change))
        if isinstance(answer, Applied):
            self.applied.append(change)
        if isinstance(answer, MissingBlocks):
            for block in answer.blocks:
                self.blocks.pop(block, None)
        return answer

    async def missing(self, ids: Sequence[BlockId]) -> list[BlockId]:
        await self._pass()
        return [block for block in ids if block not in self.blocks]

    async def put(self, block: BlockId, sealed: bytes | bytearray) -> None:
        self._puts += 1
        self.most_puts_at_once = max(self.most_puts_at_once, self._puts)
        try:
            await self._pass()
        finally:
            self._puts -= 1
        self.blocks[block] = bytes(sealed)

    async def workspace(self) -> Workspace:
        await self._pass()
        return await self.keys.workspace()

    async def _pass(self) -> None:
        await trio.lowlevel.checkpoint()
        if self.failure is not None:
            raise self.failure


class Device:
    """What one process holds of its disk. After a crash, make another of what the disk is then."""

    def __init__(self, disk: SimDisk, remote: MemoryReplay, keys: WorkspaceKeys = KEYS) -> None:
        folder = ROOT / "cache"
        make_folders(disk, folder / "blocks")
        self.journal = Journal(disk, folder / "journal")
        self.own = OwnBlocks(disk, folder / "own")
        self.cache = BlockCache(disk, folder / "blocks", 1 << 30)
        self.cache.load()
        self.tree = Tree(Seq(0))
        self.apart = Apart(
            remote, self.tree, self.journal, self.own, self.cache, known(keys, remote.keys), InlineThreads()
        )


def _version_of(change: AnyChange) -> VersionNumber:
    return VersionNumber(change.base + 1) if isinstance(change, Commit) else NO_VERSION
