"""Blocks under older keys are sealed anew: nothing is lost, whatever happens meanwhile."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TypeVar

import pytest
import trio

from protocol.keys import WrongKey
from protocol.messages.accounts import Workspace
from server import resealing
from server.blockcare import BlockCare
from server.blockstore.memory import MemoryBlockStore
from server.blockstore.store import BlockStoreError
from server.keyring import Keyring
from server.metadata import blocks, invariants, spares
from server.metadata.sqlite import MemoryStore
from server.metadata.store import MetadataStore, StoreUnavailable, Transaction, Work
from server.threads import in_place
from tests.server.plainly import content, get, put
from tests.server.test_keys import key_of, rotated
from tests.server.world import Client, World

T = TypeVar("T")

SMALL = b"small"
LARGE = [content(size, size) for size in (100_000, 120_000, 3 << 20)]
TEXT = b"text that is made short " * 10_000


async def work_once(world: World) -> None:
    await resealing.work_once(world.metadata, world.service.blocks)


@pytest.fixture
async def filled(ada: Client) -> Client:
    """Small and large files under the first key, and then another key."""
    await ada.leave()
    await put(ada, "small", SMALL)
    await put(ada, "text", TEXT)
    for number, plain in enumerate(LARGE):
        await put(ada, f"large {number}", plain)
    return await rotated(ada)


async def check_whole(world: World, client: Client) -> None:
    """All content reads well, and the totals are right."""
    assert (await get(client, "small")).content == SMALL
    assert (await get(client, "text")).content == TEXT
    for number, plain in enumerate(LARGE):
        assert (await get(client, f"large {number}")).content == plain
    await world.metadata.read(lambda tx: invariants.check(tx, client.workspace))


async def named_objects(world: World) -> set[str]:
    def work(tx: Transaction) -> set[str]:
        return {row[0] for row in tx.all("SELECT object FROM blocks WHERE object IS NOT NULL")}

    return await world.metadata.read(work)


async def check_done(world: World, client: Client) -> None:
    """Nothing is under an older key, in the database or the store, and nothing is left behind."""
    await check_whole(world, client)
    assert (await client.ask(Workspace, "GET", ".")).old_blocks == 0
    assert set(world.store.objects) == await named_objects(world)
    assert await world.metadata.read(spares.workspaces) == []


async def test_all_blocks_are_sealed_under_the_last_key(world: World, filled: Client) -> None:
    before = set(world.store.objects)
    await work_once(world)
    await check_done(world, filled)
    assert before.isdisjoint(world.store.objects)
    assert {await key_of(world, filled, plain) for plain in (SMALL, *LARGE[:2])} == {2}


async def test_what_the_last_key_seals_is_left_alone(world: World, filled: Client) -> None:
    await work_once(world)
    before = dict(world.store.objects)
    await work_once(world)
    assert world.store.objects == before


async def test_keys_that_are_added_one_after_the_other_are_skipped(world: World, filled: Client) -> None:
    await rotated(filled)
    await work_once(world)
    await check_done(world, filled)
    assert await key_of(world, filled, SMALL) == 3


async def test_a_workspace_that_is_full_is_sealed_anew(world: World, filled: Client) -> None:
    await world.metadata.write(lambda tx: tx.execute("UPDATE workspaces SET quota_bytes = used_bytes"))
    await work_once(world)
    await check_done(world, filled)


async def test_what_a_mount_brings_under_an_older_key_is_sealed_anew_the_next_time(world: World, ada: Client) -> None:
    away = replace(ada)
    await rotated(ada)
    block, sealed = away.sealed(LARGE[0])
    await away.call("PUT", f"./blocks/{block.hex()}", sealed)
    await work_once(world)
    assert await key_of(world, ada, LARGE[0]) == 2


async def test_an_added_key_starts_it(world: World, filled: Client, autojump_clock: object) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(resealing.run, world.service)
        await trio.testing.wait_all_tasks_blocked()
        assert (await filled.ask(Workspace, "GET", ".")).old_blocks == 0
        await rotated(filled)
        await trio.testing.wait_all_tasks_blocked()
        assert trio.current_time() < resealing.ROUND_S
        await check_done(world, filled)
        nursery.cancel_scope.cancel()
    assert await key_of(world, filled, SMALL) == 3


async def test_what_comes_under_an_older_key_just_after_is_not_forgotten_for_long(
    world: World, ada: Client, autojump_clock: object
) -> None:
    away = replace(await ada.leave())
    await put(ada, "small", SMALL)
    await rotated(ada)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(resealing.run, world.service)
        await trio.testing.wait_all_tasks_blocked()
        block, sealed = away.sealed(LARGE[0])
        assert (await away.call("PUT", f"./blocks/{block.hex()}", sealed)).status_code == 204
        await trio.sleep(resealing.SOON_S + 1)
        nursery.cancel_scope.cancel()
    assert await key_of(world, ada, LARGE[0]) == 2


async def test_after_trouble_it_goes_on_in_an_hour(world: World, filled: Client, autojump_clock: object) -> None:
    room_bytes, world.store.room_bytes = world.store.room_bytes, 0
    async with trio.open_nursery() as nursery:
        nursery.start_soon(resealing.run, world.service)
        await trio.testing.wait_all_tasks_blocked()
        await check_whole(world, filled)
        world.store.room_bytes = room_bytes
        await trio.sleep(resealing.ROUND_S + 1)
        nursery.cancel_scope.cancel()
    await check_done(world, filled)


async def test_what_can_not_be_read_now_keeps_nothing_else_under_the_older_key(world: World, filled: Client) -> None:
    """Such as an object on a bad sector of the disk."""
    [bad] = [each for each in world.store.objects if each.startswith(filled.keys.block_id(LARGE[0]).hex())]

    class BadSector(MemoryBlockStore):
        def get(self, name: str) -> bytes:
            if name == bad:
                raise BlockStoreError("Input/output error")
            return super().get(name)

    store = BadSector()
    store.objects = world.store.objects
    care = BlockCare(store, world.metadata, world.service.keyring, trio.CapacityLimiter(1), run_sync=in_place)
    with pytest.raises(BlockStoreError):
        await resealing.work_once(world.metadata, care)
    await check_whole(world, filled)
    assert (await filled.ask(Workspace, "GET", ".")).old_blocks == 1


async def test_an_object_that_can_not_be_deleted_keeps_nothing_under_the_older_key(
    world: World, filled: Client
) -> None:
    [stuck] = [each for each in world.store.objects if each.startswith(filled.keys.block_id(LARGE[0]).hex())]

    class Stuck(MemoryBlockStore):
        def delete(self, name: str) -> None:
            if name == stuck:
                raise BlockStoreError("Input/output error")
            super().delete(name)

    store = Stuck()
    store.objects = world.store.objects
    care = BlockCare(store, world.metadata, world.service.keyring, trio.CapacityLimiter(1), run_sync=in_place)
    for _ in range(2):
        with pytest.raises(BlockStoreError):
            await resealing.work_once(world.metadata, care)
    await check_whole(world, filled)
    assert (await filled.ask(Workspace, "GET", ".")).old_blocks == 0
    assert set(world.store.objects) == {*(await named_objects(world)), stuck}


async def test_a_workspace_whose_keys_do_not_open_keeps_no_other_from_it(world: World, filled: Client) -> None:
    other = await world.user("bob")
    await put(other, "small", SMALL)
    await rotated(other)
    first, second = sorted((filled, other), key=lambda client: client.workspace)
    await world.metadata.write(
        lambda tx: tx.execute("UPDATE workspace_keys SET wrapped = x'00' WHERE workspace = ?", (first.workspace,))
    )
    keyring = Keyring(bytes(range(32)))  # As after a restart, it remembers no keys.
    care = BlockCare(world.store, world.metadata, keyring, trio.CapacityLimiter(1), run_sync=in_place)
    with pytest.raises(WrongKey):
        await resealing.work_once(world.metadata, care)
    assert (await second.ask(Workspace, "GET", ".")).old_blocks == 0


# ── what others do meanwhile ──


async def test_a_block_that_is_read_meanwhile_is_found_where_it_lies_then(world: World, filled: Client) -> None:
    is_first = True

    async def late(work: Callable[[], T], *, limiter: trio.CapacityLimiter) -> T:
        nonlocal is_first
        if is_first:
            is_first = False
            await work_once(world)
        return work()

    for path, plain in (("large 0", LARGE[0]), ("large 2", LARGE[2])):
        is_first = True
        await rotated(filled)
        care = BlockCare(world.store, world.metadata, world.service.keyring, trio.CapacityLimiter(1), run_sync=late)
        world.app.state.service = replace(world.service, blocks=care)
        assert (await get(filled, path)).content == plain
        assert not is_first
    is_first = True
    await rotated(filled)
    block = filled.keys.block_id(LARGE[1])
    answer = await filled.call("GET", f"./blocks/{block.hex()}")
    assert answer.status_code == 200
    assert not is_first


async def test_a_damaged_block_is_kept_and_replaced_by_the_next_put_of_it(world: World, filled: Client) -> None:
    block, sealed = filled.sealed(LARGE[0])
    [name] = [each for each in world.store.objects if each.startswith(block.hex())]
    world.store.objects[name] = damaged = world.store.objects[name][:-1] + b"\0"
    await work_once(world)
    assert world.store.objects[name] == damaged
    assert (await filled.ask(Workspace, "GET", ".")).old_blocks == 1
    assert (await filled.call("PUT", f"./blocks/{block.hex()}", sealed)).status_code == 204
    await check_done(world, filled)


async def test_a_block_that_was_replaced_meanwhile_stays_so(world: World, filled: Client) -> None:
    block, sealed = filled.sealed(LARGE[0])
    [name] = [each for each in world.store.objects if each.startswith(block.hex())]

    class Replaced(MemoryBlockStore):
        """Somebody's put of a block is done while it is stored anew."""

        def put(self, name: str, content: bytes | bytearray) -> None:
            super().put(name, content)
            if name.startswith(block.hex()) and "new" not in self.objects:
                self.objects["new"] = sealed
                lies = blocks.StoredBlock(None, "new", len(sealed), len(LARGE[0]), 2)
                replaced.append(lies)

    replaced: list[blocks.StoredBlock] = []
    store = Replaced()
    store.objects = world.store.objects

    class Between(Hooked):
        """Whose transaction runs before the row is changed."""

        async def write(self, work: Work[T]) -> T:
            if len(replaced) == 1:
                lies = replaced[0]
                replaced.append(lies)
                await self.store.write(lambda tx: _put_there(tx, filled, lies, LARGE[0]))
            return await self.store.write(work)

    care = BlockCare(store, world.metadata, world.service.keyring, trio.CapacityLimiter(1), run_sync=in_place)
    await resealing.work_once(Between(world.metadata), care)
    assert len(replaced) == 2
    del world.store.objects[name]
    await check_done(world, filled)
    assert "new" in world.store.objects


