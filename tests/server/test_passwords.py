from __future__ import annotations

import pytest
import trio
import trio.testing

from server.passwords import ATTEMPTS, WAITING, WINDOW_S, Passwords, TooManyAttempts
from server.threads import in_place, in_thread


class Clock:
    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


class Held:
    """Threads whose work waits until it may go on."""

    def __init__(self) -> None:
        self.begun = 0
        self.may_go_on = trio.Event()

    async def __call__(self, work: object, *, limiter: object) -> bool:
        self.begun += 1
        await self.may_go_on.wait()
        return False


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def passwords(clock: Clock) -> Passwords:
    return Passwords(clock, in_place)


async def test_a_password_is_verified_by_its_hash(passwords: Passwords) -> None:
    kept = await passwords.hash("secret ä")
    assert kept.startswith("$argon2id$")
    assert await passwords.verify("secret ä", kept, "ada", "::1")
    assert not await passwords.verify("secret", kept, "ada", "::1")


async def test_a_user_who_is_not_there_has_no_password(passwords: Passwords) -> None:
    assert not await passwords.verify("secret", None, "nobody", "::1")


async def _fail(passwords: Passwords, count: int, user: str, address: str) -> None:
    for _ in range(count):
        assert not await passwords.verify("wrong", None, user, address)


async def test_a_user_is_refused_after_too_many_failures_from_anywhere(passwords: Passwords) -> None:
    for number in range(ATTEMPTS):
        await _fail(passwords, 1, "ada", f"192.0.2.{number}")
    with pytest.raises(TooManyAttempts):
        await passwords.verify("wrong", None, "ada", "198.51.100.1")


async def test_an_address_is_refused_after_too_many_failures_of_anybody(passwords: Passwords) -> None:
    for number in range(ATTEMPTS):
        await _fail(passwords, 1, f"user {number}", "192.0.2.1")
    with pytest.raises(TooManyAttempts):
        await passwords.verify("wrong", None, "ada", "192.0.2.1")


async def test_failures_are_forgotten_in_time(passwords: Passwords, clock: Clock) -> None:
    await _fail(passwords, ATTEMPTS, "ada", "192.0.2.1")
    clock.now_s = WINDOW_S + 1
    await _fail(passwords, 1, "ada", "192.0.2.1")


async def test_a_right_password_forgets_the_failures(passwords: Passwords) -> None:
    kept = await passwords.hash("secret")
    await _fail(passwords, ATTEMPTS - 1, "ada", "192.0.2.1")
    assert await passwords.verify("secret", kept, "ada", "192.0.2.1")
    await _fail(passwords, ATTEMPTS - 1, "ada", "192.0.2.1")


async def test_guesses_sent_at_once_are_counted_before_they_are_judged(clock: Clock) -> None:
    held = Held()
    passwords = Passwords(clock, held)  # type: ignore[arg-type]
    refused = 0

    async def guess() -> None:
        nonlocal refused
        try:
            await passwords.verify("wrong", None, "ada", "192.0.2.1")
        except TooManyAttempts:
            refused += 1

    async with trio.open_nursery() as nursery:
        for _ in range(ATTEMPTS + 5):
            nursery.start_soon(guess)
        await trio.testing.wait_all_tasks_blocked()
        held.may_go_on.set()
    assert (held.begun, refused) == (ATTEMPTS, 5)


async def test_only_so_many_wait(clock: Clock) -> None:
    held = Held()
    passwords = Passwords(clock, held)  # type: ignore[arg-type]
    async with trio.open_nursery() as nursery:
        for number in range(WAITING):
            nursery.start_soon(passwords.verify, "wrong", None, f"user {number}", f"192.0.2.{number}")
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(TooManyAttempts, match="at once"):
            await passwords.verify("wrong", None, "ada", "198.51.100.1")
        held.may_go_on.set()


async def test_who_came_while_too_many_logged_in_has_not_failed(clock: Clock) -> None:
    held = Held()
    passwords = Passwords(clock, held)  # type: ignore[arg-type]
    async with trio.open_nursery() as nursery:
        for number in range(WAITING):
            nursery.start_soon(passwords.verify, "wrong", None, f"user {number}", f"192.0.2.{number}")
        await trio.testing.wait_all_tasks_blocked()
        for _ in range(ATTEMPTS):
            with pytest.raises(TooManyAttempts, match="at once"):
                await passwords.verify("wrong", None, "ada", "198.51.100.1")
        held.may_go_on.set()
    assert not await passwords.verify("wrong", None, "ada", "198.51.100.1")


async def test_threads_give_back_what_the_work_returns_or_raises() -> None:
    limiter = trio.CapacityLimiter(1)
    for run_sync in (in_place, in_thread):
        assert await run_sync(lambda: 7, limiter=limiter) == 7
        with pytest.raises(ZeroDivisionError):
            await run_sync(lambda: 1 // 0, limiter=limiter)
