"""renameat2(2), which Python has no call for."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path
from typing import Final

NOREPLACE: Final = 1
EXCHANGE: Final = 2
_AT_FDCWD: Final = -100


def renameat2(old: Path | bytes, new: Path | bytes, flags: int) -> None:
    """Raises OSError with the kernel's errno."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.renameat2(_AT_FDCWD, os.fsencode(old), _AT_FDCWD, os.fsencode(new), ctypes.c_uint(flags)) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), os.fsdecode(old), None, os.fsdecode(new))
