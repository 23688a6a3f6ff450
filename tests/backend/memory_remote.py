"""The server's blocks in memory, with counts, faults and gates: for tests of what reads and sends blocks."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import trio

from backend.errors import DriveError, NotFound
from backend.keys import Keys
from backend.threads import InlineThreads
from protocol.ids import BlockId, WorkspaceId
from protocol.keys import WorkspaceKeys, derive
from protocol.limits import READ_MANY_BYTES
from protocol.manifest import Manifest, Piece
from protocol.messages.accounts import Role, Workspace
from protocol.sealing import seal


class MemoryKeys:
    """A workspace's keys at the server."""

    def __init__(self, first_key: bytes = bytes(range(32))) -> None:
        self.key_id = 1
        """As the last poll said."""
        self.told = Workspace(WorkspaceId("5" * 32), "home", "ann", Role.OWNER, key=first_key)
        self.questions = 0
        self.failure: DriveError | None = None

    def add(self, key_id: int, key: bytes) -> WorkspaceKeys:
        """All keys with one that is added."""
        later = {**self.told.later_keys, key_id: key}
        self.told = msgspec.structs.replace(self.told, key_id=key_id, later_keys=later)
        return derive(self.told.key, later)

    async def workspace(self) -> Workspace:
        self.questions += 1
        await trio.lowlevel.checkpoint()
        if self.failure is not None:
            raise self.failure
        return self.told


def known(keys: WorkspaceKeys, remote: MemoryKeys | None = None) -> Keys:
    """What a mount knows, of a workspace that gets no other keys unless a test adds them."""
    return Keys(keys, remote or MemoryKeys(), InlineThreads())


class MemoryRemote:
    def __init__(self) -> None:
        self.sealed: dict[BlockId, bytes] = {}
        self.questions: list[list[BlockId]] = []
        self.puts: list[BlockId] = []
        self.gets: list[list[BlockId]] = []
        """The blocks asked for, by request."""
        self.reported: list[BlockId] = []
        self.failure: DriveError | None = None
        self.gate: trio.Event | None = None
        """Where set, puts and gets wait for it."""
        self.most_puts_at_once = 0
        self._puts_now = 0

    def add(self, keys: WorkspaceKeys, plain: bytes) -> Piece:
        block = keys.block_id(plain)
        self.sealed[block] = bytes(seal(keys, block, plain))
        return Piece(block, len(plain))

    def add_file(self, keys: WorkspaceKeys, *blocks: bytes) -> Manifest:
        return Manifest.of(self.add(keys, plain) for plain in blocks)

    async def _pass(self) -> None:
        await trio.lowlevel.checkpoint()
        if self.gate is not None:
            await self.gate.wait()
        if self.failure is not None:
            raise self.failure

    async def missing(self, ids: Sequence[BlockId]) -> list[BlockId]:
        self.questions.append(list(ids))
        await trio.lowlevel.checkpoint()
        if self.failure is not None:
            raise self.failure
        return [block for block in ids if block not in self.sealed]

    async def put(self, block: BlockId, sealed: bytes | bytearray) -> None:
        self.puts.append(block)
        self._puts_now += 1
        self.most_puts_at_once = max(self.most_puts_at_once, self._puts_now)
        try:
            await self._pass()
        finally:
            self._puts_now -= 1
        self.sealed[block] = bytes(sealed)

    async def report(self, ids: Sequence[BlockId]) -> None:
        await trio.lowlevel.checkpoint()
        self.reported += ids

    async def get(self, block: BlockId) -> bytes:
        return (await self.get_many([block]))[0][1]

    async def get_many(self, ids: Sequence[BlockId]) -> list[tuple[BlockId, bytes]]:
        self.gets.append(list(ids))
        await self._pass()
        out: list[tuple[BlockId, bytes]] = []
        total = 0
        for block in ids:
            if block not in self.sealed:
                raise NotFound("no such block")
            total += len(self.sealed[block])
            if out and total > READ_MANY_BYTES:
                break
            out.append((block, self.sealed[block]))
        return out
