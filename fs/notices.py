"""Telling the kernel what to drop, by the calls that can't block.

Names: all at once, by FUSE_NOTIFY_INC_EPOCH (Linux 6.16 and later), which pyfuse3 has no call for: it is 16 bytes
written to the mount's device. Where the kernel doesn't know it, names are never kept (``keeps_names``), so there is
nothing to drop. Attributes: per inode. Data: nothing, since a new version gets a new inode.

``invalidate_entry`` and the full ``invalidate_inode`` are never used: they wait for locks that are held by requests
which themselves wait for the server.

An answer that has been written but that the asking process has not taken in yet is the one thing that can't be
dropped: until then the kernel doesn't know a new inode (ENOENT), and afterwards it keeps the attributes for their whole
time-out. So nothing is acknowledged while the kernel doesn't know an inode that it was told of and has not forgotten:
it is told again until it does. That ends by itself, since a process takes in an answer as soon as it is scheduled, and
of a look-up that came to nothing the kernel says that it has forgotten it. Where neither happens while the lease lasts,
the others don't wait for this mount any longer, and neither does anybody here: ``tell`` returns, for a process may need
the mount in order to take in its answer (its buffer can lie in a file of ours). Names are then dropped, so that paths
are looked up anew, and ``run`` goes on telling. What is left is that whoever opens the inode from a look-up that was on
its way for a whole lease can be shown outdated attributes for _AGAIN_MOST_S.

The names in a listing are another such thing: see ``fs/listings.py``. A look-up's name carries the epoch of its
question.
"""

from __future__ import annotations

import errno
import logging
import os
import struct
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Final, Protocol

import pyfuse3
import trio

from backend.threads import Threads
from backend.tree import Outdated
from fs.inodes import Inode, Inodes
from fs.listings import Listings

_INC_EPOCH: Final = struct.pack("<IiQ", 16, 8, 0)
"""struct fuse_out_header: length, FUSE_NOTIFY_INC_EPOCH, unique 0 (linux/fuse.h)."""

_AGAIN_FIRST_S: Final = 0.001
_AGAIN_MOST_S: Final = 0.05

log = logging.getLogger(__name__)


class Kernel(Protocol):
    """The two calls."""

    def drop_names(self) -> bool:
        """Outdate every name; False where the kernel has no such call."""
        ...

    def drop_attributes(self, number: int) -> bool:
        """Outdate an inode's attributes; False where the kernel doesn't know it (yet)."""
        ...


class FuseKernel:
    """The real one. ``device`` is the mount's open /dev/fuse."""

    def __init__(self, device: int) -> None:
        self._device = device

    def drop_names(self) -> bool:
        """See ``Kernel``."""
        try:
            os.write(self._device, _INC_EPOCH)
        except OSError as error:
            if error.errno == errno.EINVAL:
                return False
            if error.errno not in (errno.ENODEV, errno.ENOTCONN):  # Being unmounted: nothing is kept any more.
                raise
        return True

    def drop_attributes(self, number: int) -> bool:
        """See ``Kernel``."""
        try:
            pyfuse3.invalidate_inode(number, attr_only=True)
        except OSError as error:
            if error.errno == errno.ENOENT:
                return False
            if error.errno not in (errno.ENODEV, errno.ENOTCONN):
                raise
        return True


class Notices:
    """What one mount tells its kernel."""

    def __init__(
        self,
        kernel: Kernel,
        inodes: Inodes,
        threads: Threads,
        lease_left_s: Callable[[], float],
        *,
        use_epoch: bool,
    ) -> None:
        self.keeps_names = use_epoch and kernel.drop_names()
        """Whether the kernel may keep names: only where it can be told to drop them."""
        self.seen = 0
        """How many came in: an answer that was being made meanwhile must not be kept by the kernel."""
        self.listings = Listings()
        self._kernel = kernel
        self._inodes = inodes
        self._threads = threads
        self._lease_left_s = lease_left_s
        self._owed: list[Inode] = []
        """Of which the kernel still has to be told, though nobody waits for it any more."""
        self._more_owed = trio.Event()

    async def run(self) -> None:
        """Go on telling the kernel of inodes that it didn't know in time, until cancelled."""
        while True:
            if not self._owed:
                self._more_owed = trio.Event()
                await self._more_owed.wait()
            owed, self._owed = self._owed, []
            self._owed += await self._drop_known(owed)
            await trio.sleep(_AGAIN_MOST_S)

    async def tell(self, outdated: Outdated) -> None:
        """Return when the kernel holds nothing of this any more, or the lease is over."""
        self.seen += 1
        stale: list[Inode] = []
        if outdated.everything:
            stale = self._inodes.all_current()
            for inode in stale:
                self._retire(inode)
        for node in outdated.contents | outdated.attributes:
            if (known := self._inodes.current(node)) is not None:
                stale.append(known)
                if node in outdated.contents:
                    self._retire(known)
        if outdated.names or outdated.contents or outdated.everything:
            await self._drop_names()
        if stale:
            await self._drop_attributes(stale)

    async def drop_all(self) -> None:
        """Let the kernel ask for everything again; what is cached here may be as good as ever."""
        await self._drop_names()
        await self._drop_attributes(self._inodes.all_current())

    def end(self) -> None:
        """The mount ends: programs that still have something open there must not go on seeing what the kernel keeps."""
        if self.keeps_names:
            self._kernel.drop_names()
        for inode in self._inodes.all_current():
            self._kernel.drop_attributes(inode.number)

    def asked_on(self, folder_handle: int) -> None:
        """Every request on a folder's handle says so first, without a checkpoint before."""
        if self.listings.taken(folder_handle) and self.keeps_names:
            self._kernel.drop_names()

    async def _drop_names(self) -> None:
        if self.keeps_names:
            self._kernel.drop_names()
            if await self.listings.wait_taken():
                self._kernel.drop_names()

    def _retire(self, inode: Inode) -> None:
        if inode.is_file:
            self._inodes.retire(inode.node)

    async def _drop_attributes(self, stale: Sequence[Inode]) -> None:
        """See the head of this module."""
        unknown = await self._drop_known(stale)
        pause_s = _AGAIN_FIRST_S
        with trio.move_on_after(self._lease_left_s()):
            while unknown:  # The kernel tells nobody when an answer has become an inode.
                await trio.sleep(pause_s)
                unknown = await self._drop_known(unknown)
                pause_s = min(_AGAIN_MOST_S, 2 * pause_s)
        if unknown:
            if self.keeps_names:
                self._kernel.drop_names()
            self._owed += unknown
            self._more_owed.set()

    async def _drop_known(self, stale: Sequence[Inode]) -> list[Inode]:
        """Those that the kernel should know and doesn't.

        In a worker: the kernel may wait for an inode that it is giving up, and that for a read of ours.
        """

        def drop(inodes: list[Inode]) -> list[Inode]:
            return [inode for inode in inodes if not self._kernel.drop_attributes(inode.number)]

        return await self._threads.run(partial(drop, [inode for inode in stale if inode.lookups > 0]))


def fuse_devices() -> set[int]:
    """This process's open /dev/fuse files: the difference around a mount is the mount's."""
    found = set()
    for link in Path("/proc/self/fd").iterdir():
        try:
            if os.readlink(link) == "/dev/fuse":
                found.add(int(link.name))
        except OSError:
            continue
    return found
