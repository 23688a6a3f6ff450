"""Which engine a URL means."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote, urlsplit

from server.blockstore.folder import FolderStore
from server.blockstore.memory import MemoryBlockStore
from server.blockstore.store import BlockStore


def open_block_store(url: str) -> BlockStore:
    """``file:///folder`` (percent-encoded) or ``memory:``; raises ValueError, and OSError for an unusable folder."""
    parts = urlsplit(url)
    if url == "memory:":
        return MemoryBlockStore()
    if parts.scheme == "file" and not parts.netloc and parts.path.startswith("/"):
        return FolderStore(Path(unquote(parts.path)))
    raise ValueError(f"no block store is known for {url!r}: use file:///FOLDER")
