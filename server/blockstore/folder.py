"""Blocks in a folder: the object ``NAME`` lies in ``NAME[:2]/NAME``.

A put writes the file in its place, syncs it and then its folder: one commit of the file system's journal, where a
rename between the two would need a second. Until it returns nobody knows the name, so that nobody reads half an object.

A crash in a put leaves such a half, and one between the put and the row that was to name it a whole: a few blocks, one
for each put that was under way. They only take room, and nothing here removes them: which objects no row names is for
a sweep of the database to know.

All 256 folders are made, and synced, before the first put: each put that finds one made by another would have to sync
it. So a folder that is missing means that the store itself is (a disk that isn't mounted), and is never taken for a
lost object.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from server.blockstore.store import BlockStoreError, BlockStoreFull, ObjectMissing
from server.space import free_bytes_of

_FULL: Final = (errno.ENOSPC, errno.EDQUOT)


class FolderStore:
    """One folder, which is made if need be; one server at a time may use it. Raises OSError where it can't be used."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        for prefix in range(256):
            (folder / f"{prefix:02x}").mkdir(exist_ok=True, mode=0o700)
        _sync_folder(folder)

    def put(self, name: str, content: bytes | bytearray) -> None:
        """See ``BlockStore``."""
        path = self._path(name)
        with _translated(name), path.open("xb", buffering=0) as file:
            try:
                view = memoryview(content)
                while view:
                    view = view[file.write(view) :]
                os.fsync(file.fileno())
                _sync_folder(path.parent)
            except OSError:
                with contextlib.suppress(OSError):
                    path.unlink()
                raise

    def get(self, name: str) -> bytes:
        """See ``BlockStore``."""
        path = self._path(name)
        with _translated(name):
            try:
                return path.read_bytes()
            except FileNotFoundError:
                if path.parent.is_dir():
                    raise ObjectMissing(f"block {name} is not there") from None
                raise

    def delete(self, name: str) -> None:
        """See ``BlockStore``."""
        with _translated(name):
            self._path(name).unlink(missing_ok=True)

    def free_bytes(self) -> int:
        """See ``BlockStore``."""
        with _translated("store"):
            return free_bytes_of(self._folder)

    def _path(self, name: str) -> Path:
        return self._folder / name[:2] / name


@contextmanager
def _translated(name: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        kind = BlockStoreFull if error.errno in _FULL else BlockStoreError
        raise kind(f"block {name}: {error.strerror}") from error


def _sync_folder(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
