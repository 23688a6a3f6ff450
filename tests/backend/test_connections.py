"""The transport below httpx, over real sockets to a server in this process."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

import httpx
import pytest
import trio
import trio.testing

from backend.connections import TrioTransport
from backend.errors import Offline
from backend.http import HttpxClient

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
BODY = bytes(2 << 20)


@asynccontextmanager
async def server(serve: Callable[[trio.SocketStream], Awaitable[None]]) -> AsyncIterator[str]:
    """Its address. One connection at a time is served."""
    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(trio.serve_tcp, serve, 0)
        yield f"http://localhost:{listeners[0].socket.getsockname()[1]}/"
        nursery.cancel_scope.cancel()


def put(url: str) -> httpx.Request:
    timeouts_s = {"connect": 5.0, "read": 20.0, "write": 20.0}
    return httpx.Request("PUT", url, content=BODY, extensions={"timeout": timeouts_s})


async def take(stream: trio.SocketStream) -> None:
    """Read a whole request of ``BODY``; raises EndOfChannel where the client has closed it."""
    taken = b""
    while b"\r\n\r\n" not in taken:
        if not (part := bytes(await stream.receive_some())):
            raise trio.EndOfChannel
        taken += part
    left = len(BODY) - len(taken.partition(b"\r\n\r\n")[2])
    while left:
        left -= len(await stream.receive_some())


class Moves:
    """Counts."""

    def __init__(self) -> None:
        self.count = 0

    def note(self) -> None:
        self.count += 1


async def test_a_body_moves_as_the_server_takes_it_and_does_not_vanish_in_buffers() -> None:
    moves, taking = Moves(), trio.Event()
    transport = TrioTransport(1, None, moves.note)

    async def serve(stream: trio.SocketStream) -> None:
        await taking.wait()
        await take(stream)
        await stream.send_all(ANSWER)

    async with server(serve) as url, trio.open_nursery() as nursery:
        nursery.start_soon(transport.handle_async_request, put(url))
        await trio.testing.wait_all_tasks_blocked(0.1)
        before = moves.count
        taking.set()
    assert moves.count - before > 20
    await transport.aclose()


async def test_an_answer_that_comes_late_is_taken() -> None:
    answering = trio.Event()
    transport = TrioTransport(1, None, lambda: None)

    async def serve(stream: trio.SocketStream) -> None:
        await take(stream)
        await answering.wait()
        await stream.send_all(ANSWER)

    async with server(serve) as url, trio.open_nursery() as nursery:
        responses: list[httpx.Response] = []

        async def ask() -> None:
            responses.append(await transport.handle_async_request(put(url)))

        nursery.start_soon(ask)
        await trio.testing.wait_all_tasks_blocked(0.1)
        assert responses == []
        answering.set()
    assert [response.content for response in responses] == [b"ok"]
    await transport.aclose()


@pytest.mark.parametrize(
    ("says", "why"),
    [
        (b"", "it closed the connection before its answer was complete"),
        (
            b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf",
            "it closed the connection before its answer was complete",
        ),
        (b"220 mail.example ESMTP\r\n\r\n", "what it sends is not HTTP"),
    ],
    ids=["nothing", "a part", "another protocol"],
)
async def test_an_answer_that_is_none_is_told_in_plain_words(says: bytes, why: str) -> None:
    async def serve(stream: trio.SocketStream) -> None:
        await stream.receive_some()
        await stream.send_all(says)

    async with server(serve) as url, HttpxClient(url) as http:
        with pytest.raises(Offline) as caught:
            await http.request("GET", "/v1/health")
    assert str(caught.value) == f"{url.rstrip('/')} did not answer: {why}"


@pytest.mark.parametrize(
    "says",
    [b"", b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 4\r\n\r\ngone"],
    ids=["it closes them", "it says that its server is gone"],
)
async def test_a_forwarder_without_its_server_moves_nothing(says: bytes) -> None:
    """Else each try would put the deadlines off, and keep the mount from parting."""

    async def serve(stream: trio.SocketStream) -> None:
        await stream.receive_some()
        await stream.send_all(says)

    async with server(serve) as url, HttpxClient(url) as http:
        for _ in range(3):
            with suppress(Offline):
                await http.request("GET", "/v1/health")
        assert http.traffic.moves == 0


async def test_an_answer_moves_as_it_comes() -> None:
    async def serve(stream: trio.SocketStream) -> None:
        await stream.receive_some()
        await stream.send_all(ANSWER)

    async with server(serve) as url, HttpxClient(url) as http:
        assert (await http.request("GET", "/v1/health")).body == b"ok"
        assert http.traffic.moves > 0


async def test_what_the_server_closed_is_not_kept_while_another_connection_serves() -> None:
    """After many requests at once, most connections are idle until the server has had enough of them."""
    served: list[trio.SocketStream] = []
    all_here = trio.Event()

    async def serve(stream: trio.SocketStream) -> None:
        with suppress(trio.EndOfChannel):
            while True:
                await take(stream)
                served.append(stream)
                if len(served) == 3:
                    all_here.set()
                await all_here.wait()
                await stream.send_all(ANSWER)

    transport = TrioTransport(3, None, lambda: None)
    async with server(serve) as url:
        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(transport.handle_async_request, put(url))
        await transport.handle_async_request(put(url))
        idle = set(served) - {served[-1]}
        assert len(idle) == 2
        for stream in idle:
            await stream.send_eof()
        for _ in idle:
            await transport.handle_async_request(put(url))
        assert set(served[3:]) == {served[-1]}
        await trio.testing.wait_all_tasks_blocked()
        ended = [stream.socket.fileno() for stream in idle]
        assert ended == [-1, -1]
        await transport.aclose()
