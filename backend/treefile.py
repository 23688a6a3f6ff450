"""What was cached of the tree when a mount ended, or lost its server: so that the next one can begin without asking.

Format 1: the 8 bytes ``SDT1\\0\\0\\0\\0``, the first 16 bytes of the body's BLAKE3, the body: ``Snapshot`` in
MessagePack, compressed (zstd). A file that is damaged or of another format is no snapshot: nothing in it is precious.
"""

from __future__ import annotations

import logging
from functools import partial
from pathlib import Path
from typing import Final

import msgspec
import trio
import zstandard
from blake3 import blake3

from backend.disk import Disk, read_file
from backend.threads import Threads
from backend.tree import Snapshot

MAGIC: Final = b"SDT1\0\0\0\0"
_DIGEST_BYTES: Final = 16
_BODY_MAX_BYTES: Final = 1 << 30

log = logging.getLogger(__name__)


def encoded(snapshot: Snapshot) -> bytes:
    """The file's content."""
    body = zstandard.compress(msgspec.msgpack.encode(snapshot), 1)
    return MAGIC + blake3(body).digest()[:_DIGEST_BYTES] + body


class TreeFile:
    """The file of one mount, and what is yet to be written to it."""

    def __init__(self, disk: Disk, path: Path, threads: Threads) -> None:
        self._disk = disk
        self._path = path
        self._threads = threads
        self._next: Snapshot | None = None
        self._asked = trio.Event()

    async def load(self) -> Snapshot | None:
        """The last one that was saved, or None."""
        return await self._threads.run(self._load)

    def save_soon(self, snapshot: Snapshot) -> None:
        """Have it written by ``run``. It is taken as it is now."""
        self._next = snapshot
        self._asked.set()

    async def save(self, snapshot: Snapshot) -> None:
        """Write it; what can't be written is fetched again by the next mount."""
        self._next = snapshot
        await self._write()

    async def run(self) -> None:
        """Write what is asked for until cancelled."""
        while True:
            await self._asked.wait()
            self._asked = trio.Event()
            await self._write()

    async def _write(self) -> None:
        snapshot, self._next = self._next, None
        if snapshot is None:
            return
        try:
            await self._threads.run(partial(self._save, snapshot))
        except OSError as error:
            log.warning("%s can't be written: %s", self._path, error.strerror)

    def _save(self, snapshot: Snapshot) -> None:
        content = encoded(snapshot)
        temporary = self._path.with_name(self._path.name + ".new")
        file = self._disk.create(temporary)
        try:
            file.write(0, content)
            file.sync()
        finally:
            file.close()
        self._disk.rename(temporary, self._path)
        self._disk.sync_folder(self._path.parent)

    def _load(self) -> Snapshot | None:
        try:
            content = read_file(self._disk, self._path)
        except OSError:
            return None
        snapshot = decoded(content)
        if snapshot is None:
            log.warning("%s is damaged or of another version: the tree is fetched anew", self._path)
        return snapshot


def decoded(content: bytes) -> Snapshot | None:
    """The snapshot in a file; None where it is not whole or not understood."""
    body_at = len(MAGIC) + _DIGEST_BYTES
    body = content[body_at:]
    if content[: len(MAGIC)] != MAGIC or blake3(body).digest()[:_DIGEST_BYTES] != content[len(MAGIC) : body_at]:
        return None
    try:
        return msgspec.msgpack.decode(
            zstandard.ZstdDecompressor().decompress(body, max_output_size=_BODY_MAX_BYTES), type=Snapshot
        )
    except (msgspec.DecodeError, zstandard.ZstdError):
        return None
