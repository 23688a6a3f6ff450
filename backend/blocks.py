"""Plain bytes by block: memory, then the disk cache, then one shared fetch.

Owns the opened blocks in memory and the fetches under way. However many readers want a block, it is fetched and opened
once; a fetch belongs to the nursery of ``run``, so a reader that is killed takes nobody else's block with it.

Small blocks that are wanted at the same time travel in one request. Memory is bounded by ``MEMORY_BYTES`` plus what is
under way: ``FETCHES`` blocks at most.
"""

from __future__ import annotations

import logging
from collections import OrderedDict, deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final, Protocol

import trio

from backend.blockcache import BlockCache
from backend.errors import Corrupt, DriveError, NotFound, Offline
from backend.keys import Keys
from backend.threads import Threads
from protocol.ids import BlockId
from protocol.limits import KIB, MIB, READ_MANY_BLOCKS
from protocol.manifest import Manifest, Span
from protocol.sealing import CorruptBlock, UnknownKey, key_id_of, unseal

MEMORY_BYTES: Final = 48 * MIB
KEEPING_BYTES: Final = 512
"""What keeping a block in memory takes besides its bytes: tiny ones are bounded in number too."""

FETCHES: Final = 6
AHEAD_BYTES: Final = 12 * MIB
"""How far a sequential reader is fetched ahead: at 50 ms and 6 blocks in flight this keeps 100 MB/s going."""

SMALL_BYTES: Final = 64 * KIB
"""Blocks up to this plain length are asked for several at a time."""

log = logging.getLogger(__name__)

Plain = bytes | bytearray


class BlockRemote(Protocol):
    """The server's blocks."""

    async def missing(self, ids: Sequence[BlockId]) -> list[BlockId]:
        """Those that the server lacks."""
        ...

    async def put(self, block: BlockId, sealed: bytes | bytearray) -> None:
        """Store."""
        ...

    async def get(self, block: BlockId) -> bytes:
        """One sealed block; raises NotFound."""
        ...

    async def get_many(self, ids: Sequence[BlockId]) -> list[tuple[BlockId, bytes]]:
        """The first ones of those asked for, at least one."""
        ...

    async def report(self, ids: Sequence[BlockId]) -> None:
        """These did not open: whoever has their bytes is to send them again."""
        ...


@dataclass(slots=True)
class ReadAhead:
    """How an open file is being read."""

    next_offset: int = 0
    run_bytes: int = 0
    """Bytes read in sequence so far."""

    def note(self, offset: int, length: int) -> int:
        """A read happened; returns how many bytes to fetch ahead of its end."""
        if abs(offset - self.next_offset) <= MIB:  # The kernel's own read-ahead arrives slightly out of order.
            self.run_bytes += length
        else:
            self.run_bytes = 0
        self.next_offset = offset + length
        return 0 if self.run_bytes < 2 * 128 * KIB else min(AHEAD_BYTES, 2 * self.run_bytes)


class _Fetch:
    """A block on its way."""

    __slots__ = ("begun", "done", "error", "plain", "small")

    def __init__(self, small: bool) -> None:
        self.done = trio.Event()
        self.error: DriveError | None = None
        self.plain: Plain = b""
        self.small = small
        self.begun = False


