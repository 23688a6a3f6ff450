"""A machine's disk in memory, which can crash at any change that is made to it: ``backend.disk.Disk`` for simulations.

A ``SimDisk`` is what one run of one process sees of one machine's disk. It ends by ``crash``, which comes from outside
or at a planned change; then ``kill`` and ``power_loss`` give the disk as the next process finds it, as often as one
likes, and each gives a new object. So nothing that is left of the dead process can reach the next one's disk.

A crash inside a call is told by ``Crashed``, which that call and every later one raise. It is no OSError, so nobody
takes it for trouble with the disk. Whoever catches every exception at an edge may swallow it: the program then runs on
until its next checkpoint as a ghost, whose disk answers nothing. ``crashed`` is called before ``Crashed`` is raised:
there a simulation cuts the ghost's network and cancels its tasks, so that nothing of it is seen any more.

What a power loss leaves, by ``random``: each change since the last sync of that file or folder is there or not,
whatever became of others. A write may be there in part, in sectors smaller than real ones so that short records tear,
or the file has grown by it and shows zeros. A rename is there as a whole or not at all. What a failed sync should have
made safe is lost.

Not for threads; a simulation runs thread work inline.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Final

from backend.disk import Entry

ROOT: Final = Path("/")
_PAGE_BYTES: Final = 4096
_SECTOR_BYTES: Final = 64
_SIZE_BYTES: Final = 1 << 40


class Crashed(Exception):
    """The process or the machine is gone: whoever gets this is no more."""


class _Bytes:
    """A file's bytes: sparse, and cheap to copy, as pages never change."""

    def __init__(self, size: int = 0, pages: dict[int, bytes] | None = None) -> None:
        self.size = size
        self._pages = pages or {}

    def copy(self) -> _Bytes:
        return _Bytes(self.size, dict(self._pages))

    def read(self, offset: int, length: int) -> bytes:
        runs = _runs(offset, min(length, self.size - offset), _PAGE_BYTES)
        return b"".join(self._page(page)[begin : begin + count] for page, begin, count in runs)

    def write(self, offset: int, data: bytes) -> None:
        if not data:
            return
        done = 0
        for page, begin, count in _runs(offset, len(data), _PAGE_BYTES):
            before = self._page(page)
            self._pages[page] = before[:begin] + data[done : done + count] + before[begin + count :]
            done += count
        self.size = max(self.size, offset + len(data))

    @property
    def used_bytes(self) -> int:
        return len(self._pages) * _PAGE_BYTES

    def growth_bytes(self, offset: int, length: int) -> int:
        """How much more it takes when this range has been written."""
        return sum(_PAGE_BYTES for page, _, _ in _runs(offset, length, _PAGE_BYTES) if page not in self._pages)

    def truncate(self, size: int) -> None:
        if size < self.size:
            last, begin = divmod(size, _PAGE_BYTES)
            self._pages = {page: content for page, content in self._pages.items() if page <= last}
            self._pages[last] = self._page(last)[:begin].ljust(_PAGE_BYTES, b"\0")
        self.size = size

    def _page(self, page: int) -> bytes:
        return self._pages.get(page, bytes(_PAGE_BYTES))


@dataclass(frozen=True)
class _Write:
    """Bytes that a power loss may take, or tear."""

    offset: int
    data: bytes

    def apply(self, content: _Bytes) -> None:
        content.write(self.offset, self.data)

    def survive(self, content: _Bytes, random: Random) -> None:
        fate = random.choice(("lost", "kept", "torn"))
        if fate == "kept":
            self.apply(content)
        if fate != "torn":
            return
        done = 0
        for _, _, count in _runs(self.offset, len(self.data), _SECTOR_BYTES):
            if random.random() < 0.5:
                content.write(self.offset + done, self.data[done : done + count])
            done += count
        if self.data and random.random() < 0.5:
            content.truncate(max(content.size, self.offset + len(self.data)))


@dataclass(frozen=True)
class _Truncate:
    """A change of size that a power loss may take."""

    size: int

    def apply(self, content: _Bytes) -> None:
        content.truncate(self.size)

    def survive(self, content: _Bytes, random: Random) -> None:
        if random.random() < 0.5:
            self.apply(content)


@dataclass(eq=False)
class _Inode:
    """A file or a folder, whatever its name."""

    is_folder: bool
    mtime_ns: int
    content: _Bytes = field(default_factory=_Bytes)
    synced: _Bytes = field(default_factory=_Bytes)
    pending: list[_Write | _Truncate] = field(default_factory=list)
    """What was done to ``synced`` since."""
    is_locked: bool = False

    def apply(self, change: _Write | _Truncate) -> None:
        change.apply(self.content)
        self.pending.append(change)

    def sync(self) -> None:
        for change in self.pending:
            change.apply(self.synced)
        self.pending.clear()

    def killed(self) -> _Inode:
        """As a process after this one finds it."""
        return _Inode(self.is_folder, self.mtime_ns, self.content.copy(), self.synced.copy(), list(self.pending))

    def powered_off(self, random: Random) -> _Inode:
        """As the machine's next start finds it."""
        content = self.synced.copy()
        for change in self.pending:
            change.survive(content, random)
        return _Inode(self.is_folder, self.mtime_ns, content, content.copy())


