"""The content of a dirty file on its way to the server: cut, hashed, and only what the server lacks sealed and put.

Owns the pipeline and its bounds; knows nothing of nodes or commits. A window of the file is read, cut and hashed
while the blocks of the window before are asked about, sealed and put: ``GROUPS`` windows at most are in memory.

A file whose new blocks are few and small travels inside its commit instead (``Uploaded.inline``): no request here.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass, field
from functools import partial
from typing import Final, TypeVar

import trio

from backend.blockcache import BlockCache
from backend.blocks import BlockRemote, Blocks, ReadAhead
from backend.errors import DriveError
from backend.keys import Keys
from backend.overlay import FromBase, Local, Mark, Overlay
from backend.rechunk import Fresh, Need, Step, plan
from backend.threads import Threads
from protocol.ids import BlockId
from protocol.limits import INLINE_SEALED_BYTES, KIB, MIB
from protocol.manifest import Manifest, Piece
from protocol.messages.blocks import SealedBlock
from protocol.sealing import Buffer, seal

GROUPS: Final = 3
"""Windows (8 MiB of plain bytes each) in memory at once."""

PUTS: Final = 8
"""Blocks being sealed and put at once: most of them wait for the network and the server's disk."""

KNOWN_MAX: Final = 200_000
"""Remembered ids of blocks that the server has: 20 MB."""

IN_PLACE_MAX_BYTES: Final = 64 * KIB
"""Up to so many bytes, cutting, hashing and sealing take less than the hop to a worker and back."""

UNASKED_BLOCKS: Final = 2
"""A patch of a file that makes so few new blocks is sent unasked: the server hardly has them, and asking costs a round
trip."""

INLINE_PLAIN_MAX_BYTES: Final = MIB
"""Up to so many new plain bytes, a file is sealed at once to see whether it fits into its commit."""


T = TypeVar("T")
Steps = Generator[Step, bytes | bytearray | memoryview | None, None]


@dataclass(frozen=True, slots=True)
class Uploaded:
    """Content whose blocks the server has, but for those in ``inline``, which go into the commit."""

    manifest: Manifest
    inline: list[SealedBlock] = field(default_factory=list)


@dataclass(slots=True)
class _Group:
    """Blocks cut from one window: id and plain bytes, which are parts of the window's."""

    blocks: dict[BlockId, memoryview] = field(default_factory=dict)

    @property
    def plain_bytes(self) -> int:
        return sum(map(len, self.blocks.values()))


class _Known:
    """Blocks that the server is known to have, the most recent ones."""

    def __init__(self) -> None:
        self._ids: OrderedDict[BlockId, None] = OrderedDict()

    def __contains__(self, block: BlockId) -> bool:
        return block in self._ids

    def add(self, blocks: Iterable[BlockId]) -> None:
        for block in blocks:
            self._ids[block] = None
            self._ids.move_to_end(block)
        while len(self._ids) > KNOWN_MAX:
            self._ids.popitem(last=False)

    def discard(self, blocks: Iterable[BlockId]) -> None:
        for block in blocks:
            self._ids.pop(block, None)


