"""The journal's record of one file's unsent bytes: what the next mount commits where this one doesn't come to it.

Invariants:

- a record stands from before the first byte is sent until the commit is answered; the next one begins before it ends;
- once somebody was told that the bytes are kept, every record that stands survives a power loss.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final

import trio

from backend.errors import LocalFailure
from backend.journal import Journal
from backend.overlay import Overlay
from backend.records import Flushed
from backend.threads import Threads

SYNCED_WITHIN_S: Final = 10.0
"""What could not be sent waits so long for a worker that puts it where a power loss doesn't reach it."""

log = logging.getLogger(__name__)

Describe = Callable[[bool], Flushed]
"""What is about to be committed, as it is now; the argument is ``Flushed.synced``."""


class FileRecord:
    """One file's."""

    def __init__(self, journal: Journal, threads: Threads) -> None:
        self._journal = journal
        self._threads = threads
        self._number: int | None = None
        self._is_promised = False
        """Somebody was told that what stands is kept."""

    def take_up(self, number: int, left: Flushed) -> None:
        """An earlier process left this one."""
        self._number, self._is_promised = number, left.synced

    async def begin(self, overlay: Overlay, describe: Describe) -> None:
        """Before anything is sent; raises LocalFailure.

        It need not survive a power loss yet, as close has not returned: unless an earlier try promised it.
        """
        if not self._is_promised:
            self._replace(describe(False))
            return
        try:
            await self._replace_safely(overlay, describe)
        except LocalFailure as error:  # What was promised stands.
            log.warning("a power loss would take what was written last: %s", error)

    async def keep(self, overlay: Overlay, describe: Describe) -> None:
        """Before an error is told: what was closed survives a power loss from now on. Raises LocalFailure."""
        if self._number is None:
            return
        with trio.move_on_after(SYNCED_WITHIN_S, shield=True) as scope:
            await self._replace_safely(overlay, describe)
            await self._threads.run(self._journal.sync)
            self._is_promised = self._number is not None
        if scope.cancelled_caught:
            raise LocalFailure(f"{overlay.path.parent}: it takes too long to put what was written there safely")

    def forget(self) -> None:
        """It is committed, or to be nobody's: the next mount must not bring it back."""
        number, self._number, self._is_promised = self._number, None, False
        if number is not None:
            self._journal.end(number)

    async def _replace_safely(self, overlay: Overlay, describe: Describe) -> None:
        """By one whose bytes a power loss doesn't reach; raises LocalFailure, and leaves the earlier one."""
        record = describe(True)  # Of now: the disk takes its time, and what is written then isn't closed.
        if record.content is None:
            await self._threads.run(overlay.sync)
        if self._number is not None:  # Else it was forgotten meanwhile.
            self._replace(record)

    def _replace(self, record: Flushed) -> None:
        earlier, self._number = self._number, self._journal.begin(record)
        if earlier is not None:
            self._journal.end(earlier)
