from __future__ import annotations

import random
from pathlib import Path

import pytest
import trio

from backend.blockcache import BlockCache
from backend.blocks import Blocks, ReadAhead
from backend.disk import RealDisk
from backend.errors import NoSpace, Offline
from backend.overlay import Overlay
from backend.threads import InlineThreads, WorkerThreads
from backend.upload import GROUPS, PUTS, Uploaded, Uploader
from protocol.keys import derive
from protocol.limits import INLINE_SEALED_BYTES, KIB, MIB
from protocol.manifest import EMPTY, HOLE, Manifest
from protocol.sealing import unseal
from tests.backend.memory_remote import MemoryRemote, known

KEYS = derive(bytes(range(32)))
NOISE = random.Random(2).randbytes(12 * MIB)


class World:
    """An uploader and a reader on one server, each with its own cache."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.remote = MemoryRemote()
        self.cache = BlockCache(RealDisk(), self.make("cache"), 256 * MIB)
        self.blocks = Blocks(self.remote, self.cache, known(KEYS), InlineThreads())
        self.uploader = Uploader(self.remote, self.blocks, self.cache, known(KEYS), InlineThreads())

    def make(self, name: str) -> Path:
        (self.folder / name).mkdir()
        return self.folder / name

    def overlay(self, base: Manifest = EMPTY, *writes: tuple[int, bytes]) -> Overlay:
        overlay = Overlay(base, RealDisk(), self.folder / f"overlay{random.random()}")
        for offset, data in writes:
            overlay.write(offset, data)
        return overlay

    async def upload(self, overlay: Overlay) -> Uploaded:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.blocks.run)
            uploaded = await self.uploader.upload(overlay, overlay.mark())
            nursery.cancel_scope.cancel()
        assert uploaded is not None
        return uploaded

    async def read(self, uploaded: Uploaded) -> bytes:
        """What another device reads once this is committed."""
        self.remote.sealed.update((block.id, block.sealed) for block in uploaded.inline)
        blocks = Blocks(
            self.remote, BlockCache(RealDisk(), self.make(f"other{random.random()}"), 0), known(KEYS), InlineThreads()
        )
        async with trio.open_nursery() as nursery:
            nursery.start_soon(blocks.run)
            data = await blocks.read(uploaded.manifest, 0, uploaded.manifest.size_bytes, ReadAhead())
            nursery.cancel_scope.cancel()
        return data


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


async def test_a_small_file_travels_in_its_commit_without_a_request(world: World) -> None:
    uploaded = await world.upload(world.overlay(EMPTY, (0, b"hello")))
    assert (world.remote.questions, world.remote.puts) == ([], [])
    [block] = uploaded.inline
    assert unseal(KEYS, block.id, block.sealed) == b"hello"


async def test_a_block_that_seals_to_more_than_the_limit_is_put(world: World) -> None:
    uploaded = await world.upload(world.overlay(EMPTY, (0, NOISE[: INLINE_SEALED_BYTES + KIB])))
    assert uploaded.inline == []
    assert len(world.remote.puts) == 1


async def test_an_empty_file_needs_nothing(world: World) -> None:
    overlay = world.overlay(EMPTY, (0, b"x"))
    overlay.truncate(0)
    assert await world.upload(overlay) == Uploaded(EMPTY)


async def test_a_large_file_is_read_back_by_another_device(world: World) -> None:
    uploaded = await world.upload(world.overlay(EMPTY, (0, NOISE)))
    assert await world.read(uploaded) == NOISE


async def test_a_copy_of_a_file_sends_no_block(world: World) -> None:
    await world.upload(world.overlay(EMPTY, (0, NOISE)))
    world.remote.puts.clear()
    fresh = Uploader(world.remote, world.blocks, world.cache, known(KEYS), InlineThreads())
    overlay = world.overlay(EMPTY, (0, NOISE))
    await fresh.upload(overlay, overlay.mark())
    assert world.remote.puts == []


async def test_what_this_uploader_sent_is_not_asked_about_again(world: World) -> None:
    await world.upload(world.overlay(EMPTY, (0, NOISE)))
    world.remote.questions.clear()
    await world.upload(world.overlay(EMPTY, (0, NOISE)))
    assert world.remote.questions == []


async def test_what_the_server_lost_is_sent_again(world: World) -> None:
    uploaded = await world.upload(world.overlay(EMPTY, (0, NOISE)))
    lost = uploaded.manifest.pieces[1].block
    del world.remote.sealed[lost]
    world.uploader.forget([lost])
    world.remote.puts.clear()
    await world.upload(world.overlay(EMPTY, (0, NOISE)))
    assert world.remote.puts == [lost]


async def test_a_lost_block_of_the_base_that_is_kept_is_sent_again(world: World) -> None:
    """The file was changed elsewhere; the commit was refused for a block that this upload only keeps."""
    base = (await world.upload(world.overlay(EMPTY, (0, NOISE)))).manifest
    lost = base.pieces[-1].block
    del world.remote.sealed[lost]
    world.uploader.forget([lost])
    uploaded = await world.upload(world.overlay(base, (0, b"changed")))
    assert await world.read(uploaded) == b"changed" + NOISE[7:]


async def test_an_overwrite_sends_one_block_and_reads_one(world: World) -> None:
    base = (await world.upload(world.overlay(EMPTY, (0, NOISE)))).manifest
    world.remote.puts.clear()
    uploaded = await world.upload(world.overlay(base, (6 * MIB, b"#" * 4096)))
    assert len(world.remote.puts) == 1
    assert await world.read(uploaded) == NOISE[: 6 * MIB] + b"#" * 4096 + NOISE[6 * MIB + 4096 :]


async def test_what_was_sent_is_in_the_cache(world: World) -> None:
    uploaded = await world.upload(world.overlay(EMPTY, (0, NOISE[: 2 * MIB])))
    world.remote.sealed.clear()
    for piece in uploaded.manifest.pieces:
        assert world.cache.get(piece.block) is not None


async def test_a_hole_stays_a_hole(world: World) -> None:
    uploaded = await world.upload(world.overlay(EMPTY, (0, b"begin"), (1 << 40, b"end")))
    assert [piece.block == HOLE for piece in uploaded.manifest.pieces] == [False, True, False]
    assert uploaded.manifest.size_bytes == (1 << 40) + 3


@pytest.mark.parametrize("error", [NoSpace("full"), Offline("gone")])
async def test_a_failure_of_the_server_is_raised_as_itself(world: World, error: NoSpace | Offline) -> None:
    world.remote.failure = error
    overlay = world.overlay(EMPTY, (0, NOISE))
    with pytest.raises(type(error)):
        await world.uploader.upload(overlay, overlay.mark())


async def test_a_failure_to_read_the_base_is_raised_as_itself(world: World) -> None:
    base = (await world.upload(world.overlay(EMPTY, (0, NOISE)))).manifest
    fresh = Blocks(world.remote, BlockCache(RealDisk(), world.make("empty"), 0), known(KEYS), InlineThreads())
    uploader = Uploader(world.remote, fresh, world.cache, known(KEYS), InlineThreads())
    world.remote.failure = Offline("gone")
    overlay = world.overlay(base, (6 * MIB, b"#"))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(fresh.run)
        with pytest.raises(Offline):
            await uploader.upload(overlay, overlay.mark())
        nursery.cancel_scope.cancel()


async def test_an_upload_whose_file_is_cut_meanwhile_gives_nothing(world: World) -> None:
    overlay = world.overlay(EMPTY, (0, NOISE))
    mark = overlay.mark()
    overlay.truncate(5)
    assert await world.uploader.upload(overlay, mark) is None


async def test_puts_and_windows_in_memory_are_bounded(world: World, autojump_clock: trio.testing.MockClock) -> None:
    overlay = world.overlay(EMPTY)
    for number in range(6):
        overlay.write(number * 12 * MIB, random.Random(number).randbytes(12 * MIB))
    world.remote.gate = trio.Event()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(world.uploader.upload, overlay, overlay.mark())
        await trio.testing.wait_all_tasks_blocked()
        assert world.remote.most_puts_at_once == PUTS
        assert len(world.remote.questions) == GROUPS
        world.remote.gate.set()
    assert world.remote.most_puts_at_once == PUTS


async def test_worker_threads_give_the_same_content(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.uploader = Uploader(world.remote, world.blocks, world.cache, known(KEYS), WorkerThreads(2))
    uploaded = await world.upload(world.overlay(EMPTY, (0, NOISE)))
    assert await world.read(uploaded) == NOISE
