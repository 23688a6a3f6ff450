"""An end-to-end workspace gets another key: by its owner, who seals anew what is stored, while drives go on."""

from __future__ import annotations

from collections.abc import AsyncIterator
from random import Random

import pytest
import trio
from msgspec.structs import replace
from trio.testing import wait_all_tasks_blocked

from backend.drive import Drive
from backend.errors import Corrupt, NotUnlocked, Offline, Refused
from backend.keys import working_keys
from backend.rotation import AT_ONCE, Resealed, add_key, reseal
from backend.threads import InlineThreads
from protocol.keys import derive_end_to_end
from protocol.messages.accounts import Workspace
from protocol.passphrase import disclose
from protocol.sealing import seal
from tests.together.parting import back, cut_off
from tests.together.programs import read, write
from tests.together.world import ENVELOPE, KEY, LEASE_S, Place, World, serving

PASSPHRASE = "correct horse battery staple"
LARGE = Random(1).randbytes(3 << 20)
OTHER = Random(2).randbytes(3 << 20)


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with serving(end_to_end=True) as made:
        yield made


@pytest.fixture
async def desk(world: World) -> Place:
    return world.place("desk")


@pytest.fixture
async def laptop(world: World) -> Place:
    return world.place("laptop")


async def told(place: Place) -> Workspace:
    """What the server says now."""
    return await (await place.world.account(place)).workspace(place.world.workspace.id)


async def rotate(place: Place) -> Workspace:
    """What was rotated on one machine, and is unlocked there."""
    account, found = await place.world.account(place), await told(place)
    known = {} if place.remembered is None else place.remembered.later_keys
    keys = await add_key(account, found, {1: KEY, **known}, PASSPHRASE, InlineThreads())
    return unlock(place, await told(place), keys)


def unlock(place: Place, found: Workspace, keys: dict[int, bytes]) -> Workspace:
    """The keys are known on this machine from now on."""
    place.remembered = replace(found, key=keys[1], later_keys={at: key for at, key in keys.items() if at != 1})
    return place.remembered


def unlock_by_passphrase(place: Place, found: Workspace) -> Workspace:
    return unlock(place, found, disclose(found.envelope, PASSPHRASE, found.id))


async def resealed(place: Place, opened: Workspace) -> Resealed:
    account = await place.world.account(place)
    return await reseal(account, opened.id, working_keys(opened), InlineThreads(), lambda done: None)


async def fill(drive: Drive) -> None:
    """Blocks of their own, and such as lie in the database."""
    await write(drive, b"large", LARGE)
    for number in range(30):
        await write(drive, b"small %d" % number, b"%d" % number)


async def check(drive: Drive) -> None:
    assert await read(drive, b"large") == LARGE
    for number in range(30):
        assert await read(drive, b"small %d" % number) == b"%d" % number


async def test_all_is_sealed_anew_while_drives_go_on(
    world: World, desk: Place, laptop: Place, autojump_clock: object
) -> None:
    async with desk.drive() as one, laptop.drive() as two:
        await fill(one)
        opened = await rotate(desk)
        assert opened.old_blocks > 30
        unlock_by_passphrase(laptop, opened)
        await check(two)
        await trio.sleep(LEASE_S)
        assert await resealed(desk, opened) == Resealed(opened.old_blocks, 0)
        assert await world.old_blocks() == 0
        await write(two, b"other", OTHER)
        await write(two, b"tiny", b"tiny")
        assert await world.old_blocks() == 0
        await check(one)
        assert await read(one, b"other") == OTHER
    assert await resealed(desk, opened) == Resealed(0, 0)
    phone = world.place("phone")
    unlock_by_passphrase(phone, await told(phone))
    async with phone.drive() as three:
        await check(three)


async def test_equal_content_is_stored_once_under_all_keys(desk: Place, autojump_clock: object) -> None:
    async with desk.drive() as one:
        await write(one, b"large", LARGE)
        await resealed(desk, await rotate(desk))
        await trio.sleep(LEASE_S)
        desk.http.requests.clear()
        await write(one, b"copy", LARGE)
        assert not [each for each in desk.http.requests if each.startswith("PUT")]


async def test_a_drive_that_is_not_unlocked_reads_what_it_can_and_hides_from_nobody_what_it_writes(
    world: World, desk: Place, laptop: Place, autojump_clock: object
) -> None:
    async with desk.drive() as one, laptop.drive() as two:
        await fill(one)
        opened = await rotate(desk)
        await trio.sleep(LEASE_S)
        await write(one, b"new", OTHER)
        await write(one, b"new and small", b"new")
        laptop.http.requests.clear()
        for name in (b"new", b"new and small"):
            with pytest.raises(NotUnlocked, match="samedrive workspace unlock"):
                await read(two, name)
        assert not [each for each in laptop.http.requests if each.endswith("/damaged")]
        assert "samedrive workspace unlock" in two.status().key_trouble
        await check(two)
        await write(two, b"mine", OTHER[::-1])
        assert await read(one, b"mine") == OTHER[::-1]
        assert await world.old_blocks() > 0
        unlock_by_passphrase(laptop, opened)
        await two.look_for_keys()
        assert two.status().key_trouble == ""
        assert await read(two, b"new") == OTHER
        assert await read(two, b"new and small") == b"new"
        await resealed(desk, opened)
        await write(two, b"under the last key", LARGE[::-1])
        assert await world.old_blocks() == 0
    async with laptop.drive() as two:
        assert await read(two, b"new") == OTHER


