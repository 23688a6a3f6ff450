"""Blocks between the wire and where they lie: verified before they are acknowledged, small ones inline.

Knows keys, the block store and the rows about blocks. Nobody can poison what others deduplicate against: a sealed
block is opened and its id checked before a row names it.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

import trio

from protocol.ids import BlockId, WorkspaceId
from protocol.keys import WorkspaceKeys
from protocol.limits import INLINE_SEALED_BYTES, MIB
from protocol.messages import SealedBlock
from protocol.sealing import CorruptBlock, unseal
from server.blockstore.store import BlockStore, BlockStoreFull, ObjectMissing
from server.keyring import Keyring
from server.metadata import accounts, blocks
from server.metadata.blocks import StoredBlock
from server.metadata.store import MetadataStore, Transaction

WORKERS: Final = 4
"""Threads that open blocks and wait for the disk: two cores, and as many fsyncs under way."""

RESERVE_BYTES: Final = 64 * MIB
"""Kept free for the database: deleting and reading must work on a full server."""

T = TypeVar("T")
log = logging.getLogger(__name__)


class BadBlock(Exception):
    """What came is not the sealed block that it claims to be."""


class NoSpace(Exception):
    """The server's disk is full."""


@dataclass(frozen=True, slots=True)
class BlockCare:
    """Puts and gets of all workspaces."""

    store: BlockStore
    metadata: MetadataStore
    keyring: Keyring
    workers: trio.CapacityLimiter

    async def wanted(
        self, workspace: WorkspaceId, block: BlockId, sealed_bytes: int, allow: Callable[[Transaction], None]
    ) -> WorkspaceKeys | None:
        """The keys to verify a put with, before its body is read; None where the block is there. Raises as ``put``."""

        def before(tx: Transaction) -> tuple[WorkspaceKeys, int | None]:
            allow(tx)
            have = blocks.plain_length(tx, workspace, block)
            if have is None:
                blocks.check_quota(tx, workspace, sealed_bytes)
            return self._keys(tx, workspace), have

        keys, have = await self.metadata.read(before)
        if have is not None:
            return None
        self.check_space(sealed_bytes)
        return keys

    async def put(
        self, workspace: WorkspaceId, block: BlockId, sealed: bytes | bytearray, keys: WorkspaceKeys
    ) -> None:
        """Verify and store; raises BadBlock, NoSpace, OverQuota."""
        name = f"{block.hex()}-{secrets.token_hex(8)}"
        inline = len(sealed) <= INLINE_SEALED_BYTES

        def verify_and_store() -> int:
            plain_bytes = _verified(keys, block, sealed)
            if not inline:
                self.store.put(name, sealed)
            return plain_bytes

        plain_bytes = await self._work(verify_and_store)
        at = StoredBlock(bytes(sealed) if inline else None, None if inline else name, len(sealed), plain_bytes)
        recorded = False
        try:
            recorded = await self.metadata.write(lambda tx: blocks.record(tx, workspace, block, at))
        finally:
            if not recorded and not inline:  # Refused, or another put of the same block was first.
                with trio.CancelScope(shield=True):
                    await self._work(lambda: self.store.delete(name))

    async def verify_inline(
        self, workspace: WorkspaceId, sealed: Sequence[SealedBlock], allow: Callable[[Transaction], None]
    ) -> dict[BlockId, int]:
        """Plain lengths of blocks that travel in commits; raises BadBlock."""
        if not sealed:
            return {}
        self.check_space(sum(len(small.sealed) for small in sealed))
        if any(len(small.sealed) > INLINE_SEALED_BYTES for small in sealed):
            raise BadBlock(f"a block of over {INLINE_SEALED_BYTES} bytes can't travel in a commit")

        def keys_of(tx: Transaction) -> WorkspaceKeys:
            allow(tx)
            return self._keys(tx, workspace)

        keys = await self.metadata.read(keys_of)
        return await self._work(lambda: {small.id: _verified(keys, small.id, small.sealed) for small in sealed})

    async def get(
        self, workspace: WorkspaceId, ids: Sequence[BlockId], most_bytes: int, allow: Callable[[Transaction], None]
    ) -> list[bytes | None]:
        """Sealed bytes of the first of these blocks, as many as fit, at least one; None for one that isn't there."""

        def rows(tx: Transaction) -> list[StoredBlock | None]:
            allow(tx)
            return blocks.stored(tx, workspace, ids)

        chosen = list(_fitting(await self.metadata.read(rows), most_bytes))
        if all(row is None or row.inline is not None for row in chosen):
            return [None if row is None else row.inline for row in chosen]
        return await self._work(lambda: [self._bytes(row) for row in chosen])

    def check_space(self, more_bytes: int) -> None:
        """Raises NoSpace where so much more would leave less than the reserve."""
        if self.store.free_bytes() - more_bytes < RESERVE_BYTES:
            raise NoSpace("the server's disk is full")

    def _bytes(self, row: StoredBlock | None) -> bytes | None:
        if row is None or row.object is None:
            return None if row is None else row.inline
        try:
            return self.store.get(row.object)
        except ObjectMissing:
            log.error("the block store has lost %s", row.object)
            return None

    def _keys(self, tx: Transaction, workspace: WorkspaceId) -> WorkspaceKeys:
        wrapped, key_id = accounts.wrapped_key_of(tx, workspace)
        return self.keyring.working_keys(workspace, wrapped, key_id)

    async def _work(self, work: Callable[[], T]) -> T:
        try:
            return await trio.to_thread.run_sync(work, limiter=self.workers)
        except BlockStoreFull as error:
            raise NoSpace("the server's disk is full") from error


def _verified(keys: WorkspaceKeys, block: BlockId, sealed: bytes | bytearray) -> int:
    try:
        return len(unseal(keys, block, sealed))
    except CorruptBlock as error:
        raise BadBlock(f"block {block.hex()}: {error}") from None


def _fitting(rows: Iterable[StoredBlock | None], most_bytes: int) -> Iterable[StoredBlock | None]:
    total = 0
    for row in rows:
        size = 0 if row is None else row.sealed_bytes
        if total and total + size > most_bytes:
            return
        total += size
        yield row
