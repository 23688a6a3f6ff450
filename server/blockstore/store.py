"""The interface of block stores: immutable objects by name.

Names are never used twice, so a late delete can't hit a fresh put.
"""

from __future__ import annotations

from pathlib import Path
from typing import Protocol
from urllib.parse import unquote, urlsplit


class BlockStoreError(Exception):
    """Base of this package's errors."""


class ObjectMissing(BlockStoreError):
    """There is no object of that name."""


class BlockStoreFull(BlockStoreError):
    """No room; nothing was stored."""


class BlockStore(Protocol):
    """An engine. Synchronous: callers run it off the event loop, from several threads."""

    def put(self, name: str, content: bytes | bytearray) -> None:
        """Store durably: when this returns a power loss doesn't take it. Raises BlockStoreFull."""
        ...

    def get(self, name: str) -> bytes:
        """An object's bytes; raises ObjectMissing."""
        ...

    def delete(self, name: str) -> None:
        """Remove an object; one that isn't there is no error."""
        ...

    def free_bytes(self) -> int:
        """What may still be stored."""
        ...


def open_block_store(url: str) -> BlockStore:
    """The engine of a URL: ``file:///folder`` or ``memory:``; raises ValueError."""
    from server.blockstore.folder import FolderStore
    from server.blockstore.memory import MemoryBlockStore

    parts = urlsplit(url)
    match parts.scheme:
        case "file":
            return FolderStore(Path(unquote(parts.path)))
        case "memory":
            return MemoryBlockStore()
        case other:
            raise ValueError(f"no block store is known for {other or url!r}: use file:///FOLDER")
