from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
import trio

from server.nurseries import together

Task = Callable[[], Awaitable[object]]


async def fail() -> None:
    await trio.lowlevel.checkpoint()
    raise KeyError


async def fail_at_the_end() -> None:
    try:
        await trio.sleep_forever()
    finally:
        raise KeyError


async def fail_within() -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(fail)


async def beside(task: Task, block: Task) -> None:
    """One runs in the nursery, the other in its block."""
    async with together() as nursery:
        nursery.start_soon(task)
        await block()


@pytest.mark.parametrize(
    ("task", "block"),
    [
        (fail, trio.sleep_forever),
        (trio.sleep_forever, fail),
        (fail_within, trio.sleep_forever),
        (fail, fail_at_the_end),
    ],
)
async def test_an_error_comes_as_itself(task: Task, block: Task) -> None:
    with pytest.raises(KeyError):
        await beside(task, block)


async def test_an_error_counts_more_than_being_cancelled() -> None:
    with trio.move_on_after(0), pytest.raises(KeyError):
        await beside(fail_at_the_end, trio.sleep_forever)


async def test_who_is_cancelled_is_cancelled() -> None:
    with trio.move_on_after(0) as scope:
        await beside(trio.sleep_forever, trio.sleep_forever)
    assert scope.cancelled_caught
