"""The steps of a program as system calls below one folder, each with what came of it.

Owns what is open. A call's outcome is a value that two file systems must agree on: what it returned, or its errno.
Nothing here blocks: pipes are opened with O_NONBLOCK. Mappings are read and written by the kernel, which answers
EFAULT where a program would get SIGBUS.
"""

from __future__ import annotations

import errno
import fcntl
import mmap
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import blake2b
from pathlib import Path
from random import Random
from typing import Final

from tests.differential.mapping import Mapping
from tests.differential.program import COMMON_GROUP, NOW, OMIT, ROOT_USER, Step
from tests.real.renameat2 import renameat2
from tests.real.utimensat import UTIME_NOW, UTIME_OMIT, futimens, utimensat

Outcome = object

_LARGE_BYTES: Final = 64


def content_of(token: int, length: int) -> bytes:
    """The bytes of one write: none of them alike where that can be."""
    return Random(token).randbytes(length)


def seen(content: bytes) -> object:
    """Content for people: its length and hash where it is long."""
    if len(content) <= _LARGE_BYTES and not any(content):
        return f"{len(content)} zeros"
    return f"{len(content)} bytes {blake2b(content, digest_size=6).hexdigest()}"


@contextmanager
def acting_as(user: int) -> Iterator[None]:
    """With the rights of an ordinary user; needs root."""
    if user == ROOT_USER:
        yield
        return
    os.setgroups([COMMON_GROUP])
    os.setegid(user)
    os.seteuid(user)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)
        os.setgroups([])


