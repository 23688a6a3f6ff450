"""What the processes of one machine share, and what of their answers is excused.

A machine may show its own changes before they have returned (rule C7), under any name that others have given the file
meanwhile, and what it answered apart from its server it answered by what it had.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import trio

from tests.simulation.history import FOREVER_S
from tests.simulation.machine import Machine


@dataclass(slots=True)
class Own:
    """A change of this machine's own that others may not see yet."""

    path: str
    call_s: float
    return_s: float = FOREVER_S
    node: int = 0
    """The file that has its content, whatever its name is by then."""


@dataclass(slots=True)
class Place:
    """What the processes of one machine share."""

    machine: Machine
    own: list[Own] = field(default_factory=list)
    busy: dict[str, trio.Lock] = field(default_factory=dict)
    written: dict[int, trio.Event] = field(default_factory=dict)
    """Inodes that somebody here has open for writing, until the event."""
    cut: set[object] = field(default_factory=set)
    """Those of ``written`` that were emptied meanwhile, by an open under another name."""
    emptying: int = 0
    """Opens under way that empty a file: reads may see that already."""
    contents: dict[object, str] = field(default_factory=dict)
    """What the kernel's inodes are known to have."""

    def lock(self, path: str) -> trio.Lock:
        return self.busy.setdefault(path, trio.Lock())

    def is_excused(self, path: str, since_s: float, inode: int = 0) -> bool:
        """Whether a change of one's own to this path, to something in this folder, or, where ``inode`` was seen, to the
        same file by another name may have been seen, or the answer was given apart from the server."""
        if self.machine.was_apart(since_s):
            return True
        inside, node = f"{path}/" if path else "", self.machine.node_of(inode)
        return any(
            one.return_s >= since_s
            and (one.path == path or one.path.startswith(inside) or (one.node == node and inode != 0))
            for one in self.own
        )

    def has_other_own(self, own: Own) -> bool:
        """The same for who makes the change ``own``: whether another one may have been seen."""
        return self.machine.was_apart(own.call_s) or any(
            one is not own and one.path == own.path and one.return_s >= own.call_s for one in self.own
        )


def is_excused(place: Place | None, path: str, since_s: float, inode: int = 0) -> bool:
    """``Place.is_excused``; nothing is for who only looks at what is there in the end."""
    return place is not None and place.is_excused(path, since_s, inode)
