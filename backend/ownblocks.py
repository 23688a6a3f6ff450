"""Sealed blocks that only this device has: of what was written while the server couldn't be reached.

``OwnBlocks`` owns their folder, beside the journal whose commits name them; a block is synced before the commit that
names it is journaled, and the folder is emptied when none is left. ``ReachedBlocks`` is where the pipeline's blocks
go to and come from: the server, or this folder while the mount works apart.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from backend.blocks import BlockRemote
from backend.disk import Disk, make_folders, read_file
from backend.errors import LocalFailure, NotFound
from backend.reach import Reach
from backend.threads import Threads
from protocol.ids import BLOCK_ID_BYTES, BlockId

log = logging.getLogger(__name__)


class OwnBlocks:
    """One folder. Safe to call from several threads."""

    def __init__(self, disk: Disk, folder: Path) -> None:
        self._disk = disk
        self._folder = folder
        self._have: set[BlockId] = set()
        self._held: dict[BlockId, bytes] = {}
        """Blocks of commits that the journal has whole."""
        self.held_bytes = 0
        """Of these: they are in memory."""
        self._writes = itertools.count()
        make_folders(disk, folder)
        for entry in disk.entries(folder):
            if (block := _block_of(entry.name)) is not None:
                self._have.add(block)
            else:  # It was being written when the process ended.
                with contextlib.suppress(OSError):
                    disk.remove(folder / entry.name)

    def __contains__(self, block: BlockId) -> bool:
        return block in self._have or block in self._held

    def hold(self, block: BlockId, sealed: bytes) -> None:
        """A block that is durable elsewhere, and can be read here."""
        if block not in self._held:
            self._held[block] = sealed
            self.held_bytes += len(sealed)

    def put(self, block: BlockId, sealed: bytes | bytearray) -> None:
        """Keep a block; when this returns it survives a power loss. Raises LocalFailure."""
        if block in self._have:
            return
        path = self._folder / block.hex()
        # Two files with one block in them may be kept at once.
        temporary = path.with_name(f"{path.name}.{next(self._writes)}")
        try:
            file = self._disk.create(temporary)
            try:
                file.write(0, sealed)
                file.sync()
            finally:
                file.close()
            self._disk.rename(temporary, path)
            self._disk.sync_folder(self._folder)
        except OSError as error:
            with contextlib.suppress(OSError):
                self._disk.remove(temporary)
            raise LocalFailure(f"{self._folder}: {error.strerror}", error.errno or LocalFailure.errno) from None
        self._have.add(block)

    def get(self, block: BlockId) -> bytes:
        """A sealed block, unverified; raises NotFound."""
        if (held := self._held.get(block)) is not None:
            return held
        try:
            return read_file(self._disk, self._folder / block.hex())
        except OSError as error:
            self._have.discard(block)
            raise NotFound(f"block {block.hex()} can't be read: {error.strerror}") from None

    def find(self, block: BlockId) -> bytes | None:
        """The same, or None where it isn't here."""
        try:
            return self.get(block) if block in self else None
        except NotFound:
            return None

    def clear(self) -> None:
        """No commit that is kept here names any of them."""
        for block in list(self._have):
            with contextlib.suppress(OSError):  # It is found again, and removed, by the next mount.
                self._disk.remove(self._folder / block.hex())
        self._have.clear()
        self._held.clear()
        self.held_bytes = 0


def _block_of(name: str) -> BlockId | None:
    """The block whose file is called so."""
    try:
        block = bytes.fromhex(name)
    except ValueError:
        return None
    return BlockId(block) if len(block) == BLOCK_ID_BYTES else None


class ReachedBlocks:
    """``BlockRemote``: the server's blocks and this device's own."""

    def __init__(self, remote: BlockRemote, own: OwnBlocks, reach: Reach, threads: Threads) -> None:
        self._remote = remote
        self._own = own
        self._reach = reach
        self._threads = threads

    async def missing(self, ids: Sequence[BlockId]) -> list[BlockId]:
        """Those that neither has, as far as can be asked."""
        if self._reach.apart:
            return [block for block in ids if block not in self._own]
        return await self._remote.missing(ids)

    async def put(self, block: BlockId, sealed: bytes | bytearray) -> None:
        """Store at the server, or here."""
        if self._reach.apart:
            await self._threads.run(partial(self._own.put, block, sealed))
        else:
            await self._remote.put(block, sealed)

    async def get(self, block: BlockId) -> bytes:
        """One sealed block; raises NotFound."""
        if block in self._own:
            return await self._threads.run(partial(self._own.get, block))
        return await self._remote.get(block)

    async def get_many(self, ids: Sequence[BlockId]) -> list[tuple[BlockId, bytes]]:
        """The first ones of those asked for, at least one."""
        if ids[0] in self._own:
            return [(ids[0], await self.get(ids[0]))]
        return await self._remote.get_many([block for block in ids if block not in self._own])

    async def report(self, ids: Sequence[BlockId]) -> None:
        """Those of these that the server gave are said to be damaged there."""
        theirs = [block for block in ids if block not in self._own]
        if theirs:
            await self._remote.report(theirs)