class Blocks:
    """The blocks of one workspace, for reading."""

    def __init__(self, remote: BlockRemote, cache: BlockCache, keys: Keys, threads: Threads) -> None:
        self.hits = 0
        self.misses = 0
        self.memory_bytes = 0
        """Of the opened blocks that are kept."""
        self._remote = remote
        self._cache = cache
        self._keys = keys
        self._threads = threads
        self._memory: OrderedDict[BlockId, Plain] = OrderedDict()
        self._under_way: dict[BlockId, _Fetch] = {}
        self._queue: deque[BlockId] = deque()
        self._work = trio.Event()
        self._free = trio.CapacityLimiter(FETCHES)

    @property
    def cached_bytes(self) -> int:
        """On the local disk."""
        return self._cache.used_bytes

    @property
    def cache_trouble(self) -> str:
        """Why blocks aren't kept on the local disk; empty where they are."""
        return self._cache.trouble

    @property
    def key_trouble(self) -> str:
        """What to do where new blocks are under a key that isn't known here; else empty."""
        return str(self._keys.not_unlocked()) if self._keys.is_behind else ""

    async def look_for_keys(self) -> None:
        """Learn what was unlocked on this machine meanwhile."""
        if self._keys.is_behind:
            await self._keys.learn()

    async def run(self) -> None:
        """Fetch what is queued until cancelled."""
        async with trio.open_nursery() as nursery:
            while True:
                await self._work.wait()
                await self._free.acquire_on_behalf_of(batch := _Turn())
                group = self._next_group()
                if group:
                    nursery.start_soon(self._fetch_group, group, batch)
                else:
                    self._free.release_on_behalf_of(batch)
                    self._work = trio.Event()

    async def read(self, manifest: Manifest, offset: int, length: int, ahead: ReadAhead) -> bytes:
        """Up to ``length`` bytes of a version; fewer at its end. Raises DriveError."""
        spans = list(manifest.spans(offset, length))
        end = offset + length
        more = ahead.note(offset, length)
        if more:
            self._want(span for span in manifest.spans(end, more))
        self._want(spans, first=True)
        out = [await self._slice(span) for span in spans]
        return out[0] if len(out) == 1 else b"".join(out)

    async def plain(self, block: BlockId, length: int) -> Plain:
        """All of one block of this plain length."""
        if (plain := self._memory.get(block)) is not None:
            self._memory.move_to_end(block)
            self.hits += 1
            return plain
        fetch = self._under_way.get(block)
        joined = fetch is not None and fetch.begun
        if fetch is None:
            fetch = self._enqueue(block, length <= SMALL_BYTES, first=True)
        elif not joined:  # It was wanted ahead, and now somebody waits.
            self._queue.remove(block)
            self._queue.appendleft(block)
        await fetch.done.wait()
        if joined and isinstance(fetch.error, Offline):
            # It began before this reader came, perhaps over a connection that had died: this one tries, too.
            fetch = self._under_way.get(block) or self._enqueue(block, length <= SMALL_BYTES, first=True)
            await fetch.done.wait()
        if fetch.error is not None:
            raise fetch.error
        return fetch.plain

    def prefetch(self, blocks: Iterable[BlockId]) -> None:
        """Small blocks that will probably be wanted soon."""
        for block in blocks:
            if block not in self._memory and block not in self._under_way:
                self._enqueue(block, True, first=False)

    async def _slice(self, span: Span) -> bytes:
        if span.piece.is_hole:
            return bytes(span.stop - span.start)
        plain = await self.plain(span.piece.block, span.piece.length)
        if len(plain) != span.piece.length:
            raise Corrupt("a block has another length than its file's manifest says")
        return bytes(memoryview(plain)[span.start : span.stop])

    def _want(self, spans: Iterable[Span], *, first: bool = False) -> None:
        for span in spans:
            block = span.piece.block
            if not span.piece.is_hole and block not in self._memory and block not in self._under_way:
                self._enqueue(block, span.piece.length <= SMALL_BYTES, first=first)

    def _enqueue(self, block: BlockId, small: bool, *, first: bool) -> _Fetch:
        fetch = self._under_way[block] = _Fetch(small)
        if first:
            self._queue.appendleft(block)
        else:
            self._queue.append(block)
        self._work.set()
        return fetch

    def _next_group(self) -> list[BlockId]:
        """One large block, or the small ones that are queued in sequence."""
        group: list[BlockId] = []
        while self._queue and len(group) < READ_MANY_BLOCKS:
            fetch = self._under_way[self._queue[0]]
            if group and not fetch.small:
                break
            fetch.begun = True
            group.append(self._queue.popleft())
            if not fetch.small:
                break
        return group

    async def _fetch_group(self, group: list[BlockId], turn: _Turn) -> None:
        try:
            left = await self._from_cache(group)
            while left:
                try:
                    left = await self._from_server(left)
                except NotFound:
                    await self._one_by_one(left)
                    left = []
        except DriveError as error:
            self._fail(group, error)
        finally:
            self._free.release_on_behalf_of(turn)

    async def _one_by_one(self, group: list[BlockId]) -> None:
        """The server lacks one of these: whoever wants the others gets them."""
        for block in group:
            try:
                await self._from_server([block])
            except NotFound as error:
                self._fail([block], error)

    async def _from_cache(self, group: list[BlockId]) -> list[BlockId]:
        def opened() -> tuple[list[tuple[BlockId, bytes]], list[Plain | CorruptBlock]]:
            found = [(block, sealed) for block in group if (sealed := self._cache.get(block)) is not None]
            return found, self._unsealed(found)

        found, plain = await self._threads.run(opened)
        damaged = await self._serve(found, plain)
        for block, error in damaged.items():
            log.warning("block %s in the cache can't be opened (%s): fetched anew", block.hex(), error)
            await self._threads.run(partial(self._cache.drop, block))
        self.hits += len(found) - len(damaged)
        have = {block for block, _ in found} - damaged.keys()
        return [block for block in group if block not in have]

    async def _from_server(self, left: list[BlockId]) -> list[BlockId]:
        """Fetch the first of these, at least one; returns the others."""
        got = [(left[0], await self._remote.get(left[0]))] if len(left) == 1 else await self._remote.get_many(left)
        self.misses += len(got)
        damaged = await self._serve(got, await self._threads.run(partial(self._unsealed, got)))
        for block, error in damaged.items():
            log.error("block %s from the server is damaged: %s", block.hex(), error)
            self._fail([block], Corrupt(f"block {block.hex()}: {error}"))
        sound = [(block, sealed) for block, sealed in got if block not in damaged]
        await self._threads.run(partial(self._keep, sound))
        if damaged:
            await self._report(list(damaged))
        return left[len(got) :]

    async def _report(self, damaged: list[BlockId]) -> None:
        try:
            await self._remote.report(damaged)
        except DriveError as error:  # Who may only read, for one.
            log.warning("the server was not told of damaged blocks: %s", error)

    async def _serve(
        self, sealed: list[tuple[BlockId, bytes]], opened: list[Plain | CorruptBlock]
    ) -> dict[BlockId, CorruptBlock]:
        """Give opened blocks to who waits for them; returns those that are damaged.

        Of those under keys that aren't known here the server is asked, once; raises DriveError. Of an end-to-end
        workspace who waits for what is under such a key is told so.
        """
        damaged: dict[BlockId, CorruptBlock] = {}
        unknown: list[tuple[BlockId, bytes]] = []
        for (block, box), plain in zip(sealed, opened, strict=True):
            if isinstance(plain, UnknownKey):
                unknown.append((block, box))
            elif isinstance(plain, CorruptBlock):
                damaged[block] = plain
            else:
                self._finish(block, plain)
        if unknown:
            await self._keys.learn()
            for (block, box), plain in zip(
                unknown, await self._threads.run(partial(self._unsealed, unknown)), strict=True
            ):
                if isinstance(plain, UnknownKey) and await self._keys.is_locked(key_id_of(box)):
                    self._fail([block], self._keys.not_unlocked())
                elif isinstance(plain, CorruptBlock):
                    damaged[block] = plain
                else:
                    self._finish(block, plain)
        return damaged

    def _unsealed(self, sealed: list[tuple[BlockId, bytes]]) -> list[Plain | CorruptBlock]:
        """In a worker."""
        out: list[Plain | CorruptBlock] = []
        for block, box in sealed:
            try:
                out.append(unseal(self._keys.now, block, box))
            except CorruptBlock as error:
                out.append(error)
        return out

    def _keep(self, sound: list[tuple[BlockId, bytes]]) -> None:
        """In a worker: into the disk cache, after the readers have been served."""
        for block, sealed in sound:
            self._cache.put(block, sealed)

    def _finish(self, block: BlockId, plain: Plain) -> None:
        fetch = self._under_way.pop(block)
        fetch.plain = plain
        fetch.done.set()
        self._memory[block] = plain
        self.memory_bytes += len(plain) + KEEPING_BYTES
        while self.memory_bytes > MEMORY_BYTES:
            _, dropped = self._memory.popitem(last=False)
            self.memory_bytes -= len(dropped) + KEEPING_BYTES

    def _fail(self, blocks: list[BlockId], error: DriveError) -> None:
        if isinstance(error, NotFound):
            error = Corrupt("the server has lost a block of this file")
        for block in blocks:
            if (fetch := self._under_way.pop(block, None)) is not None:
                fetch.error = error
                fetch.done.set()


class _Turn:
    """A place among the fetches that are under way."""
