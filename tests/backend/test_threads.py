from __future__ import annotations

import threading

import pytest
import trio
import trio.testing

from backend.threads import InlineThreads, Threads, WorkerThreads


@pytest.fixture(params=[InlineThreads, lambda: WorkerThreads(2)], ids=["inline", "workers"])
def threads(request: pytest.FixtureRequest) -> Threads:
    made: Threads = request.param()
    return made


async def test_the_result_comes_back(threads: Threads) -> None:
    assert await threads.run(lambda: 7) == 7


async def test_an_error_comes_back(threads: Threads) -> None:
    with pytest.raises(ZeroDivisionError):
        await threads.run(lambda: 1 // 0)


async def test_it_is_a_checkpoint(threads: Threads) -> None:
    with trio.testing.assert_checkpoints():
        await threads.run(lambda: None)


async def test_a_caller_cancelled_before_does_no_work(threads: Threads) -> None:
    done: list[int] = []
    with trio.CancelScope() as scope:
        scope.cancel()
        await threads.run(lambda: done.append(1))
    assert done == []


async def test_a_cancelled_caller_waits_for_work_that_has_begun() -> None:
    threads = WorkerThreads(1)
    begun, release, done = threading.Event(), threading.Event(), []

    def work() -> None:
        begun.set()
        release.wait()
        done.append(1)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(threads.run, work)
        await trio.to_thread.run_sync(begun.wait)
        nursery.cancel_scope.cancel()
        release.set()
    assert done == [1]


async def test_workers_run_no_more_at_once_than_they_are() -> None:
    threads = WorkerThreads(2)
    now, most, lock, together = 0, 0, threading.Lock(), threading.Barrier(2)

    def work() -> None:
        nonlocal now, most
        with lock:
            now += 1
            most = max(most, now)
        together.wait()
        with lock:
            now -= 1

    async with trio.open_nursery() as nursery:
        for _ in range(6):
            nursery.start_soon(threads.run, work)
    assert most == 2
