"""How long the kernel may keep the names and attributes that it is told, and what happens when that was too long.

A time-out is the rest of the lease less EPSILON_S, computed last before the answer. The kernel counts it from when it
gets the answer, and stands still while the machine sleeps. So it may outlast the lease in two cases, and in both
everything is dropped at once:

- more than EPSILON_S passed between computing a time-out and having written the answer, because this process was
  stopped or the machine slept. pyfuse3 writes an answer in the same step of its task in which the handler returns, and
  ``run`` is woken for the step after;
- the machine woke from suspend.

What remains is the time from such an answer, or from waking, to the drop: some milliseconds. A drive that is
``strict`` has no such window: the kernel keeps nothing.

Rule for handlers: no checkpoint between asking for a time-out and returning.
"""

from __future__ import annotations

import logging
from typing import Final, Protocol

import trio

from backend.attachment import CACHE_TIMEOUT_MARGIN_S
from fs.clock import MachineClock
from fs.notices import Notices

EPSILON_S: Final = CACHE_TIMEOUT_MARGIN_S
"""``Drive.cache_timeout_s`` is so much shorter than the lease."""

CAP_S: Final = 3600.0
"""No name or attribute stays in the kernel longer without being asked for again, however long a lease is."""

log = logging.getLogger(__name__)


class Leased(Protocol):
    """What is asked of ``Drive``."""

    @property
    def strict(self) -> bool:
        """Whether the kernel may keep nothing."""
        ...

    def cache_timeout_s(self) -> float:
        """How long names and attributes may be kept, from now on."""
        ...


class Keeping:
    """The time-outs of one mount."""

    def __init__(self, drive: Leased, notices: Notices, clock: MachineClock) -> None:
        self._drive = drive
        self._notices = notices
        self._clock = clock
        self._computed_s: float | None = None
        """When the first time-out was computed whose answer may not have been written yet."""
        self._computed = trio.lowlevel.ParkingLot()
        self._too_long = trio.Event()

    def names_s(self) -> float:
        """For a name in the answer that is about to be given."""
        return self.attributes_s() if self._notices.keeps_names else 0.0

    def attributes_s(self) -> float:
        """For attributes in the answer that is about to be given."""
        if self._drive.strict or (timeout_s := self._drive.cache_timeout_s()) <= 0:
            return 0.0
        if self._computed_s is None:
            self._computed_s = self._clock.boottime_s()
            self._computed.unpark()
        return min(CAP_S, timeout_s)

    async def run(self) -> None:
        """Drop what may be kept too long, until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._check_answers)
            nursery.start_soon(self._notice_waking)
            while True:
                await self._too_long.wait()
                self._too_long = trio.Event()
                await self._notices.drop_all()

    async def _check_answers(self) -> None:
        while True:
            if self._computed_s is None:
                await self._computed.park()
            assert self._computed_s is not None
            took_s, self._computed_s = self._clock.boottime_s() - self._computed_s, None
            if took_s > EPSILON_S:
                log.info("an answer took %.3f s: the kernel is told to ask again", took_s)
                self._too_long.set()

    async def _notice_waking(self) -> None:
        while True:
            await self._clock.wait_set()
            log.info("the machine woke or its clock was set: the kernel is told to ask again")
            self._too_long.set()
