from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any

import pytest
import trio

from server.lingering import LINGER_S, Lingering

Message = MutableMapping[str, Any]
START = {"type": "http.response.start", "status": 413, "headers": []}
ANSWER = {"type": "http.response.body", "body": b"no"}
SCOPE = {"type": "http", "headers": [(b"content-length", b"3")]}


def _part(*, more: bool) -> Message:
    return {"type": "http.request", "body": b"x", "more_body": more}


async def _refuse(scope: object, receive: object, send: Any) -> None:
    await send(START)
    await send(ANSWER)


async def _read_all(scope: object, receive: Any, send: Any) -> None:
    while (await receive())["more_body"]:
        pass
    await _refuse(scope, receive, send)


async def test_the_rest_of_a_body_is_dropped_before_the_answer_ends() -> None:
    events: list[str] = []
    rest = [_part(more=True), _part(more=True), _part(more=False)]

    async def receive() -> Message:
        events.append("dropped")
        return rest.pop(0)

    async def send(message: Message) -> None:
        events.append("sent" if message.get("more_body", False) or "status" in message else "ended")

    await Lingering(_refuse)(SCOPE, receive, send)
    assert events == ["sent", "sent", "dropped", "dropped", "dropped", "ended"]


async def test_a_body_that_never_ends_is_cut(autojump_clock: object) -> None:
    sent: list[Message] = []
    taken = 0

    async def receive() -> Message:
        nonlocal taken
        await trio.sleep(0.1)
        taken += 1
        return _part(more=True)

    async def send(message: Message) -> None:
        await trio.sleep(0.25)
        sent.append(message)

    began = trio.current_time()
    await Lingering(_refuse)(SCOPE, receive, send)
    assert trio.current_time() - began == pytest.approx(LINGER_S + 0.75)
    assert sent[-1] == {"type": "http.response.body", "body": b"", "more_body": False}
    assert taken >= LINGER_S / 0.1


async def test_dropping_goes_on_while_the_answer_ends(autojump_clock: object) -> None:
    """The HTTP server ends an answer only when its queue of the body's parts is taken."""
    queue_in, queue_out = trio.open_memory_channel[Message](0)
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)
        if message["type"] == "http.response.body" and not message.get("more_body", False):
            await queue_in.send(_part(more=True))
            await queue_in.send({"type": "http.disconnect"})

    await Lingering(_refuse)(SCOPE, queue_out.receive, send)
    assert not sent[-1]["more_body"]


async def test_an_answer_after_the_whole_body_is_left_as_it_is() -> None:
    sent: list[Message] = []
    parts = [_part(more=True), _part(more=False)]

    async def receive() -> Message:
        return parts.pop(0)

    async def send(message: Message) -> None:
        sent.append(message)

    await Lingering(_read_all)(SCOPE, receive, send)
    assert sent == [START, ANSWER]


@pytest.mark.parametrize("headers", [[], [(b"content-length", b"0")]])
async def test_a_request_without_a_body_is_left_as_it_is(headers: list[tuple[bytes, bytes]]) -> None:
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    async def receive() -> Message:
        raise AssertionError("there is nothing to read")

    await Lingering(_refuse)({"type": "http", "headers": headers}, receive, send)
    assert sent == [START, ANSWER]


async def test_sending_to_a_client_who_is_gone_is_no_error_and_ends_there() -> None:
    tried: list[Message] = []

    async def send(message: Message) -> None:
        tried.append(message)
        raise trio.BusyResourceError

    async def receive() -> Message:
        return {"type": "http.disconnect"}

    for headers in (SCOPE["headers"], []):
        tried.clear()
        await Lingering(_refuse)({"type": "http", "headers": headers}, receive, send)
        assert tried == [START]