class Calls:
    """One side of a comparison."""

    def __init__(self, folder: Path, remount: Callable[[], None] = lambda: None) -> None:
        """``remount`` has the file system mounted anew, everything being closed."""
        self.folder = os.fsencode(folder)
        self._files: dict[str, int] = {}
        self._opened: dict[str, int] = {}
        """How often something was opened in a slot."""
        self._mappings: dict[str, Mapping] = {}
        self._remount = remount
        self._scratch = os.memfd_create("scratch")

    def run(self, step: Step) -> Outcome:
        """What came of a step."""
        try:
            with acting_as(step.user):
                return getattr(self, step.call)(*step.arguments)
        except OSError as error:
            return errno.errorcode[error.errno or 0]

    @property
    def files(self) -> dict[str, int]:
        """What is open, by a name that no two have."""
        return {f"{slot} ({self._opened[slot]})": file for slot, file in self._files.items()}

    def end(self) -> None:
        """Close everything."""
        self._close_all()
        os.close(self._scratch)

    def path(self, path: str) -> bytes:
        """Where a path is."""
        return self.folder + b"/" + os.fsencode(path)

    # ── open files ──

    def open(self, slot: str, path: str, flags: int, mode: int) -> Outcome:
        before = self.close(slot) if slot in self._files else None
        self._files[slot] = os.open(self.path(path), flags | os.O_NONBLOCK, mode)
        self._opened[slot] = self._opened.get(slot, 0) + 1
        return before

    def close(self, slot: str) -> Outcome:
        file = self._file(slot)
        del self._files[slot]
        os.close(file)
        return None

    def close_copy(self, slot: str) -> Outcome:
        os.close(os.dup(self._file(slot)))
        return None

    def write(self, slot: str, token: int, length: int) -> Outcome:
        return os.write(self._file(slot), content_of(token, length))

    def pwrite(self, slot: str, token: int, length: int, offset: int) -> Outcome:
        return os.pwrite(self._file(slot), content_of(token, length), offset)

    def read(self, slot: str, length: int) -> Outcome:
        return seen(os.read(self._file(slot), length))

    def pread(self, slot: str, length: int, offset: int) -> Outcome:
        return seen(os.pread(self._file(slot), length, offset))

    def seek(self, slot: str, offset: int, whence: int) -> Outcome:
        file = self._file(slot)
        return None if os.path.isdir(f"/proc/self/fd/{file}") else os.lseek(file, offset, whence)

    def ftruncate(self, slot: str, size: int) -> Outcome:
        return os.ftruncate(self._file(slot), size)

    def fsync(self, slot: str) -> Outcome:
        return os.fsync(self._file(slot))

    def fchmod(self, slot: str, mode: int) -> Outcome:
        return os.fchmod(self._file(slot), mode)

    def fchown(self, slot: str, uid: int, gid: int) -> Outcome:
        return os.fchown(self._file(slot), uid, gid)

    def futimens(self, slot: str, atime: int | str, mtime: int | str) -> Outcome:
        return futimens(self._file(slot), _time(atime), _time(mtime))

    def fsetxattr(self, slot: str, name: str, token: int, length: int, flags: int) -> Outcome:
        return os.setxattr(self._file(slot), name, content_of(token, length), flags)

    def fallocate(self, slot: str, offset: int, length: int) -> Outcome:
        file = self._file(slot)
        flags = fcntl.fcntl(file, fcntl.F_GETFL)
        if flags & os.O_APPEND or flags & os.O_ACCMODE != os.O_RDWR:
            return "posix_fallocate(3) can't be emulated"
        if offset + length <= os.fstat(file).st_size:
            return "nothing to allocate"  # The emulation would change no byte, and so no time.
        return os.posix_fallocate(file, offset, length)

    def copy_range(self, source: str, target: str, source_offset: int, target_offset: int, length: int) -> Outcome:
        return os.copy_file_range(self._file(source), self._file(target), length, source_offset, target_offset)

    def drop_pages(self, slot: str) -> Outcome:
        file = self._file(slot)
        os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
        return None

    # ── mappings ──

    def map(self, slot: str, file: str, length: int, how: str) -> Outcome:
        if slot in self._mappings:
            self._mappings.pop(slot).close()
        flags = mmap.MAP_SHARED if how == "shared" else mmap.MAP_PRIVATE
        self._mappings[slot] = Mapping(self._file(file), length, flags)
        return None

    def map_read(self, slot: str, offset: int, length: int) -> Outcome:
        mapping = self._mapping(slot)
        got = os.pwritev(self._scratch, [mapping.view[offset : offset + length]], 0)
        return seen(os.pread(self._scratch, got, 0))

    def map_write(self, slot: str, offset: int, token: int, length: int) -> Outcome:
        mapping = self._mapping(slot)
        os.pwrite(self._scratch, content_of(token, length), 0)
        written = os.preadv(self._scratch, [mapping.view[offset : offset + length]], 0)
        mapping.sync()  # Until then it is each file system's affair whether a time has moved (mmap(2)).
        return written

    def msync(self, slot: str) -> Outcome:
        return self._mapping(slot).sync()

    def unmap(self, slot: str) -> Outcome:
        self._mapping(slot).close()
        del self._mappings[slot]
        return None

    # ── names ──

    def truncate(self, path: str, size: int) -> Outcome:
        return os.truncate(self.path(path), size)

    def mkdir(self, path: str, mode: int) -> Outcome:
        return os.mkdir(self.path(path), mode)

    def rmdir(self, path: str) -> Outcome:
        return os.rmdir(self.path(path))

    def unlink(self, path: str) -> Outcome:
        return os.unlink(self.path(path))

    def rename(self, path: str, new_path: str) -> Outcome:
        return os.rename(self.path(path), self.path(new_path))

    def renameat2(self, path: str, new_path: str, flags: int) -> Outcome:
        return renameat2(self.path(path), self.path(new_path), flags)

    def link(self, path: str, new_path: str) -> Outcome:
        return os.link(self.path(path), self.path(new_path))

    def symlink(self, target: str, path: str) -> Outcome:
        return os.symlink(target, self.path(path))

    def mknod(self, path: str, mode: int) -> Outcome:
        return os.mknod(self.path(path), mode, os.makedev(1, 3))

    def readlink(self, path: str) -> Outcome:
        return os.readlink(self.path(path))

    def stat(self, path: str) -> Outcome:
        return oct(os.stat(self.path(path)).st_mode)

    def access(self, path: str, mode: int) -> Outcome:
        return os.access(self.path(path), mode, effective_ids=True)

    def listdir(self, path: str) -> Outcome:
        return sorted(os.listdir(self.path(path)))

    # ── attributes ──

    def chmod(self, path: str, mode: int) -> Outcome:
        return os.chmod(self.path(path), mode)

    def chown(self, path: str, uid: int, gid: int, follow: bool) -> Outcome:
        return os.chown(self.path(path), uid, gid, follow_symlinks=follow)

    def utimens(self, path: str, atime: int | str, mtime: int | str, follow: bool) -> Outcome:
        return utimensat(self.path(path), _time(atime), _time(mtime), follow=follow)

    def setxattr(self, path: str, name: str, token: int, length: int, flags: int) -> Outcome:
        return os.setxattr(self.path(path), name, content_of(token, length), flags)

    def getxattr(self, path: str, name: str) -> Outcome:
        return seen(os.getxattr(self.path(path), name))

    def removexattr(self, path: str, name: str) -> Outcome:
        return os.removexattr(self.path(path), name)

    def umask(self, mask: int) -> Outcome:
        os.umask(mask)
        return None

    # ── the file system ──

    def remount(self) -> Outcome:
        self._close_all()
        self._remount()
        return None

    def _close_all(self) -> None:
        for slot in list(self._mappings):
            self._mappings.pop(slot).close()
        for slot in list(self._files):
            os.close(self._files.pop(slot))

    def _file(self, slot: str) -> int:
        if slot not in self._files:
            raise OSError(errno.EBADF, "nothing is open there")
        return self._files[slot]

    def _mapping(self, slot: str) -> Mapping:
        if slot not in self._mappings:
            raise OSError(errno.EBADF, "nothing is mapped there")
        return self._mappings[slot]


def _time(wanted: int | str) -> tuple[int, int]:
    """Seconds and nanoseconds of a timespec."""
    if wanted == NOW:
        return 0, UTIME_NOW
    if wanted == OMIT:
        return 0, UTIME_OMIT
    return divmod(int(wanted), 1_000_000_000)
