"""The work that is measured: plain system calls on a folder, the same for every subject.

Each piece returns how much of it was done. The pieces that do many small things stop at a deadline, so that a rate
can be told where the whole would take too long.
"""

from __future__ import annotations

import os
import random
import time
from pathlib import Path
from typing import Final

MIB: Final = 1 << 20
SMALL_BYTES: Final = 3 * 1024
PIECE_BYTES: Final = 4096
SEED: Final = 7


def content(size: int) -> bytes:
    """Bytes that can't be compressed, the same in every run."""
    source = random.Random(SEED)
    return b"".join(source.randbytes(min(MIB, size - at)) for at in range(0, size, MIB))


def write_whole(path: Path, data: bytes) -> float:
    """Write a new file as cp does; MiB."""
    view = memoryview(data)
    with open(path, "wb", buffering=0) as file:
        for at in range(0, len(view), MIB):
            file.write(view[at : at + MIB])
    return len(data) / MIB


def read_whole(path: Path) -> float:
    """MiB."""
    read = 0
    buffer = bytearray(MIB)
    with open(path, "rb", buffering=0) as file:
        while got := file.readinto(buffer):
            read += got
    return read / MIB


def drop_pages(path: Path) -> None:
    """The kernel forgets the file's pages; what the mount keeps stays."""
    with open(path, "rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def read_pieces(path: Path, count: int, deadline: float) -> float:
    """Random pieces of 4 KiB, the kernel told that they are random; how many."""
    source = random.Random(SEED)
    with open(path, "rb", buffering=0) as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_RANDOM)
        size = os.fstat(file.fileno()).st_size
        for done in range(count):
            if time.monotonic() > deadline:
                return done
            os.pread(file.fileno(), PIECE_BYTES, source.randrange(size - PIECE_BYTES))
    return count


def patch() -> bytes:
    """4 KiB unlike anything in ``content``."""
    return random.Random(SEED + 1).randbytes(PIECE_BYTES)


def overwrite(path: Path, at: int, data: bytes) -> float:
    """Bytes in the middle."""
    with open(path, "r+b", buffering=0) as file:
        file.seek(at)
        file.write(data)
    return 1


def insert_at_front(path: Path, data: bytes) -> float:
    """One byte more at the front, and all the rest again, as a program does that saves a whole file in place."""
    with open(path, "r+b", buffering=0) as file:
        file.write(b"!")
        view = memoryview(data)
        for at in range(0, len(view), MIB):
            file.write(view[at : at + MIB])
    return 1


def small_names(count: int) -> list[str]:
    return [f"file {number:05}" for number in range(count)]


def write_small(folder: Path, first: int, count: int, deadline: float) -> float:
    """Files ``first`` to ``count``, each with content of its own; how many."""
    folder.mkdir(exist_ok=True)
    for done, name in enumerate(small_names(count)[first:]):
        if time.monotonic() > deadline:
            return done
        with open(folder / name, "wb", buffering=0) as file:
            file.write(random.Random(name).randbytes(SMALL_BYTES))
    return count - first


def list_small(folder: Path) -> float:
    """Names and attributes, as `ls -l`."""
    count = 0
    with os.scandir(folder) as entries:
        for entry in entries:
            entry.stat(follow_symlinks=False)
            count += 1
    return count


def read_small(folder: Path, count: int, deadline: float) -> float:
    """The first ``count`` files whole, in order of names; how many."""
    names = sorted(os.listdir(folder))[:count]
    for done, name in enumerate(names):
        if time.monotonic() > deadline:
            return done
        with open(folder / name, "rb", buffering=0) as file:
            if len(file.read(2 * SMALL_BYTES)) != SMALL_BYTES:
                raise ValueError(f"{folder / name} is not whole")
    return len(names)


def remove_small(folder: Path, deadline: float) -> float:
    """How many."""
    for done, name in enumerate(sorted(os.listdir(folder))):
        if time.monotonic() > deadline:
            return done
        os.unlink(folder / name)
    return done + 1


def holds(path: Path, size: int, at: int, data: bytes) -> bool:
    """Whether the file has that size, and those bytes there."""
    try:
        with open(path, "rb", buffering=0) as file:
            return os.fstat(file.fileno()).st_size == size and os.pread(file.fileno(), len(data), at) == data
    except FileNotFoundError:
        return False


def holds_small(folder: Path, count: int) -> bool:
    """Whether so many small files are there, each whole."""
    try:
        with os.scandir(folder) as entries:
            return [entry.stat().st_size for entry in entries] == [SMALL_BYTES] * count
    except FileNotFoundError:
        return count == 0
