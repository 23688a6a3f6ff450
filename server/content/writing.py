"""A stream of plain bytes as blocks of a workspace, cut and sealed as a mount would.

Knows ``BlockCare`` and chunking; knows nothing of HTTP, names or versions.

Invariants: the pieces are those that cutting the whole stream at once gives, so that what a mount has written is not
stored again; of a stream of any length WINDOW_BYTES are collected while STORING windows are sealed and stored.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
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
"""Cut at once: always more than one block, so that at most BLOCK_MAX_BYTES are left."""

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
    pieces: list[Piece] = []

    async def kept(more: Sequence[Piece]) -> None:
        pieces.extend(more)
        check_length(len(pieces))

    writer = Writer(care, workspace, await care.keys(workspace, allow), allow, kept)
    async with together() as nursery:
        async for part in parts:
            writer.window += part
            if len(writer.window) >= WINDOW_BYTES:
                await writer.advance(nursery)
        await writer.settled()
        small = await writer.small() if not pieces else None
        if small is not None:
            return small
        await kept(await writer.end())
    return Written(Manifest.of(pieces))


def check_length(pieces: int) -> None:
    """Raises TooLong."""
    if pieces > MANIFEST_MAX_PIECES:
        raise TooLong(f"a file has at most {MANIFEST_MAX_PIECES} blocks")


@dataclass(slots=True)
class _Cut:
    """Blocks cut from a window, whose bytes they share."""

    pieces: list[Piece] = field(default_factory=list)
    blocks: dict[BlockId, Buffer] = field(default_factory=dict)


class Writer:
    """One stream, or a run of one that begins at a cut. ``window`` is what has come and isn't cut yet."""

    def __init__(
        self,
        care: BlockCare,
        workspace: WorkspaceId,
        keys: WorkspaceKeys,
        allow: Allow,
        kept: Callable[[Sequence[Piece]], Awaitable[None]],
    ) -> None:
        """``kept`` is told of the blocks that ``advance`` cut, in their order, when they are stored."""
        self.window = bytearray()
        self._care = care
        self._workspace = workspace
        self._keys = keys
        self._allow = allow
        self._kept = kept
        self._storing = trio.Semaphore(STORING)
        self._stored = trio.Event()
        """The last window that ``advance`` cut, and all before it."""
        self._stored.set()
        self._is_broken = False

    async def advance(self, nursery: trio.Nursery) -> None:
        """Cut the window, keep what may be cut elsewhere when more has come, and let the others be stored."""
        made, cut_bytes = await self._care.work(partial(self._cut, is_end=False))
        await self._storing.acquire()
        self.window = self.window[cut_bytes:]  # Not before: who is cancelled here still has all of it.
        before, self._stored = self._stored, trio.Event()
        nursery.start_soon(self._store, made, before, self._stored)

    async def settled(self) -> bool:
        """Wait until what was cut is stored; False where that failed, with the error that the nursery raises."""
        await self._stored.wait()
        return not self._is_broken

    async def pause(self) -> list[Piece]:
        """Cut and store as much as can be, and return these blocks: what is left waits for more."""
        return await self._stored_now(is_end=False)

    async def end(self) -> list[Piece]:
        """The stream has ended: store all that is left."""
        return await self._stored_now(is_end=True)

    async def small(self) -> Written | None:
        """The window as a whole stream, if it is so short that its commit can carry it."""
        if len(self.window) > INLINE_PLAIN_MAX_BYTES:
            return None
        return self._small() if len(self.window) <= _IN_PLACE_BYTES else await self._care.work(self._small)

    async def _stored_now(self, *, is_end: bool) -> list[Piece]:
        if not self.window:
            return []
        made, cut_bytes = await self._care.work(partial(self._cut, is_end=is_end))
        if not await self.settled():
            await trio.sleep_forever()  # Until the error of which the nursery ends is everywhere.
        await self._care.keep(self._workspace, self._keys, made.blocks, self._allow)
        self.window = self.window[cut_bytes:]
        return made.pieces

    async def _store(self, made: _Cut, before: trio.Event, stored: trio.Event) -> None:
        try:
            await self._care.keep(self._workspace, self._keys, made.blocks, self._allow)
            await before.wait()
            if not self._is_broken:  # Else the nursery is ending.
                await self._kept(made.pieces)
        except BaseException:
            self._is_broken = True
            raise
        finally:
            stored.set()
            self._storing.release()

    # ── in workers ──

    def _cut(self, *, is_end: bool) -> tuple[_Cut, int]:
        lengths = cut(self.window, self._keys.chunk_seed)
        if not is_end:
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
