"""Telling the kernel what to drop, by the calls that can't block.

Names: all at once, by FUSE_NOTIFY_INC_EPOCH (Linux 6.16 and later), which pyfuse3 has no call for: it is 16 bytes
written to the mount's device. Where the kernel doesn't know it, names are never kept (``keeps_names``), so there is
nothing to drop. Attributes: per inode. Data: nothing, since a new version gets a new inode.

``invalidate_entry`` and the full ``invalidate_inode`` are never used: they wait for locks that are held by requests
which themselves wait for the server.
"""

from __future__ import annotations

import errno
import logging
import os
import struct
from functools import partial
from pathlib import Path
from typing import Final, Protocol

import pyfuse3
import trio

from backend.threads import Threads
from backend.tree import Outdated
from fs.inodes import Inode, Inodes

_INC_EPOCH: Final = struct.pack("<IiQ", 16, 8, 0)
"""struct fuse_out_header: length, FUSE_NOTIFY_INC_EPOCH, unique 0 (linux/fuse.h)."""

_LOOKUP_IN_FLIGHT_S: Final = 2.0
_AGAIN_S: Final = 0.001

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

    def __init__(self, kernel: Kernel, inodes: Inodes, threads: Threads, *, use_epoch: bool) -> None:
        self.keeps_names = use_epoch and kernel.drop_names()
        """Whether the kernel may keep names: only where it can be told to drop them."""
        self.seen = 0
        """How many came in: an answer that was being made meanwhile must not be kept by the kernel."""
        self._kernel = kernel
        self._inodes = inodes
        self._threads = threads

    async def tell(self, outdated: Outdated) -> None:
        """Return when the kernel holds nothing of this any more."""
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
        if self.keeps_names and (outdated.names or outdated.contents or outdated.everything):
            self._kernel.drop_names()
        if stale:
            await self._drop_attributes(stale)

    def end(self) -> None:
        """The mount ends: programs that still have something open there must not go on seeing what the kernel keeps."""
        if self.keeps_names:
            self._kernel.drop_names()
        for inode in self._inodes.all_current():
            self._kernel.drop_attributes(inode.number)

    def _retire(self, inode: Inode) -> None:
        if inode.is_file:
            self._inodes.retire(inode.node)

    async def _drop_attributes(self, stale: list[Inode]) -> None:
        """In a worker: the kernel may wait for an inode that it is giving up, and that for a read of ours.

        Where the kernel doesn't know an inode, its first look-up may be on the way back: it is told again.
        """

        def not_known(inodes: list[Inode]) -> list[Inode]:
            return [inode for inode in inodes if not self._kernel.drop_attributes(inode.number)]

        with trio.move_on_after(_LOOKUP_IN_FLIGHT_S):
            # The kernel tells nobody when an answer has become an inode.
            while stale := await self._threads.run(  # noqa: ASYNC110
                partial(not_known, [inode for inode in stale if inode.lookups > 0])
            ):
                await trio.sleep(_AGAIN_S)


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
