"""readdir(3) with its places: Python's own listing has none."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path
from typing import Final

_NAME_OFFSET: Final = 19
"""Of d_name in struct dirent, where ino_t and off_t have 64 bits."""

_libc: Final = ctypes.CDLL(None, use_errno=True)
_libc.opendir.restype = _libc.readdir.restype = ctypes.c_void_p
_libc.telldir.restype = ctypes.c_long
_libc.readdir.argtypes = _libc.telldir.argtypes = _libc.rewinddir.argtypes = _libc.closedir.argtypes = (
    ctypes.c_void_p,
)
_libc.seekdir.argtypes = (ctypes.c_void_p, ctypes.c_long)


class Folder:
    """An open folder."""

    def __init__(self, path: Path) -> None:
        self._stream = _libc.opendir(os.fsencode(path))
        if not self._stream:
            raise OSError(ctypes.get_errno(), str(path))

    def __enter__(self) -> Folder:
        return self

    def __exit__(self, *_: object) -> None:
        _libc.closedir(self._stream)

    def read(self) -> bytes | None:
        """The next name; None after the last."""
        entry = _libc.readdir(self._stream)
        return ctypes.string_at(entry + _NAME_OFFSET) if entry else None

    def tell(self) -> int:
        """The place of the next name."""
        place: int = _libc.telldir(self._stream)
        return place

    def seek(self, place: int) -> None:
        """Read on from a place that ``tell`` told."""
        _libc.seekdir(self._stream, place)

    def rewind(self) -> None:
        """Read from the begin, and what is there now."""
        _libc.rewinddir(self._stream)
