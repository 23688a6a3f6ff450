"""Programs on the content of one file, and the bytes that it must have after each step. Pure.

Offsets and lengths don't depend on what went before, so that a program of any of its steps is still a program: the
model says what each means for the file as it is.
"""

from __future__ import annotations

from collections.abc import Collection
from random import Random
from typing import Final

from tests.differential.calls import content_of
from tests.differential.program import Step

_MAXIMA: Final = (20_000, 300_000, 300_000, 2_500_000, 9_000_000)
"""Of a file's size. Overlays leave memory at 256 KiB, blocks have 256 KiB to 4 MiB."""

_LENGTHS: Final = (1, 100, 4096, 4096, 20_000, 70_000, 140_000)
_EDGES: Final = (4096, 65_536, 131_072, 262_144)

_WEIGHTS: Final = {
    "read": 20.0, "write": 24.0, "truncate": 5.0, "truncate_by_path": 0.3, "append": 0.5, "reopen": 1.0,
    "sync": 0.3, "look": 0.3, "map_read": 5.0, "map_write": 5.0, "drop_pages": 1.0, "copy": 2.0, "allocate": 1.0,
    "holes": 0.5, "remount": 0.01, "remount_empty": 0.01,
}  # fmt: skip
WITHOUT_KERNEL: Final = frozenset(
    ("read", "write", "truncate", "append", "reopen", "sync", "look", "remount", "remount_empty")
)
ALL: Final = frozenset(_WEIGHTS)


def program(seed: int, length: int, calls: Collection[str] = ALL) -> list[Step]:
    """The same each time."""
    random = Random(seed)
    largest = random.choice(_MAXIMA)
    chosen = [call for call in _WEIGHTS if call in calls]
    weights = [_WEIGHTS[call] * random.choice((0.3, 1, 2)) for call in chosen]
    return [_step(call, random, largest) for call in random.choices(chosen, weights, k=length)]


def _step(call: str, random: Random, largest: int) -> Step:
    offset = random.randrange(largest)
    if random.random() < 0.3:
        offset -= offset % random.choice(_EDGES)
    length = max(1, min(largest, random.choice(_LENGTHS) + random.choice((0, 0, -1, 1, 77))))
    match call:
        case "read" | "map_read" | "allocate":
            return Step(call, (offset, length))
        case "write" | "map_write":
            return Step(call, (offset, length, random.randrange(1 << 30)))
        case "append":
            return Step(call, (length, random.randrange(1 << 30), largest))
        case "truncate" | "truncate_by_path":
            return Step(call, (random.choice((0, 1, offset, offset, offset, largest)),))
        case "copy":
            return Step(call, (offset, random.randrange(largest), length))
        case _:
            return Step(call)


class Model:
    """The bytes."""

    def __init__(self) -> None:
        self.content = bytearray()

    def read(self, offset: int, length: int) -> bytes:
        return bytes(self.content[offset : offset + length])

    def write(self, offset: int, data: bytes) -> None:
        if data and len(self.content) < offset + len(data):
            self.truncate(offset + len(data))
        self.content[offset : offset + len(data)] = data

    def truncate(self, size: int) -> None:
        del self.content[size:]
        self.content.extend(bytes(size - len(self.content)))

    def mapped(self, offset: int, length: int) -> tuple[int, int]:
        """The part of a range that a program may touch through a mapping: what is in the file."""
        begin = min(offset, len(self.content))
        return begin, min(length, len(self.content) - begin)

    def appended(self, length: int, token: int, largest: int) -> bytes:
        """What is appended: nothing where the file is large."""
        return content_of(token, length) if len(self.content) + length <= largest else b""

    def copied(self, source: int, target: int, length: int) -> int:
        """How many bytes are copied inside the file: ranges don't overlap (copy_file_range(2))."""
        return max(0, min(length, abs(source - target), len(self.content) - source))


def mismatch(expected: bytes, found: bytes, offset: int) -> str | None:
    """Where bytes differ, for people."""
    if expected == found:
        return None
    place = next((i for i, pair in enumerate(zip(expected, found, strict=False)) if pair[0] != pair[1]), None)
    if place is None:
        return f"{len(found)} bytes at {offset} instead of {len(expected)}"
    wrong = sum(one != other for one, other in zip(expected, found, strict=False))
    return (
        f"{wrong} of {len(expected)} bytes at {offset} differ, the first at {offset + place}:"
        f" expected {expected[place : place + 8].hex()}, found {found[place : place + 8].hex()}"
    )
