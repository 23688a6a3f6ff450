"""Where work that would hold up the event loop is done. A seam: tests and simulations run it in place.

A hop to a worker and back costs 30 to 90 microseconds, so nothing shorter than 100 is worth one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeVar

import trio

T = TypeVar("T")


class RunSync(Protocol):
    """``trio.to_thread.run_sync``, or what stands in for it."""

    async def __call__(self, work: Callable[[], T], *, limiter: trio.CapacityLimiter) -> T:
        """What ``work`` returns or raises. A cancelled caller still waits for it, so that its buffers stay owned."""
        ...


async def in_thread(work: Callable[[], T], *, limiter: trio.CapacityLimiter) -> T:
    """On a thread, as many at once as the limiter allows."""
    return await trio.to_thread.run_sync(work, limiter=limiter)


async def in_place(work: Callable[[], T], *, limiter: trio.CapacityLimiter) -> T:
    """At once, in the caller's task: deterministic, and nothing that a virtual clock could overtake."""
    async with limiter:
        return work()
