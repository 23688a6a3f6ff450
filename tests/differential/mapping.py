"""mmap(2) as C programs have it: Python's own keeps a second descriptor, whose close would commit the file."""

from __future__ import annotations

import ctypes
import mmap
import os
from typing import Final

_FAILED: Final = ctypes.c_void_p(-1).value
_libc: Final = ctypes.CDLL(None, use_errno=True)
_libc.mmap.restype = ctypes.c_void_p
_libc.mmap.argtypes = (
    *(ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int),
    *(ctypes.c_int, ctypes.c_long),
)
_libc.munmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t)
_libc.msync.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)


class Mapping:
    """A range of a file in memory. Touching what is past the file's end kills a process, if it isn't the kernel."""

    def __init__(self, file: int, length: int, flags: int = mmap.MAP_SHARED, offset: int = 0) -> None:
        """Raises OSError with the kernel's errno, as all of these do."""
        address = _libc.mmap(None, length, mmap.PROT_READ | mmap.PROT_WRITE, flags, file, offset)
        if address == _FAILED:
            raise _error()
        self._address = address
        self._length = length
        self.view = memoryview((ctypes.c_char * length).from_address(address)).cast("B")
        """Must not be used after ``close``."""

    def sync(self) -> None:
        """msync(2) with MS_SYNC."""
        if _libc.msync(self._address, self._length, 4) != 0:
            raise _error()

    def close(self) -> None:
        """munmap(2)."""
        if _libc.munmap(self._address, self._length) != 0:
            raise _error()


def _error() -> OSError:
    number = ctypes.get_errno()
    return OSError(number, os.strerror(number))
