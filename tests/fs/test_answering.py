"""What is around every handler."""

from __future__ import annotations

import errno
import logging
from typing import Any

import pyfuse3
import pytest
import trio
import trio.testing

from backend.errors import NotFound
from fs.answering import Deadlines, answering, answering_content, by_number

DEADLINE_S = 30.0


class Handlers:
    def __init__(self) -> None:
        self.deadlines = Deadlines(DEADLINE_S)

    def subject(self, handler: str, arguments: tuple[Any, ...]) -> str:
        return f"the subject of {handler}"

    @answering
    async def hang(self) -> None:
        await trio.sleep_forever()

    @answering_content
    async def send(self, took_s: float) -> str:
        await trio.sleep(took_s)
        return "sent"

    @answering
    async def fail(self, error: Exception) -> None:
        raise error

    @answering
    @by_number
    async def fail_by_number(self, error: Exception) -> None:
        raise error


async def test_what_hangs_is_answered_with_eio_at_the_deadline_and_logged(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    began_s = trio.current_time()
    with pytest.raises(pyfuse3.FUSEError) as raised:
        await Handlers().hang()
    assert raised.value.errno == errno.EIO
    assert DEADLINE_S <= trio.current_time() - began_s < DEADLINE_S * 1.01
    assert [(record.levelno, record.message) for record in caplog.records] == [
        (logging.ERROR, "hang of the subject of hang: no progress for 30 s, answered with an error")
    ]


async def test_what_moves_is_not_cut(autojump_clock: trio.testing.MockClock) -> None:
    handlers = Handlers()
    async with trio.open_nursery() as nursery:

        async def move() -> None:
            while True:
                await trio.sleep(DEADLINE_S * 0.9)
                handlers.deadlines.moved()

        nursery.start_soon(move)
        assert await handlers.send(DEADLINE_S * 10) == "sent"
        nursery.cancel_scope.cancel()


async def test_what_stops_moving_is_cut_a_deadline_later(autojump_clock: trio.testing.MockClock) -> None:
    handlers = Handlers()
    began_s = trio.current_time()
    async with trio.open_nursery() as nursery:

        async def move_once() -> None:
            await trio.sleep(20)
            handlers.deadlines.moved()

        nursery.start_soon(move_once)
        with pytest.raises(pyfuse3.FUSEError):
            await handlers.send(1000)
    assert trio.current_time() - began_s == pytest.approx(20 + DEADLINE_S, abs=0.1)


async def test_others_bytes_do_not_prolong_what_carries_none(autojump_clock: trio.testing.MockClock) -> None:
    handlers = Handlers()
    began_s = trio.current_time()
    async with trio.open_nursery() as nursery:

        async def move_once() -> None:
            await trio.sleep(20)
            handlers.deadlines.moved()

        nursery.start_soon(move_once)
        with pytest.raises(pyfuse3.FUSEError):
            await handlers.hang()
    assert trio.current_time() - began_s < DEADLINE_S * 1.01


async def test_a_subject_that_can_not_be_named_is_no_second_trouble(autojump_clock: trio.testing.MockClock) -> None:
    class Nameless(Handlers):
        def subject(self, handler: str, arguments: tuple[Any, ...]) -> str:
            raise KeyError(handler)

    for call in (Nameless().hang(), Nameless().fail(ZeroDivisionError())):
        with pytest.raises(pyfuse3.FUSEError) as raised:
            await call
        assert raised.value.errno == errno.EIO


async def test_errors_of_the_drive_have_their_errno() -> None:
    with pytest.raises(pyfuse3.FUSEError) as raised:
        await Handlers().fail(NotFound("gone"))
    assert raised.value.errno == errno.ENOENT


async def test_what_was_found_by_name_and_is_gone_is_stale() -> None:
    with pytest.raises(pyfuse3.FUSEError) as raised:
        await Handlers().fail_by_number(NotFound("gone"))
    assert raised.value.errno == errno.ESTALE


async def test_what_nobody_expected_is_eio_for_that_call(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(pyfuse3.FUSEError) as raised:
        await Handlers().fail(ZeroDivisionError())
    assert raised.value.errno == errno.EIO
    assert caplog.records[0].message == "fail of the subject of fail failed"
    assert caplog.records[0].exc_info
