"""The mount's end of the change feed: the long poll, and how long the caches may be believed.

Owns the poll and the one way in which changes are applied (``absorb``): drop rows, tell the kernel, and only then ask
for what comes after, which tells the server that everything up to there has been dropped.

What was cached may be believed until a poll's *sending* plus ``FEED_TRUST_S``, on CLOCK_BOOTTIME, which goes on while
the machine sleeps. After that each question goes to the server.

Invariants: ``acknowledged`` never passes a change whose rows the kernel still holds; changes are absorbed one set at
a time and in order.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable
from typing import Final, Protocol

import trio

from backend.errors import DriveError, Offline, Unauthorized
from backend.tree import Outdated, Tree
from protocol.ids import JournalId, Seq
from protocol.messages import Notices

POLL_WAIT_S: Final = 5.0
"""The server answers a poll after this long with nothing: each answer renews the trust."""

FEED_TRUST_S: Final = 12.0
"""Two polls and a pause. A notice takes milliseconds; this bounds how long a silent loss of the feed goes unnoticed."""

_RETRY_FIRST_S: Final = 0.1
_RETRY_MOST_S: Final = 2.0

log = logging.getLogger(__name__)

Clock = Callable[[], float]


def boottime_s() -> float:
    """Seconds that go on during suspend (clock_gettime(2), CLOCK_BOOTTIME)."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class PollRemote(Protocol):
    """Where notices come from."""

    async def poll(self, after: Seq, journal: JournalId, wait_s: float) -> Notices:
        """Raises DriveError."""
        ...


class Session:
    """One mount's feed."""

    def __init__(self, remote: PollRemote, tree: Tree, journal: JournalId, clock: Clock = boottime_s) -> None:
        self.acknowledged = tree.applied
        self.trouble: DriveError | None = None
        self._remote = remote
        self._tree = tree
        self._journal = journal
        self._clock = clock
        self._trusted_until_s = clock() + FEED_TRUST_S
        self._turn = trio.Lock()
        self._listener: Callable[[Outdated], Awaitable[None]] | None = None

    def trust_left_s(self) -> float:
        """For how many seconds what is cached may still be believed; 0 when the feed is broken."""
        return max(0.0, self._trusted_until_s - self._clock())

    async def absorb(self, notices: Notices) -> None:
        """Apply changes, the kernel included. When this returns, everything up to ``notices.seq`` has been dropped.

        The turn is held while the kernel is told: by calls that cannot block (see ``fs/notices.py``), so it passes on.
        """
        async with self._turn:
            outdated = self._tree.apply(notices, self._journal)
            if outdated and self._listener is not None:
                await self._listener(outdated)
            self.acknowledged = self._tree.applied

    async def run(self, listener: Callable[[Outdated], Awaitable[None]]) -> None:
        """Poll until cancelled."""
        self._listener = listener
        pause_s = _RETRY_FIRST_S
        while True:
            sent_s = self._clock()
            try:
                notices = await self._remote.poll(self.acknowledged, self._journal, POLL_WAIT_S)
            except DriveError as error:
                if isinstance(error, Unauthorized) and not isinstance(self.trouble, Unauthorized):
                    await self._distrust(listener)
                self._note(error)
                await trio.sleep(pause_s)
                pause_s = min(2 * pause_s, _RETRY_MOST_S)
                continue
            if self.trust_left_s() == 0:
                # Nothing was answered from the caches meanwhile, but the kernel's run by its own clock.
                log.info("change feed is back")
            await self.absorb(notices)
            self.trouble = None
            self._trusted_until_s = sent_s + FEED_TRUST_S
            pause_s = _RETRY_FIRST_S

    async def _distrust(self, listener: Callable[[Outdated], Awaitable[None]]) -> None:
        """The token was revoked: nothing that was cached is shown any more."""
        self._trusted_until_s = self._clock()
        self._tree.forget_everything()
        await listener(Outdated(everything=True, names=True))

    def _note(self, error: DriveError) -> None:
        if self.trouble is None or type(self.trouble) is not type(error):
            level = logging.INFO if isinstance(error, Offline) else logging.WARNING
            log.log(level, "change feed interrupted: %s", error)
        self.trouble = error
