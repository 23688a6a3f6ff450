"""A folder as a zip file that is written while it is sent (PKWARE, APPNOTE.TXT 6.3.10). No I/O.

Files are stored as they are: their blocks were compressed where they lie, and what is photographed or filmed can't be.
A file's checksum follows its content; its size is known before, so that one of 4 GiB or more is zip64 from the start.

Invariant: a name in the zip names one place below the folder that it is extracted in, whatever extracts it: no name
is absolute, goes up, or means another folder where ``\\`` separates names or ``:`` names a disk; no two are equal.
"""

from __future__ import annotations

import re
import stat
import struct
import zlib
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Final, NamedTuple

from protocol.ids import NodeId
from protocol.messages.nodes import Kind
from server.metadata.subtree import Below

_ODD: Final = re.compile(r"[\x00-\x1f\x7f\\:\ufffd]|[. ]+\Z")
"""What some system takes for something else than a part of a name, or drops."""

_EXTENSION: Final = re.compile(r"(?<=[^.])\.\w{1,16}\Z")

_LOCAL: Final = struct.Struct("<4s5H3L2H")
_DESCRIPTOR: Final = struct.Struct("<4sLLL")
_DESCRIPTOR_64: Final = struct.Struct("<4sLQQ")
_CENTRAL: Final = struct.Struct("<4s6H3L5H2L")
_END: Final = struct.Struct("<4s4H2LH")
_END_64: Final = struct.Struct("<4sQ2H2L4Q")
_LOCATOR: Final = struct.Struct("<4sLQL")

_UTF_8: Final = 1 << 11
_DESCRIPTOR_FOLLOWS: Final = 1 << 3
_PLAIN_VERSION: Final = 20
_ZIP64_VERSION: Final = 45
_MADE_ON_UNIX: Final = 3 << 8 | _ZIP64_VERSION
_MSDOS_FOLDER: Final = 0x10
_MOST_16: Final = 0xFFFF
_MOST_32: Final = 0xFFFFFFFF
"""These stand where the number is in the zip64 part."""


class Member(NamedTuple):
    """A file or folder in a zip, by its path there."""

    path: str
    entry: Below


def members(entries: Iterable[Below], folder: NodeId, prefix: bytes) -> Iterator[Member]:
    """What of a folder's content goes into a zip: files and folders, each folder before what is in it, by name.

    Symbolic links and devices stay out: extracted they could lead anywhere. ``prefix`` is the folder's own name.
    """
    inside: dict[NodeId, list[Below]] = {}
    for entry in entries:
        if entry.kind in (Kind.FILE, Kind.FOLDER):
            inside.setdefault(entry.parent, []).append(entry)
    waiting = [(f"{safe_name(prefix, folder)}/" if prefix else "", iter(_sorted(inside.pop(folder, []))))]
    while waiting:
        path, rest = waiting[-1]
        following = next(rest, None)
        if following is None:
            waiting.pop()
            continue
        name = path + safe_name(following.name, following.node)
        if following.kind is Kind.FOLDER:
            yield Member(f"{name}/", following)
            waiting.append((f"{name}/", iter(_sorted(inside.pop(following.node, [])))))
        else:
            yield Member(name, following)


def _sorted(entries: list[Below]) -> list[Below]:
    return sorted(entries, key=lambda entry: entry.name)


def safe_name(name: bytes, node: NodeId) -> str:
    """A name as it is where every system takes it for one name; else with ``_`` for what is odd, and the node's id."""
    text = name.decode(errors="replace")
    safe = _ODD.sub("_", text)
    if safe == text:
        return text
    extension = match[0] if (match := _EXTENSION.search(safe)) else ""
    return f"{safe.removesuffix(extension)} ({node:x}){extension}"


