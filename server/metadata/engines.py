"""Which engine a URL means."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote, urlsplit

from server.metadata.sqlite import MemoryStore, SqliteStore
from server.metadata.store import MetadataStore


def open_store(url: str) -> MetadataStore:
    """``sqlite:///ABSOLUTE/PATH`` (percent-encoded) or ``memory:``; raises ValueError. Opened by entering it."""
    parts = urlsplit(url)
    if url == "memory:":
        return MemoryStore()
    if parts.scheme == "sqlite" and not parts.netloc and len(parts.path) > 1:
        return SqliteStore(Path(unquote(parts.path)))
    raise ValueError(f"no metadata store is known for {url!r}: use sqlite:///FILE")
