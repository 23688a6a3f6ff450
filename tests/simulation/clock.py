"""A machine's clock in a simulation, which is a little too fast or too slow."""

from __future__ import annotations

from typing import Final

import trio

_START_S: Final = 1.8e9


class Clock:
    """``fs.clock.MachineClock`` of one that never sleeps, ``rate`` times as fast as the simulation's."""

    def __init__(self, rate: float) -> None:
        self._rate = rate

    def boottime_s(self) -> float:
        """See ``MachineClock``."""
        return trio.current_time() * self._rate

    def now_ns(self) -> int:
        """The time of day, since 1970."""
        return int((_START_S + self.boottime_s()) * 1e9)

    async def wait_set(self) -> None:
        """See ``MachineClock``."""
        await trio.sleep_forever()
