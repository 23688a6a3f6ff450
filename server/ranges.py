"""Byte ranges that a request asks for (RFC 9110, section 14). Pure."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

RANGES_MAX: Final = 32
"""More, or ranges with more bytes than the content has, are answered by all of it: they are asked for to make work."""

_RANGE: Final = re.compile(r"(\d{0,19})-(\d{0,19})\Z", re.ASCII)


class Unsatisfiable(Exception):
    """None of the ranges has a byte of the content."""


class ByteRange(NamedTuple):
    """Bytes ``start`` to ``stop``, which is past the last."""

    start: int
    stop: int

    @property
    def size_bytes(self) -> int:
        """At least 1."""
        return self.stop - self.start

    def content_range(self, size_bytes: int) -> str:
        """The value of the header Content-Range."""
        return f"bytes {self.start}-{self.stop - 1}/{size_bytes}"


def ranges(header: str | None, size_bytes: int) -> list[ByteRange] | None:
    """The ranges asked for of a content of this size; None where all of it is to be sent. Raises Unsatisfiable.

    A header that is malformed, or of another unit, is passed over.
    """
    unit, equals, listed = (header or "").partition("=")
    if not equals or unit.strip().lower() != "bytes":
        return None
    found: list[ByteRange] = []
    asked = [text.strip() for text in listed.split(",") if text.strip()]
    if not 0 < len(asked) <= RANGES_MAX:
        return None
    for text in asked:
        match = _RANGE.match(text)
        if match is None or match[0] == "-":
            return None
        first, last = match[1], match[2]
        if first and last and int(last) < int(first):
            return None
        if not first:
            start, stop = max(0, size_bytes - int(last)), size_bytes
        else:
            start, stop = int(first), min(int(last) + 1, size_bytes) if last else size_bytes
        if start < stop:
            found.append(ByteRange(start, stop))
    if not found:
        raise Unsatisfiable
    return None if sum(one.size_bytes for one in found) > size_bytes else found
