"""Answers to readdir that the asking process may not have taken in yet.

The kernel dates the names in a listing by the epoch at which the process takes the answer in (``fuse_direntplus_link``
in Linux), not by that of its question: an epoch that is raised in between doesn't drop them. So whoever drops names
waits until every listing that was given has been taken in, and drops them again. The proof is the next request on the
same handle, for the kernel lets one process at a time read a handle. It comes within microseconds, for programs
read on to the end; of one that reads a part and pauses it is taken for granted after TAKEN_S, and where that was wrong,
names are dropped once more as soon as the proof comes.
"""

from __future__ import annotations

from typing import Final

import trio

TAKEN_S: Final = 1.0


class Listings:
    """Of one mount; a handle is the number of an opendir(3)."""

    def __init__(self) -> None:
        self._given: dict[int, float] = {}
        """The handles whose last answer may not have been taken in, with the time when it was given."""
        self._presumed: set[int] = set()
        """Those of them that are taken for having been."""
        self._proven = trio.Event()

    def given(self, handle: int) -> None:
        """An answer with names that may be kept is about to be given."""
        self._given[handle] = trio.current_time()

    def taken(self, handle: int) -> bool:
        """The kernel asks something on this handle. True where it had to be presumed: names are to be dropped again."""
        if self._given.pop(handle, None) is not None:
            self._proven.set()
            self._proven = trio.Event()
        presumed = handle in self._presumed
        self._presumed.discard(handle)
        return presumed

    async def wait_taken(self) -> bool:
        """Return when what was given before has been taken in; whether there was anything."""
        given = dict(self._given)
        if not given:
            return False
        with trio.move_on_at(max(given.values()) + TAKEN_S):
            while given.items() & self._given.items():
                await self._proven.wait()
        self._presumed |= {handle for handle, _ in given.items() & self._given.items()}
        return True
