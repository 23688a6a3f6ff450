"""Sealed blocks that only this device has, through crashes; and where the pipeline's blocks go."""

from __future__ import annotations

import contextlib
import errno
from random import Random

import pytest

from backend.errors import LocalFailure, NotFound
from backend.ownblocks import OwnBlocks, ReachedBlocks
from backend.reach import Reach
from backend.threads import InlineThreads
from protocol.ids import BlockId
from tests.backend.memory_remote import MemoryRemote
from tests.simulation.disk import ROOT, Crashed, SimDisk

FOLDER = ROOT / "own"
ONE, TWO = BlockId(b"1" * 32), BlockId(b"2" * 32)


def test_a_block_is_there_as_it_was_put() -> None:
    own = OwnBlocks(SimDisk(Random(1)), FOLDER)
    own.put(ONE, b"sealed")
    assert ONE in own
    assert own.get(ONE) == b"sealed"
    assert TWO not in own
    with pytest.raises(NotFound):
        own.get(TWO)
    assert own.find(TWO) is None


def test_a_block_that_the_journal_has_is_read_from_memory_and_counted() -> None:
    disk = SimDisk(Random(1))
    own = OwnBlocks(disk, FOLDER)
    own.hold(ONE, b"sealed")
    own.hold(ONE, b"sealed")
    assert (own.get(ONE), own.held_bytes) == (b"sealed", 6)
    assert disk.entries(FOLDER) == []


@pytest.mark.parametrize("how", ["kill", "power_loss"])
def test_a_block_survives_from_when_put_has_returned(how: str) -> None:
    for step in range(1, 12):
        disk = SimDisk(Random(step))
        own = OwnBlocks(disk, FOLDER)
        disk.crash_at(disk.steps + step)
        put: list[BlockId] = []
        with contextlib.suppress(Crashed):
            for block in (ONE, TWO):
                own.put(block, bytes(block) * 100)
                put.append(block)
        after = OwnBlocks(getattr(disk, how)(), FOLDER)
        for block in (ONE, TWO):
            assert (block in after) or block not in put
            assert after.find(block) in (None, bytes(block) * 100)


def test_what_a_crash_left_half_written_is_removed() -> None:
    disk = SimDisk(Random(1))
    OwnBlocks(disk, FOLDER)
    disk.create(FOLDER / f"{ONE.hex()}.7")
    disk.create(FOLDER / "stray")
    OwnBlocks(disk, FOLDER)
    assert disk.entries(FOLDER) == []


@pytest.mark.parametrize("step", range(1, 6))
def test_a_failure_at_any_change_is_told_and_the_block_is_not_there(step: int) -> None:
    disk = SimDisk(Random(1))
    own = OwnBlocks(disk, FOLDER)
    disk.fail_at(disk.steps + step, errno.ENOSPC)
    with pytest.raises(LocalFailure) as caught:
        own.put(ONE, b"sealed")
    assert caught.value.errno == errno.ENOSPC
    assert ONE not in own
    own.put(ONE, b"sealed")
    assert own.get(ONE) == b"sealed"


def test_when_nothing_names_them_they_are_gone() -> None:
    disk = SimDisk(Random(1))
    own = OwnBlocks(disk, FOLDER)
    own.put(ONE, b"sealed")
    own.hold(TWO, b"held")
    own.clear()
    assert (ONE in own, TWO in own, own.held_bytes, disk.entries(FOLDER)) == (False, False, 0, [])


class Pipeline:
    def __init__(self) -> None:
        self.own = OwnBlocks(SimDisk(Random(1)), FOLDER)
        self.remote, self.reach = MemoryRemote(), Reach()
        self.blocks = ReachedBlocks(self.remote, self.own, self.reach, InlineThreads())


async def test_with_a_server_blocks_are_its_own_affair() -> None:
    pipeline = Pipeline()
    await pipeline.blocks.put(ONE, b"sealed")
    assert await pipeline.blocks.missing([ONE, TWO]) == [TWO]
    assert await pipeline.blocks.get(ONE) == b"sealed"
    assert ONE not in pipeline.own


async def test_apart_blocks_stay_here_and_nobody_is_asked() -> None:
    pipeline = Pipeline()
    pipeline.reach.part()
    await pipeline.blocks.put(ONE, b"sealed")
    assert await pipeline.blocks.missing([ONE, TWO]) == [TWO]
    assert await pipeline.blocks.get(ONE) == b"sealed"
    assert (pipeline.remote.questions, pipeline.remote.puts, pipeline.remote.gets) == ([], [], [])


@pytest.mark.parametrize("asked", [[ONE, TWO], [TWO, ONE]])
async def test_own_blocks_and_the_servers_are_read_together(asked: list[BlockId]) -> None:
    pipeline = Pipeline()
    pipeline.own.put(ONE, b"own")
    pipeline.remote.sealed[TWO] = b"theirs"
    found: dict[BlockId, bytes] = {}
    while left := [block for block in asked if block not in found]:
        found |= dict(await pipeline.blocks.get_many(left))
    assert found == {ONE: b"own", TWO: b"theirs"}
