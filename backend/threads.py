"""Where work that would hold up the event loop is done. A seam: a simulation runs it in place.

A hop to a worker and back costs 30 to 90 microseconds, so nothing shorter than 100 is worth one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeVar

import trio

T = TypeVar("T")


class Threads(Protocol):
    """Somewhere to run synchronous work."""

    async def run(self, work: Callable[[], T]) -> T:
        """What ``work`` returns or raises. A cancelled caller still waits for it, so that its buffers stay owned."""
        ...


class WorkerThreads:
    """At most ``count`` pieces of work at once, on trio's cached threads."""

    def __init__(self, count: int) -> None:
        self._limiter = trio.CapacityLimiter(count)

    async def run(self, work: Callable[[], T]) -> T:
        """See ``Threads``."""
        return await trio.to_thread.run_sync(work, limiter=self._limiter)


class InlineThreads:
    """Everything in place: deterministic, for simulations on a virtual clock."""

    async def run(self, work: Callable[[], T]) -> T:
        """See ``Threads``."""
        await trio.lowlevel.checkpoint()
        return work()
