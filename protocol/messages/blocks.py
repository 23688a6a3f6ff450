"""Blocks in messages: sealed ones that travel inside a commit, and lists of their ids."""

from __future__ import annotations

from protocol.ids import BlockId
from protocol.messages.wire import Message


class SealedBlock(Message, array_like=True, frozen=True):
    """A block that travels inside a commit."""

    id: BlockId
    sealed: bytes


class BlockList(Message, frozen=True):
    """Block ids: a question (which are missing? send me these) or its answer."""

    blocks: list[BlockId]
