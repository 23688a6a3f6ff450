from __future__ import annotations

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
import trio.testing

from backend.blockcache import BlockCache
from backend.blocks import AHEAD_BYTES, FETCHES, KEEPING_BYTES, MEMORY_BYTES, Blocks, ReadAhead
from backend.disk import RealDisk
from backend.errors import Corrupt, Offline
from backend.threads import InlineThreads
from protocol.keys import derive
from protocol.limits import KIB, MIB, READ_MANY_BLOCKS
from protocol.manifest import HOLE, Manifest, Piece
from tests.backend.memory_remote import MemoryKeys, MemoryRemote, known

KEYS = derive(bytes(range(32)))
NOISE = random.Random(4).randbytes(4 * MIB)


@pytest.fixture
def remote() -> MemoryRemote:
    return MemoryRemote()


@pytest.fixture
def cache(tmp_path: Path) -> BlockCache:
    return BlockCache(RealDisk(), tmp_path, 1 << 30)


@asynccontextmanager
async def running(remote: MemoryRemote, cache: BlockCache, keys: MemoryKeys | None = None) -> AsyncIterator[Blocks]:
    blocks = Blocks(remote, cache, known(KEYS, keys), InlineThreads())
    async with trio.open_nursery() as nursery:
        nursery.start_soon(blocks.run)
        yield blocks
        nursery.cancel_scope.cancel()


async def test_a_range_over_blocks_and_holes_is_put_together(remote: MemoryRemote, cache: BlockCache) -> None:
    pieces = [remote.add(KEYS, NOISE[:5]), Piece(HOLE, 3), remote.add(KEYS, NOISE[5:9])]
    manifest = Manifest.of(pieces)
    async with running(remote, cache) as blocks:
        assert await blocks.read(manifest, 2, 100, ReadAhead()) == NOISE[2:5] + bytes(3) + NOISE[5:9]
        assert await blocks.read(manifest, 6, 1, ReadAhead()) == b"\0"
        assert await blocks.read(manifest, 12, 5, ReadAhead()) == b""


async def test_a_random_small_read_fetches_its_block_alone(remote: MemoryRemote, cache: BlockCache) -> None:
    manifest = remote.add_file(KEYS, *(NOISE[i * MIB : (i + 1) * MIB] for i in range(4)))
    async with running(remote, cache) as blocks:
        await blocks.read(manifest, 2 * MIB + 4096, 4096, ReadAhead())
    assert remote.gets == [[manifest.pieces[2].block]]


async def test_many_readers_of_a_block_share_one_fetch(remote: MemoryRemote, cache: BlockCache) -> None:
    manifest = remote.add_file(KEYS, NOISE[:MIB])
    got: list[bytes] = []

    async def reader(blocks: Blocks, offset: int) -> None:
        got.append(await blocks.read(manifest, offset, 10, ReadAhead()))

    async with running(remote, cache) as blocks, trio.open_nursery() as nursery:
        for offset in range(20):
            nursery.start_soon(reader, blocks, offset)
    assert len(remote.gets) == 1
    assert sorted(got) == sorted(NOISE[offset : offset + 10] for offset in range(20))


async def test_a_cancelled_reader_takes_no_other_readers_block_with_it(remote: MemoryRemote, cache: BlockCache) -> None:
    manifest = remote.add_file(KEYS, NOISE[:MIB])
    remote.gate = trio.Event()
    got: list[bytes] = []

    async def reader(blocks: Blocks) -> None:
        got.append(await blocks.read(manifest, 0, 10, ReadAhead()))

    async with running(remote, cache) as blocks, trio.open_nursery() as patient, trio.open_nursery() as hasty:
        hasty.start_soon(reader, blocks)
        await trio.testing.wait_all_tasks_blocked()
        patient.start_soon(reader, blocks)
        await trio.testing.wait_all_tasks_blocked()
        hasty.cancel_scope.cancel()
        remote.gate.set()
    assert got == [NOISE[:10]]
    assert len(remote.gets) == 1


