"""What a folder looks like, so that two file systems can be compared.

Inode numbers and times differ by nature. What they say is compared: which names and descriptors mean the same file,
whether a name's file is the one that it was at the last look, whether a time moved since then, and times that
a program set.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping
from typing import Final

from tests.differential.calls import seen

Seen = dict[str, object]
"""A line for people by what it is about."""

_STARTED_NS: Final = 1_500_000_000_000_000_000
"""Times before are such as programs set, later ones are of now, and those of 2106 are set again."""

_AHEAD_NS: Final = 4_000_000_000_000_000_000


class Looks:
    """All looks at one folder."""

    def __init__(self, folder: bytes, *, atimes: bool) -> None:
        """``atimes``: whether reading leaves them alone here."""
        self._folder = folder
        self._atimes = atimes
        self._before: dict[str, os.stat_result] = {}

    def attributes(self, files: Mapping[str, int], *, fine: bool) -> Seen:
        """Of every name below the folder and of every open file; ``fine``: what moved since the last such look."""
        found = dict(_walk(self._folder, ""))
        found |= {slot: os.fstat(file) for slot, file in files.items()}
        first: dict[tuple[int, int], str] = {}
        for name, status in sorted(found.items()):
            first.setdefault((status.st_dev, status.st_ino), name)
        lines: Seen = {}
        for name, status in found.items():
            line = self._line(status) + f" is {first[status.st_dev, status.st_ino]!r}"
            if fine and (before := self._before.get(name)) is not None:
                line += _moved(before, status)
            lines[name] = line
        self._before = found
        return lines

    def contents(self) -> Seen:
        """What is in every name, and its extended attributes."""
        return {name: self._content(name, status) for name, status in _walk(self._folder, "")}

    def _line(self, status: os.stat_result) -> str:
        mode = status.st_mode
        kind = stat.filemode(mode)
        size = "" if stat.S_ISDIR(mode) else f" {status.st_size} bytes"
        device = f" dev {status.st_rdev}" if stat.S_ISCHR(mode) or stat.S_ISBLK(mode) else ""
        times = f" mtime {_class(status.st_mtime_ns)}"
        if self._atimes:
            times += f" atime {_class(status.st_atime_ns)}"
        return f"{kind} {status.st_uid}:{status.st_gid} nlink {status.st_nlink}{size}{device}{times}"

    def _content(self, name: str, status: os.stat_result) -> object:
        path = self._folder + b"/" + os.fsencode(name)
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


def _moved(before: os.stat_result, after: os.stat_result) -> str:
    """What a pipe's readers and writers do to its times no file system above FUSE is told."""
    if stat.S_ISFIFO(after.st_mode):
        return ""
    if before.st_ino != after.st_ino:
        return " another file"
    moved = [name for name in ("mtime", "ctime") if _time(before, name) != _time(after, name)]
    back = [name for name in ("ctime",) if _time(before, name) > _time(after, name)]
    return "".join(f" {name} moved" for name in moved) + "".join(f" {name} WENT BACK" for name in back)


def _time(status: os.stat_result, name: str) -> int:
    time_ns: int = getattr(status, f"st_{name}_ns")
    return time_ns


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
