"""Blocks that are sealed under older keys are sealed anew under the last one, as a job in small steps.

Knows the block store, ``BlockCare`` and the rows of blocks; knows nothing of HTTP.

One step takes at most STEP_BYTES: its blocks are opened and sealed, and exchanged (``exchanging``).

Invariants:

- a crash loses no block, and the next run begins with what it leaves in the store;
- a block that can't be opened stays as it is, and is replaced by the next sound put of it;
- one object that can't be read or deleted now, and one workspace whose keys don't open, keep nothing else from it;
- one run at a time, of the one server that has the data folder.
"""

from __future__ import annotations

from typing import Final

import structlog

from protocol.ids import BlockId, WorkspaceId
from protocol.keys import WorkspaceKeys, WrongKey
from protocol.limits import MIB, POLL_MAX_S
from protocol.sealing import CorruptBlock, seal, unseal
from server.blockcare import BlockCare
from server.blockstore.store import BlockStoreError, ObjectMissing
from server.exchanging import Anew, Exchange
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
        exchange = Exchange(metadata, care, workspace)
        await exchange.clear()
        left += exchange.left
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


class _Run:
    """One workspace's."""

    def __init__(self, metadata: MetadataStore, care: BlockCare, workspace: WorkspaceId) -> None:
        self._metadata = metadata
        self._care = care
        self._workspace = workspace
        self._exchange = Exchange(metadata, care, workspace)
        self._unread: list[BlockStoreError] = []

    @property
    def left(self) -> list[BlockStoreError]:
        """The last reason why an object could not be read or deleted, where there was any."""
        return self._unread or self._exchange.left

    async def reseal(self) -> int:
        """Every block once, in the order of their ids; returns how many were sealed anew."""
        after: BlockId | None = BlockId(b"")
        done = left = 0
        while after is not None:
            keys, found, after = await self._next(after)
            anew = [each for block, lay in found.items() if (each := await self._sealed_anew(keys, block, lay))]
            if anew:
                await self._exchange.replace(anew)
            done, left = done + len(anew), left + len(found) - len(anew)
        if done or left:
            log.info("blocks were sealed anew", workspace=self._workspace, blocks=done, unreadable=left)
        return done

    async def _next(self, after: BlockId) -> tuple[WorkspaceKeys, dict[BlockId, StoredBlock], BlockId | None]:
        def work(tx: Transaction) -> tuple[WorkspaceKeys, dict[BlockId, StoredBlock], BlockId | None]:
            keys = self._care.keys_in(tx, self._workspace)
            return keys, *blocks.under_other_keys(tx, self._workspace, keys.key_id, after, STEP_BYTES)

        return await self._metadata.read(work)

    async def _sealed_anew(self, keys: WorkspaceKeys, block: BlockId, lay: StoredBlock) -> Anew | None:
        def work() -> bytes | bytearray:
            return seal(keys, block, unseal(keys, block, self._care.bytes_of(lay)))

        try:
            sealed = await self._care.work(work)
        except (CorruptBlock, ObjectMissing) as error:
            await self._care.note_unsound(self._workspace, block, lay, str(error))
            return None
        except BlockStoreError as error:
            self._unread = [error]
            return None
        return Anew.of(block, lay, sealed)