async def test_a_drive_that_was_away_sends_what_it_wrote_and_is_unlocked_later(
    world: World, desk: Place, laptop: Place, autojump_clock: object
) -> None:
    async with desk.drive() as one, laptop.drive() as two:
        await fill(one)
        await check(two)
        await cut_off(laptop, two)
        await write(two, b"away", OTHER)
        opened = await rotate(desk)
        await resealed(desk, opened)
        await back(laptop, two)
        assert await read(one, b"away") == OTHER
        await check(two)
        assert await world.old_blocks() > 0
        await resealed(desk, opened)
        assert await world.old_blocks() == 0


async def test_no_server_makes_a_drive_seal_under_an_earlier_key(
    desk: Place, laptop: Place, autojump_clock: object
) -> None:
    async with desk.drive() as one:
        await write(one, b"file", b"x")
        opened = await rotate(desk)
        await trio.sleep(LEASE_S)
        await write(one, b"new", OTHER)
        await desk.world.forget_keys()
        await trio.sleep(LEASE_S)
        await write(one, b"newer", OTHER[::-1])
        unlock(laptop, opened, {1: KEY})
        async with laptop.drive() as two:
            with pytest.raises(Corrupt):
                await read(two, b"newer")


async def test_what_claims_to_be_under_a_key_that_nobody_has_is_damaged_and_sent_again(
    world: World, desk: Place, laptop: Place, autojump_clock: object
) -> None:
    """Any member can store it."""
    content = LARGE[:300_000]
    hers = derive_end_to_end(KEY, {7: bytes(32)})
    account = await world.account(desk)
    block = hers.block_id(content)
    path = f"/workspaces/{world.workspace.id}/blocks/{block.hex()}"
    await account.caller.call("PUT", path, octets=bytes(seal(hers, block, content)))
    async with desk.drive() as one, laptop.drive() as two:
        await write(one, b"file", content)
        with pytest.raises(Corrupt):
            await read(two, b"file")
        await wait_all_tasks_blocked()
        assert [each for each in laptop.http.requests if each.endswith("/blocks/damaged")]
        async with world.place("tower").drive() as three:
            await write(three, b"once more", content)
        assert await read(two, b"file") == content


async def test_a_restored_server_gets_back_the_keys_that_are_known_here(
    world: World, desk: Place, laptop: Place, autojump_clock: object
) -> None:
    async with desk.drive() as one:
        await write(one, b"file", b"x")
        await rotate(desk)
        opened = await rotate(desk)
        assert sorted(opened.later_keys) == [2, 3]
        await world.forget_keys()
        await write(one, b"large", LARGE)
        again = await rotate(desk)
        assert (again.key_id, again.later_keys) == (3, opened.later_keys)
        unlock_by_passphrase(laptop, await told(laptop))
        async with laptop.drive() as two:
            assert await read(two, b"large") == LARGE
        await resealed(desk, again)
        assert await world.old_blocks() == 0


async def test_a_lost_answer_makes_no_second_key(desk: Place) -> None:
    async with desk.drive():
        found = await told(desk)
        account = await desk.world.account(desk)
        sent = desk.http.request
        lost: list[str] = []

        async def losing(method: str, path: str, **given: object) -> object:
            answer = await sent(method, path, **given)  # type: ignore[arg-type]
            if path.endswith("/keys") and not lost:
                lost.append(path)
                return await sent(method, path, **given)  # type: ignore[arg-type]
            return answer

        desk.http.request = losing  # type: ignore[method-assign,assignment]
        keys = await add_key(account, found, {1: KEY}, PASSPHRASE, InlineThreads())
        now = await told(desk)
        assert lost
        assert (sorted(keys), now.key_id) == ([1, 2], 2)
        assert disclose(now.envelope, PASSPHRASE, now.id) == keys


async def test_who_rotates_at_the_same_time_is_told_and_changes_nothing(desk: Place, laptop: Place) -> None:
    async with desk.drive():
        found = await told(desk)
        first = await rotate(desk)
        with pytest.raises(Refused):
            await add_key(await desk.world.account(laptop), found, {1: KEY}, PASSPHRASE, InlineThreads())
        now = await told(desk)
        assert (now.key_id, now.envelope) == (2, first.envelope)
        assert now.envelope != ENVELOPE


@pytest.mark.parametrize("requests", [1, 10, 31])
async def test_it_goes_on_where_it_was_interrupted(desk: Place, autojump_clock: object, requests: int) -> None:
    async with desk.drive() as one:
        await fill(one)
        opened = await rotate(desk)
        sent = desk.http.request
        left = requests

        async def ending(method: str, path: str, **given: object) -> object:
            nonlocal left
            left -= "/resealing/" in path
            answer = await sent(method, path, **given)  # type: ignore[arg-type]
            if left < 0:
                raise Offline("cut")
            return answer

        desk.http.request = ending  # type: ignore[method-assign,assignment]
        with pytest.raises(Offline):
            await resealed(desk, opened)
        desk.http.request = sent  # type: ignore[method-assign]
        await check(one)
        done = await resealed(desk, opened)
        assert done.done <= opened.old_blocks - max(0, requests - AT_ONCE)
        assert await desk.world.old_blocks() == 0
        await check(one)


async def test_a_damaged_block_stays_and_is_replaced_by_who_has_it(
    world: World, desk: Place, laptop: Place, autojump_clock: object
) -> None:
    async with desk.drive() as one:
        await fill(one)
        opened = await rotate(desk)
        world.damage_blocks()
        done = await resealed(desk, opened)
        assert done.unreadable == await world.old_blocks() > 0
        assert done.done + done.unreadable == opened.old_blocks
