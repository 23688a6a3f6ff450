"""Whether a mount works with its server: calls that are cut, and who is woken."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from backend.errors import Offline
from backend.reach import Reach


async def forever() -> None:
    await trio.sleep_forever()


async def test_a_call_that_is_answered_gives_its_answer() -> None:
    async def answer() -> int:
        await trio.lowlevel.checkpoint()
        return 7

    assert await Reach().guard(answer) == 7


async def test_a_call_under_way_ends_when_the_mount_parts(nursery: trio.Nursery) -> None:
    reach = Reach()
    ended: list[str] = []

    async def call() -> None:
        with pytest.raises(Offline):
            await reach.guard(forever)
        ended.append("ended")

    nursery.start_soon(call)
    nursery.start_soon(call)
    await trio.testing.wait_all_tasks_blocked()
    reach.part()
    await trio.testing.wait_all_tasks_blocked()
    assert ended == ["ended", "ended"]


async def test_no_call_reaches_the_server_while_the_mount_is_apart() -> None:
    reach = Reach()
    reach.part()
    made: list[str] = []

    async def call() -> None:
        made.append("made")

    with pytest.raises(Offline):
        await reach.guard(call)
    reach.join()
    await reach.guard(call)
    assert made == ["made"]


async def test_who_is_cancelled_is_cancelled_and_not_offline() -> None:
    with trio.move_on_after(0) as scope:
        await Reach().guard(forever)
    assert scope.cancelled_caught


@pytest.mark.parametrize("verdict", ["heard", "part"])
async def test_a_verdict_is_that_the_server_answers_or_that_the_mount_parts(
    nursery: trio.Nursery, verdict: str
) -> None:
    reach = Reach()
    woken = trio.Event()

    async def wait() -> None:
        await reach.wait_verdict()
        woken.set()

    nursery.start_soon(wait)
    await trio.testing.wait_all_tasks_blocked()
    assert not woken.is_set()
    getattr(reach, verdict)()
    await woken.wait()


async def test_there_is_a_verdict_while_the_mount_is_apart() -> None:
    reach = Reach()
    reach.part()
    await reach.wait_verdict()


async def test_a_verdict_of_earlier_does_not_count(nursery: trio.Nursery) -> None:
    reach = Reach()
    reach.part()
    reach.join()
    reach.heard()
    with trio.CancelScope() as scope:
        nursery.start_soon(_cancel_when_blocked, scope)
        await reach.wait_verdict()
    assert scope.cancelled_caught


async def _cancel_when_blocked(scope: trio.CancelScope) -> None:
    await trio.testing.wait_all_tasks_blocked()
    scope.cancel()


async def test_a_mount_may_part_and_join_again_and_again() -> None:
    reach = Reach()
    for _ in range(3):
        reach.part()
        await reach.wait_parted()
        reach.join()
        await reach.wait_joined()
