"""A stream of plain bytes as blocks of a workspace, cut and sealed as a mount would.

Knows ``BlockCare`` and chunking; knows nothing of HTTP, names or versions.

Invariants: the pieces are those that cutting the whole stream at once gives, so that what a mount has written is not
stored again; of a stream of any length WINDOW_BYTES are collected while STORING windows are sealed and stored.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from functools import partial
from typing import Final

import trio

from protocol.chunking import cut
from protocol.ids import BlockId, WorkspaceId
from protocol.keys import WorkspaceKeys
from protocol.limits import BLOCK_MAX_BYTES, INLINE_SEALED_BYTES, KIB, MANIFEST_MAX_PIECES, MIB
from protocol.manifest import Manifest, Piece
from protocol.messages.blocks import SealedBlock
from protocol.sealing import Buffer, seal
from server.blockcare import Allow, BlockCare
from server.nurseries import together

WINDOW_BYTES: Final = 2 * BLOCK_MAX_BYTES
"""Cut at once: always more than one block."""

STORING: Final = 2
"""Windows: while the last blocks of one wait for the disk, the next one's are sealed."""

INLINE_PLAIN_MAX_BYTES: Final = MIB
"""A content up to so long is sealed to see whether it fits into its commit."""

_IN_PLACE_BYTES: Final = 64 * KIB
"""Cutting, hashing and sealing so much takes less than the hop to a worker and back."""


class TooLong(Exception):
    """A file can't have so many blocks."""


@dataclass(frozen=True, slots=True)
class Written:
    """Content whose blocks are stored, but for those in ``inline``, which its commit carries."""

    manifest: Manifest
    inline: list[SealedBlock] = field(default_factory=list)

    @property
    def verified(self) -> dict[BlockId, int]:
        """The plain lengths of the blocks in ``inline``: they were sealed here."""
        return {piece.block: piece.length for piece in self.manifest.pieces} if self.inline else {}


async def write(care: BlockCare, workspace: WorkspaceId, parts: AsyncIterator[Buffer], allow: Allow) -> Written:
    """Store a stream; raises NoSpace, OverQuota, TooLong, and what ``parts`` and ``allow`` raise.

    Of a stream that breaks off some blocks stay behind: who sends it again finds them there.
    """
    writer = _Writer(care, workspace, await care.keys(workspace, allow), allow)
    async with together() as nursery:
        async for part in parts:
            writer.window += part
            if len(writer.window) >= WINDOW_BYTES:
                await writer.advance(nursery, is_end=False)
        return await writer.end(nursery)


@dataclass(slots=True)
class _Cut:
    """Blocks cut from a window, whose bytes they share."""

    pieces: list[Piece] = field(default_factory=list)
    blocks: dict[BlockId, Buffer] = field(default_factory=dict)


class _Writer:
    """One stream. ``window`` begins at a cut."""

    def __init__(self, care: BlockCare, workspace: WorkspaceId, keys: WorkspaceKeys, allow: Allow) -> None:
        self.window = bytearray()
        self._care = care
        self._workspace = workspace
        self._keys = keys
        self._allow = allow
        self._pieces: list[Piece] = []
        self._storing = trio.Semaphore(STORING)

    async def advance(self, nursery: trio.Nursery, *, is_end: bool) -> None:
        """Cut the window, keep what may be cut elsewhere when more has come, and let the others be stored."""
        made, cut_bytes = await self._care.work(partial(self._cut, is_end=is_end))
        self._pieces += made.pieces
        if len(self._pieces) > MANIFEST_MAX_PIECES:
            raise TooLong(f"a file has at most {MANIFEST_MAX_PIECES} blocks")
        self.window = self.window[cut_bytes:]
        await self._storing.acquire()
        nursery.start_soon(self._store, made.blocks)

    async def end(self, nursery: trio.Nursery) -> Written:
        """The stream has ended; when the nursery has, too, all of it is stored."""
        if not self._pieces and len(self.window) <= INLINE_PLAIN_MAX_BYTES:
            in_place = len(self.window) <= _IN_PLACE_BYTES
            small = self._small() if in_place else await self._care.work(self._small)
            if small is not None:
                return small
        if self.window:
            await self.advance(nursery, is_end=True)
        return Written(Manifest.of(self._pieces))

    async def _store(self, blocks: dict[BlockId, Buffer]) -> None:
        await self._care.keep(self._workspace, self._keys, blocks, self._allow)
        self._storing.release()

    # ── in workers ──

    def _cut(self, *, is_end: bool) -> tuple[_Cut, int]:
        lengths = cut(self.window, self._keys.chunk_seed)
        if not is_end and lengths[-1] < BLOCK_MAX_BYTES:
            lengths.pop()
        made, at = _Cut(), 0
        view = memoryview(self.window)
        for length in lengths:
            plain = view[at : at + length]
            block = self._keys.block_id(plain)
            made.pieces.append(Piece(block, length))
            made.blocks[block] = plain
            at += length
        return made, at

    def _small(self) -> Written | None:
        """The content with its blocks sealed, if all of them together are small enough to travel in the commit."""
        made, _ = self._cut(is_end=True)
        inline, total = [], 0
        for block, plain in made.blocks.items():
            sealed = bytes(seal(self._keys, block, plain))
            total += len(sealed)
            if total > INLINE_SEALED_BYTES:
                return None
            inline.append(SealedBlock(block, sealed))
        return Written(Manifest.of(made.pieces), inline)