async def test_small_blocks_wanted_together_share_requests(remote: MemoryRemote, cache: BlockCache) -> None:
    manifest = remote.add_file(KEYS, *(NOISE[i * KIB : (i + 1) * KIB] for i in range(100)))
    async with running(remote, cache) as blocks:
        assert await blocks.read(manifest, 0, 100 * KIB, ReadAhead()) == NOISE[: 100 * KIB]
    assert len(remote.gets) == -(-100 // READ_MANY_BLOCKS)


async def test_a_hint_fetches_ahead_of_the_read(remote: MemoryRemote, cache: BlockCache) -> None:
    files = [remote.add_file(KEYS, NOISE[i * KIB : (i + 1) * KIB]) for i in range(8)]
    async with running(remote, cache) as blocks:
        blocks.prefetch(file.pieces[0].block for file in files)
        await trio.testing.wait_all_tasks_blocked()
        assert len(remote.gets) == 1
        for number, file in enumerate(files):
            assert await blocks.read(file, 0, KIB, ReadAhead()) == NOISE[number * KIB : (number + 1) * KIB]
    assert len(remote.gets) == 1


async def test_a_lost_block_that_was_only_hinted_at_spoils_no_other(remote: MemoryRemote, cache: BlockCache) -> None:
    files = [remote.add_file(KEYS, NOISE[i * KIB : (i + 1) * KIB]) for i in range(3)]
    del remote.sealed[files[1].pieces[0].block]
    async with running(remote, cache) as blocks:
        blocks.prefetch(file.pieces[0].block for file in files)
        for number in (0, 2):
            assert await blocks.read(files[number], 0, KIB, ReadAhead()) == NOISE[number * KIB : (number + 1) * KIB]
        with pytest.raises(Corrupt):
            await blocks.read(files[1], 0, KIB, ReadAhead())


async def test_sequential_reading_keeps_several_fetches_under_way(remote: MemoryRemote, cache: BlockCache) -> None:
    manifest = Manifest.of(remote.add(KEYS, random.Random(i).randbytes(MIB)) for i in range(24))
    ahead = ReadAhead()
    async with running(remote, cache) as blocks:
        for offset in range(0, 8 * MIB, 128 * KIB):
            await blocks.read(manifest, offset, 128 * KIB, ahead)
        remote.gate = trio.Event()
        before = len(remote.gets)
        async with trio.open_nursery() as nursery:
            for offset in range(8 * MIB, 16 * MIB, 128 * KIB):
                nursery.start_soon(blocks.read, manifest, offset, 128 * KIB, ahead)
            await trio.testing.wait_all_tasks_blocked()
            assert len(remote.gets) - before <= FETCHES
            remote.gate.set()
    asked = {block for blocks_asked in remote.gets for block in blocks_asked}
    assert len(asked) == len(remote.gets)


@pytest.mark.parametrize(("read_bytes", "most_ahead"), [(4 * KIB, 0), (8 * MIB, AHEAD_BYTES)])
def test_read_ahead_grows_with_what_was_read_in_sequence(read_bytes: int, most_ahead: int) -> None:
    ahead, window = ReadAhead(), 0
    for offset in range(0, read_bytes, 4 * KIB):
        grown = ahead.note(offset, 4 * KIB)
        assert grown >= window
        window = grown
    assert window == most_ahead


def test_read_ahead_stops_at_a_jump() -> None:
    ahead = ReadAhead()
    for offset in range(0, 8 * MIB, 128 * KIB):
        ahead.note(offset, 128 * KIB)
    assert ahead.note(1 << 40, 4 * KIB) == 0


async def test_what_was_fetched_comes_from_the_disk_cache_the_next_time(
    remote: MemoryRemote, cache: BlockCache
) -> None:
    manifest = remote.add_file(KEYS, NOISE[:MIB])
    async with running(remote, cache) as blocks:
        await blocks.read(manifest, 0, 1, ReadAhead())
        await trio.testing.wait_all_tasks_blocked()
    remote.sealed.clear()
    async with running(remote, cache) as blocks:
        assert await blocks.read(manifest, 0, MIB, ReadAhead()) == NOISE[:MIB]


async def test_a_damaged_block_of_the_disk_cache_is_fetched_anew(remote: MemoryRemote, cache: BlockCache) -> None:
    manifest = remote.add_file(KEYS, NOISE[:MIB])
    block = manifest.pieces[0].block
    cache.put(block, bytes(200))
    async with running(remote, cache) as blocks:
        assert await blocks.read(manifest, 0, MIB, ReadAhead()) == NOISE[:MIB]
        await trio.testing.wait_all_tasks_blocked()
    assert cache.get(block) == remote.sealed[block]


async def test_a_block_of_the_server_that_does_not_match_its_id_is_corrupt(
    remote: MemoryRemote, cache: BlockCache
) -> None:
    manifest = remote.add_file(KEYS, NOISE[:MIB])
    block = manifest.pieces[0].block
    sound = remote.sealed[block]
    remote.sealed[block] = sound[:-1] + bytes([sound[-1] ^ 1])
    async with running(remote, cache) as blocks:
        with pytest.raises(Corrupt):
            await blocks.read(manifest, 0, 1, ReadAhead())
        assert cache.get(block) is None
        await trio.testing.wait_all_tasks_blocked()
        assert remote.reported == [block]
        remote.sealed[block] = sound
        assert await blocks.read(manifest, 0, 1, ReadAhead()) == NOISE[:1]


async def test_a_manifest_that_states_a_wrong_length_is_corrupt(remote: MemoryRemote, cache: BlockCache) -> None:
    piece = remote.add(KEYS, NOISE[:KIB])
    async with running(remote, cache) as blocks:
        with pytest.raises(Corrupt):
            await blocks.read(Manifest.of([Piece(piece.block, KIB + 1)]), 0, 1, ReadAhead())


async def test_a_failure_reaches_the_reader_and_the_next_read_tries_again(
    remote: MemoryRemote, cache: BlockCache
) -> None:
    manifest = remote.add_file(KEYS, NOISE[:MIB])
    remote.failure = Offline("gone")
    async with running(remote, cache) as blocks:
        with pytest.raises(Offline):
            await blocks.read(manifest, 0, 1, ReadAhead())
        remote.failure = None
        assert await blocks.read(manifest, 0, 1, ReadAhead()) == NOISE[:1]


async def test_who_came_to_a_fetch_that_fails_tries_again_itself(remote: MemoryRemote, cache: BlockCache) -> None:
    manifest = remote.add_file(KEYS, NOISE[:MIB])
    remote.gate, remote.failure = trio.Event(), Offline("the connection had died")
    async with running(remote, cache) as blocks, trio.open_nursery() as nursery:

        async def first() -> None:
            with pytest.raises(Offline):
                await blocks.read(manifest, 0, 1, ReadAhead())
            remote.failure = None

        async def lose_the_first_when_both_wait() -> None:
            await trio.testing.wait_all_tasks_blocked()
            assert remote.gate is not None
            remote.gate.set()

        nursery.start_soon(first)
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(lose_the_first_when_both_wait)
        assert await blocks.read(manifest, 0, 1, ReadAhead()) == NOISE[:1]


async def test_opened_blocks_in_memory_are_bounded(remote: MemoryRemote, cache: BlockCache) -> None:
    count = MEMORY_BYTES // (4 * MIB) + 3
    manifest = Manifest.of(remote.add(KEYS, bytes([number]) * (4 * MIB)) for number in range(count))
    async with running(remote, cache) as blocks:
        for number in range(count):
            await blocks.read(manifest, number * 4 * MIB, 1, ReadAhead())
        await trio.testing.wait_all_tasks_blocked()
        assert blocks.memory_bytes <= MEMORY_BYTES


async def test_tiny_blocks_in_memory_count_more_than_their_bytes(remote: MemoryRemote, cache: BlockCache) -> None:
    async with running(remote, cache) as blocks:
        for number in range(10):
            await blocks.read(remote.add_file(KEYS, bytes([number])), 0, 1, ReadAhead())
        assert blocks.memory_bytes == 10 * (1 + KEEPING_BYTES)


async def test_a_block_that_somebody_waits_for_overtakes_those_fetched_ahead(
    remote: MemoryRemote, cache: BlockCache
) -> None:
    large = Manifest.of(remote.add(KEYS, random.Random(i).randbytes(MIB)) for i in range(FETCHES))
    small = [remote.add_file(KEYS, NOISE[i * KIB : (i + 1) * KIB]) for i in range(2 * READ_MANY_BLOCKS)]
    remote.gate = trio.Event()
    async with running(remote, cache) as blocks, trio.open_nursery() as nursery:
        nursery.start_soon(blocks.read, large, 0, large.size_bytes, ReadAhead())
        await trio.testing.wait_all_tasks_blocked()
        blocks.prefetch(file.pieces[0].block for file in small)
        nursery.start_soon(blocks.read, small[-1], 0, 1, ReadAhead())
        await trio.testing.wait_all_tasks_blocked()
        remote.gate.set()
    assert remote.gets[FETCHES][0] == small[-1].pieces[0].block


# ── blocks under other keys ──


async def test_a_block_under_an_added_key_is_read_when_the_server_was_asked_for_it(
    remote: MemoryRemote, cache: BlockCache
) -> None:
    keys = MemoryKeys()
    later = keys.add(2, bytes(32))
    manifest = remote.add_file(later, *(NOISE[i * KIB : (i + 1) * KIB] for i in range(10)))
    async with running(remote, cache, keys) as blocks:
        assert await blocks.read(manifest, 0, 10 * KIB, ReadAhead()) == NOISE[: 10 * KIB]
        await trio.testing.wait_all_tasks_blocked()
    assert keys.questions == 1
    assert cache.get(manifest.pieces[0].block) is not None


async def test_a_block_under_a_key_that_the_server_does_not_know_is_damaged(
    remote: MemoryRemote, cache: BlockCache
) -> None:
    keys = MemoryKeys()
    manifest = remote.add_file(derive(bytes(range(32)), {2: bytes(32)}), b"content")
    async with running(remote, cache, keys) as blocks:
        with pytest.raises(Corrupt):
            await blocks.read(manifest, 0, 10, ReadAhead())
    assert keys.questions == 1


async def test_without_the_server_an_unknown_key_is_as_a_block_that_is_not_here(
    remote: MemoryRemote, cache: BlockCache
) -> None:
    keys = MemoryKeys()
    later = keys.add(2, bytes(32))
    manifest = remote.add_file(KEYS, b"first", b"second")
    newer = remote.add_file(later, b"newer")
    for block, sealed in remote.sealed.items():
        cache.put(block, sealed)
    remote.failure = keys.failure = Offline("the server can't be reached")
    async with running(remote, cache, keys) as blocks:
        blocks.prefetch([*manifest.blocks(), *newer.blocks()])
        assert await blocks.read(manifest, 0, 11, ReadAhead()) == b"firstsecond"
        with pytest.raises(Offline):
            await blocks.read(newer, 0, 5, ReadAhead())
        keys.failure = None
        assert await blocks.read(newer, 0, 5, ReadAhead()) == b"newer"
    assert remote.gets == []


async def test_what_an_older_key_sealed_is_read_from_the_cache(remote: MemoryRemote, cache: BlockCache) -> None:
    manifest = remote.add_file(KEYS, b"content")
    async with running(remote, cache) as blocks:
        await blocks.read(manifest, 0, 7, ReadAhead())
        await trio.testing.wait_all_tasks_blocked()
    keys = MemoryKeys()
    later = Blocks(remote, cache, known(keys.add(2, bytes(32)), keys), InlineThreads())
    async with trio.open_nursery() as nursery:
        nursery.start_soon(later.run)
        assert await later.read(manifest, 0, 7, ReadAhead()) == b"content"
        nursery.cancel_scope.cancel()
    assert len(remote.gets) == 1
    assert keys.questions == 0


async def test_a_cached_block_under_a_key_that_nobody_knows_is_fetched_anew(
    remote: MemoryRemote, cache: BlockCache
) -> None:
    strange = derive(bytes(range(32)), {9: bytes(32)})
    manifest = remote.add_file(strange, b"content")
    [block] = manifest.blocks()
    cache.put(block, remote.sealed[block])
    remote.add(KEYS, b"content")
    async with running(remote, cache) as blocks:
        assert await blocks.read(manifest, 0, 7, ReadAhead()) == b"content"
        await trio.testing.wait_all_tasks_blocked()
    assert cache.get(block) == remote.sealed[block]
