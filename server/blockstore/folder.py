"""Blocks in a folder: the object ``NAME`` lies in ``NAME[:2]/NAME``.

A put writes a temporary file, syncs it, renames it and syncs the folder, so an object is there whole or not at all.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path

from server.blockstore.store import BlockStoreError, BlockStoreFull, ObjectMissing

_FULL = (errno.ENOSPC, errno.EDQUOT)


class FolderStore:
    """One folder, which is made if need be."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        for stray in self._folder.glob("*/*.tmp"):
            stray.unlink()

    def put(self, name: str, content: bytes | bytearray) -> None:
        """See ``BlockStore``."""
        path = self._path(name)
        temporary = path.with_name(name + ".tmp")
        try:
            if not path.parent.exists():
                path.parent.mkdir(exist_ok=True)
                _sync_folder(self._folder)
            with temporary.open("xb", buffering=0) as file:
                view = memoryview(content)
                while view:
                    view = view[file.write(view) :]
                os.fsync(file.fileno())
            temporary.rename(path)
            _sync_folder(path.parent)
        except OSError as error:
            temporary.unlink(missing_ok=True)
            kind = BlockStoreFull if error.errno in _FULL else BlockStoreError
            raise kind(f"block {name} can't be stored: {error.strerror}") from error

    def get(self, name: str) -> bytes:
        """See ``BlockStore``."""
        try:
            return self._path(name).read_bytes()
        except FileNotFoundError:
            raise ObjectMissing(f"block {name} is not there") from None
        except OSError as error:
            raise BlockStoreError(f"block {name} can't be read: {error.strerror}") from error

    def delete(self, name: str) -> None:
        """See ``BlockStore``."""
        self._path(name).unlink(missing_ok=True)

    def free_bytes(self) -> int:
        """See ``BlockStore``."""
        stat = os.statvfs(self._folder)
        return stat.f_bavail * stat.f_frsize

    def _path(self, name: str) -> Path:
        return self._folder / name[:2] / name


def _sync_folder(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
