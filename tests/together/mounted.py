"""A drive with a modelled kernel above it, in one process."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count
from random import Random

import trio
import trio.testing

from backend.drive import Drive
from backend.threads import InlineThreads
from backend.tree import Outdated
from fs.answering import DEADLINE_S, Deadlines
from fs.entries import Entries
from fs.inodes import Inodes
from fs.keeping import Keeping
from fs.notices import Notices
from fs.operations import Operations
from tests.differential.kernel import FullKernel
from tests.simulation.clock import Clock
from tests.simulation.device import reply_entry
from tests.together.world import Place, World


class Machine(Place):
    """A device with a kernel."""

    def __init__(self, world: World, name: str) -> None:
        super().__init__(world, name)
        self._random = Random(name)
        self._ticks = count()
        self._notices: Notices | None = None
        self._drive: Drive | None = None

    @asynccontextmanager
    async def mounted(self) -> AsyncIterator[FullKernel]:
        """The kernel, until the block ends, which unmounts."""
        async with self.drive() as drive, trio.open_nursery() as nursery:
            inodes = Inodes()
            entries = Entries(inodes, None)
            operations = Operations(drive, inodes, entries, Deadlines(DEADLINE_S), reply_entry)
            kernel = FullKernel(trio.current_time, self._random, self._now_ns)
            notices = Notices(kernel.caches, inodes, InlineThreads(), drive.cache_timeout_s, use_epoch=True)
            keeping = Keeping(drive, notices, Clock(1.0))
            entries.begin(notices, keeping)
            self._notices, self._drive = notices, drive
            nursery.start_soon(notices.run)
            nursery.start_soon(keeping.run)
            kernel.device.connect(operations, nursery)
            yield kernel
            await kernel.quiet()
            self._notices = None
            nursery.cancel_scope.cancel()

    async def part(self) -> None:
        """Cut the network; return when the mount works without its server."""
        assert self._drive is not None
        self.http.cut = True
        await self._drive.reach.wait_parted()

    async def join(self) -> None:
        """Mend the network; return when the server has all that was done meanwhile."""
        assert self._drive is not None
        self.http.cut = False
        await self._drive.reach.wait_joined()
        await self._drive.synced()

    def _now_ns(self) -> int:
        return int((trio.current_time() + 1.8e9) * 1e9) + next(self._ticks)

    async def _note(self, outdated: Outdated) -> None:
        if self._notices is not None:
            await self._notices.tell(outdated)
