"""The content of one version of a file: an ordered list of pieces, each a block or a hole.

Encoded (format 1): the byte 1, then for each piece 32 bytes of block id (all zero for a hole) and its
length in bytes as 8 bytes, big-endian. An empty file has no pieces. Adjacent holes are merged, so that one
content has one encoding for one list of blocks.
"""

from __future__ import annotations

import struct
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Final, NamedTuple

from protocol.ids import BLOCK_ID_BYTES, BlockId
from protocol.limits import BLOCK_MAX_BYTES, MANIFEST_MAX_PIECES

HOLE: Final = BlockId(bytes(BLOCK_ID_BYTES))
_FORMAT: Final = b"\x01"
_PIECE: Final = struct.Struct(">32sQ")
SIZE_MAX_BYTES: Final = (1 << 63) - 1


class BadManifest(Exception):
    """The encoding is broken or a length is out of bounds."""


class Piece(NamedTuple):
    """``length`` bytes of a file: all of one block, or a hole that reads as zeros."""

    block: BlockId
    length: int

    @property
    def is_hole(self) -> bool:
        """Whether it reads as zeros and has no block."""
        return self.block == HOLE


class Span(NamedTuple):
    """Bytes ``start`` to ``stop`` of a piece, which begins at ``offset`` of the file."""

    piece: Piece
    offset: int
    start: int
    stop: int


@dataclass(frozen=True, slots=True)
class Manifest:
    """An immutable list of pieces with the offsets where they end, for look-up by offset."""

    pieces: tuple[Piece, ...] = ()
    _ends: tuple[int, ...] = field(default=(), repr=False, compare=False)

    @staticmethod
    def of(pieces: Iterable[Piece]) -> Manifest:
        """A manifest of these pieces, empty ones left out and adjacent holes merged."""
        merged: list[Piece] = []
        for piece in pieces:
            if piece.length == 0:
                continue
            if merged and piece.is_hole and merged[-1].is_hole:
                merged[-1] = Piece(HOLE, merged[-1].length + piece.length)
            else:
                merged.append(piece)
        return Manifest(tuple(merged), tuple(accumulate(piece.length for piece in merged)))

    @property
    def size_bytes(self) -> int:
        """Length of the file."""
        return self._ends[-1] if self._ends else 0

    @property
    def data_bytes(self) -> int:
        """Bytes that are not in holes."""
        return sum(piece.length for piece in self.pieces if not piece.is_hole)

    def index_at(self, offset: int) -> int:
        """The index of the piece that holds this offset; ``len(pieces)`` at and past the end."""
        return bisect_right(self._ends, offset)

    def offset_of(self, index: int) -> int:
        """Where the piece of this index begins."""
        return self._ends[index - 1] if index else 0

    def spans(self, offset: int, length: int) -> Iterator[Span]:
        """The parts of pieces that cover ``length`` bytes from ``offset``, cut at the end of the file."""
        stop = min(offset + length, self.size_bytes)
        index = self.index_at(offset)
        while offset < stop:
            piece, begin = self.pieces[index], self.offset_of(index)
            end = min(begin + piece.length, stop)
            yield Span(piece, begin, offset - begin, end - begin)
            offset, index = end, index + 1

    def blocks(self) -> frozenset[BlockId]:
        """The blocks that it names."""
        return frozenset(piece.block for piece in self.pieces if not piece.is_hole)


EMPTY: Final = Manifest()


def encode(manifest: Manifest) -> bytes:
    """The stored form of a manifest."""
    return _FORMAT + b"".join(_PIECE.pack(*piece) for piece in manifest.pieces)


def decode(data: bytes) -> Manifest:
    """Read the stored form; raises BadManifest."""
    if data[:1] != _FORMAT or (len(data) - 1) % _PIECE.size:
        raise BadManifest("not a manifest of a format known here")
    if (len(data) - 1) // _PIECE.size > MANIFEST_MAX_PIECES:
        raise BadManifest(f"more than {MANIFEST_MAX_PIECES} pieces")
    pieces: list[Piece] = []
    for block, length in _PIECE.iter_unpack(memoryview(data)[1:]):
        if length == 0 or (length > BLOCK_MAX_BYTES and block != HOLE):
            raise BadManifest(f"a piece of {length} bytes")
        pieces.append(Piece(BlockId(block), length))
    manifest = Manifest.of(pieces)
    if len(manifest.pieces) != len(pieces):
        raise BadManifest("adjacent holes")
    if manifest.size_bytes > SIZE_MAX_BYTES:
        raise BadManifest("longer than a file can be")
    return manifest