@dataclass(frozen=True)
class _Renaming:
    """What one call does to the names of a folder."""

    folder: Path
    names: dict[Path, _Inode | None]

    def apply(self, names: dict[Path, _Inode]) -> None:
        for path, inode in self.names.items():
            if inode is None:
                names.pop(path, None)
            else:
                names[path] = inode


class SimDisk:
    """See the module. Each change counts as one of ``steps``, from 1; crashes and failures are planned by number."""

    def __init__(self, random: Random, crashed: Callable[[], None] = lambda: None) -> None:
        self.steps = 0
        """Changes that were begun, syncs included."""
        self.is_full = False
        """While set, writes fail for want of space."""
        self.capacity_bytes: int | None = None
        """Where set, writes that need more than this in all fail so, too."""
        self._random = random
        self._crashed = crashed
        self._is_dead = False
        self._crash_at = 0
        self._failures: dict[int, int] = {}
        self._names = {ROOT: _Inode(is_folder=True, mtime_ns=0)}
        self._synced_names = dict(self._names)
        self._pending: list[_Renaming] = []
        """What was done to ``_synced_names`` since."""
        self._starts = 1
        self._now_ns = 0

    # ── crashes and failures ──

    def crash(self) -> None:
        """The process ends here; every call from now on raises Crashed."""
        if not self._is_dead:
            self._is_dead = True
            self._crashed()

    def crash_at(self, step: int) -> None:
        """Crash inside this change: a write may have been done in part, anything else has not been done."""
        self._crash_at = step

    def fail_at(self, step: int, code: int) -> None:
        """Let this change fail with this errno: a write may have been done in part, anything else has not been done."""
        self._failures[step] = code

    def kill(self, crashed: Callable[[], None] = lambda: None) -> SimDisk:
        """The disk as the next process finds it when this one was killed: whatever was done is there."""
        self.crash()
        copies = {inode: inode.killed() for inode in self._inodes()}
        after = SimDisk(self._random, crashed)
        after._names = {path: copies[inode] for path, inode in self._names.items()}
        after._synced_names = {path: copies[inode] for path, inode in self._synced_names.items()}
        after._pending = [
            _Renaming(one.folder, {path: inode and copies[inode] for path, inode in one.names.items()})
            for one in self._pending
        ]
        after._starts, after._now_ns = self._starts, self._now_ns
        after.capacity_bytes = self.capacity_bytes
        return after

    def power_loss(self, crashed: Callable[[], None] = lambda: None) -> SimDisk:
        """The disk as the machine's next start finds it: whatever was not synced is there, torn or lost."""
        self.crash()
        names = dict(self._synced_names)
        for one in self._pending:
            if self._random.random() < 0.5:
                one.apply(names)
        for path in sorted(names):  # A folder comes before what lies in it.
            if path.parent not in names:
                del names[path]
        copies = {inode: inode.powered_off(self._random) for inode in dict.fromkeys(names.values())}
        after = SimDisk(self._random, crashed)
        after._names = {path: copies[inode] for path, inode in names.items()}
        after._synced_names = dict(after._names)
        after._starts, after._now_ns = self._starts + 1, self._now_ns
        after.capacity_bytes = self.capacity_bytes
        return after

    def _inodes(self) -> Iterator[_Inode]:
        yield from self._names.values()
        yield from self._synced_names.values()
        for one in self._pending:
            yield from (inode for inode in one.names.values() if inode is not None)

    def _check_alive(self) -> None:
        if self._is_dead:
            raise Crashed

    def _begin(self) -> None:
        """A change is about to be made; raises what was planned for it."""
        self._check_alive()
        self.steps += 1
        if self.steps == self._crash_at:
            self.crash()
            raise Crashed
        if code := self._failures.pop(self.steps, 0):
            raise _error(code)

    # ── the disk ──

    def open(self, path: Path) -> _SimFile:
        self._check_alive()
        return _SimFile(self, self._file(path))

    def create(self, path: Path) -> _SimFile:
        self._begin()
        inode = self._made(path)
        if inode.content.size:
            inode.apply(_Truncate(0))
        return _SimFile(self, inode)

    def lock(self, path: Path) -> _SimFile:
        self._begin()
        inode = self._made(path)
        if inode.is_locked:
            raise _error(errno.EWOULDBLOCK)
        inode.is_locked = True
        return _SimFile(self, inode, locks=True)

    def rename(self, old: Path, new: Path) -> None:
        assert old.parent == new.parent, "a rename across folders is more than this disk knows"
        self._begin()
        self._rename(old.parent, {old: None, new: self._file(old)})

    def remove(self, path: Path) -> None:
        self._begin()
        self._file(path)
        self._rename(path.parent, {path: None})

    def touch(self, path: Path) -> None:
        self._check_alive()
        self._file(path).mtime_ns = self._tick()

    def make_folder(self, path: Path) -> None:
        self._begin()
        self._folder(path.parent)
        if path in self._names:
            raise _error(errno.EEXIST)
        self._rename(path.parent, {path: _Inode(is_folder=True, mtime_ns=self._tick())})

    def entries(self, folder: Path) -> list[Entry]:
        self._check_alive()
        self._folder(folder)
        return [
            Entry(path.name, inode.is_folder, inode.content.size, inode.mtime_ns)
            for path, inode in self._names.items()
            if path.parent == folder and path != ROOT
        ]

    def sync_folder(self, folder: Path) -> None:
        self._begin()
        self._folder(folder)
        for one in self._pending:
            if one.folder == folder:
                one.apply(self._synced_names)
        self._pending = [one for one in self._pending if one.folder != folder]

    def room_bytes(self, folder: Path) -> tuple[int, int]:
        self._check_alive()
        self._folder(folder)
        total_bytes = _SIZE_BYTES if self.capacity_bytes is None else self.capacity_bytes
        return total_bytes, max(0, total_bytes - self.used_bytes)

    def boot(self) -> str:
        return f"start {self._starts}"

    @property
    def used_bytes(self) -> int:
        """Of the files that have names."""
        return sum(inode.content.used_bytes for inode in self._names.values())

    def check_room(self, more_bytes: int) -> None:
        """Raises ENOSPC where so much more is more than there is."""
        if self.capacity_bytes is not None and more_bytes > 0 and self.used_bytes + more_bytes > self.capacity_bytes:
            raise _error(errno.ENOSPC)

    def _tick(self) -> int:
        self._now_ns += 1
        return self._now_ns

    def _file(self, path: Path) -> _Inode:
        self._folder(path.parent)
        if path not in self._names:
            raise _error(errno.ENOENT)
        if self._names[path].is_folder:
            raise _error(errno.EISDIR)
        return self._names[path]

    def _folder(self, path: Path) -> None:
        for folder in (*reversed(path.parents), path):
            if folder not in self._names:
                raise _error(errno.ENOENT)
            if not self._names[folder].is_folder:
                raise _error(errno.ENOTDIR)

    def _made(self, path: Path) -> _Inode:
        """The file of this path, made where it is missing."""
        self._folder(path.parent)
        if path not in self._names:
            self._rename(path.parent, {path: _Inode(is_folder=False, mtime_ns=self._tick())})
        return self._file(path)

    def _rename(self, folder: Path, names: dict[Path, _Inode | None]) -> None:
        self._pending.append(_Renaming(folder, names))
        self._pending[-1].apply(self._names)


