"""Uploads that break off and are gone on with, at this server or another."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import TypeVar, cast

import httpx
import pytest
import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.limits import BLOCK_MAX_BYTES, KIB, MIB
from protocol.messages.accounts import Role
from server.app import create_app
from server.blockcare import BlockCare
from server.content.transfers import RECORD_EVERY_S
from server.keyring import Keyring
from server.leases import Leases
from server.metadata.invariants import check
from server.metadata.store import MetadataStore, StoreUnavailable, Work
from server.notifier import Notifier
from server.service import Places
from server.threads import in_place
from tests.server.content.test_writing import cut_at_once
from tests.server.plainly import content, get, in_parts
from tests.server.tus.client import (
    LARGE,
    Upload,
    create,
    manifest_of,
    read,
    split,
    tus,
)
from tests.server.world import Client, World, a_world, problem

T = TypeVar("T")


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(1, 6 * MIB), min_size=1, max_size=8), st.data())
def test_an_upload_goes_on_wherever_it_breaks_off(lengths: list[int], data: st.DataObject) -> None:
    """Requests of any length, each of which ends or breaks off; the server restarts between some."""
    plain = LARGE[: min(len(LARGE), sum(lengths))]

    async def run() -> None:
        async with a_world() as world:
            ada = await world.user("ada")
            upload = await create(ada, len(plain))
            at = 0
            for length in lengths:
                stop = min(at + length, len(plain))
                how = data.draw(st.sampled_from(["ends", "breaks", "restarts"]))
                if how == "ends" or stop == len(plain):
                    assert (await upload.patch(at, plain[at:stop])).status_code == 204
                else:
                    await upload.patch_over(world.app, at, [*split(plain[at:stop]), None])
                if how == "restarts":
                    await world.restart()
                at = await upload.offset()
                assert at == stop
                await world.metadata.read(lambda tx: check(tx, ada.workspace))
            if at < len(plain):
                assert (await upload.patch(at, plain[at:])).status_code == 204
            assert await read(ada, "new") == plain
            await world.metadata.read(lambda tx: check(tx, ada.workspace))

    trio.run(run)


async def test_a_body_that_stalls_is_kept(ada: Client, autojump_clock: trio.testing.MockClock) -> None:
    upload = await create(ada, 10)

    async def stalling() -> AsyncIterator[bytes]:
        yield b"12345"
        await trio.sleep_forever()

    assert problem(await upload.patch(0, stalling())) == (400, "bad-request")
    assert await upload.offset() == 5
    assert (await upload.patch(5, b"67890")).status_code == 204


async def test_what_comes_slowly_is_kept_meanwhile(ada: Client, autojump_clock: trio.testing.MockClock) -> None:
    plain = LARGE[: 400 * KIB]
    upload = await create(ada, len(plain))
    seen: list[int] = []

    async def slowly() -> AsyncIterator[bytes]:
        for part in split(plain):
            yield part
            await trio.sleep(RECORD_EVERY_S / 2)
            seen.append(await upload.offset())

    assert (await upload.patch(0, slowly())).status_code == 204
    assert [at // (64 * KIB) for at in seen] == [0, 0, 3, 3, 5, 5, 5]  # The rest is recorded when it is committed.
    assert await read(ada, "new") == plain


@pytest.mark.parametrize("part_bytes", [300 * KIB, 3 * MIB])
async def test_what_comes_slowly_is_cut_as_at_once(
    world: World, ada: Client, autojump_clock: trio.testing.MockClock, part_bytes: int
) -> None:
    upload = await create(ada, len(LARGE))

    async def slowly() -> AsyncIterator[bytes]:
        for at in range(0, len(LARGE), part_bytes):
            yield LARGE[at : at + part_bytes]
            await trio.sleep(RECORD_EVERY_S / 3)
            await world.metadata.read(lambda tx: check(tx, ada.workspace))

    assert (await upload.patch(0, slowly())).status_code == 204
    assert await manifest_of(ada) == cut_at_once(ada, LARGE)
    assert await read(ada, "new") == LARGE


async def test_of_a_request_that_the_server_drops_full_windows_are_kept(ada: Client) -> None:
    upload = await create(ada, len(LARGE))

    async def endless() -> AsyncIterator[bytes]:
        async for part in in_parts(LARGE[: 18 * MIB]):
            yield part
        await trio.testing.wait_all_tasks_blocked()
        request.cancel()
        await trio.sleep_forever()

    with trio.CancelScope() as request:
        await upload.patch(0, endless())
    at = await upload.offset()
    assert at >= 18 * MIB - BLOCK_MAX_BYTES
    assert (await upload.patch(at, LARGE[at:])).status_code == 204
    assert await read(ada, "new") == LARGE


class Ends:
    """A metadata store that ends before or after a write: it is unavailable then, or the whole server is gone."""

    def __init__(self, store: MetadataStore, at_write: int, how: str) -> None:
        self._store = store
        self._left = at_write
        self._how = how
        self.server = trio.CancelScope()

    async def read(self, work: Work[T]) -> T:
        return await self._store.read(work)

    async def write(self, work: Work[T]) -> T:
        self._left -= 1
        if self._left != 0:
            return await self._store.write(work)
        if self._how == "unavailable":
            raise StoreUnavailable
        if self._how == "gone after it":
            await self._store.write(work)
        self.server.cancel()
        await trio.lowlevel.checkpoint()
        raise AssertionError


@pytest.mark.parametrize("how", ["unavailable", "gone before it", "gone after it"])
@pytest.mark.parametrize("begins", [[], [5 * MIB, 5 * MIB + 10]])
async def test_an_upload_goes_on_from_any_write_at_which_the_server_ended(
    world: World, ada: Client, begins: list[int], how: str
) -> None:
    at_write, is_complete = 0, False
    while not is_complete:
        at_write += 1
        upload = await create(ada, len(LARGE), f"{at_write}")
        at = 0
        for stop in begins:
            await upload.patch(at, LARGE[at:stop])
            at = stop
        ends = Ends(world.metadata, at_write, how)
        care = BlockCare(world.store, cast(MetadataStore, ends), world.service.keyring, trio.CapacityLimiter(1))
        app = create_app(replace(world.service, metadata=cast(MetadataStore, ends), blocks=care))
        with ends.server:
            is_complete = await upload.patch_over(app, at, split(LARGE[at:])) == 204
        await world.metadata.read(lambda tx: check(tx, ada.workspace))
        now = await upload.offset()
        assert at <= now
        if now < len(LARGE):
            assert (await get(ada, f"{at_write}")).status_code == 404
            assert (await upload.patch(now, LARGE[now:])).status_code == 204
        assert await read(ada, f"{at_write}") == LARGE
    assert at_write > 3


async def test_who_begins_elsewhere_is_told(ada: Client) -> None:
    upload = await create(ada, 10)
    await upload.patch(0, b"123")
    for offset in (0, 2, 4, 10):
        assert problem(await upload.patch(offset, b"x")) == (409, "conflict")
    assert await upload.offset() == 3


@pytest.mark.parametrize("size_bytes", [100, 18 * MIB])
async def test_of_two_requests_at_once_the_later_one_goes_on(ada: Client, size_bytes: int) -> None:
    first, second = content(size_bytes, 1), content(size_bytes, 2)
    upload = await create(ada, size_bytes)
    is_held, go_on = trio.Event(), trio.Event()
    statuses: list[int] = []

    async def held() -> AsyncIterator[bytes]:
        yield first[:50]
        is_held.set()
        await go_on.wait()
        async for part in in_parts(first[50:]):
            yield part

    async def earlier() -> None:
        statuses.append((await upload.patch(0, held())).status_code)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(earlier)
        await is_held.wait()
        assert (await upload.patch(0, second[:60])).status_code == 204
        go_on.set()
    assert statuses == [409]
    assert (await upload.patch(60, second[60:])).status_code == 204
    assert await read(ada, "new") == second


@pytest.fixture
async def elsewhere(world: World, ada: Client) -> AsyncIterator[Client]:
    """The same user at another server on the same engines, which shares no memory with the first."""
    notifier, keyring = Notifier(), Keyring(bytes(range(32)))
    care = BlockCare(world.store, world.metadata, keyring, trio.CapacityLimiter(1), run_sync=in_place)
    leases = Leases(10.0, trio.current_time, notifier.nudge)
    service = replace(world.service, blocks=care, keyring=keyring, notifier=notifier, leases=leases, places=Places())
    app = create_app(service)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://elsewhere") as http:
        yield replace(ada, http=http)


async def test_any_server_goes_on(ada: Client, elsewhere: Client) -> None:
    upload = await create(ada, len(LARGE))
    at = 0
    for number, stop in enumerate((10, 3 * MIB, 3 * MIB + 5, 15 * MIB, len(LARGE))):
        client = (elsewhere, ada)[number % 2]
        assert (await Upload(client, upload.url).patch(at, LARGE[at:stop])).status_code == 204
        at = stop
    assert await read(ada, "new") == LARGE


async def test_the_later_request_goes_on_at_another_server_too(ada: Client, elsewhere: Client) -> None:
    upload = await create(ada, len(LARGE))
    overtaking: list[int] = []

    async def overtaken() -> AsyncIterator[bytes]:
        yield LARGE[:100]
        overtaking.append((await Upload(elsewhere, upload.url).patch(0, LARGE[:200])).status_code)
        yield LARGE[100:]

    assert problem(await upload.patch(0, overtaken())) == (409, "conflict")
    assert overtaking == [204]
    assert (await upload.patch(200, LARGE[200:])).status_code == 204
    assert await read(ada, "new") == LARGE


async def test_more_than_was_announced_is_refused(ada: Client) -> None:
    upload = await create(ada, 10)
    assert problem(await upload.patch(0, in_parts(bytes(11)))) == (413, "body-too-large")
    assert problem(await tus(ada, "PATCH", upload.url, bytes(11), upload_offset="0")) == (413, "body-too-large")
    assert await upload.offset() == 0


async def test_that_all_has_come_is_told_when_every_mount_may_know(
    world: World, ada: Client, autojump_clock: trio.testing.MockClock
) -> None:
    upload = await create(ada, 1)
    mount = await (await world.member(ada, "bob", Role.EDITOR)).join()
    told: list[float] = []

    async def ask_of_it() -> None:
        await trio.testing.wait_all_tasks_blocked()  # The content is committed, and its answer waits.
        assert await upload.offset() == 1
        told.append(trio.current_time())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(upload.patch, 0, b"x")
        nursery.start_soon(ask_of_it)
        await trio.sleep(1)
        assert told == []
        mount.absorb((await mount.poll()).notices)
        await mount.poll()
    assert len(told) == 1
