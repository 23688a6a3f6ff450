from __future__ import annotations

import pytest

from server.metadata import blocks
from server.metadata.blocks import OverQuota, StoredBlock
from tests.server.metadata.world import SPACE, World, block_id

IDS = [block_id(b"%d" % number) for number in range(300)]


def put(world: World, index: int) -> bool:
    return blocks.record(world.tx, SPACE, IDS[index], StoredBlock(None, f"object {index}", 20, index + 1, 1))


@pytest.mark.parametrize("count", [0, 1, 2, 3, 127, 128, 129, 300])
def test_missing_keeps_order_and_names_each_once(world: World, count: int) -> None:
    for index in range(0, 300, 3):
        put(world, index)
    asked = IDS[:count]
    lacking = [block for index, block in enumerate(asked) if index % 3]
    assert blocks.missing(world.tx, SPACE, asked + asked) == lacking


def test_the_plain_lengths_of_those_that_are_there_are_known(world: World) -> None:
    put(world, 1)
    put(world, 200)
    assert blocks.plain_lengths(world.tx, SPACE, IDS) == {IDS[1]: 2, IDS[200]: 201}


def test_the_first_record_of_a_block_stays(world: World) -> None:
    assert put(world, 0)
    assert not blocks.record(world.tx, SPACE, IDS[0], StoredBlock(b"inline", None, 6, 1, 1))
    assert blocks.stored(world.tx, SPACE, [IDS[1], IDS[0]]) == [None, StoredBlock(None, "object 0", 20, 1, 1)]


def test_a_forgotten_block_can_be_put_again(world: World) -> None:
    blocks.record(world.tx, SPACE, IDS[0], StoredBlock(b"inline", None, 6, 1, 1))
    assert blocks.forget(world.tx, SPACE, IDS[0]) == StoredBlock(b"inline", None, 6, 1, 1)
    assert blocks.forget(world.tx, SPACE, IDS[0]) is None
    assert put(world, 0)
    assert blocks.stored(world.tx, SPACE, [IDS[0]]) == [StoredBlock(None, "object 0", 20, 1, 1)]


def test_a_quota_bounds_the_sealed_bytes() -> None:
    world = World(quota_bytes=45)
    assert put(world, 0)
    assert put(world, 1)
    with pytest.raises(OverQuota):
        put(world, 2)
    blocks.check_quota(world.tx, SPACE, 5)
    with pytest.raises(OverQuota):
        blocks.check_quota(world.tx, SPACE, 6)
    blocks.forget(world.tx, SPACE, IDS[0])
    assert put(world, 2)
    world.check()
    world.connection.close()
