"""What programs did on mounts and what they were told: all that the checker knows.

An event is one operation of one process with the times between which it took effect, if it did. A program that
opens a file, writes and closes is two events: ``Open`` or ``Create``, and ``Commit``.

Contents are told by *label*: a file's bytes are cells of CELL_BYTES that each name the write that they came from, and a
label counts equal cells: ``"17*3 21*1"``. Bytes that are no such cells have a label that no write has.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Final, TypeAlias

CELL_BYTES: Final = 16
FOREVER_S: Final = float("inf")

FOLDER: Final = "folder"
ABSENT: Final = "absent"


class Outcome(Enum):
    """Whether an operation took effect."""

    KNOWN = "known"
    UNKNOWN = "unknown"
    """It may have, or may still, or never: who asked was told of trouble, or of nothing."""
    KEPT = "kept"
    """It will have, in the end: who closed the file was told that the bytes are kept."""


@dataclass(frozen=True, slots=True)
class Look:
    """stat(2). Result: FOLDER, ABSENT, or a file's size in decimal."""

    path: str


@dataclass(frozen=True, slots=True)
class List:
    """A whole folder. Result: its names with a slash behind each, sorted (``"a/b/"``), or ABSENT."""

    folder: str


@dataclass(frozen=True, slots=True)
class Open:
    """open(2) of what is there. Result: the label of what was read from the descriptor, UNREAD, or ABSENT."""

    path: str
    handle: int
    """Which ``Commit`` belongs to it; 0 where none does."""


@dataclass(frozen=True, slots=True)
class Create:
    """open(2) that made a file. Result: OK or an errno's name."""

    path: str
    handle: int
    exclusive: bool


@dataclass(frozen=True, slots=True)
class Commit:
    """close(2) of a descriptor that was written to. Result: OK."""

    handle: int
    content: str


@dataclass(frozen=True, slots=True)
class Mkdir:
    """Result: OK or an errno's name."""

    path: str


@dataclass(frozen=True, slots=True)
class Rmdir:
    """Result: OK or an errno's name."""

    path: str


@dataclass(frozen=True, slots=True)
class Unlink:
    """Result: OK or an errno's name."""

    path: str


@dataclass(frozen=True, slots=True)
class Rename:
    """Result: OK or an errno's name."""

    path: str
    new_path: str


OK: Final = "ok"
UNREAD: Final = "unread"
Operation: TypeAlias = Look | List | Open | Create | Commit | Mkdir | Rmdir | Unlink | Rename


@dataclass(frozen=True, slots=True)
class Event:
    """One operation of one process."""

    process: str
    machine: str
    what: Operation
    call_s: float
    return_s: float
    """FOREVER_S where the outcome isn't known."""
    result: str
    outcome: Outcome = Outcome.KNOWN
    excused: bool = False
    """What it saw may have been this machine's own and not committed yet, or was answered offline."""
    told_s: float = FOREVER_S
    """When the program was told, of a change made apart from the server: all of these of one machine take effect in
    order."""

    def __str__(self) -> str:
        until = "…" if self.return_s == FOREVER_S else f"{self.return_s:.6f}"
        marks = "" if self.outcome is Outcome.KNOWN else f" [{self.outcome.value}]"
        marks += " [excused]" if self.excused else ""
        return f"{self.call_s:12.6f} – {until:>12}  {self.process:<10} {self.what} -> {self.result}{marks}"


def cells(token: int, count: int) -> bytes:
    """The bytes that the write ``token`` writes."""
    return f"{token:015d}\n".encode() * count


def label_of(content: bytes) -> str:
    """The label of a file's bytes."""
    parts: list[str] = []
    before, count = b"", 0
    for at in range(0, len(content), CELL_BYTES):
        cell = content[at : at + CELL_BYTES]
        if cell == before:
            count += 1
            continue
        if count:
            parts.append(_part(before, count))
        before, count = cell, 1
    if count:
        parts.append(_part(before, count))
    return " ".join(parts)


def size_of(label: str) -> int:
    """How many bytes a file with this label has."""
    return sum(int(part.partition("*")[2]) for part in label.split()) * CELL_BYTES


def _part(cell: bytes, count: int) -> str:
    name = (
        str(int(cell)) if len(cell) == CELL_BYTES and cell[:-1].isdigit() and cell[-1:] == b"\n" else f"?{cell.hex()}"
    )
    return f"{name}*{count}"
