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
        self._due = trio.Event()
        journal.obsolete = self._note

    def _note(self) -> None:
        self._due.set()

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await self._due.wait()
            self._due = trio.Event()
            await self._threads.run(self._journal.compact)
