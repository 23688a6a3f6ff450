"""A range of a version as plain bytes: only the blocks that it touches are read, a few ahead of who takes them.

Knows manifests and ``BlockCare``; knows nothing of HTTP or of names.

Invariants: parts come in order and have the range's bytes together; at most AHEAD_BLOCKS blocks with AHEAD_BYTES are
open at once, or one block, however long the range is.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Iterator
from typing import Final

import trio

from protocol.ids import WorkspaceId
from protocol.limits import KIB, MIB
from protocol.manifest import Manifest, Span
from server.blockcare import Allow, BlockCare
from server.nurseries import together

AHEAD_BLOCKS: Final = 6
AHEAD_BYTES: Final = 6 * MIB
"""Opened or being opened while one is taken, so that a store that answers late keeps up."""

PART_BYTES: Final = 256 * KIB
"""The longest part: what takes it copies each once or twice."""

_ZEROS: Final = bytes(PART_BYTES)

Part = bytes | memoryview
Take = Callable[[Part], Awaitable[None]]


class _Block:
    """A block that is being opened, or a hole."""

    __slots__ = ("done", "plain", "span")

    def __init__(self, span: Span) -> None:
        self.span = span
        self.plain: bytes | bytearray = b""
        self.done = trio.Event()

    @property
    def held_bytes(self) -> int:
        """What it takes of memory: the whole block, whatever part of it is wanted."""
        return 0 if self.span.piece.is_hole else self.span.piece.length

    def parts(self) -> Iterator[Part]:
        start, stop = self.span.start, self.span.stop
        for at in range(start, stop, PART_BYTES):
            end = min(at + PART_BYTES, stop)
            yield _ZEROS[: end - at] if self.span.piece.is_hole else memoryview(self.plain)[at:end]


async def read(
    care: BlockCare, workspace: WorkspaceId, manifest: Manifest, start: int, stop: int, allow: Allow, take: Take
) -> None:
    """Give bytes ``start`` to ``stop`` of a version to ``take``, part by part.

    Raises what ``take`` and ``allow``, which is asked at each block, raise; Damaged where a block is lost or unsound.
    """

    async def open_one(block: _Block) -> None:
        block.plain = await care.opened(workspace, block.span.piece, allow)
        block.done.set()

    blocks = map(_Block, manifest.spans(start, stop - start))
    following = next(blocks, None)
    ahead: deque[_Block] = deque()
    held_bytes = 0
    async with together() as nursery:
        while following is not None or ahead:
            while following is not None and (not ahead or _fits(following, len(ahead), held_bytes)):
                ahead.append(following)
                held_bytes += following.held_bytes
                if following.span.piece.is_hole:
                    following.done.set()
                else:
                    nursery.start_soon(open_one, following)
                following = next(blocks, None)
            await ahead[0].done.wait()
            for part in ahead[0].parts():
                await take(part)
            held_bytes -= ahead.popleft().held_bytes


def _fits(block: _Block, blocks: int, held_bytes: int) -> bool:
    return blocks < AHEAD_BLOCKS and held_bytes + block.held_bytes <= AHEAD_BYTES
