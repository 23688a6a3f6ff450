"""Blocks as they cross the network: inside a commit, many in one answer, and lists of their ids.

An answer of many is no message but a run of frames: 32 bytes of id, 4 bytes of length (big-endian), the sealed bytes.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from protocol.ids import BLOCK_ID_BYTES, BlockId
from protocol.messages.wire import Message

_LENGTH_BYTES: Final = 4


class SealedBlock(Message, array_like=True, frozen=True):
    """A block that travels inside a commit."""

    id: BlockId
    sealed: bytes


class BlockList(Message, frozen=True):
    """Block ids: a question (which are missing? send me these) or its answer."""

    blocks: list[BlockId]


class OldBlocks(Message, frozen=True):
    """A page of the blocks of an end-to-end workspace that aren't sealed under its last key, in order of their ids."""

    blocks: list[BlockId]
    more: bool = False


class BadFrames(Exception):
    """The run ends inside a frame."""


def frame_head(block: BlockId, size_bytes: int) -> bytes:
    """What stands before a sealed block of this size."""
    return block + size_bytes.to_bytes(_LENGTH_BYTES, "big")


def unframed(run: bytes) -> Iterator[tuple[BlockId, bytes]]:
    """The blocks of a run of frames, in order; raises BadFrames."""
    at, head = 0, BLOCK_ID_BYTES + _LENGTH_BYTES
    while at < len(run):
        length = int.from_bytes(run[at + BLOCK_ID_BYTES : at + head], "big")
        sealed = run[at + head : at + head + length]
        if len(sealed) != length or at + head > len(run):
            raise BadFrames("it was cut short")
        yield BlockId(run[at : at + BLOCK_ID_BYTES]), sealed
        at += head + length
