"""For how long the kernel may keep what it is told, and what undoes too long a time."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio
import trio.testing

from backend.threads import InlineThreads
from fs.clock import LinuxClock
from fs.inodes import Inodes
from fs.keeping import CAP_S, EPSILON_S, Keeping
from fs.notices import Notices
from protocol.ids import ROOT_NODE
from tests.fs.test_notices import FakeKernel


class FakeClock:
    """Moved by hand."""

    def __init__(self) -> None:
        self.now_s = 1000.0
        self._set = trio.Event()

    def boottime_s(self) -> float:
        return self.now_s

    def wake(self) -> None:
        self._set.set()

    async def wait_set(self) -> None:
        await self._set.wait()
        self._set = trio.Event()


class FakeLease:
    strict = False
    left_s = 9.0

    def cache_timeout_s(self) -> float:
        return self.left_s


class World:
    def __init__(self, *, use_epoch: bool = True) -> None:
        self.lease, self.clock, self.kernel = FakeLease(), FakeClock(), FakeKernel()
        notices = Notices(self.kernel, Inodes(), InlineThreads(), lambda: 0.0, use_epoch=use_epoch)
        self.keeping = Keeping(self.lease, notices, self.clock)
        self.kernel.forget_calls()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.keeping.run)
            await trio.testing.wait_all_tasks_blocked()
            yield
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()

    @property
    def dropped(self) -> tuple[int, list[int]]:
        return self.kernel.names_dropped, self.kernel.attributes_dropped


def test_names_and_attributes_are_kept_for_the_rest_of_the_lease() -> None:
    world = World()
    assert (world.keeping.names_s(), world.keeping.attributes_s()) == (9.0, 9.0)


def test_nothing_is_kept_for_longer_than_the_cap() -> None:
    world = World()
    world.lease.left_s = 1e6
    assert world.keeping.attributes_s() == CAP_S


def test_without_epochs_attributes_alone_are_kept() -> None:
    world = World(use_epoch=False)
    assert (world.keeping.names_s(), world.keeping.attributes_s()) == (0.0, 9.0)


def test_a_strict_mount_keeps_nothing() -> None:
    world = World()
    world.lease.strict = True
    assert (world.keeping.names_s(), world.keeping.attributes_s()) == (0.0, 0.0)


async def test_an_answer_in_time_drops_nothing() -> None:
    world = World()
    async with world.running():
        world.keeping.attributes_s()
        world.clock.now_s += EPSILON_S * 0.9
    assert world.dropped == (0, [])


async def test_an_answer_that_was_held_up_after_its_time_out_was_computed_drops_everything() -> None:
    world = World()
    async with world.running():
        world.keeping.attributes_s()
        world.clock.now_s += EPSILON_S * 1.1
    assert world.dropped == (1, [ROOT_NODE])


async def test_an_answer_that_was_given_before_anybody_watched_is_no_trouble() -> None:
    world = World()
    world.keeping.attributes_s()
    async with world.running():
        world.keeping.attributes_s()
        world.clock.now_s += EPSILON_S * 1.1
    assert world.dropped == (1, [ROOT_NODE])


async def test_the_first_of_several_answers_counts() -> None:
    world = World()
    async with world.running():
        world.keeping.attributes_s()
        world.clock.now_s += EPSILON_S * 0.6
        world.keeping.attributes_s()
        world.clock.now_s += EPSILON_S * 0.6
    assert world.dropped == (1, [ROOT_NODE])


async def test_an_answer_that_lets_nothing_be_kept_may_take_long() -> None:
    world = World()
    world.lease.left_s = 0.0
    async with world.running():
        world.keeping.attributes_s()
        world.clock.now_s += 60.0
    assert world.dropped == (0, [])


async def test_waking_from_suspend_drops_everything_each_time() -> None:
    world = World()
    async with world.running():
        world.clock.wake()
        await trio.testing.wait_all_tasks_blocked()
        world.clock.wake()
    assert world.dropped == (2, [ROOT_NODE, ROOT_NODE])


async def test_without_epochs_waking_drops_attributes() -> None:
    world = World(use_epoch=False)
    async with world.running():
        world.clock.wake()
    assert world.dropped == (0, [ROOT_NODE])


async def test_the_real_clock_goes_on_and_tells_nothing_while_nothing_happens() -> None:
    with LinuxClock() as clock, trio.move_on_after(0.02) as scope:
        before_s = clock.boottime_s()
        await clock.wait_set()
    assert scope.cancelled_caught
    assert clock.boottime_s() >= before_s + 0.02
