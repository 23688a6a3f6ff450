"""Listings that the kernel may not have taken in when names are dropped."""

from __future__ import annotations

import trio
import trio.testing

from backend.threads import InlineThreads
from backend.tree import Outdated
from fs.inodes import Inodes
from fs.listings import TAKEN_S
from fs.notices import Notices
from tests.fs.test_notices import FakeKernel, lease_left_s

HANDLE = 3


class World:
    def __init__(self) -> None:
        self.kernel = FakeKernel()
        self.notices = Notices(self.kernel, Inodes(), InlineThreads(), lease_left_s, use_epoch=True)
        self.kernel.forget_calls()

    async def tell(self) -> None:
        await self.notices.tell(Outdated(names=True))


async def test_without_a_listing_nobody_waits() -> None:
    world = World()
    await world.tell()
    assert world.kernel.names_dropped == 1


async def test_names_are_dropped_again_once_a_listing_has_been_taken_in(
    autojump_clock: trio.testing.MockClock,
) -> None:
    world = World()
    world.notices.listings.given(HANDLE)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(world.tell)
        await trio.testing.wait_all_tasks_blocked()
        assert world.kernel.names_dropped == 1
        world.notices.asked_on(HANDLE)
    assert world.kernel.names_dropped == 2
    assert trio.current_time() < TAKEN_S


async def test_a_program_that_pauses_in_a_listing_holds_nobody_up_for_long(
    autojump_clock: trio.testing.MockClock,
) -> None:
    world = World()
    began_s = trio.current_time()
    world.notices.listings.given(HANDLE)
    await world.tell()
    assert trio.current_time() - began_s <= TAKEN_S * 1.01
    assert world.kernel.names_dropped == 2


async def test_names_are_dropped_once_more_when_a_program_that_paused_reads_on(
    autojump_clock: trio.testing.MockClock,
) -> None:
    world = World()
    world.notices.listings.given(HANDLE)
    await world.tell()
    world.kernel.forget_calls()
    world.notices.asked_on(HANDLE)
    world.notices.asked_on(HANDLE)
    assert world.kernel.names_dropped == 1


async def test_a_listing_that_is_given_after_the_drop_is_not_waited_for(
    autojump_clock: trio.testing.MockClock,
) -> None:
    world = World()
    world.notices.listings.given(HANDLE)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(world.tell)
        await trio.sleep(TAKEN_S / 10)
        world.notices.asked_on(HANDLE)
        world.notices.listings.given(HANDLE)
    assert trio.current_time() < TAKEN_S / 2
