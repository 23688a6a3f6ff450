"""Room on the server's disks: what is refused so that a full server still works.

A reserve is kept on the disk of the database: names, attributes, deletes and the log-in of whoever comes to make room
need it. Content is refused before anything of it is stored.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

from protocol.limits import MIB

RESERVE_BYTES: Final = 64 * MIB
"""The write-ahead log of some thousands of changes, and then some."""


class NoSpace(Exception):
    """The server's disk is full; nothing was stored."""


class Space:
    """Each argument tells what is free on one disk that content goes to: the block store's, the database's."""

    def __init__(self, *free_bytes: Callable[[], int]) -> None:
        self._disks = free_bytes

    def check(self, more_bytes: int) -> None:
        """Raises NoSpace where so much more content would not fit beside the reserve."""
        if self.free_bytes() < more_bytes:
            raise NoSpace("the server's disk is full")

    def free_bytes(self) -> int:
        """How much content may still be stored."""
        return max(0, min(disk() for disk in self._disks) - RESERVE_BYTES)


def free_bytes_of(folder: Path) -> int:
    """What the file system of a folder has left for ordinary users; raises OSError."""
    found = os.statvfs(folder)
    return found.f_bavail * found.f_frsize
