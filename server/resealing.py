"""Blocks that are sealed under older keys are sealed anew under the last one, as a job in small steps.

Knows the block store, ``BlockCare`` and the rows of blocks; knows nothing of HTTP.

One step takes at most STEP_BYTES: its blocks are opened and sealed, the objects to be are written down and stored, and
one transaction names them in the rows, of those blocks that still lie where they were read. The objects that the rows
named before are on a list (``metadata/spares.py``) from then on, and are deleted at last.

Invariants:

- at every moment the row of a block names an object that is whole; a crash between any two steps loses no block, and
  what it leaves in the store is on the list, which the next run begins with;
- a block that can't be opened stays as it is, and is replaced by the next sound put of it;
- one object that can't be read or deleted now, and one workspace whose keys don't open, keep nothing else from it;
- one run at a time, of the one server that has the data folder.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Final

import structlog

from protocol.ids import BlockId, WorkspaceId
from protocol.keys import WorkspaceKeys, WrongKey
from protocol.limits import INLINE_SEALED_BYTES, MIB, POLL_MAX_S
from protocol.sealing import CorruptBlock, seal, unseal
from server.blockcare import BlockCare
from server.blockstore.store import BlockStoreError, ObjectMissing, object_name
from server.metadata import blocks, spares
from server.metadata.blocks import StoredBlock
from server.metadata.store import MetadataStore, StoreError, Transaction
from server.service import Service
from server.space import NoSpace

STEP_BYTES: Final = 4 * MIB
"""Sealed bytes that are in memory twice, beside one opened block; small ones go through one transaction, which others
wait for."""

ROUND_S: Final = 3600.0
"""Mounts that were away bring blocks under an older key."""

SOON_S: Final = 2 * POLL_MAX_S
"""After a key was added, and after a round that had something to do: mounts hear of the last key by their next poll,
and what they bring until then is under the one before."""

log = structlog.get_logger()


async def run(service: Service) -> None:
    """Do it now, when a key is added, soon after, and every hour, until cancelled."""
    is_soon = False
    while True:
        try:
            is_soon = await work_once(service.metadata, service.blocks) > 0 or is_soon
        except (StoreError, BlockStoreError, NoSpace, WrongKey) as error:
            log.warning("sealing blocks anew goes on later", reason=str(error))
        is_soon = await service.key_added.heard(SOON_S if is_soon else ROUND_S)


async def work_once(metadata: MetadataStore, care: BlockCare) -> int:
    """All that there is to do now; returns how many blocks were sealed anew.

    Raises StoreError, BlockStoreError and NoSpace with some of it done; BlockStoreError and WrongKey with all done but
    what they are about.
    """
    done, left = 0, list[BlockStoreError | WrongKey]()
    for workspace in await metadata.read(spares.workspaces):
        left += await _Run(metadata, care, workspace).clear()
    for workspace in await metadata.read(blocks.workspaces_with_old):
        run = _Run(metadata, care, workspace)
        try:
            done += await run.reseal()
        except WrongKey as error:
            left.append(error)
        left += run.left
    if left:
        raise left[0]
    return done


@dataclass(frozen=True, slots=True)
class _Anew:
    """A block where it was read, and sealed anew."""

    block: BlockId
    lay: StoredBlock
    lies: StoredBlock
    sealed: bytes | bytearray


class _Run:
    """One workspace's."""

    def __init__(self, metadata: MetadataStore, care: BlockCare, workspace: WorkspaceId) -> None:
        self._metadata = metadata
        self._care = care
        self._workspace = workspace
        self.left: list[BlockStoreError] = []
        """The last reason why an object could not be read or deleted, where there was any."""

    async def clear(self) -> list[BlockStoreError]:
        """Delete what a run that was stopped has left; returns why something of it is there still."""
        await self._metadata.write(lambda tx: spares.doom_announced(tx, self._workspace))
        await self._delete_doomed()
        return self.left

    async def reseal(self) -> int:
        """Every block once, in the order of their ids; returns how many were sealed anew."""
        after: BlockId | None = BlockId(b"")
        done = left = 0
        while after is not None:
            keys, found, after = await self._next(after)
            anew = [each for block, lay in found.items() if (each := await self._sealed_anew(keys, block, lay))]
            if anew:
                await self._replace(anew)
            done, left = done + len(anew), left + len(found) - len(anew)
        if done or left:
            log.info("blocks were sealed anew", workspace=self._workspace, blocks=done, unreadable=left)
        return done

    async def _next(self, after: BlockId) -> tuple[WorkspaceKeys, dict[BlockId, StoredBlock], BlockId | None]:
        def work(tx: Transaction) -> tuple[WorkspaceKeys, dict[BlockId, StoredBlock], BlockId | None]:
            keys = self._care.keys_in(tx, self._workspace)
            return keys, *blocks.under_other_keys(tx, self._workspace, keys.key_id, after, STEP_BYTES)

        return await self._metadata.read(work)

    async def _sealed_anew(self, keys: WorkspaceKeys, block: BlockId, lay: StoredBlock) -> _Anew | None:
        def work() -> bytes | bytearray:
            return seal(keys, block, unseal(keys, block, self._care.bytes_of(lay)))

        try:
            sealed = await self._care.work(work)
        except (CorruptBlock, ObjectMissing) as error:
            await self._care.note_unsound(self._workspace, block, lay, str(error))
            return None
        except BlockStoreError as error:
            self.left = [error]
            return None
        is_inline = len(sealed) <= INLINE_SEALED_BYTES
        lies = StoredBlock(
            bytes(sealed) if is_inline else None,
            None if is_inline else object_name(block),
            len(sealed),
            lay.plain_bytes,
            keys.key_id,
        )
        return _Anew(block, lay, lies, sealed)

    async def _replace(self, anew: list[_Anew]) -> None:
        workspace, store = self._workspace, self._care.store
        stored = {each.lies.object: each.sealed for each in anew if each.lies.object is not None}
        if stored:
            self._care.space.check(sum(map(len, stored.values())))
            await self._metadata.write(lambda tx: spares.announce(tx, workspace, stored))
            for name, sealed in stored.items():
                await self._care.work(partial(store.put, name, sealed))

        def name_them(tx: Transaction) -> None:
            for each in anew:
                _name(tx, workspace, each)

        await self._metadata.write(name_them)
        await self._delete_doomed()

    async def _delete_doomed(self) -> None:
        deleted: list[str] = []
        for name in await self._metadata.read(lambda tx: spares.doomed(tx, self._workspace)):
            try:
                await self._care.work(partial(self._care.store.delete, name))
            except BlockStoreError as error:
                self.left = [error]
            else:
                deleted.append(name)
        if deleted:
            await self._metadata.write(lambda tx: spares.forget(tx, self._workspace, deleted))


def _name(tx: Transaction, workspace: WorkspaceId, anew: _Anew) -> None:
    """In the block's row, if it still lies where it was read. What isn't named then goes."""
    lay, lies = anew.lay, anew.lies
    if lies.object is not None and not spares.take(tx, workspace, lies.object):
        return
    unnamed = lay.object if blocks.replace(tx, workspace, anew.block, lay, lies) else lies.object
    if unnamed is not None:
        spares.doom(tx, workspace, [unnamed])