class _SimFile:
    """An open file of a ``SimDisk``; it may touch its disk's own parts."""

    def __init__(self, disk: SimDisk, inode: _Inode, *, locks: bool = False) -> None:
        self._disk = disk
        self._opened: _Inode | None = inode
        self._locks = locks

    def read(self, offset: int, length: int) -> bytes:
        return self._inode().content.read(offset, length)

    def write(self, offset: int, data: bytes | bytearray) -> None:
        inode = self._inode()
        self._disk.check_room(inode.content.growth_bytes(offset, len(data)))
        try:
            self._disk._begin()
            if self._disk.is_full:
                raise _error(errno.ENOSPC)
        except (OSError, Crashed):
            inode.apply(_Write(offset, bytes(data[: self._disk._random.randint(0, len(data))])))
            raise
        inode.apply(_Write(offset, bytes(data)))
        inode.mtime_ns = self._disk._tick()

    def truncate(self, size_bytes: int) -> None:
        inode = self._inode()
        self._disk._begin()
        inode.apply(_Truncate(size_bytes))
        inode.mtime_ns = self._disk._tick()

    def size_bytes(self) -> int:
        return self._inode().content.size

    def sync(self) -> None:
        inode = self._inode()
        try:
            self._disk._begin()
        except OSError:
            inode.pending.clear()
            raise
        inode.sync()

    def close(self) -> None:
        """A dead process's files are closed already, so this raises no Crashed."""
        if self._opened is None:
            raise _error(errno.EBADF)
        if self._locks:
            self._opened.is_locked = False
        self._opened = None

    def _inode(self) -> _Inode:
        self._disk._check_alive()
        if self._opened is None:
            raise _error(errno.EBADF)
        return self._opened


def _error(code: int) -> OSError:
    return OSError(code, os.strerror(code))


def _runs(offset: int, length: int, size: int) -> Iterator[tuple[int, int, int]]:
    """The parts of a range in units of this size: which unit, where in it, how many bytes."""
    stop = offset + length
    while offset < stop:
        unit, begin = divmod(offset, size)
        count = min(size - begin, stop - offset)
        yield unit, begin, count
        offset += count
