from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.chunking import cut
from protocol.limits import BLOCK_MAX_BYTES, INLINE_SEALED_BYTES, MIB
from protocol.manifest import Manifest, Piece
from server.content.writing import STORING, WINDOW_BYTES, Written, write
from tests.server.content.test_reading import allowed, parts_of
from tests.server.plainly import content, in_parts
from tests.server.world import Client, World, a_world

NOISE = content(30 * MIB)
RUNS = bytes(14 * MIB)
"""Cut at the longest block."""

LENGTHS = st.integers(0, 9 * MIB) | st.integers(5 * MIB, 9 * MIB)


async def written(world: World, client: Client, plain: bytes, part_bytes: int = 1 << 18) -> Written:
    return await write(world.service.blocks, client.workspace, in_parts(plain, part_bytes), allowed)


def cut_at_once(client: Client, plain: bytes) -> Manifest:
    """The pieces of a content, as a mount makes them."""
    pieces, at = [], 0
    for length in cut(plain, client.keys.chunk_seed):
        pieces.append(Piece(client.keys.block_id(plain[at : at + length]), length))
        at += length
    return Manifest.of(pieces)


@settings(max_examples=20, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from([NOISE, RUNS]), st.integers(0, 10 * MIB), LENGTHS), min_size=1, max_size=3),
    st.integers(1 << 14, 3 * MIB),
)
def test_any_stream_is_cut_as_at_once_and_read_as_it_came(runs: list[tuple[bytes, int, int]], part_bytes: int) -> None:
    plain = b"".join(source[start : start + length] for source, start, length in runs)

    async def run() -> None:
        async with a_world() as world:
            ada = await world.user("ada")
            found = await written(world, ada, plain, part_bytes)
            assert found.manifest == cut_at_once(ada, plain)
            if not found.inline:
                assert b"".join(await parts_of(world, ada, found.manifest, 0, len(plain))) == plain

    trio.run(run)


@pytest.mark.parametrize("more", [-2, -1, 0, 1, 2])
async def test_a_stream_that_ends_where_a_window_does(world: World, ada: Client, more: int) -> None:
    plain = NOISE[: WINDOW_BYTES + more]
    assert (await written(world, ada, plain)).manifest == cut_at_once(ada, plain)


@pytest.mark.parametrize("size_bytes", [BLOCK_MAX_BYTES, 2 * BLOCK_MAX_BYTES, 2 * BLOCK_MAX_BYTES + 1])
async def test_a_stream_of_the_longest_blocks(world: World, ada: Client, size_bytes: int) -> None:
    plain = RUNS[:size_bytes]
    assert (await written(world, ada, plain)).manifest == cut_at_once(ada, plain)


async def test_a_small_content_travels_in_its_commit(world: World, ada: Client) -> None:
    found = await written(world, ada, b"small")
    [inline] = found.inline
    assert found.verified == {inline.id: 5}
    assert world.store.objects == {}


async def test_a_content_that_is_small_when_it_is_sealed_travels_in_its_commit(world: World, ada: Client) -> None:
    found = await written(world, ada, RUNS[:MIB])
    assert sum(len(block.sealed) for block in found.inline) <= INLINE_SEALED_BYTES
    assert (await written(world, ada, RUNS[: MIB + 1])).inline == []


async def test_an_empty_content_has_no_blocks(world: World, ada: Client) -> None:
    assert await written(world, ada, b"") == Written(Manifest())


async def test_what_is_there_is_not_stored_again(world: World, ada: Client) -> None:
    await written(world, ada, NOISE)
    before = dict(world.store.objects)
    await written(world, ada, NOISE)
    assert world.store.objects == before


async def test_blocks_that_repeat_are_stored_once(world: World, ada: Client) -> None:
    await written(world, ada, RUNS)
    assert len(world.store.objects) + await _inline_blocks(world) == len(set(cut_at_once(ada, RUNS).pieces))


async def _inline_blocks(world: World) -> int:
    row = await world.metadata.read(lambda tx: tx.one("SELECT count(*) FROM block_data"))
    assert row is not None
    return int(row[0])


async def test_few_windows_are_in_memory_however_long_the_stream_is(world: World, ada: Client) -> None:
    """What has come and isn't stored yet, at each part."""
    came_bytes = most_bytes = 0

    async def stream() -> AsyncIterator[bytes]:
        nonlocal came_bytes, most_bytes
        for part in [NOISE[at : at + MIB] for at in range(0, len(NOISE), MIB)]:
            came_bytes += len(part)
            yield part
            stored_bytes = sum(map(len, world.store.objects.values()))
            most_bytes = max(most_bytes, came_bytes - stored_bytes)
            await trio.lowlevel.checkpoint()

    await write(world.service.blocks, ada.workspace, stream(), allowed)
    assert WINDOW_BYTES - MIB <= most_bytes <= (1 + STORING) * WINDOW_BYTES


async def test_what_the_stream_raises_is_raised(world: World, ada: Client) -> None:
    async def stream() -> AsyncIterator[bytes]:
        yield NOISE
        raise ConnectionError("gone")

    with pytest.raises(ConnectionError):
        await write(world.service.blocks, ada.workspace, stream(), allowed)


async def test_who_may_not_write_stores_nothing(world: World, ada: Client) -> None:
    asked = 0

    def allow_once(tx: object) -> None:
        nonlocal asked
        asked += 1
        if asked > 1:
            raise PermissionError

    with pytest.raises(PermissionError):
        await write(world.service.blocks, ada.workspace, in_parts(NOISE), allow_once)
    assert world.store.objects == {}
