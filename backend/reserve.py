"""Room on the disk that is held for what has to be written when the disk is full: a file that is given up then.

Owns that file. Its bytes can't be compressed, so that a file system really sets room aside for them.

Invariant: it is held whole or not at all.
"""

from __future__ import annotations

import contextlib
import errno
from pathlib import Path
from typing import Final

from blake3 import blake3

from backend.disk import Disk

RESERVE_BYTES: Final = 1 << 20
"""What the journal writes while it sends: some 100 bytes for each change."""

FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})
"""What a disk without room answers with."""


class Reserve:
    """One file. Raises OSError as its disk does."""

    def __init__(self, disk: Disk, path: Path) -> None:
        self._disk = disk
        self._path = path
        self.is_held = False
        with contextlib.suppress(FileNotFoundError):
            file = disk.open(path)
            try:
                self.is_held = file.size_bytes() == RESERVE_BYTES
            finally:
                file.close()

    def hold(self) -> None:
        """Set the room aside, where it isn't."""
        if self.is_held:
            return
        file = self._disk.create(self._path)
        try:
            file.write(0, blake3(b"reserve").digest(length=RESERVE_BYTES))
            file.sync()
        except OSError:
            self._remove()
            raise
        finally:
            file.close()
        self.is_held = True

    def give_up(self) -> bool:
        """Let the room be used; returns whether there was any."""
        was_held, self.is_held = self.is_held, False
        return was_held and self._remove()

    def _remove(self) -> bool:
        with contextlib.suppress(OSError):
            self._disk.remove(self._path)
            return True
        return False
