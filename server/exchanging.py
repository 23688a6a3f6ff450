"""A stored block is exchanged for the same bytes sealed anew: by the server, or by an end-to-end workspace's owner.

Knows the block store, ``BlockCare`` and the rows of blocks; knows nothing of HTTP, and opens nothing.

The objects to be are written down and stored, and one transaction names them in the rows, of those blocks that still
lie where they were read. The objects that the rows named before are on a list (``metadata/spares.py``) from then on,
and are deleted at last.

Invariant: at every moment the row of a block names an object that is whole; a crash between any two steps loses no
block, and what it leaves in the store is on the list.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from protocol.ids import BlockId, WorkspaceId
from protocol.limits import INLINE_SEALED_BYTES
from protocol.sealing import key_id_of
from server.blockcare import Allow, BlockCare, check_anew
from server.blockstore.store import BlockStoreError, object_name
from server.metadata import blocks, spares, workspacekeys
from server.metadata.blocks import StoredBlock
from server.metadata.store import MetadataStore, Transaction


@dataclass(frozen=True, slots=True)
class Anew:
    """A block where it was read, and sealed anew."""

    block: BlockId
    lay: StoredBlock
    lies: StoredBlock
    sealed: bytes | bytearray

    @classmethod
    def of(cls, block: BlockId, lay: StoredBlock, sealed: bytes | bytearray) -> Anew:
        """``sealed`` has the bytes of what ``lay`` says, under another key."""
        is_inline = len(sealed) <= INLINE_SEALED_BYTES
        inline, name = (bytes(sealed), None) if is_inline else (None, object_name(block))
        return cls(block, lay, StoredBlock(inline, name, len(sealed), lay.plain_bytes, key_id_of(sealed)), sealed)


class Exchange:
    """Of one workspace."""

    def __init__(self, metadata: MetadataStore, care: BlockCare, workspace: WorkspaceId) -> None:
        self._metadata = metadata
        self._care = care
        self._workspace = workspace
        self.left: list[BlockStoreError] = []
        """The last reason why an object could not be deleted, where there was any."""

    async def clear(self) -> None:
        """Delete what was announced or doomed, and is there: whoever announced it has to begin anew."""
        await self._metadata.write(lambda tx: spares.doom_announced(tx, self._workspace))
        await self._delete_doomed()

    async def replace(self, anew: Sequence[Anew], allow: Allow = lambda tx: None) -> int:
        """Store them in place of what was read; returns how many were. Raises StoreError, BlockStoreError and NoSpace.

        ``allow`` is the first of each transaction.
        """
        workspace, store = self._workspace, self._care.store
        stored = {each.lies.object: each.sealed for each in anew if each.lies.object is not None}
        if stored:
            self._care.space.check(sum(map(len, stored.values())))

            def announce(tx: Transaction) -> None:
                allow(tx)
                spares.announce(tx, workspace, stored)

            await self._metadata.write(announce)
            for name, sealed in stored.items():
                await self._care.work(partial(store.put, name, sealed))

        def name_them(tx: Transaction) -> int:
            allow(tx)
            return sum(_name(tx, workspace, each) for each in anew)

        replaced = await self._metadata.write(name_them)
        await self._delete_doomed()
        return replaced

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


async def exchange(
    metadata: MetadataStore,
    care: BlockCare,
    workspace: WorkspaceId,
    block: BlockId,
    sealed: bytes | bytearray,
    allow: Allow,
) -> bool:
    """A member's put of a block of an end-to-end workspace, sealed under its last key, in place of what is stored.

    True also where it lies there under that key already; False where there is no such block. Raises BadBlock where it
    isn't that block as far as can be told, NoSpace, OverQuota, StoreError and BlockStoreError.
    """

    def look(tx: Transaction) -> tuple[StoredBlock | None, int]:
        allow(tx)
        [lay] = blocks.stored(tx, workspace, [block])
        if lay is not None:
            blocks.check_quota(tx, workspace, len(sealed) - lay.sealed_bytes)
        return lay, workspacekeys.last_id(tx, workspace)

    while True:
        lay, last_id = await metadata.read(look)
        if lay is None:
            return False
        if lay.key_id == last_id:
            return True
        check_anew(block, sealed, last_id, lay.plain_bytes)
        exchanged = Exchange(metadata, care, workspace)
        if await exchanged.replace([Anew.of(block, lay, sealed)], allow) == 1:
            care.note_sound(workspace, block)
            return True


def _name(tx: Transaction, workspace: WorkspaceId, anew: Anew) -> bool:
    """In the block's row, if it still lies where it was read. What isn't named then goes."""
    lay, lies = anew.lay, anew.lies
    if lies.object is not None and not spares.take(tx, workspace, lies.object):
        return False
    is_named = blocks.replace(tx, workspace, anew.block, lay, lies)
    unnamed = lay.object if is_named else lies.object
    if unnamed is not None:
        spares.doom(tx, workspace, [unnamed])
    return is_named
