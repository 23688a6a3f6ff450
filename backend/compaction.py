"""The log of the journal stays short while nobody syncs it: during one long upload each small commit makes it longer.

Owns when it is written anew; how, ``Journal.compact`` knows. A worker does it: the event loop waits for no disk.
"""

from __future__ import annotations

import trio

from backend.journal import Journal
from backend.threads import Threads


class Compaction:
    """One journal's."""

    def __init__(self, journal: Journal, threads: Threads) -> None:
        self._journal = journal
        self._threads = threads
        self._is_due = False

    def watch(self, nursery: trio.Nursery) -> None:
        """From now on compact in this nursery, whenever most of the log is obsolete."""

        def note() -> None:
            if not self._is_due:
                self._is_due = True
                nursery.start_soon(self._compact)

        self._journal.obsolete = note

    async def _compact(self) -> None:
        self._is_due = False
        await self._threads.run(self._journal.compact)
