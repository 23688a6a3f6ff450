"""The interface of block stores: immutable objects by name.

Names are never used twice, so that a late delete can't hit a fresh put. A name is a block's id in hexadecimal digits,
``-``, and a random suffix (``object_name``).

Errors::

    BlockStoreError      the store can't be used now: try again
    ├── ObjectMissing    it can be used, and the object is not there
    └── BlockStoreFull   no room: nothing was stored
"""

from __future__ import annotations

import secrets
from typing import Protocol

from protocol.ids import BlockId


class BlockStoreError(Exception):
    """The store can't be used now."""


class ObjectMissing(BlockStoreError):
    """There is no object of that name."""


class BlockStoreFull(BlockStoreError):
    """No room; nothing was stored."""


class BlockStore(Protocol):
    """An engine. Synchronous: callers run it in threads, where verifying and storing a block is one hop."""

    def put(self, name: str, content: bytes | bytearray) -> None:
        """Store durably: when this returns a power loss doesn't take it. Raises BlockStoreFull, BlockStoreError."""
        ...

    def get(self, name: str) -> bytes:
        """An object's bytes; raises ObjectMissing, BlockStoreError."""
        ...

    def delete(self, name: str) -> None:
        """Remove an object; one that isn't there is no error. Raises BlockStoreError."""
        ...

    def free_bytes(self) -> int:
        """What may still be stored."""
        ...


def object_name(block: BlockId) -> str:
    """A name for a block that no object ever had."""
    return f"{block.hex()}-{secrets.token_hex(8)}"
