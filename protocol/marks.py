"""Marks: what is put into the name of what could not have the name that it was meant to have.

``report.odt`` that came second is kept as ``report (conflict from laptop 2026-11-24 10.00.00).odt``. A mark goes before
the extension: what begins with the last dot, if something else than dots is before it, and if it has at most 32 bytes
and neither white space (of ASCII) nor parentheses.

Invariants:

- ``with_marks`` and ``split_marks`` are inverse of each other: ``with_marks(*split_marks(name)) == name`` for every
  name, and ``split_marks(with_marks(base, marks)) == (base, marks)`` for a base that is not empty and has no marks,
  and marks of a conflict or a restored file;
- marks can be put in one by one or all at once.
"""

from __future__ import annotations

import posixpath
import re
from datetime import UTC, datetime
from typing import Final

from protocol.limits import NAME_MAX_BYTES

_DEVICE_MAX_BYTES: Final = 64
_EXTENSION_MAX_BYTES: Final = 32
"""A longer run after the last dot belongs to the stem."""

_NO_EXTENSION: Final = re.compile(rb"[\s()]")
_MARK: Final = rb" \((?:conflict from [^()/\0]{0,64}|restored) \d{4}-\d\d-\d\d \d\d\.\d\d\.\d\d(?: [1-9]\d{0,4})?\)"
_MARKS: Final = re.compile(rb"(?:%b)*" % _MARK)
_LAST_MARK: Final = re.compile(rb"%b\Z" % _MARK)

_IN_DEVICE: Final = str.maketrans({"/": "-", "(": "[", ")": "]", "\0": None})


def conflict_mark(device_name: str, at_ns: int, count: int) -> bytes:
    """`` (conflict from DEVICE YYYY-MM-DD HH.MM.SS)`` in UTC; ``count`` from 2 on is put behind the time."""
    device = _cut(device_name.translate(_IN_DEVICE).encode(errors="replace"), _DEVICE_MAX_BYTES)
    return _dated(b"conflict from " + device, at_ns, count)


def restored_mark(at_ns: int, count: int) -> bytes:
    """`` (restored YYYY-MM-DD HH.MM.SS)``, the same."""
    return _dated(b"restored", at_ns, count)


def numbered_mark(count: int) -> bytes:
    """`` (2)`` and so on, which ``split_marks`` leaves where it is: people number their files, too."""
    return b" (%d)" % count


def marked(name: bytes, mark: bytes) -> bytes:
    """A name with a mark, of at most NAME_MAX_BYTES: the stem is cut."""
    stem, extension = _parts(name)
    return _cut(stem, NAME_MAX_BYTES - len(mark) - len(extension)) + mark + extension


def with_marks(base: bytes, marks: bytes) -> bytes:
    """A name with marks, however long that is."""
    stem, extension = _parts(base)
    return stem + marks + extension


def split_marks(name: bytes) -> tuple[bytes, bytes]:
    """A name without its marks, and these."""
    base, marks = name, b""
    while True:
        stem, extension = _parts(base)
        last = _LAST_MARK.search(stem)
        if last is None:
            return base, marks
        without = stem[: last.start()] + extension
        if not without or with_marks(without, last.group()) != base:
            return base, marks
        base, marks = without, last.group() + marks


def are_marks(text: bytes) -> bool:
    """Whether this is marks as ``split_marks`` finds them, or nothing."""
    return _MARKS.fullmatch(text) is not None


def _parts(name: bytes) -> tuple[bytes, bytes]:
    """Stem and extension."""
    stem, extension = posixpath.splitext(name)
    if len(extension) > _EXTENSION_MAX_BYTES or _NO_EXTENSION.search(extension):
        return name, b""
    return stem, extension


def _dated(what: bytes, at_ns: int, count: int) -> bytes:
    when = datetime.fromtimestamp(at_ns // 1_000_000_000, UTC).strftime("%Y-%m-%d %H.%M.%S")
    again = b"" if count == 1 else b" %d" % count
    return b" (" + what + b" " + when.encode() + again + b")"


def _cut(text: bytes, most_bytes: int) -> bytes:
    """The first bytes of a text, without half a character at the end where it is UTF-8."""
    if len(text) <= most_bytes:
        return text
    end = most_bytes
    while end > most_bytes - 4 and text[end] & 0xC0 == 0x80:  # A continuation byte: cut before its character.
        end -= 1
    return text[: most_bytes if text[end] & 0xC0 == 0x80 else end]
