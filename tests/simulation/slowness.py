"""Parts of both ends that take their time now and then: the server's database, a mount's threads."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import TypeVar

import trio

from server.metadata.sqlite import MemoryStore
from server.metadata.store import Work

T = TypeVar("T")


class Store(MemoryStore):
    """The metadata database, which takes its time now and then."""

    random: Random
    slow_s: float

    async def read(self, work: Work[T]) -> T:
        """See ``MetadataStore``."""
        await self._pause()
        found = await super().read(work)
        await self._pause()
        return found

    async def write(self, work: Work[T]) -> T:
        """See ``MetadataStore``."""
        await self._pause()
        done = await super().write(work)
        await self._pause()
        return done

    async def _pause(self) -> None:
        if self.random.random() < 0.1:
            await trio.sleep(self.random.uniform(0, self.slow_s))


class Threads:
    """``backend.threads.Threads``: work is done in place, and takes a moment now and then."""

    def __init__(self, random: Random) -> None:
        self._random = random

    async def run(self, work: Callable[[], T]) -> T:
        """See ``Threads``."""
        if self._random.random() < 0.1:
            await trio.sleep(self._random.uniform(0, 0.02))
        else:
            await trio.lowlevel.checkpoint()
        return work()
