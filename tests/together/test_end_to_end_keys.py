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
from backend.workspacekey import keys_of, with_key
from protocol.ids import BlockId
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
    opened = await opened_on(place)
    place.remembered = await add_key(await place.world.account(place), opened, PASSPHRASE, InlineThreads())
    return place.remembered


async def opened_on(place: Place) -> Workspace:
    """As the server tells it, with the keys that are known on this machine."""
    known = {} if place.remembered is None else place.remembered.later_keys
    return replace(await told(place), key=KEY, later_keys=known)


def unlock(place: Place, found: Workspace) -> None:
    """By the passphrase: the keys in the envelope are known on this machine from now on."""
    place.remembered = with_key(found, None, PASSPHRASE)


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
        unlock(laptop, opened)
        await check(two)
        await trio.sleep(LEASE_S)
        assert await resealed(desk, opened) == Resealed(opened.old_blocks)
        assert await world.old_blocks() == 0
        await write(two, b"other", OTHER)
        await write(two, b"tiny", b"tiny")
        assert await world.old_blocks() == 0
        await check(one)
        assert await read(one, b"other") == OTHER
    assert await resealed(desk, opened) == Resealed()
    phone = world.place("phone")
    unlock(phone, await told(phone))
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
        unlock(laptop, opened)
        await two.look_for_keys()
        assert two.status().key_trouble == ""
        assert await read(two, b"new") == OTHER
        assert await read(two, b"new and small") == b"new"
        await resealed(desk, opened)
        await write(two, b"under the last key", LARGE[::-1])
        assert await world.old_blocks() == 0
    async with laptop.drive() as two:
        assert await read(two, b"new") == OTHER


async def test_a_drive_that_was_away_sends_what_it_wrote_under_an_older_key(
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
        laptop.remembered = replace(opened, later_keys={})
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


async def test_a_restored_server_gets_back_the_keys_that_are_known_here_and_another(
    world: World, desk: Place, laptop: Place, autojump_clock: object
) -> None:
    async with desk.drive() as one:
        await write(one, b"file", b"x")
        await rotate(desk)
        opened = await rotate(desk)
        assert sorted(opened.later_keys) == [2, 3]
        await trio.sleep(LEASE_S)
        await write(one, b"under the lost key", OTHER)
        await world.forget_keys()
        await write(one, b"large", LARGE)
        again = await rotate(desk)
        assert again.key_id == 4
        assert {at: key for at, key in again.later_keys.items() if at != 4} == opened.later_keys
        listed = await (await world.account(desk)).old_blocks(again.id, BlockId(b""))
        assert await world.old_blocks() == len(listed.blocks)
        unlock(laptop, await told(laptop))
        async with laptop.drive() as two:
            assert await read(two, b"large") == LARGE
        await resealed(desk, again)
        assert await world.old_blocks() == 0
        async with laptop.drive() as two:
            assert await read(two, b"under the lost key") == OTHER


async def test_a_restored_server_counts_what_the_key_that_comes_back_has_sealed(
    world: World, desk: Place, autojump_clock: object
) -> None:
    async with desk.drive() as one:
        opened = await rotate(desk)
        await trio.sleep(LEASE_S)
        await write(one, b"under the lost key", OTHER)
        await world.forget_keys()
        account = await world.account(desk)
        envelope = (await told(desk)).envelope
        await account.add_key(opened.id, 1, envelope, envelope)
        assert (await account.old_blocks(opened.id, BlockId(b""))).blocks == []
        assert await world.old_blocks() == 0


async def test_a_lost_answer_makes_no_second_key(desk: Place) -> None:
    async with desk.drive():
        found = await opened_on(desk)
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
        rotated = await add_key(account, found, PASSPHRASE, InlineThreads())
        now = await told(desk)
        assert lost
        assert (sorted(keys_of(rotated)), now.key_id) == ([1, 2], 2)
        assert disclose(now.envelope, PASSPHRASE, now.id) == keys_of(rotated)


async def test_who_rotates_at_the_same_time_is_told_and_changes_nothing(desk: Place, laptop: Place) -> None:
    async with desk.drive():
        found = await opened_on(desk)
        first = await rotate(desk)
        with pytest.raises(Refused, match="rotated meanwhile"):
            await add_key(await desk.world.account(laptop), found, PASSPHRASE, InlineThreads())
        now = await told(desk)
        assert (now.key_id, now.envelope) == (2, first.envelope)
        assert now.envelope != ENVELOPE


@pytest.mark.parametrize("requests", [10, 20, 31])
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
    async with desk.drive() as one, laptop.drive() as two:
        await fill(one)
        opened = await rotate(desk)
        world.damage_blocks()
        found = await resealed(desk, opened)
        assert found.damaged == await world.old_blocks() > 0
        assert (found.done + found.damaged, found.locked) == (opened.old_blocks, 0)
        unlock(laptop, opened)
        await trio.sleep(LEASE_S)
        await write(two, b"once more", LARGE)
        assert await world.old_blocks() == 0
    phone = world.place("phone")
    unlock(phone, opened)
    async with phone.drive() as three:
        await check(three)


async def test_what_is_under_keys_of_other_devices_is_left_to_them(
    world: World, desk: Place, laptop: Place, autojump_clock: object
) -> None:
    async with desk.drive() as one:
        opened = await rotate(desk)
        await trio.sleep(LEASE_S)
        await write(one, b"file", OTHER)
        await world.forget_keys()
        left = await resealed(desk, replace(opened, key_id=1, later_keys={}))
        assert (left.done, left.damaged) == (0, 0)
        assert left.locked > 0
        assert await read(one, b"file") == OTHER


async def test_more_than_one_page_is_sealed_anew(
    desk: Place, autojump_clock: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("server.routes.resealing.PAGE_BLOCKS", 4)
    async with desk.drive() as one:
        await fill(one)
        opened = await rotate(desk)
        assert await resealed(desk, opened) == Resealed(opened.old_blocks)
        assert await desk.world.old_blocks() == 0
        await check(one)


async def test_what_was_kept_under_a_key_that_was_forgotten_waits_until_it_is_unlocked(
    world: World, desk: Place, laptop: Place, autojump_clock: object
) -> None:
    async with desk.drive() as one:
        await write(one, b"file", b"x")
        opened = await rotate(desk)
        await trio.sleep(LEASE_S)
        await write(one, b"other", OTHER)
        await cut_off(desk, one)
        await write(one, b"large", LARGE)
    desk.remembered = replace(opened, later_keys={})
    async with desk.drive() as one:
        desk.http.cut = False
        await trio.sleep(3 * LEASE_S)
        assert one.status().queued_changes > 0
        desk.remembered = opened
        await back(desk, one)
        unlock(laptop, opened)
        async with laptop.drive() as two:
            assert await read(two, b"large") == LARGE
