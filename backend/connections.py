"""A thin HTTP/1.1 transport for httpx on trio: a pool of kept connections, h11 for the protocol.

httpcore's pool does for every request what the hardest one needs; here there is one server, few connections and no
proxy. Measured with small commits on loopback, this takes 0.6 ms of the client's 1.5 ms a request away.

A body moves as the network takes it: little of it lies in this machine's buffers unsent, and what does, or is on its
way, is looked at while the answer is waited for. So a slow link is told from one that carries nothing.

Owns the connections. One that failed, that a request was cancelled on, or that the server closed is never used
again. Bodies, both ways, are complete in memory: nothing here is larger than a block or a batch.
"""

from __future__ import annotations

import fcntl
import socket as sockets
import ssl
import sys
import termios
from collections import deque
from collections.abc import Callable
from typing import Any, Final

import h11
import httpx
import trio

_CLOSED: Final = "it closed the connection before its answer was complete"
_RECEIVE_BYTES: Final = 256 * 1024
_PART_BYTES: Final = 32 * 1024
"""So much of a body is sent at once: each has moved when the next can be sent."""

_UNSENT_MAX_BYTES: Final = 64 * 1024
"""Of a connection, beside what is on its way."""

_LOOK_S: Final = 1.0
"""How often is looked how much of a body has not arrived: nothing tells when it does."""

_HEAD_MAX_BYTES: Final = 64 * 1024
_BODY_MAX_BYTES: Final = 64 * 1024 * 1024


class _Connection:
    """One connection and the state of the protocol on it."""

    def __init__(
        self,
        socket: trio.SocketStream,
        stream: trio.SocketStream | trio.SSLStream[trio.SocketStream],
        moved: Callable[[], None],
    ) -> None:
        self._moved = moved
        self._socket = socket
        self._stream = stream
        self._protocol = h11.Connection(h11.CLIENT, max_incomplete_event_size=_HEAD_MAX_BYTES)

    async def exchange(self, request: httpx.Request, timeout_s: dict[str, float]) -> httpx.Response:
        """Send a request and read its answer. Raises httpx.TransportError; the connection is of no more use then."""
        try:
            await self._send(request, timeout_s["write"])
            if len(request.content) > _PART_BYTES:
                await self._arrival(timeout_s["write"])
            head = await self._event(timeout_s["read"])
            while isinstance(head, h11.InformationalResponse):
                head = await self._event(timeout_s["read"])
            if not isinstance(head, h11.Response):
                raise httpx.RemoteProtocolError(_CLOSED)
            # A forwarder whose server is gone takes connections, closes them, or says 502: nothing moves for that.
            moved = self._moved if head.status_code < 300 else _nothing_moved
            moved()
            content = await self._body(timeout_s["read"], moved)
            return httpx.Response(head.status_code, headers=head.headers.raw_items(), content=content)
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise httpx.ReadError("the connection broke") from error
        except h11.RemoteProtocolError as error:
            has_closed = self._protocol.trailing_data[1]
            what = _CLOSED if has_closed else "what it sends is not HTTP"
            raise httpx.RemoteProtocolError(what) from error

    async def _body(self, no_progress_s: float, moved: Callable[[], None]) -> bytes:
        parts: list[bytes] = []
        size = 0
        while not isinstance(event := await self._event(no_progress_s), h11.EndOfMessage):
            moved()
            parts.append(event.data)
            size += len(event.data)
            if size > _BODY_MAX_BYTES:
                raise httpx.RemoteProtocolError("its answer is longer than any that it could have to give")
        return bytes(parts[0]) if len(parts) == 1 else b"".join(parts)

    async def _send(self, request: httpx.Request, no_progress_s: float) -> None:
        protocol, body = self._protocol, request.content
        parts = [
            protocol.send(h11.Request(method=request.method, target=request.url.raw_path, headers=request.headers.raw))
            or b""
        ]
        if body:
            parts += protocol.send_with_data_passthrough(h11.Data(data=body)) or []
        parts.append(protocol.send(h11.EndOfMessage()) or b"")
        if len(body) <= _HEAD_MAX_BYTES:
            parts = [b"".join(parts)]
        for part in parts:
            for at in range(0, len(part), _PART_BYTES):
                with trio.move_on_after(no_progress_s) as scope:
                    await self._stream.send_all(memoryview(part)[at : at + _PART_BYTES])
                if scope.cancelled_caught:
                    raise httpx.WriteTimeout("it takes nothing")
                if at >= _UNSENT_MAX_BYTES:  # The first parts may lie in this machine's buffers.
                    self._moved()

    async def _arrival(self, no_progress_s: float) -> None:
        """Return when a body that was sent has arrived, or there is something to read."""
        left_bytes, silent_s = self._under_way_bytes(), 0.0
        while left_bytes > 0:
            with trio.move_on_after(_LOOK_S):
                await trio.lowlevel.wait_readable(self._socket.socket)
                return
            before, left_bytes = left_bytes, self._under_way_bytes()
            silent_s = 0.0 if left_bytes < before else silent_s + _LOOK_S
            if silent_s == 0:
                self._moved()
            elif silent_s >= no_progress_s:
                raise httpx.WriteTimeout("it takes nothing")

    def _under_way_bytes(self) -> int:
        """What was sent and not acknowledged: tcp(7), SIOCOUTQ, which is TIOCOUTQ."""
        return int.from_bytes(fcntl.ioctl(self._socket.socket.fileno(), termios.TIOCOUTQ, bytes(4)), sys.byteorder)

    async def _event(self, no_progress_s: float) -> Any:
        while (event := self._protocol.next_event()) is h11.NEED_DATA:
            with trio.move_on_after(no_progress_s) as scope:
                self._protocol.receive_data(bytes(await self._stream.receive_some(_RECEIVE_BYTES)))
            if scope.cancelled_caught:
                raise httpx.ReadTimeout("it sends nothing")
        return event

    def may_serve_again(self) -> bool:
        """Whether its answer is complete and both sides keep it open."""
        if self._protocol.our_state is not h11.DONE or self._protocol.their_state is not h11.DONE:
            return False
        self._protocol.start_next_cycle()
        return True

    def is_open(self) -> bool:
        """Whether the idle connection has not been closed by the server: nothing is to be read on it."""
        return not self._socket.socket.is_readable()

    async def close(self) -> None:
        """At once."""
        await trio.aclose_forcefully(self._stream)


