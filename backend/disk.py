"""The client's local disk: all that the overlays, the journal and the block cache ask of it. A seam.

Owns nothing: a ``Disk`` is stateless, and its files are owned by who opened them. A simulation replaces it by one that
loses what was not synced (``tests/simulation/disk.py``); one contract suite binds both. Synchronous, and safe to call
from several threads.

What survives which crash is the point of the interface:

- when the process is killed, every call that returned has happened, and a write that had begun may be there in part;
- when the power goes, bytes survive once ``File.sync`` has returned, and names (made, renamed, removed) once
  ``sync_folder`` of their folder has; of everything else any part may be there, in any order;
- after a ``sync`` that failed, what it should have made safe may be gone, and the next one need not say so (fsync(2)).

Every failure is an OSError with its errno.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from pathlib import Path
from typing import Final, NamedTuple, Protocol

_FLAGS: Final = os.O_RDWR | os.O_CLOEXEC


class Entry(NamedTuple):
    """What a folder's listing tells of one name."""

    name: str
    is_folder: bool
    size_bytes: int
    mtime_ns: int


class File(Protocol):
    """An open file, for reading and writing at any place."""

    def read(self, offset: int, length: int) -> bytes:
        """The bytes of a range; fewer only where the file ends. Holes are zeros."""
        ...

    def write(self, offset: int, data: bytes | bytearray) -> None:
        """Write all of it, past the end too. After a failure a part of it may be there."""
        ...

    def truncate(self, size_bytes: int) -> None:
        """Cut, or extend with a hole."""
        ...

    def size_bytes(self) -> int:
        """Where the file ends."""
        ...

    def sync(self) -> None:
        """Return when the bytes survive a power loss; the file's name is its folder's affair."""
        ...

    def close(self) -> None:
        """Give it up, and the lock that it may hold."""
        ...


class Disk(Protocol):
    """Files and folders by path."""

    def open(self, path: Path) -> File:
        """A file that is there; raises FileNotFoundError."""
        ...

    def create(self, path: Path) -> File:
        """An empty file; one that is there is emptied."""
        ...

    def lock(self, path: Path) -> File:
        """A file, made where it is missing, that one holder at a time has; raises BlockingIOError."""
        ...

    def rename(self, old: Path, new: Path) -> None:
        """Give a file another name in its folder, in one step; what had that name loses it."""
        ...

    def remove(self, path: Path) -> None:
        """Take a file's name away; raises FileNotFoundError. Who has it open keeps it."""
        ...

    def touch(self, path: Path) -> None:
        """Set the modification time to now; raises FileNotFoundError."""
        ...

    def make_folder(self, path: Path) -> None:
        """A folder for this user alone; raises FileExistsError, also where a file is in its place."""
        ...

    def entries(self, folder: Path) -> list[Entry]:
        """What lies in a folder, in no order."""
        ...

    def sync_folder(self, folder: Path) -> None:
        """Return when the folder's names survive a power loss."""
        ...

    def room_bytes(self, folder: Path) -> tuple[int, int]:
        """Of the disk that a folder is on: all of it, and what is free."""
        ...

    def boot(self) -> str:
        """Which start of the machine this is: after a power loss it is another."""
        ...


class RealDisk:
    """The operating system's."""

    def open(self, path: Path) -> File:
        """See ``Disk``."""
        return _RealFile(os.open(path, _FLAGS))

    def create(self, path: Path) -> File:
        """See ``Disk``."""
        return _RealFile(os.open(path, _FLAGS | os.O_CREAT | os.O_TRUNC, 0o600))

    def lock(self, path: Path) -> File:
        """See ``Disk``; flock(2)."""
        fd = os.open(path, _FLAGS | os.O_CREAT, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(fd)
            raise
        return _RealFile(fd)

    def rename(self, old: Path, new: Path) -> None:
        """See ``Disk``."""
        old.rename(new)

    def remove(self, path: Path) -> None:
        """See ``Disk``."""
        path.unlink()

    def touch(self, path: Path) -> None:
        """See ``Disk``."""
        os.utime(path)

    def make_folder(self, path: Path) -> None:
        """See ``Disk``."""
        path.mkdir(mode=0o700)

    def entries(self, folder: Path) -> list[Entry]:
        """See ``Disk``."""
        found = []
        with os.scandir(folder) as listing:
            for entry in listing:
                with contextlib.suppress(FileNotFoundError):  # Removed since it was listed.
                    status = entry.stat(follow_symlinks=False)
                    found.append(
                        Entry(entry.name, entry.is_dir(follow_symlinks=False), status.st_size, status.st_mtime_ns)
                    )
        return found

    def sync_folder(self, folder: Path) -> None:
        """See ``Disk``."""
        fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)

    def room_bytes(self, folder: Path) -> tuple[int, int]:
        """See ``Disk``; statvfs(3)."""
        status = os.statvfs(folder)
        return status.f_blocks * status.f_frsize, status.f_bavail * status.f_frsize

    def boot(self) -> str:
        """See ``Disk``; /proc/sys/kernel/random/boot_id (random(4))."""
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


class _RealFile:
    """A file descriptor."""

    __slots__ = ("_fd",)

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def read(self, offset: int, length: int) -> bytes:
        data = os.pread(self._fd, length, offset)
        while len(data) < length and (more := os.pread(self._fd, length - len(data), offset + len(data))):
            data += more
        return data

    def write(self, offset: int, data: bytes | bytearray) -> None:
        done = os.pwrite(self._fd, data, offset)
        if done < len(data):
            with memoryview(data) as view:
                while done < len(data):
                    done += os.pwrite(self._fd, view[done:], offset + done)

    def truncate(self, size_bytes: int) -> None:
        os.ftruncate(self._fd, size_bytes)

    def size_bytes(self) -> int:
        return os.fstat(self._fd).st_size

    def sync(self) -> None:
        os.fsync(self._fd)

    def close(self) -> None:
        fd, self._fd = self._fd, -1  # Another file may be given the number: who still uses this one gets EBADF.
        os.close(fd)


def read_file(disk: Disk, path: Path) -> bytes:
    """All of a file; raises FileNotFoundError."""
    file = disk.open(path)
    try:
        return file.read(0, file.size_bytes())
    finally:
        file.close()


def make_folders(disk: Disk, path: Path) -> None:
    """A folder with all above it, where they are missing; its name survives a power loss.

    The folder above is synced where the folder was there already, too: who made it may have been killed before that.
    """
    try:
        disk.make_folder(path)
    except FileExistsError:
        pass
    except FileNotFoundError:
        make_folders(disk, path.parent)
        disk.make_folder(path)
    disk.sync_folder(path.parent)
