"""Blocks between the wire and where they lie: verified before they are acknowledged, small ones inline.

For who has no mount they are opened and sealed here, too.

Knows keys, the block store and the rows about blocks; knows nothing of HTTP.

Invariants:

- a sealed block is opened, and its id checked, before a row names it: nobody can poison what others rely on. In an
  end-to-end workspace nothing is opened here: what a header says is checked, and the rest is its members' to check;
- a row names an object only after the object is durable, and an object is deleted only when no row can name it;
- what was lost or is damaged is replaced by the next sound put of that block, and by nothing else. In an end-to-end
  workspace, damaged is what a member who could not open it has reported (``report``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

import structlog
import trio
from cachetools import LRUCache

from protocol.ids import BlockId, WorkspaceId
from protocol.keys import FIRST_KEY, WorkspaceKeys
from protocol.limits import INLINE_SEALED_BYTES, KIB
from protocol.manifest import Piece
from protocol.messages.blocks import SealedBlock
from protocol.sealing import Buffer, CorruptBlock, header_of, key_id_of, plain_length, seal, unseal
from server.blockstore.store import BlockStore, BlockStoreError, BlockStoreFull, ObjectMissing, object_name
from server.keyring import Keyring
from server.metadata import accounts, blocks, workspacekeys
from server.metadata.blocks import StoredBlock
from server.metadata.store import MetadataStore, StoreError, Transaction
from server.nurseries import together
from server.space import NoSpace, Space
from server.threads import RunSync, T, in_thread

WORKERS: Final = 4
"""Threads that open blocks and wait for the disk: two cores, and as many fsyncs under way."""

_IN_PLACE_PLAIN_BYTES: Final = 64 * KIB
"""Opening so much takes less than a hop to a worker."""

_LOST_REMEMBERED: Final = 4_096
_DISCARD_S: Final = 5.0
"""How long what a put that was given up has stored is being deleted."""

log = structlog.get_logger()

Allow = Callable[[Transaction], object]
"""Run first in a transaction; raises where the caller may not do what it asks for."""


class BadBlock(Exception):
    """What came is not the sealed block that it claims to be."""


class Damaged(Exception):
    """A block that a version needs is lost, or what is stored of it is not that block."""


class NotOpened(Exception):
    """It would take the key of an end-to-end workspace, which the server does not have."""


class HiddenKeys:
    """In place of an end-to-end workspace's keys."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """A block that a put may store. ``unsound`` is what is stored of it now, which the put replaces."""

    workspace: WorkspaceId
    block: BlockId
    keys: WorkspaceKeys | HiddenKeys
    unsound: StoredBlock | None


