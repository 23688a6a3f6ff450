"""Sealed blocks kept on the local disk: a folder of bounded size, least recently used out first.

Owns the folder. What counts is what its files take of a disk, whole units each: tiny blocks are bounded in number too,
and with them the index in memory. What lies there is sealed, so a lost laptop's cache tells nothing without the key,
and every block is verified when it is opened. Nothing here is precious: whatever fails is a miss, never an error.
Names are the block id's hexadecimal digits under 256 folders; a file is written under a temporary name and renamed.

Synchronous; callers run it off the event loop.
"""

from __future__ import annotations

import contextlib
import threading
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from backend.disk import Disk, Entry, read_file
from protocol.ids import BlockId

UNIT_BYTES: Final = 4096
"""What file systems give files room in."""


def _room_bytes(size_bytes: int) -> int:
    return -(-size_bytes // UNIT_BYTES) * UNIT_BYTES


class BlockCache:
    """One folder. Safe to call from several threads."""

    def __init__(self, disk: Disk, folder: Path, limit_bytes: int) -> None:
        self._disk = disk
        self._folder = folder
        self._limit_bytes = limit_bytes
        self._rooms: OrderedDict[BlockId, int] = OrderedDict()
        """Bytes of the disk that each takes, in order of use."""
        self._lock = threading.Lock()
        self.used_bytes = 0
        self.trouble = ""
        """Why the last block could not be kept; empty where all is well."""

    def load(self) -> None:
        """Take up what an earlier mount left, in order of last use; remove what isn't a block."""
        found: list[tuple[int, BlockId, int]] = []
        for folder, entry in self._files():
            try:
                block = BlockId(bytes.fromhex(entry.name))
            except ValueError:
                self._remove(folder / entry.name)
                continue
            found.append((entry.mtime_ns, block, entry.size_bytes))
        with self._lock:
            for _, block, size in sorted(found):
                self._rooms[block] = _room_bytes(size)
                self.used_bytes += self._rooms[block]
        self._trim()

    def get(self, block: BlockId) -> bytes | None:
        """A sealed block, unverified, or None."""
        with self._lock:
            if block not in self._rooms:
                return None
            self._rooms.move_to_end(block)
        try:
            path = self._path(block)
            sealed = read_file(self._disk, path)
            self._disk.touch(path)
        except OSError:
            self.drop(block)
            return None
        return sealed

    def put(self, block: BlockId, sealed: bytes | bytearray) -> None:
        """Keep a sealed block, if it can be kept."""
        with self._lock:
            if block in self._rooms or _room_bytes(len(sealed)) > self._limit_bytes:
                return
        path = self._path(block)
        temporary = path.with_name(f"{path.name}.{threading.get_ident()}.tmp")
        try:
            self._write(temporary, sealed)
            self._disk.rename(temporary, path)
        except OSError as error:
            self.trouble = f"{path.parent}: {error.strerror}"
            self._remove(temporary)
            return
        with self._lock:
            if block not in self._rooms:
                self._rooms[block] = _room_bytes(len(sealed))
                self.used_bytes += self._rooms[block]
        self.trouble = ""
        self._trim()

    def drop(self, block: BlockId) -> None:
        """Remove a block: its bytes were not what they claim."""
        with self._lock:
            self.used_bytes -= self._rooms.pop(block, 0)
        self._remove(self._path(block))

    def shrink(self, by_bytes: int) -> None:
        """Give up so much: others need the room."""
        self._trim_to(self.used_bytes - by_bytes)

    def _trim(self) -> None:
        self._trim_to(self._limit_bytes)

    def _trim_to(self, most_bytes: int) -> None:
        while True:
            with self._lock:
                if self.used_bytes <= most_bytes or not self._rooms:
                    return
                block, room_bytes = self._rooms.popitem(last=False)
                self.used_bytes -= room_bytes
            self._remove(self._path(block))

    def _path(self, block: BlockId) -> Path:
        name = block.hex()
        return self._folder / name[:2] / name

    def _files(self) -> Iterator[tuple[Path, Entry]]:
        """The files of the folder and of those in it."""
        for entry in self._listed(self._folder):
            if not entry.is_folder:
                yield self._folder, entry
                continue
            folder = self._folder / entry.name
            yield from ((folder, inner) for inner in self._listed(folder) if not inner.is_folder)

    def _listed(self, folder: Path) -> list[Entry]:
        with contextlib.suppress(OSError):
            return self._disk.entries(folder)
        return []

    def _write(self, path: Path, content: bytes | bytearray) -> None:
        with contextlib.suppress(FileExistsError):
            self._disk.make_folder(path.parent)
        file = self._disk.create(path)
        try:
            file.write(0, content)
        finally:
            file.close()

    def _remove(self, path: Path) -> None:
        """Remove a file; what can't be removed is not found again, as no index names it."""
        with contextlib.suppress(OSError):
            self._disk.remove(path)