def _put_there(tx: Transaction, client: Client, lies: blocks.StoredBlock, plain: bytes) -> None:
    block = client.keys.block_id(plain)
    blocks.forget(tx, client.workspace, block)
    blocks.record(tx, client.workspace, block, lies)


# ── crashes ──


class Crash(Exception):
    """The process ends here."""


class Hooked:
    """A metadata store that a test stands before."""

    def __init__(self, store: MemoryStore) -> None:
        self.store = store

    async def __aenter__(self) -> Hooked:
        return self

    async def __aexit__(self, *_: object) -> None:
        pass

    async def read(self, work: Work[T]) -> T:
        return await self.store.read(work)

    async def write(self, work: Work[T]) -> T:
        return await self.store.write(work)


class Countdown:
    """Ends the process before or after its n-th effect."""

    def __init__(self, at: int, trouble: type[Exception], *, is_done: bool) -> None:
        self.left = at
        self.trouble = trouble
        self.is_done = is_done

    @contextmanager
    def effect(self) -> Iterator[None]:
        self.left -= 1
        if self.left == 0 and not self.is_done:
            raise self.trouble("before it")
        yield
        if self.left == 0:
            raise self.trouble("after it")


class CountedStore(MemoryBlockStore):
    def __init__(self, countdown: Countdown, objects: dict[str, bytes]) -> None:
        super().__init__()
        self.objects = objects
        self._countdown = countdown

    def put(self, name: str, content: bytes | bytearray) -> None:
        with self._countdown.effect():
            super().put(name, content)

    def delete(self, name: str) -> None:
        with self._countdown.effect():
            super().delete(name)