class BlockCare:
    """Puts and gets of all workspaces."""

    def __init__(
        self,
        store: BlockStore,
        metadata: MetadataStore,
        keyring: Keyring,
        workers: trio.CapacityLimiter,
        space: Space | None = None,
        run_sync: RunSync = in_thread,
    ) -> None:
        """``space`` is asked before anything is stored; without one, what is free in the block store decides."""
        self.space = space or Space(store.free_bytes)
        self.store = store
        self._metadata = metadata
        self._keyring = keyring
        self._workers = workers
        self._run_sync = run_sync
        self._lost: LRUCache[tuple[WorkspaceId, BlockId], None] = LRUCache(_LOST_REMEMBERED)
        """Blocks whose objects were found missing: answered as missing, so that who has the bytes sends them again."""

    # ── in ──

    async def wanted(self, workspace: WorkspaceId, block: BlockId, sealed_bytes: int, allow: Allow) -> Wanted | None:
        """What ``put`` needs, before the body is read; None where a sound copy is there. Raises NoSpace, OverQuota."""

        def before(tx: Transaction) -> Wanted:
            allow(tx)
            [have] = blocks.stored(tx, workspace, [block])
            if have is None:
                blocks.check_quota(tx, workspace, sealed_bytes)
            return Wanted(workspace, block, self._checking_keys_in(tx, workspace), have)

        wanted = await self._metadata.read(before)
        self._remember(workspace, wanted.keys)
        if wanted.unsound is not None and await self.work(lambda: self._is_sound(wanted)):
            self._lost.pop((workspace, block), None)
            return None
        self.space.check(sealed_bytes)
        return wanted

    async def put(self, wanted: Wanted, sealed: bytes | bytearray, allow: Allow) -> None:
        """Verify and store; raises BadBlock, NoSpace, OverQuota."""
        block = wanted.block
        name = None if len(sealed) <= INLINE_SEALED_BYTES else object_name(block)

        def verify_and_store() -> int:
            plain_bytes = _verified(wanted.keys, block, sealed)
            if name is not None:
                self.store.put(name, sealed)
            return plain_bytes

        try:
            plain_bytes = await self.work(verify_and_store)
        except BlockStoreFull as error:
            raise NoSpace("the server's disk is full") from error
        inline = bytes(sealed) if name is None else None
        at = StoredBlock(inline, name, len(sealed), plain_bytes, key_id_of(sealed))

        def record(tx: Transaction) -> bool:
            allow(tx)
            if wanted.unsound is not None and blocks.stored(tx, wanted.workspace, [block]) == [wanted.unsound]:
                blocks.forget(tx, wanted.workspace, block)
            return blocks.record(tx, wanted.workspace, block, at)

        try:
            recorded = await self._metadata.write(record)
        except StoreError:
            raise  # Whether a row names the object can't be known: at worst it is left behind.
        except Exception:
            await self._discard(name)
            raise
        if not recorded:  # Another put of the same block was first.
            await self._discard(name)
        elif wanted.unsound is not None:
            await self._discard(wanted.unsound.object)
        self._lost.pop((wanted.workspace, block), None)

    async def verify_inline(
        self, workspace: WorkspaceId, sealed: Sequence[SealedBlock], allow: Allow
    ) -> dict[BlockId, int]:
        """Plain lengths of blocks that travel in commits; raises BadBlock, NoSpace and OverQuota.

        ``allow`` runs before anything is told; where all is well, the transaction that applies the commits runs it.
        Those of them that are known to be lost are stored when this returns: the commits would find them there.
        """
        if not sealed:
            return {}
        keys = await self._checking_keys(workspace, allow)
        if isinstance(keys, WorkspaceKeys) and any(
            key_id_of(small.sealed) not in keys.sealing_keys for small in sealed
        ):
            keys = await self._checking_keys_now(workspace, allow)  # One may have been added since.
        try:
            verified = await self._verified_inline(keys, sealed)
        except (BadBlock, NoSpace):
            await self._metadata.read(allow)  # A stranger learns nothing from how bad its blocks are.
            raise
        for small in sealed:
            if (workspace, small.id) in self._lost:
                wanted = await self.wanted(workspace, small.id, len(small.sealed), allow)
                if wanted is not None:
                    await self.put(wanted, small.sealed, allow)
        return verified

    async def _verified_inline(
        self, keys: WorkspaceKeys | HiddenKeys, sealed: Sequence[SealedBlock]
    ) -> dict[BlockId, int]:
        if any(len(small.sealed) > INLINE_SEALED_BYTES for small in sealed):
            raise BadBlock(f"a block of over {INLINE_SEALED_BYTES} bytes can't travel in a commit")
        self.space.check(sum(len(small.sealed) for small in sealed))

        def verify() -> dict[BlockId, int]:
            return {small.id: _verified(keys, small.id, small.sealed) for small in sealed}

        if sum(_claimed_bytes(small) for small in sealed) <= _IN_PLACE_PLAIN_BYTES:
            return verify()
        return await self.work(verify)

    async def keep(
        self, workspace: WorkspaceId, keys: WorkspaceKeys, plain: Mapping[BlockId, Buffer], allow: Allow
    ) -> None:
        """Seal and store those of these blocks that the workspace lacks; raises NoSpace, OverQuota.

        The ids are those of the bytes, by ``keys``, which are the workspace's.
        """

        def lacking(tx: Transaction) -> list[BlockId]:
            allow(tx)
            return blocks.missing(tx, workspace, plain)

        lost = [block for block in plain if (workspace, block) in self._lost]
        fresh = [block for block in await self._metadata.read(lacking) if block not in lost]
        for block in lost:
            sealed = await self.work(partial(seal, keys, block, plain[block]))
            wanted = await self.wanted(workspace, block, len(sealed), allow)
            if wanted is not None:
                await self.put(wanted, sealed, allow)
        if fresh:
            await self._keep_fresh(workspace, keys, {block: plain[block] for block in fresh}, allow)

    async def _keep_fresh(
        self, workspace: WorkspaceId, keys: WorkspaceKeys, plain: Mapping[BlockId, Buffer], allow: Allow
    ) -> None:
        stored: dict[BlockId, StoredBlock] = {}

        async def seal_and_store(block: BlockId) -> None:
            stored[block] = await self.work(lambda: self._sealed_and_stored(keys, block, plain[block]))

        def record(tx: Transaction) -> list[str | None]:
            allow(tx)
            return [at.object for block, at in stored.items() if not blocks.record(tx, workspace, block, at)]

        try:
            async with together() as nursery:
                for block in plain:
                    nursery.start_soon(seal_and_store, block)
            unneeded = await self._metadata.write(record)  # Other puts of the same blocks were first.
        except StoreError:
            raise  # As in ``put``.
        except BlockStoreFull as error:
            await self._discard_all([at.object for at in stored.values()])
            raise NoSpace("the server's disk is full") from error
        except BaseException:
            await self._discard_all([at.object for at in stored.values()])
            raise
        await self._discard_all(unneeded)

    # ── out ──

    async def keys(self, workspace: WorkspaceId, allow: Allow) -> WorkspaceKeys:
        """For who cuts and seals here; raises NotOpened.

        They say nothing of who may: every transaction with what they sealed does.
        """
        return _opening(await self._checking_keys(workspace, allow))

    async def keys_now(self, workspace: WorkspaceId, allow: Allow) -> WorkspaceKeys:
        """The same with the last one, whenever it was added."""
        return _opening(await self._checking_keys_now(workspace, allow))

    def keys_in(self, tx: Transaction, workspace: WorkspaceId) -> WorkspaceKeys:
        """A workspace's keys, with the last one that this transaction sees; raises NotOpened."""
        return _opening(self._checking_keys_in(tx, workspace))

    async def _checking_keys(self, workspace: WorkspaceId, allow: Allow) -> WorkspaceKeys | HiddenKeys:
        return self._keyring.remembered(workspace) or await self._checking_keys_now(workspace, allow)

    async def _checking_keys_now(self, workspace: WorkspaceId, allow: Allow) -> WorkspaceKeys | HiddenKeys:
        keys = await self._metadata.read(lambda tx: (allow(tx), self._checking_keys_in(tx, workspace))[1])
        self._remember(workspace, keys)
        return keys

    def _checking_keys_in(self, tx: Transaction, workspace: WorkspaceId) -> WorkspaceKeys | HiddenKeys:
        last_id, known = workspacekeys.last_id(tx, workspace), self._keyring.remembered(workspace)
        if known is not None and known.key_id >= last_id:
            return known
        if accounts.is_end_to_end(tx, workspace):
            return HiddenKeys()
        return self._keyring.working_keys(workspace, workspacekeys.wrapped_keys(tx, workspace))

    def _remember(self, workspace: WorkspaceId, keys: WorkspaceKeys | HiddenKeys) -> None:
        if isinstance(keys, WorkspaceKeys):
            self._keyring.remember(workspace, keys)

    async def opened(self, workspace: WorkspaceId, piece: Piece, allow: Allow) -> bytes | bytearray:
        """The plain bytes of a piece that is a block; raises Damaged and NotOpened."""
        block = piece.block

        def row(tx: Transaction) -> tuple[StoredBlock | None, WorkspaceKeys]:
            allow(tx)
            [found] = blocks.stored(tx, workspace, [block])
            return found, self.keys_in(tx, workspace)

        found, keys = await self._metadata.read(row)
        self._keyring.remember(workspace, keys)
        if found is None:
            raise Damaged(f"block {block.hex()} is missing")
        at = found
        try:
            if at.inline is not None and at.plain_bytes <= _IN_PLACE_PLAIN_BYTES:
                plain = unseal(keys, block, at.inline)
            else:
                plain = await self.work(lambda: unseal(keys, block, self.bytes_of(at)))
        except (CorruptBlock, ObjectMissing) as error:
            if not await self.note_unsound(workspace, block, at, str(error)):
                return await self.opened(workspace, piece, allow)
            raise Damaged(f"block {block.hex()} of this content is lost or damaged") from error
        if len(plain) != piece.length:
            raise Damaged(f"block {block.hex()} has another length than its file's manifest says")
        return plain

    async def get(
        self, workspace: WorkspaceId, ids: Sequence[BlockId], most_bytes: int, allow: Allow
    ) -> list[tuple[BlockId, bytes]]:
        """Sealed bytes of the first of these blocks, as many as fit, up to one that isn't there."""

        def rows(tx: Transaction) -> list[StoredBlock | None]:
            allow(tx)
            return blocks.stored(tx, workspace, ids)

        chosen = list(_fitting(zip(ids, await self._metadata.read(rows), strict=True), most_bytes))
        if all(row.inline is not None for _, row in chosen):
            return [(block, row.inline or b"") for block, row in chosen]
        found = await self.work(lambda: self._read(chosen))
        if len(found) < len(chosen):
            lost, row = chosen[len(found)]
            is_lost = await self.note_unsound(workspace, lost, row, "the block store has lost an object")
            if not is_lost and not found:
                return await self.get(workspace, ids, most_bytes, allow)
        return found

    def note_sound(self, workspace: WorkspaceId, block: BlockId) -> None:
        """A member has opened what was stored of it, and it lies there sealed anew."""
        self._lost.pop((workspace, block), None)

    async def note_unsound(self, workspace: WorkspaceId, block: BlockId, at: StoredBlock, reason: str) -> bool:
        """A stored block is lost or damaged: the next put of it is asked for, and replaces it.

        False where it doesn't lie there any more, since it was replaced or sealed anew meanwhile: look again.
        """
        [now] = await self._metadata.read(lambda tx: blocks.stored(tx, workspace, [block]))
        if now != at:
            return False
        log.error("a stored block is lost or damaged", workspace=workspace, block=block.hex(), reason=reason)
        self._lost[workspace, block] = None
        return True

    def missing(self, tx: Transaction, workspace: WorkspaceId, ids: Sequence[BlockId]) -> list[BlockId]:
        """Those that the workspace lacks or whose objects are known to be lost, in their order."""
        lacking = frozenset(blocks.missing(tx, workspace, ids))
        return [block for block in dict.fromkeys(ids) if block in lacking or (workspace, block) in self._lost]

    async def report(self, workspace: WorkspaceId, ids: Sequence[BlockId], allow: Allow) -> None:
        """A member could not open these. Those that are unsound, as far as that can be told, are missing from now on.

        What is stored of them stays until a put replaces it: a report alone destroys nothing.
        """

        def rows(tx: Transaction) -> list[Wanted]:
            allow(tx)
            keys, found = self._checking_keys_in(tx, workspace), blocks.stored(tx, workspace, ids)
            return [Wanted(workspace, block, keys, row) for block, row in zip(ids, found, strict=True) if row]

        for wanted in await self._metadata.read(rows):
            if isinstance(wanted.keys, HiddenKeys) or not await self.work(partial(self._is_sound, wanted)):
                self._lost[workspace, wanted.block] = None

    # ── in workers ──

    def _sealed_and_stored(self, keys: WorkspaceKeys, block: BlockId, plain: Buffer) -> StoredBlock:
        sealed = seal(keys, block, plain)
        self.space.check(len(sealed))
        if len(sealed) <= INLINE_SEALED_BYTES:
            return StoredBlock(bytes(sealed), None, len(sealed), len(plain), keys.key_id)
        name = object_name(block)
        self.store.put(name, sealed)
        return StoredBlock(None, name, len(sealed), len(plain), keys.key_id)

    def _read(self, chosen: Sequence[tuple[BlockId, StoredBlock]]) -> list[tuple[BlockId, bytes]]:
        """The blocks up to the first that is lost."""
        found: list[tuple[BlockId, bytes]] = []
        for block, row in chosen:
            try:
                found.append((block, self.bytes_of(row)))
            except ObjectMissing:
                break
        return found

    def bytes_of(self, row: StoredBlock) -> bytes:
        """The sealed bytes that lie there; raises ObjectMissing, BlockStoreError."""
        return self.store.get(row.object) if row.object is not None else row.inline or b""

    def _is_sound(self, stored: Wanted) -> bool:
        assert stored.unsound is not None
        if isinstance(stored.keys, HiddenKeys) and (stored.workspace, stored.block) in self._lost:
            return False
        try:
            _verified(stored.keys, stored.block, self.bytes_of(stored.unsound))
        except (BadBlock, ObjectMissing) as error:
            log.warning("a stored block will be replaced", block=stored.block.hex(), reason=str(error))
            return False
        return True

    # ──

    async def work(self, work: Callable[[], T]) -> T:
        """On one of the threads that open, seal and store blocks."""
        return await self._run_sync(work, limiter=self._workers)

    async def _discard(self, name: str | None) -> None:
        """Delete an object that no row names. One that can't be deleted only takes room."""
        if name is None:
            return
        try:
            await self.work(lambda: self.store.delete(name))
        except BlockStoreError as error:
            log.warning("an object that nothing names is left behind", object=name, reason=str(error))

    async def _discard_all(self, names: Iterable[str | None]) -> None:
        """Of a put that was given up, also where its caller was cancelled."""
        with trio.move_on_after(_DISCARD_S) as bounded:
            bounded.shield = True
            for name in names:
                await self._discard(name)


