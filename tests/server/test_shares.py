"""Whoever is slow holds up nobody else."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from protocol.limits import MIB
from server.shares import Shares, asker_of
from tests.server.plainly import Exchange, content, get, in_parts, put
from tests.server.world import World

LARGE = content(3 * MIB)


async def hold(shares: Shares, asker: str, release: trio.Event) -> None:
    async with shares.place(asker):
        await release.wait()


async def test_one_asker_has_its_share_and_no_more() -> None:
    shares, release = Shares(4, 2), trio.Event()
    async with trio.open_nursery() as nursery:
        for _ in range(5):
            nursery.start_soon(hold, shares, "slow", release)
        await trio.testing.wait_all_tasks_blocked()
        with trio.fail_after(1):
            async with shares.place("another"):
                pass
        with trio.move_on_after(0) as waited:
            async with shares.place("slow"):
                pass
        assert waited.cancelled_caught
        release.set()


async def test_all_together_have_no_more_than_there_are() -> None:
    shares, release = Shares(4, 2), trio.Event()
    async with trio.open_nursery() as nursery:
        for asker in ("one", "two"):
            for _ in range(2):
                nursery.start_soon(hold, shares, asker, release)
        await trio.testing.wait_all_tasks_blocked()
        with trio.move_on_after(0) as waited:
            async with shares.place("three"):
                pass
        assert waited.cancelled_caught
        release.set()
    with trio.fail_after(1):
        async with shares.place("three"):
            pass


@pytest.mark.parametrize(
    ("headers", "client", "same"),
    [
        ([(b"authorization", b"Bearer a")], ("10.0.0.2", 1), True),
        ([(b"authorization", b"Bearer b")], ("10.0.0.1", 1), False),
        ([], ("10.0.0.1", 2), False),
        ([], None, False),
    ],
)
def test_an_asker_is_known_by_its_token(
    headers: list[tuple[bytes, bytes]], client: tuple[str, int] | None, same: bool
) -> None:
    first = asker_of({"headers": [(b"host", b"x"), (b"authorization", b"Bearer a")], "client": ("10.0.0.1", 1)})
    assert (asker_of({"headers": headers, "client": client}) == first) is same


def test_without_a_token_an_asker_is_known_by_its_address() -> None:
    assert asker_of({"headers": [], "client": ("10.0.0.1", 1)}) == asker_of({"headers": [], "client": ("10.0.0.1", 2)})


async def test_slow_uploads_hold_up_nobody_else(world: World) -> None:
    ada, bob = await world.user("ada"), await world.user("bob")
    go_on = trio.Event()

    async def wait(part: int) -> None:
        if part:
            await go_on.wait()

    async with trio.open_nursery() as nursery:
        for number in range(20):
            slow = Exchange(world, ada, "PUT", f"files/{number}")
            nursery.start_soon(slow.run, [LARGE, b"", None], wait)
        await trio.testing.wait_all_tasks_blocked()
        with trio.fail_after(5):
            await put(bob, "a", in_parts(LARGE))
            await put(ada, "small", b"waits for no place")
        go_on.set()


async def test_slow_downloads_hold_up_nobody_else(world: World) -> None:
    ada, bob = await world.user("ada"), await world.user("bob")
    for client in (ada, bob):
        await put(client, "a", in_parts(LARGE))
        await put(client, "small", b"waits for no place")
    go_on = trio.Event()

    async def wait(part: int) -> None:
        await go_on.wait()

    async with trio.open_nursery() as nursery:
        for _ in range(20):
            slow = Exchange(world, ada, "GET", "files/a")
            nursery.start_soon(slow.run, (b"",), None, wait)
        await trio.testing.wait_all_tasks_blocked()
        with trio.fail_after(5):
            assert (await get(bob, "a")).content == LARGE
            assert (await get(ada, "small")).content == b"waits for no place"
        go_on.set()