class CountedMetadata(Hooked):
    def __init__(self, countdown: Countdown, store: MemoryStore) -> None:
        super().__init__(store)
        self._countdown = countdown

    async def write(self, work: Work[T]) -> T:
        with self._countdown.effect():
            return await super().write(work)


@pytest.mark.parametrize("is_done", [False, True])
async def test_a_crash_at_any_effect_loses_nothing_and_leaves_nothing(
    world: World, filled: Client, is_done: bool
) -> None:
    crashes = 0
    for at in itertools.count(1):
        countdown = Countdown(at, Crash, is_done=is_done)
        metadata: MetadataStore = CountedMetadata(countdown, world.metadata)
        store = CountedStore(countdown, world.store.objects)
        care = BlockCare(store, metadata, world.service.keyring, trio.CapacityLimiter(1), run_sync=in_place)
        try:
            await resealing.work_once(metadata, care)
            break
        except Crash:
            crashes += 1
        await check_whole(world, filled)
        await work_once(world)
        await check_done(world, filled)
        await rotated(filled)
    assert crashes > 10


@pytest.mark.parametrize("trouble", [StoreUnavailable, BlockStoreError])
async def test_an_effect_of_which_nobody_knows_whether_it_was_done_does_no_harm(
    world: World, filled: Client, trouble: type[Exception]
) -> None:
    for at in range(1, 8):
        countdown = Countdown(at, trouble, is_done=True)
        metadata: MetadataStore = CountedMetadata(countdown, world.metadata)
        store = CountedStore(countdown, world.store.objects)
        care = BlockCare(store, metadata, world.service.keyring, trio.CapacityLimiter(1), run_sync=in_place)
        with pytest.raises(trouble):
            await resealing.work_once(metadata, care)
        await check_whole(world, filled)
        await rotated(filled)
    await work_once(world)
    await check_done(world, filled)
