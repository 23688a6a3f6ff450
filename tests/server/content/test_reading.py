from __future__ import annotations

from collections.abc import Callable

import pytest
import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.ids import BlockId
from protocol.limits import BLOCK_MAX_BYTES, KIB, MIB
from protocol.manifest import HOLE, Manifest, Piece
from server.blockcare import BlockCare, Damaged
from server.content.reading import AHEAD_BLOCKS, AHEAD_BYTES, PART_BYTES, Part, read
from server.threads import T
from tests.server.plainly import Watched, content
from tests.server.world import Client, World, a_world


async def stored(world: World, client: Client, plain: bytes) -> Piece:
    """A piece whose block is there."""
    block = client.keys.block_id(plain)
    await world.service.blocks.keep(client.workspace, client.keys, {block: plain}, allowed)
    return Piece(block, len(plain))


def allowed(tx: object) -> None:
    """Whoever asks."""


async def parts_of(world: World, client: Client, manifest: Manifest, start: int, stop: int) -> list[bytes]:
    """What a reader is given."""
    parts: list[bytes] = []

    async def take(part: Part) -> None:
        parts.append(bytes(part))

    await read(world.service.blocks, client.workspace, manifest, start, stop, allowed, take)
    return parts


pieces = st.lists(st.tuples(st.booleans(), st.integers(1, 700)), max_size=12)


@settings(max_examples=60, deadline=None)
@given(pieces, st.integers(0, 5000), st.integers(0, 5000))
def test_any_range_of_any_content(made: list[tuple[bool, int]], one: int, other: int) -> None:
    async def run() -> None:
        async with a_world() as world:
            ada = await world.user("ada")
            plain, listed = b"", []
            for seed, (is_hole, length) in enumerate(made):
                part = bytes(length) if is_hole else content(length, seed)
                listed.append(Piece(HOLE, length) if is_hole else await stored(world, ada, part))
                plain += part
            start, stop = sorted((min(one, len(plain)), min(other, len(plain))))
            parts = await parts_of(world, ada, Manifest.of(listed), start, stop)
            assert b"".join(parts) == plain[start:stop]

    trio.run(run)


async def test_no_part_is_long(world: World, ada: Client) -> None:
    piece = await stored(world, ada, content(3 * MIB))
    parts = await parts_of(world, ada, Manifest.of([piece, Piece(HOLE, 3 * MIB)]), 0, 6 * MIB)
    assert max(map(len, parts)) == PART_BYTES


@pytest.mark.parametrize(("size_bytes", "most"), [(2 * MIB, AHEAD_BYTES // (2 * MIB)), (100 * KIB, AHEAD_BLOCKS)])
async def test_few_blocks_are_read_before_they_are_taken(world: World, ada: Client, size_bytes: int, most: int) -> None:
    listed = [await stored(world, ada, content(size_bytes, seed)) for seed in range(10)]
    world.store.objects = watched = Watched(world.store.objects)
    slow = trio.Event()

    async def take(part: Part) -> None:
        await slow.wait()

    manifest = Manifest.of(listed)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(read, world.service.blocks, ada.workspace, manifest, 0, manifest.size_bytes, allowed, take)
        await trio.testing.wait_all_tasks_blocked()
        assert len(watched.read) == most
        slow.set()
    assert len(watched.read) == len(listed)


async def test_blocks_are_opened_side_by_side(world: World, ada: Client) -> None:
    """A store that answers late is asked for several."""
    listed = [await stored(world, ada, content(100 * KIB, seed)) for seed in range(AHEAD_BLOCKS)]
    under_way, answer = 0, trio.Event()

    async def late(work: Callable[[], T], *, limiter: trio.CapacityLimiter) -> T:
        nonlocal under_way
        under_way += 1
        await answer.wait()
        return work()

    async def take(part: Part) -> None:
        pass

    care = BlockCare(world.store, world.metadata, world.service.keyring, trio.CapacityLimiter(1), run_sync=late)
    manifest = Manifest.of(listed)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(read, care, ada.workspace, manifest, 0, manifest.size_bytes, allowed, take)
        await trio.testing.wait_all_tasks_blocked()
        assert under_way == AHEAD_BLOCKS
        answer.set()


async def test_the_longest_block_is_read_alone(world: World, ada: Client) -> None:
    listed = [await stored(world, ada, content(BLOCK_MAX_BYTES, seed)) for seed in range(3)]
    assert sum(map(len, await parts_of(world, ada, Manifest.of(listed), 0, 3 * BLOCK_MAX_BYTES))) == 12 * MIB


async def test_what_the_taker_raises_is_raised(world: World, ada: Client) -> None:
    listed = [await stored(world, ada, content(MIB, seed)) for seed in range(3)]

    async def take(part: Part) -> None:
        raise ConnectionError("gone")

    with pytest.raises(ConnectionError):
        await read(world.service.blocks, ada.workspace, Manifest.of(listed), 0, MIB, allowed, take)


async def test_a_block_that_never_was_is_damage(world: World, ada: Client) -> None:
    with pytest.raises(Damaged):
        await parts_of(world, ada, Manifest.of([Piece(BlockId(bytes([1]) * 32), 10)]), 0, 10)


async def test_a_block_of_another_length_is_damage(world: World, ada: Client) -> None:
    piece = await stored(world, ada, b"ten bytes!")
    with pytest.raises(Damaged):
        await parts_of(world, ada, Manifest.of([Piece(piece.block, 9)]), 0, 9)