class Uploader:
    """Uploads of one workspace."""

    def __init__(self, remote: BlockRemote, blocks: Blocks, cache: BlockCache, keys: Keys, threads: Threads) -> None:
        self._remote = remote
        self._blocks = blocks
        self._cache = cache
        self._keys = keys
        self._threads = threads
        self._known = _Known()
        self._lost: set[BlockId] = set()
        """Blocks that the server lost and that have not been sent again."""
        self._puts = trio.CapacityLimiter(PUTS)

    def forget(self, blocks: Iterable[BlockId]) -> None:
        """The server lacks these after all: send them the next time."""
        self._known.discard(blocks)
        self._lost.update(blocks)

    async def upload(self, overlay: Overlay, mark: Mark) -> Uploaded | None:
        """The manifest of what ``mark`` took, its blocks being at the server; None where the file was cut meanwhile.

        Raises DriveError: the first one, where several blocks failed.
        """
        try:
            return await self._pipeline(overlay, mark)
        except BaseExceptionGroup as group:
            ends, rest = group.split((DriveError, trio.Cancelled))
            if rest is not None:
                raise rest from None
            await trio.lowlevel.checkpoint_if_cancelled()  # Who called is told by one Cancelled, and no group of them.
            assert ends is not None
            failures = ends.subgroup(DriveError)
            assert failures is not None
            raise _first(failures) from group

    async def _pipeline(self, overlay: Overlay, mark: Mark) -> Uploaded | None:
        await self._keys.learn_to_seal()
        self._known.add(overlay.base.blocks() - self._lost)
        steps = plan(overlay.base, overlay.layout(0, mark.size_bytes), self._keys.now.chunk_seed)
        pieces: list[Piece] = []
        data: bytes | None = None
        ended, first = False, True
        slots = trio.CapacityLimiter(GROUPS)
        async with trio.open_nursery() as nursery:
            while not ended:
                made, group, need = await self._work(partial(self._advance, steps, data), mark.size_bytes)
                pieces += made
                ended = need is None
                if overlay.resized_since(mark.generation):
                    nursery.cancel_scope.cancel()
                    return None
                for piece in {piece for piece in made if piece.block in self._lost} if self._lost else ():
                    if piece.block not in group.blocks:
                        nursery.start_soon(self._send_again, piece)
                if group.blocks:
                    if first and ended and group.plain_bytes <= INLINE_PLAIN_MAX_BYTES:
                        inline = await self._work(partial(self._sealed_small, group), group.plain_bytes)
                        if inline is not None:
                            return Uploaded(Manifest.of(pieces), inline)
                    if first and ended and len(group.blocks) <= UNASKED_BLOCKS and _is_patch(overlay.base, pieces):
                        await self._put_all(group, list(group.blocks))
                        break
                    first = False
                    slot = object()
                    await slots.acquire_on_behalf_of(slot)
                    nursery.start_soon(self._send, group, slots, slot)
                if need is not None:
                    data = await self._bytes(overlay, need)
        return Uploaded(Manifest.of(pieces))

    async def _work(self, work: Callable[[], T], size_bytes: int) -> T:
        """In a worker, or in place where there is little to do."""
        return work() if size_bytes <= IN_PLACE_MAX_BYTES else await self._threads.run(work)

    def _advance(self, steps: Steps, data: bytes | None) -> tuple[list[Piece], _Group, Need | None]:
        """Cut and hash up to the next need."""
        pieces: list[Piece] = []
        group = _Group()
        try:
            step: Step = steps.send(data)
            while True:
                match step:
                    case Need():
                        return pieces, group, step
                    case Fresh(view):
                        block = self._keys.now.block_id(view)
                        pieces.append(Piece(block, len(view)))
                        if block not in self._known and block not in group.blocks:
                            group.blocks[block] = view
                    case Piece():
                        pieces.append(step)
                step = next(steps)
        except StopIteration:
            return pieces, group, None

    def _sealed_small(self, group: _Group) -> list[SealedBlock] | None:
        """The sealed blocks, if all of them together are small enough to travel in the commit."""
        out: list[SealedBlock] = []
        total = 0
        for block, plain in group.blocks.items():
            sealed = bytes(seal(self._keys.now, block, plain))
            total += len(sealed)
            if total > INLINE_SEALED_BYTES:
                return None
            out.append(SealedBlock(block, sealed))
        for small in out:
            self._cache.put(small.id, small.sealed)
        return out

    async def _send(self, group: _Group, slots: trio.CapacityLimiter, slot: object) -> None:
        try:
            await self._put_all(group, await self._remote.missing(list(group.blocks)))
        finally:
            slots.release_on_behalf_of(slot)

    async def _put_all(self, group: _Group, wanted: list[BlockId]) -> None:
        async with trio.open_nursery() as nursery:
            for block in wanted:
                nursery.start_soon(self._put, block, group.blocks[block])
        self._known.add(group.blocks)
        self._lost.difference_update(group.blocks)

    async def _send_again(self, piece: Piece) -> None:
        """A block that the file keeps and the server lost, where it is still in memory or in the disk cache."""
        await self._put(piece.block, await self._blocks.plain(piece.block, piece.length))
        self._known.add([piece.block])
        self._lost.discard(piece.block)

    async def _put(self, block: BlockId, plain: Buffer) -> None:
        async with self._puts:
            sealed = await self._threads.run(partial(seal, self._keys.now, block, plain))
            await self._remote.put(block, sealed)
        await self._threads.run(partial(self._cache.put, block, sealed))

    async def _bytes(self, overlay: Overlay, need: Need) -> bytes:
        parts = await self._work(partial(overlay.parts, need.offset, need.length), need.length)
        base, out = overlay.base, []
        for part in parts:
            match part:
                case Local(data):
                    out.append(data)
                case FromBase(offset, length):
                    out.append(await self._blocks.read(base, offset, length, ReadAhead(next_offset=-1 << 40)))
                case zeros:
                    out.append(bytes(zeros.length))
        data = out[0] if len(out) == 1 else b"".join(out)
        return data.ljust(need.length, b"\0")


def _is_patch(base: Manifest, pieces: list[Piece]) -> bool:
    """Whether blocks of the base are kept: else the file was written anew, and may be a copy."""
    before = base.blocks()
    return any(piece.block in before for piece in pieces)


def _first(failures: BaseExceptionGroup[DriveError]) -> DriveError:
    error = failures.exceptions[0]
    return _first(error) if isinstance(error, BaseExceptionGroup) else error