class Zip:
    """A zip file's bytes: each step adds some, and ``take`` takes them away.

    What is kept to the end is the directory of what has been added: some hundred bytes for each.
    """

    def __init__(self) -> None:
        self._collected = bytearray()
        self._taken_bytes = 0
        self._directory = bytearray()
        self._members = 0
        self._file: _Head | None = None
        self._checksum = 0

    def folder(self, member: Member) -> None:
        """A folder of its own, that it may be empty."""
        head = _Head.of(member, stat.S_IFDIR, 0, self._offset)
        self._collected += head.local()
        self._finish(head, 0)

    def begin(self, member: Member) -> None:
        """The head of a file; ``write`` gives its content, as long as its entry says, and ``end`` ends it."""
        self._file, self._checksum = _Head.of(member, stat.S_IFREG, member.entry.size, self._offset), 0
        self._collected += self._file.local()

    def write(self, part: bytes | memoryview) -> None:
        """A part of the file that was begun."""
        self._checksum = zlib.crc32(part, self._checksum)
        self._collected += part

    def end(self) -> None:
        """The file that was begun is complete."""
        assert self._file is not None
        self._collected += self._file.descriptor(self._checksum)
        self._finish(self._file, self._checksum)
        self._file = None

    def close(self) -> None:
        """The directory of all members, which ends the zip."""
        start, size, members = self._offset, len(self._directory), self._members
        self._collected += self._directory
        if members >= _MOST_16 or start + size >= _MOST_32:
            at = self._offset
            versions = (_MADE_ON_UNIX, _ZIP64_VERSION)
            self._collected += _END_64.pack(
                b"PK\6\6", _END_64.size - 12, *versions, 0, 0, members, members, size, start
            )
            self._collected += _LOCATOR.pack(b"PK\6\7", 0, at, 1)
        counts = (min(members, _MOST_16),) * 2
        self._collected += _END.pack(b"PK\5\6", 0, 0, *counts, min(size, _MOST_32), min(start, _MOST_32), 0)

    def take(self, at_least_bytes: int = 0) -> bytes:
        """What has come together; nothing where that is less."""
        if len(self._collected) < at_least_bytes:
            return b""
        taken = bytes(self._collected)
        self._taken_bytes += len(taken)
        self._collected.clear()
        return taken

    @property
    def _offset(self) -> int:
        return self._taken_bytes + len(self._collected)

    def _finish(self, head: _Head, checksum: int) -> None:
        self._directory += head.central(checksum)
        self._members += 1


class _Head(NamedTuple):
    """What stands of a member before its content, after it, and in the directory."""

    name: bytes
    time: tuple[int, int]
    attributes: int
    size: int
    offset: int

    @staticmethod
    def of(member: Member, kind: int, size: int, offset: int) -> _Head:
        msdos = _MSDOS_FOLDER if kind == stat.S_IFDIR else 0
        attributes = (kind | member.entry.mode & 0o777) << 16 | msdos
        return _Head(member.path.encode(), _msdos_time(member.entry.mtime_ns), attributes, size, offset)

    @property
    def _flags(self) -> int:
        return _UTF_8 | (_DESCRIPTOR_FOLLOWS if self.size else 0)

    @property
    def _is_long(self) -> bool:
        return self.size >= _MOST_32

    def local(self) -> bytes:
        extra = struct.pack("<2H2Q", 1, 16, 0, 0) if self._is_long else b""
        version = _ZIP64_VERSION if self._is_long else _PLAIN_VERSION
        sizes = (_MOST_32, _MOST_32) if self._is_long else (0, 0)  # They follow, with the checksum.
        lengths = (len(self.name), len(extra))
        return _LOCAL.pack(b"PK\3\4", version, self._flags, 0, *self.time, 0, *sizes, *lengths) + self.name + extra

    def descriptor(self, checksum: int) -> bytes:
        if not self.size:
            return b""
        return (_DESCRIPTOR_64 if self._is_long else _DESCRIPTOR).pack(b"PK\7\x08", checksum, self.size, self.size)

    def central(self, checksum: int) -> bytes:
        numbers = (self.size, self.size, self.offset)
        long = [number for number in numbers if number >= _MOST_32]
        extra = struct.pack(f"<2H{len(long)}Q", 1, 8 * len(long), *long) if long else b""
        version = _ZIP64_VERSION if long else _PLAIN_VERSION
        packed = _CENTRAL.pack(
            b"PK\1\2",
            *(_MADE_ON_UNIX, version, self._flags, 0),
            *self.time,
            checksum,
            *(min(number, _MOST_32) for number in numbers[:2]),
            *(len(self.name), len(extra), 0, 0, 0),
            self.attributes,
            min(self.offset, _MOST_32),
        )
        return packed + self.name + extra


def _msdos_time(mtime_ns: int) -> tuple[int, int]:
    """Time and date, in UTC: from 1980 to 2107, two seconds at a time."""
    try:
        at = datetime.fromtimestamp(mtime_ns // 10**9, UTC)
    except (OverflowError, ValueError, OSError):
        at = datetime(1980, 1, 1, tzinfo=UTC)
    at = min(max(at, datetime(1980, 1, 1, tzinfo=UTC)), datetime(2107, 12, 31, 23, 59, 58, tzinfo=UTC))
    return at.hour << 11 | at.minute << 5 | at.second // 2, at.year - 1980 << 9 | at.month << 5 | at.day
