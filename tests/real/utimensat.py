"""utimensat(2) with UTIME_NOW and UTIME_OMIT, which Python has no way to ask for."""

from __future__ import annotations

import ctypes
import os
from typing import Final

UTIME_NOW: Final = (1 << 30) - 1
UTIME_OMIT: Final = (1 << 30) - 2
_AT_FDCWD: Final = -100
_AT_SYMLINK_NOFOLLOW: Final = 0x100

Timespec = tuple[int, int]
"""Seconds, nanoseconds or one of the two above."""


class _Timespec(ctypes.Structure):
    _fields_ = (("tv_sec", ctypes.c_long), ("tv_nsec", ctypes.c_long))


def utimensat(path: bytes, atime: Timespec, mtime: Timespec, *, follow: bool = True) -> None:
    """Raises OSError with the kernel's errno."""
    _call(_AT_FDCWD, path, atime, mtime, 0 if follow else _AT_SYMLINK_NOFOLLOW)


def futimens(file: int, atime: Timespec, mtime: Timespec) -> None:
    """The same by a descriptor."""
    _call(file, None, atime, mtime, 0)


def _call(folder: int, path: bytes | None, atime: Timespec, mtime: Timespec, flags: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    times = (_Timespec * 2)(_Timespec(*atime), _Timespec(*mtime))
    done = libc.futimens(folder, times) if path is None else libc.utimensat(folder, path, times, flags)
    if done != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
