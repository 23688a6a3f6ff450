"""Contents that come in several requests: what one request brings is cut, sealed and recorded, and at last committed.

Knows ``Writer``, the rows of transfers and ``uploads``; knows nothing of HTTP.

Invariants:

- what a request brought is kept up to the last full window, or to some seconds ago, whatever happens, and all of it
  where the request just breaks off; with a digest it is kept when all of it has come and fits, and else nothing of it;
- the last bytes are recorded in the transaction that commits the content: whoever is told that all has come can rely
  on the file;
- a tail has at most BLOCK_MAX_BYTES, which is less than a window: so what is cut first reaches beyond it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from functools import partial
from itertools import accumulate
from typing import Final

import trio

from protocol.ids import WorkspaceId
from protocol.keys import WorkspaceKeys
from protocol.limits import BLOCK_MAX_BYTES, BLOCK_MIN_BYTES
from protocol.manifest import Manifest, Piece
from protocol.messages.blocks import SealedBlock
from protocol.sealing import Buffer, seal, unseal
from server.content.digests import Digest
from server.content.uploads import Allow, Goal, put_in_place
from server.content.writing import WINDOW_BYTES, Writer, Written, check_length
from server.metadata import transfers
from server.metadata.store import StoreError, Transaction
from server.metadata.transfers import ChecksumMismatch, TooMuch, Transfer
from server.metadata.unmounted import Editing
from server.nurseries import together
from server.service import Service
from server.settling import edit

TAIL_PARTS_MAX: Final = 64
"""So many requests too short to be cut are kept as they came; then they are made one."""

RECORD_EVERY_S: Final = 10.0
"""What a slow client sends is recorded after so long, though no window is full."""

_SAVE_S: Final = 5.0
"""How long what came of a request that broke off is being kept."""


async def receive(
    service: Service,
    transfer: Transfer,
    parts: AsyncIterator[bytes],
    allow: Allow,
    goal: Callable[[], Goal],
    digest: Digest | None = None,
) -> Transfer:
    """Add a request's body to a transfer whose turn it has; with the last byte, commit the content at ``goal``.

    Raises Overtaken, TooMuch, ChecksumMismatch, what ``parts`` and ``allow`` raise, and what ``uploads.upload`` does.
    """
    keys = await service.blocks.keys(transfer.workspace, allow)
    reception = _Reception(service, transfer, keys, allow, is_withholding=digest is not None)
    async with together() as nursery:
        try:
            async for part in parts:
                if digest is not None:
                    digest.hash.update(part)
                await reception.take(part, nursery)
                await reception.keep_up()
        except TooMuch:
            raise
        except BaseException:
            if digest is None:
                await reception.save()
            raise
        if digest is not None and not digest.fits:
            raise ChecksumMismatch("the bytes that came don't have the checksum that the request names")
        if transfer.is_partial or not reception.is_all:
            return await reception.pause()
        return await reception.finish(goal())


async def join(
    service: Service, parts: Sequence[Transfer], metadata: str, concat: str, allow: Allow, goal: Goal
) -> Transfer:
    """Commit what these transfers brought, one after the other, and make a transfer that says so."""
    written = await _joined(service, goal.workspace, parts, allow)

    def work(editing: Editing) -> Transfer:
        now_ns, user, size_bytes = editing.now_ns, editing.caller.user, written.manifest.size_bytes
        for part in parts:  # One that was ended meanwhile may have been read when nothing was left of it.
            transfers.find(editing.tx, goal.workspace, part.id, user, now_ns)
        uploaded = put_in_place(editing, goal, written, None)
        whole = transfers.create(editing.tx, goal.workspace, user, size_bytes, metadata, concat, now_ns)
        return transfers.finish(editing.tx, whole, size_bytes, uploaded.item.etag, now_ns)

    return await edit(service, goal.workspace, allow, work)


async def _joined(service: Service, workspace: WorkspaceId, parts: Sequence[Transfer], allow: Allow) -> Written:
    """The content that these make, cut as if it had come in one: only the blocks around the joints are made anew."""
    keys = await service.blocks.keys(workspace, allow)
    writer, made = Writer(service.blocks, workspace, keys, allow, _nothing), list[Piece]()
    for part in parts:
        pieces = await _pieces(service, part, allow)
        begins = {begin: index for index, begin in enumerate(accumulate((p.length for p in pieces), initial=0))}
        at, index = -len(writer.window), 0  # Where the window begins in this part; how many of its blocks went into it.
        while writer.window and index < len(pieces):
            writer.window += await service.blocks.opened(workspace, pieces[index], allow)
            more = await writer.pause()
            made, at, index = made + more, at + sum(piece.length for piece in more), index + 1
            if at in begins:  # From a cut that both share on, all are the same.
                writer.window, index = bytearray(), begins[at]
        made += pieces[index:]
        check_length(len(made))
        writer.window += await _tail(service, keys, part, allow)
    small = None if made else await writer.small()
    return small or Written(Manifest.of([*made, *await writer.end()]))


class _Reception:
    """One request's bytes on their way. ``transfer`` is what is recorded."""

    def __init__(
        self, service: Service, transfer: Transfer, keys: WorkspaceKeys, allow: Allow, *, is_withholding: bool
    ) -> None:
        """``is_withholding``: nothing is recorded before all has come and was verified."""
        self.transfer = transfer
        self._service = service
        self._keys = keys
        self._allow = allow
        self._is_withholding = is_withholding
        self._writer = Writer(service.blocks, transfer.workspace, keys, allow, self._kept)
        self._total_bytes = transfer.received
        self._unloaded_bytes = transfer.tail_bytes
        """Of the tail, which goes before the window."""
        self._has_advanced = False
        self._withheld: list[Piece] = []
        self._recorded_s = trio.current_time()

    @property
    def is_all(self) -> bool:
        """Whether the whole content has come."""
        return self._total_bytes == self.transfer.length

    async def take(self, part: bytes, nursery: trio.Nursery) -> None:
        """Raises TooMuch."""
        self._total_bytes += len(part)
        if self.transfer.length is not None and self._total_bytes > self.transfer.length:
            raise TooMuch(f"the upload has {self.transfer.length} bytes, and more have come")
        self._writer.window += part
        if self._unloaded_bytes + len(self._writer.window) >= WINDOW_BYTES:
            await self._load()
            self._has_advanced = True
            await self._writer.advance(nursery)

    async def keep_up(self) -> None:
        """Record what has come, where that was long ago: a crash then takes little of a slow client's time."""
        is_due = trio.current_time() >= self._recorded_s + RECORD_EVERY_S
        if is_due and not self._is_withholding and not self.is_all:
            await self.pause()
            self._writer.window = bytearray()
            self._unloaded_bytes, self._has_advanced = self.transfer.tail_bytes, False

    async def pause(self) -> Transfer:
        """Record what has come, when the request has ended before the content."""
        await self._writer.settled()
        window = self._writer.window
        is_short = len(window) < BLOCK_MIN_BYTES and self._unloaded_bytes + len(window) <= BLOCK_MAX_BYTES
        if is_short and self.transfer.tail_parts < TAIL_PARTS_MAX and not self._has_advanced:
            if window:
                await self._record(
                    partial(transfers.add_to_tail, part=await self._sealed(window), plain_bytes=len(window))
                )
            return self.transfer
        await self._load()
        self._withheld += await self._writer.pause()
        window, pieces = self._writer.window, self._withheld
        left = await self._sealed(window) if window else None

        def cut(tx: Transaction, held: Transfer, now_ns: int) -> Transfer:
            longer = transfers.add_blocks(tx, held, now_ns, pieces)
            return longer if left is None else transfers.add_to_tail(tx, longer, now_ns, left, len(window))

        await self._record(cut)
        self._withheld = []
        return self.transfer

    async def save(self) -> None:
        """``pause`` for a request that broke off, also where the server is being stopped."""
        with trio.move_on_after(_SAVE_S) as bounded:
            bounded.shield = True
            if await self._writer.settled():
                try:
                    await self.pause()
                except StoreError:
                    return  # The client is told why it broke off, or is gone.

    async def finish(self, goal: Goal) -> Transfer:
        """Commit the content, when all of it has come."""
        await self._load()
        await self._writer.settled()
        held = self.transfer
        written = await self._writer.small() if held.cut_pieces == 0 and not self._withheld else None
        if written is None:
            last = await self._writer.end()
            pieces = [*await _pieces(self._service, held, self._allow), *self._withheld, *last]
            check_length(len(pieces))
            written = Written(Manifest.of(pieces))
        content = written
        assert content.manifest.size_bytes == self._total_bytes

        def work(editing: Editing) -> Transfer:
            transfers.check_turn(editing.tx, held, editing.caller.user, editing.now_ns)
            uploaded = put_in_place(editing, goal, content, None)
            size_bytes = content.manifest.size_bytes
            return transfers.finish(editing.tx, held, size_bytes, uploaded.item.etag, editing.now_ns)

        return await edit(self._service, held.workspace, self._allow, work)

    async def _kept(self, pieces: Sequence[Piece]) -> None:
        self._withheld += pieces
        check_length(self.transfer.cut_pieces + len(self._withheld))
        if not self._is_withholding:
            await self._record(partial(transfers.add_blocks, pieces=self._withheld))
            self._withheld = []

    async def _record(self, change: Callable[[Transaction, Transfer, int], Transfer]) -> None:
        """Let ``change`` add something, if this request still has its turn."""
        held, now_ns = self.transfer, self._service.now_ns()

        def work(tx: Transaction) -> Transfer:
            transfers.check_turn(tx, held, self._allow(tx).user, now_ns)
            return change(tx, held, now_ns)

        self.transfer = await self._service.metadata.write(work)
        self._recorded_s = trio.current_time()

    async def _load(self) -> None:
        """Put the tail that earlier requests left before the window."""
        if self._unloaded_bytes == 0:
            return
        plain = await _tail(self._service, self._keys, self.transfer, self._allow)
        self._writer.window[:0] = plain
        self._unloaded_bytes = 0

    async def _sealed(self, plain: Buffer) -> SealedBlock:
        block = self._keys.block_id(plain)
        sealed = await self._service.blocks.work(lambda: bytes(seal(self._keys, block, plain)))
        self._service.blocks.space.check(len(sealed))
        return SealedBlock(block, sealed)


async def _nothing(_: Sequence[Piece]) -> None:
    """For a writer that doesn't advance."""


async def _pieces(service: Service, transfer: Transfer, allow: Allow) -> list[Piece]:
    return await service.metadata.read(lambda tx: (allow(tx), transfers.pieces(tx, transfer))[1])


async def _tail(service: Service, keys: WorkspaceKeys, transfer: Transfer, allow: Allow) -> bytes:
    """The plain bytes that aren't cut."""
    parts = await service.metadata.read(lambda tx: (allow(tx), transfers.tail(tx, transfer))[1])
    return await service.blocks.work(lambda: b"".join(unseal(keys, part.id, part.sealed) for part in parts))
