"""What a folder looks like, so that two file systems can be compared.

Inode numbers and times differ by nature. What they say is compared: which names and descriptors mean the same file,
whether a name's file is the one that it was at the last look, whether a time moved since then, and times that
a program set.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple, Protocol

from tests.differential.calls import seen

Seen = dict[str, object]
"""A line for people by what it is about."""

_STARTED_NS: Final = 1_500_000_000_000_000_000
"""Times before are such as programs set, later ones are of now, and those of 2106 are set again."""

_AHEAD_NS: Final = 4_000_000_000_000_000_000


class _Kept(NamedTuple):
    """Of a look."""

    inode: int
    mtime_ns: int
    ctime_ns: int


class Status(Protocol):
    """What stat(2) says: an ``os.stat_result`` or what a file system tells its kernel."""

    st_mode: int
    st_ino: int
    st_nlink: int
    st_uid: int
    st_gid: int
    st_size: int
    st_rdev: int
    st_atime_ns: int
    st_mtime_ns: int
    st_ctime_ns: int


class Looks:
    """All looks at one folder. Pure."""

    def __init__(self, *, exact: bool) -> None:
        """``exact``: access times are compared, and what moves times."""
        self._exact = exact
        self._before: dict[str, _Kept] = {}

    def lines(self, found: Mapping[str, Status], *, fine: bool) -> Seen:
        """A line for each name and each open file; ``fine``: with what moved since the last look."""
        first: dict[int, str] = {}
        for name, status in sorted(found.items()):
            first.setdefault(status.st_ino, name)
        lines: Seen = {}
        for name, status in found.items():
            line = f"{self._line(status)} is {first[status.st_ino]!r}"
            if fine and self._exact and (before := self._before.get(name)) is not None:
                line += _moved(before, status)
            lines[name] = line
        self._before = {
            name: _Kept(status.st_ino, status.st_mtime_ns, status.st_ctime_ns) for name, status in found.items()
        }
        return lines

    def _line(self, status: Status) -> str:
        mode = status.st_mode
        size = "" if stat.S_ISDIR(mode) else f" {status.st_size} bytes"
        device = f" dev {status.st_rdev}" if stat.S_ISCHR(mode) or stat.S_ISBLK(mode) else ""
        times = "" if stat.S_ISFIFO(mode) else self._times(status)
        return f"{stat.filemode(mode)} {status.st_uid}:{status.st_gid} nlink {status.st_nlink}{size}{device}{times}"

    def _times(self, status: Status) -> str:
        """But of pipes: what their readers and writers do to those no file system above FUSE is told."""
        atime = f" atime {_class(status.st_atime_ns)}" if self._exact else ""
        return f" mtime {_class(status.st_mtime_ns)}{atime}"


def statuses(folder: bytes, files: Mapping[str, int]) -> dict[str, Status]:
    """Of every name below a folder, and of open files."""
    return dict(_walk(folder, "")) | {slot: os.fstat(file) for slot, file in files.items()}


def contents(folder: bytes) -> Seen:
    """What is in every name below a folder, and its extended attributes."""
    return {name: _content(folder + b"/" + os.fsencode(name), status) for name, status in _walk(folder, "")}


def _content(path: bytes, status: os.stat_result) -> object:
    found: list[object] = []
    if stat.S_ISREG(status.st_mode):
        with open(path, "rb", buffering=0) as file:
            found.append(seen(file.readall()))
    if stat.S_ISLNK(status.st_mode):
        found.append(os.readlink(path))
    for xattr in sorted(os.listxattr(path, follow_symlinks=False)):
        if xattr.startswith(("user.", "trusted.")):
            found.append((xattr, seen(os.getxattr(path, xattr, follow_symlinks=False))))
    return found


def _walk(folder: bytes, below: str) -> Iterator[tuple[str, os.stat_result]]:
    yield below or ".", os.lstat(folder)
    for entry in sorted(os.listdir(folder)):
        path = folder + b"/" + entry
        name = f"{below}/{os.fsdecode(entry)}" if below else os.fsdecode(entry)
        try:
            status = os.lstat(path)
        except FileNotFoundError:
            yield name, os.stat_result([0] * 10)  # Listed and not there: the sides differ.
            continue
        if stat.S_ISDIR(status.st_mode):
            yield from _walk(path, name)
        else:
            yield name, status


def _class(time_ns: int) -> str:
    return "now" if _STARTED_NS < time_ns < _AHEAD_NS else str(time_ns)


def _moved(before: _Kept, after: Status) -> str:
    if stat.S_ISFIFO(after.st_mode):
        return ""
    if before.inode != after.st_ino:
        return " another file"
    moved = " mtime moved" if before.mtime_ns != after.st_mtime_ns else ""
    moved += " ctime moved" if before.ctime_ns != after.st_ctime_ns else ""
    return moved + (" ctime WENT BACK" if before.ctime_ns > after.st_ctime_ns else "")


def difference(one: Seen, other: Seen) -> list[str]:
    """Lines for people; none where the looks agree."""
    lines = []
    for name in sorted(one.keys() | other.keys()):
        if one.get(name) != other.get(name):
            lines += [
                f"  {name}",
                f"    expected {one.get(name, 'nothing')}",
                f"    found    {other.get(name, 'nothing')}",
            ]
    return lines
