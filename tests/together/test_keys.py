"""Keys that are added to the workspace while it is mounted."""

from __future__ import annotations

from random import Random

import pytest
import trio

from backend.errors import Offline
from protocol.ids import ROOT_NODE
from protocol.limits import MIB
from tests.together.parting import back, cut_off
from tests.together.programs import read, write
from tests.together.world import LEASE_S, World

LARGE = Random(1).randbytes(3 * MIB)
OTHER = Random(2).randbytes(3 * MIB)


async def test_mounts_go_on_while_keys_are_added(world: World, autojump_clock: object) -> None:
    async with world.place("desk").drive() as one, world.place("laptop").drive() as two:
        for number in range(5):
            await write(one, b"small", b"%d" % number)
            await write(one, b"large", LARGE[number:])
            await world.rotate_key()
            assert await read(two, b"small") == b"%d" % number
            assert await read(two, b"large") == LARGE[number:]
            await world.reseal()
            await write(two, b"other", OTHER[number:])
            assert await read(one, b"other") == OTHER[number:]


async def test_blocks_under_an_added_key_are_read_by_a_mount_from_before(world: World, autojump_clock: object) -> None:
    async with world.place("desk").drive() as one:
        await world.rotate_key()
        async with world.place("laptop").drive() as two:
            await write(two, b"large", LARGE)
            await write(two, b"small", b"small")
        assert await read(one, b"large") == LARGE
        assert await read(one, b"small") == b"small"


async def test_a_mount_seals_under_an_added_key_once_a_poll_has_told_it(world: World, autojump_clock: object) -> None:
    async with world.place("desk").drive() as one:
        await world.rotate_key()
        await trio.sleep(LEASE_S)
        await write(one, b"large", LARGE)
        await write(one, b"small", b"small")
        assert await world.old_blocks() == 0


async def test_equal_content_is_stored_once_under_all_keys(world: World, autojump_clock: object) -> None:
    desk = world.place("desk")
    async with desk.drive() as one:
        await write(one, b"large", LARGE)
        await world.rotate_key()
        await trio.sleep(LEASE_S)
        desk.http.requests.clear()
        await write(one, b"copy", LARGE)
        assert not [each for each in desk.http.requests if each.startswith("PUT")]


async def test_what_is_cached_under_an_older_key_is_not_fetched_again(world: World, autojump_clock: object) -> None:
    desk = world.place("desk")
    async with desk.drive() as one:
        await write(one, b"large", LARGE)
    await world.rotate_key()
    await world.reseal()
    async with desk.drive() as one:
        await one.lookup(ROOT_NODE, b"large")
        desk.http.requests.clear()
        assert await read(one, b"large") == LARGE
        assert not [each for each in desk.http.requests if "/blocks" in each]


async def test_a_mount_that_was_away_while_keys_were_added_sends_what_it_wrote(
    world: World, autojump_clock: object
) -> None:
    desk = world.place("desk")
    async with desk.drive() as one:
        await one.entries(ROOT_NODE)
        await cut_off(desk, one)
        await write(one, b"large", LARGE)
        await write(one, b"small", b"small")
        await world.rotate_key()
        await world.reseal()
        await back(desk, one)
        assert await world.old_blocks() > 0
        await world.reseal()
        assert await world.old_blocks() == 0
        async with world.place("laptop").drive() as two:
            assert await read(two, b"large") == LARGE
            assert await read(two, b"small") == b"small"


async def test_a_mount_that_begins_without_the_server_knows_the_keys_that_were_learnt(
    world: World, autojump_clock: object
) -> None:
    desk = world.place("desk")
    async with desk.drive() as one:
        await write(one, b"before", OTHER)
        await world.rotate_key()
        await trio.sleep(LEASE_S)
        await write(one, b"large", LARGE)
        assert await world.old_blocks() > 0
    desk.http.cut = True
    async with desk.drive() as one:
        assert await read(one, b"large") == LARGE
        assert await read(one, b"before") == OTHER


async def test_what_was_written_apart_under_a_key_that_was_forgotten_is_sent_all_the_same(
    world: World, autojump_clock: object
) -> None:
    desk = world.place("desk")
    async with desk.drive() as one:
        await write(one, b"file", b"")
        before = desk.remembered
        await world.rotate_key()
        await trio.sleep(LEASE_S)
        await write(one, b"other", OTHER)  # It knows the key now.
        await cut_off(desk, one)
        await write(one, b"large", LARGE)
        desk.remembered = before
    async with desk.drive() as one:
        with pytest.raises(Offline):
            await read(one, b"large")
        await back(desk, one)
        async with world.place("laptop").drive() as two:
            assert await read(two, b"large") == LARGE