class TrioTransport(httpx.AsyncBaseTransport):
    """At most ``connections`` at once to one server. ``moved`` is called when bytes come, or a part of a body went."""

    def __init__(self, connections: int, tls: ssl.SSLContext | None, moved: Callable[[], None]) -> None:
        self._moved = moved
        self._places = trio.Semaphore(connections)
        self._tls = tls
        self._idle: deque[_Connection] = deque()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """See httpx.AsyncBaseTransport."""
        timeout_s: dict[str, float] = request.extensions["timeout"]
        async with self._places:
            connection = await self._idle_connection() or await self._connect(request.url, timeout_s["connect"])
            reusable = False
            try:
                response = await connection.exchange(request, timeout_s)
                reusable = connection.may_serve_again()
            finally:
                if reusable:
                    self._idle.append(connection)
                    await self._drop_longest_idle()
                else:
                    with trio.CancelScope(shield=True):
                        await connection.close()
            return response

    async def aclose(self) -> None:
        """Close what is idle."""
        while self._idle:
            await self._idle.pop().close()

    async def _idle_connection(self) -> _Connection | None:
        while self._idle:
            connection = self._idle.pop()
            if connection.is_open():
                return connection
            await connection.close()
        return None

    async def _drop_longest_idle(self) -> None:
        """If the server has closed it. The one that was used last serves first, so others may never be looked at."""
        longest = self._idle[0]
        if not longest.is_open():
            self._idle.popleft()
            await longest.close()

    async def _connect(self, url: httpx.URL, connect_s: float) -> _Connection:
        port = url.port or (443 if url.scheme == "https" else 80)
        try:
            with trio.fail_after(connect_s):
                socket = await trio.open_tcp_stream(url.host, port)
                socket.setsockopt(sockets.IPPROTO_TCP, sockets.TCP_NOTSENT_LOWAT, _UNSENT_MAX_BYTES)
                if self._tls is None or url.scheme != "https":
                    return _Connection(socket, socket, self._moved)
                stream = trio.SSLStream(socket, self._tls, server_hostname=url.host, https_compatible=True)
                await stream.do_handshake()
                return _Connection(socket, stream, self._moved)
        except trio.TooSlowError:
            raise httpx.ConnectTimeout("no connection in time") from None
        except (trio.BrokenResourceError, ssl.SSLError) as error:
            raise httpx.ConnectError(f"TLS: {error.__cause__ or error}") from error
        except OSError as error:
            raise httpx.ConnectError(error.strerror or str(error)) from error


def _nothing_moved() -> None:
    """An answer that carries nothing that anybody waits for."""