def _opening(keys: WorkspaceKeys | HiddenKeys) -> WorkspaceKeys:
    if isinstance(keys, HiddenKeys):
        raise NotOpened("the server has no key of this workspace, which is end-to-end encrypted")
    return keys


def _verified(keys: WorkspaceKeys | HiddenKeys, block: BlockId, sealed: bytes | bytearray) -> int:
    """The plain length of a sealed block that is what it claims to be, as far as that can be told; raises BadBlock."""
    try:
        if isinstance(keys, HiddenKeys):
            return _plausible(block, sealed)
        return len(unseal(keys, block, sealed))
    except CorruptBlock as error:
        raise BadBlock(f"block {block.hex()}: {error}") from None


def check_anew(block: BlockId, sealed: bytes | bytearray, key_id: int, plain_bytes: int) -> None:
    """Raises BadBlock where this can't be an end-to-end workspace's block of this length under this key."""
    try:
        length = _plausible(block, sealed)
    except CorruptBlock as error:
        raise BadBlock(f"block {block.hex()}: {error}") from None
    if (key_id_of(sealed), length) != (key_id, plain_bytes):
        raise BadBlock(f"block {block.hex()}: it has {plain_bytes} bytes, and is to be sealed under key {key_id}")


def _plausible(block: BlockId, sealed: bytes | bytearray) -> int:
    """Its plain length. A server that was restored from a backup may lack the last keys: any may have sealed it."""
    header = header_of(sealed)
    if header.key_id < FIRST_KEY:
        raise BadBlock(f"block {block.hex()}: sealed under a key that no workspace has")
    if not header.is_for_browsers:
        raise BadBlock(f"block {block.hex()}: in an end-to-end workspace, blocks are compressed by DEFLATE")
    return header.plain_bytes


def _claimed_bytes(small: SealedBlock) -> int:
    try:
        return plain_length(small.sealed)
    except CorruptBlock as error:
        raise BadBlock(f"block {small.id.hex()}: {error}") from None


def _fitting(
    rows: Iterable[tuple[BlockId, StoredBlock | None]], most_bytes: int
) -> Iterable[tuple[BlockId, StoredBlock]]:
    total = 0
    for block, row in rows:
        if row is None or (total and total + row.sealed_bytes > most_bytes):
            return
        total += row.sealed_bytes
        yield block, row
