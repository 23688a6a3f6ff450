"""A network to test over: a TCP proxy that counts, delays, limits, cuts and swallows.

Owns one listening port on loopback and what passes between it and one target. Knows HTTP only as far as
counting requests takes; other protocols pass uncounted. Imports nothing of the product: tests and benchmarks
use it for every program alike.

It runs as a process of its own, so that it shares no interpreter lock with what it measures. Commands come as
JSON lines on standard input, each is answered by one line on standard output, and the end of input ends it.

Model of the link. Each direction delivers a byte half a round trip after it came in, and holds at most
``WINDOW_BYTES`` a connection in flight, as a TCP window does. The first bytes of a connection wait a whole round
trip more: the three-way handshake, which loopback answers at once. Bandwidth is shared by all connections, each
direction for itself; what it delivers later than in ``QUEUE_S`` is left with the sender, as a router with a short queue
does: this process's buffers take no more, and come in an Ethernet's segments.
"""

from __future__ import annotations

import collections
import json
import math
import re
import socket
import subprocess
import sys
from collections.abc import Callable
from typing import Any, Final, NamedTuple

import trio

WINDOW_BYTES: Final = 8 * 1024 * 1024
CHUNK_BYTES: Final = 256 * 1024
QUEUE_S: Final = 0.25
SEGMENT_BYTES: Final = 1448
"""Of an Ethernet: loopback's segments are as large as what a slow link carries in a second."""

REQUESTS_KEPT: Final = 200_000
"""Requests are kept for what failing tests print; past this, only counted."""

HEAD_MAX_BYTES: Final = 64 * 1024
_GONE: Final = b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
_REQUEST_LINE: Final = re.compile(rb"([A-Z]+) (\S+) HTTP/1\.[01]\r\n")
_LENGTH: Final = re.compile(rb"\r\ncontent-length:[ \t]*(\d+)", re.IGNORECASE)
_CHUNKED: Final = re.compile(rb"\r\ntransfer-encoding:[ \t]*chunked", re.IGNORECASE)


class Request(NamedTuple):
    """What was asked. ``body_bytes`` is 0 for a chunked body, whose length isn't known at its head."""

    method: str
    path: str
    body_bytes: int


class RequestReader:
    """Finds the request heads in one direction of an HTTP/1.1 connection.

    ``feed`` takes bytes as they come and returns the requests that begin in them. What doesn't look like HTTP
    turns it off for good.
    """

    def __init__(self) -> None:
        self._head = bytearray()
        self._body_left = 0
        self._chunk: _Chunks | None = None
        self._off = False

    def feed(self, data: bytes) -> list[Request]:
        found: list[Request] = []
        view = memoryview(data)
        while view and not self._off:
            if self._body_left:
                used = min(self._body_left, len(view))
                self._body_left -= used
                view = view[used:]
            elif self._chunk is not None:
                used, ended = self._chunk.feed(view)
                view = view[used:]
                if ended:
                    self._chunk = None
            else:
                before = len(self._head)
                self._head += view[:HEAD_MAX_BYTES]
                end = self._head.find(b"\r\n\r\n", max(0, before - 3))
                if end < 0:
                    self._off = len(self._head) > HEAD_MAX_BYTES or not self._head[:1].isalpha()
                    break
                view = view[end + 4 - before :]
                head = bytes(self._head[: end + 2])
                self._head.clear()
                line = _REQUEST_LINE.match(head)
                if line is None:
                    self._off = True
                    break
                length = _LENGTH.search(head)
                self._body_left = int(length[1]) if length else 0
                if _CHUNKED.search(head):
                    self._chunk = _Chunks()
                found.append(Request(line[1].decode(), line[2].decode("latin-1"), self._body_left))
        return found


class _Chunks:
    """Steps over a chunked body (RFC 9112, section 7.1)."""

    def __init__(self) -> None:
        self._line = bytearray()
        self._left = 0
        self._last = False

    def feed(self, view: memoryview) -> tuple[int, bool]:
        """How many bytes belong to the body, and whether it ended with them."""
        at = 0
        while at < len(view):
            if self._left:
                used = min(self._left, len(view) - at)
                self._left -= used
                at += used
                continue
            self._line.append(view[at])
            at += 1
            if self._line.endswith(b"\r\n"):
                line = bytes(self._line[:-2])
                self._line.clear()
                if self._last:
                    if not line:
                        return at, True
                    continue
                size = int(line.split(b";")[0], 16)
                self._last = size == 0
                self._left = size + 2 if size else 0
        return at, False


class Link:
    """What all connections share: the faults that are set, and the counts. Changed between checkpoints only."""

    def __init__(self) -> None:
        self.delay_s = 0.0
        self.bandwidth: float = math.inf
        self.passing = "pass"
        """``pass``; ``cut``: connections are ended, and new ones as soon as they are made; ``gone``: the same, and new
        ones are told that the server is gone, as by a load balancer; ``swallow``: nothing arrives, nothing ends."""
        self.cut_in_bytes: int | None = None
        """After so many more bytes up, the link is cut."""
        self.bytes_up = 0
        self.bytes_down = 0
        self.connections = 0
        self.requests: collections.deque[Request] = collections.deque(maxlen=REQUESTS_KEPT)
        self.request_count = 0
        self.changed = trio.Event()
        self._free_at = {"up": 0.0, "down": 0.0}
        self._scopes: set[trio.CancelScope] = set()

    def send_at(self, direction: str, size: int) -> float:
        """When bytes that came in now are to be delivered; takes their share of the bandwidth."""
        now = trio.current_time()
        start = max(now, self._free_at[direction])
        self._free_at[direction] = start + size / self.bandwidth
        return self._free_at[direction] + self.delay_s

    @property
    def chunk_bytes(self) -> int:
        """How much is taken in at once."""
        return int(min(CHUNK_BYTES, max(4096, self.bandwidth * QUEUE_S)))

    async def wait_room(self, direction: str) -> None:
        """Until more can be taken in."""
        await trio.sleep(max(0.0, self._free_at[direction] - QUEUE_S - trio.current_time()))

    def count(self, direction: str, size: int, requests: list[Request]) -> None:
        if direction == "down":
            self.bytes_down += size
            return
        self.bytes_up += size
        self.requests.extend(requests)
        self.request_count += len(requests)
        if self.cut_in_bytes is not None:
            self.cut_in_bytes -= size
            if self.cut_in_bytes <= 0:
                self.cut_in_bytes = None
                self.set_passing("cut")
        self._wake()

    def set_passing(self, passing: str) -> None:
        self.passing = passing
        if passing in ("cut", "gone"):
            for scope in self._scopes:
                scope.cancel()
        self._wake()

    def _wake(self) -> None:
        self.changed.set()
        self.changed = trio.Event()

    async def wait_for(self, condition: Callable[[Link], bool]) -> None:
        while not condition(self):
            await self.changed.wait()

    def connection(self, scope: trio.CancelScope) -> None:
        self.connections += 1
        self._scopes.add(scope)

    def gone(self, scope: trio.CancelScope) -> None:
        self._scopes.discard(scope)

    def counts(self) -> dict[str, Any]:
        return {
            "bytes_up": self.bytes_up,
            "bytes_down": self.bytes_down,
            "connections": self.connections,
            "request_count": self.request_count,
            "requests": list(self.requests),
        }

    def reset(self) -> None:
        self.bytes_up = self.bytes_down = self.connections = self.request_count = 0
        self.requests.clear()


class _Window:
    """A bounded pipe of (time to deliver, bytes), in bytes. One writer, one reader."""

    def __init__(self) -> None:
        self._items: collections.deque[tuple[float, bytes]] = collections.deque()
        self._size_bytes = 0
        self._changed = trio.Event()
        self._ended = False

    def _wake(self) -> None:
        self._changed.set()
        self._changed = trio.Event()

    async def put(self, at: float, data: bytes) -> None:
        while self._size_bytes + len(data) > WINDOW_BYTES:
            await self._changed.wait()
        self._items.append((at, data))
        self._size_bytes += len(data)
        self._wake()

    def end(self) -> None:
        self._ended = True
        self._wake()

    async def get(self) -> bytes:
        """The next bytes, once they are due; b"" at the end."""
        while not self._items:
            if self._ended:
                return b""
            await self._changed.wait()
        await trio.sleep_until(self._items[0][0])
        _, data = self._items.popleft()
        self._size_bytes -= len(data)
        self._wake()
        return data


async def _one_way(link: Link, direction: str, source: trio.SocketStream, sink: trio.SocketStream) -> None:
    window = _Window()
    reader = RequestReader() if direction == "up" else None
    handshake_s = 2 * link.delay_s

    async def receive() -> None:
        handshake_until = trio.current_time() + handshake_s
        source.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, link.chunk_bytes)
        while data := await source.receive_some(link.chunk_bytes):
            await link.wait_for(lambda link: link.passing != "swallow")
            link.count(direction, len(data), reader.feed(data) if reader else [])
            at = link.send_at(direction, len(data))
            await window.put(max(at, handshake_until + link.delay_s) if direction == "up" else at, bytes(data))
            await link.wait_room(direction)
        window.end()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(receive)
        while data := await window.get():
            await link.wait_for(lambda link: link.passing != "swallow")
            await sink.send_all(data)
        await sink.send_eof()


async def serve(link: Link, target_port: int, listener: trio.SocketListener) -> None:
    """Until cancelled. Connections are to loopback's ``target_port``."""

    async def connection(client: trio.SocketStream) -> None:
        with trio.CancelScope() as scope:
            link.connection(scope)
            try:
                if link.passing == "cut":
                    return
                if link.passing == "gone":
                    await client.receive_some()
                    await client.send_all(_GONE)
                    return
                async with client, await trio.open_tcp_stream("127.0.0.1", target_port) as server:
                    async with trio.open_nursery() as nursery:
                        nursery.start_soon(_one_way, link, "up", client, server)
                        nursery.start_soon(_one_way, link, "down", server, client)
            except* (OSError, trio.BrokenResourceError, trio.ClosedResourceError):
                pass  # Either end went away: the other sees it end, too.
            finally:
                link.gone(scope)
                with trio.CancelScope(shield=True):
                    await trio.aclose_forcefully(client)

    await trio.serve_listeners(connection, [listener])


async def obey(link: Link, command: dict[str, Any]) -> object:
    """One command of the process that started the proxy; the value is its answer."""
    match command["do"]:
        case "counts":
            return link.counts()
        case "reset":
            link.reset()
        case "rtt":
            link.delay_s = command["rtt_s"] / 2
        case "bandwidth":
            link.bandwidth = command["bytes_per_s"] or math.inf
        case "passing":
            link.set_passing(command["passing"])
        case "cut after":
            link.cut_in_bytes = command["bytes_up"]
        case "wait":
            with trio.move_on_after(command["timeout_s"]) as scope:
                await link.wait_for(
                    lambda link: link.request_count >= command["requests"] and link.bytes_up >= command["bytes_up"]
                )
            return not scope.cancelled_caught
    return None


async def _main(target_port: int) -> None:
    link = Link()
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    listener.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, SEGMENT_BYTES)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve, link, target_port, listener)
        print(json.dumps(listener.socket.getsockname()[1]), flush=True)
        stdin = trio.lowlevel.FdStream(0)
        pending = b""
        while data := await stdin.receive_some(65536):
            *lines, pending = (pending + data).split(b"\n")
            for line in lines:
                print(json.dumps(await obey(link, json.loads(line))), flush=True)
        nursery.cancel_scope.cancel()


class Counts(NamedTuple):
    """What passed since the last reset. Up is from the client to the server."""

    bytes_up: int
    bytes_down: int
    connections: int
    request_count: int
    requests: list[Request]

    def of(self, method: str, path: str = "") -> list[Request]:
        """The requests with that method whose path matches the regular expression."""
        return [r for r in self.requests if r.method == method and re.search(path, r.path)]

    @property
    def asked(self) -> list[Request]:
        """All but long polls, which come by themselves."""
        return [r for r in self.requests if not (r.method == "GET" and "/changes" in r.path)]

    @property
    def blocks_put(self) -> list[Request]:
        return self.of("PUT", r"/blocks/")

    @property
    def blocks_read(self) -> list[Request]:
        return [*self.of("GET", r"/blocks/"), *self.of("POST", r"/blocks/read")]

    @property
    def batches(self) -> list[Request]:
        return self.of("POST", r"/changes")


class Wire:
    """A proxy in a process of its own; ``port`` is where it listens. Synchronous: for tests and benchmarks."""

    def __init__(self, target_port: int) -> None:
        self._process = subprocess.Popen(
            [sys.executable, __file__, str(target_port)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert self._process.stdout is not None
        self.port: int = json.loads(self._process.stdout.readline())
        self.url = f"http://127.0.0.1:{self.port}"

    def _do(self, do: str, **arguments: object) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"do": do, **arguments}).encode() + b"\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())

    def counts(self) -> Counts:
        answer = self._do("counts")
        return Counts(**{**answer, "requests": [Request(*each) for each in answer["requests"]]})

    def reset(self) -> None:
        self._do("reset")

    def set_rtt(self, rtt_s: float) -> None:
        """For connections' bytes that come in from now on."""
        self._do("rtt", rtt_s=rtt_s)

    def set_bandwidth(self, bytes_per_s: float | None) -> None:
        self._do("bandwidth", bytes_per_s=bytes_per_s)

    def cut(self) -> None:
        """End every connection, and new ones as soon as they are made, until ``heal``."""
        self._do("passing", passing="cut")

    def lose_server(self) -> None:
        """The same, but new ones are told that the server is gone: a load balancer without it."""
        self._do("passing", passing="gone")

    def cut_after(self, bytes_up: int) -> None:
        self._do("cut after", bytes_up=bytes_up)

    def swallow(self) -> None:
        """Let nothing arrive and end nothing, until ``heal``: a cable pulled out."""
        self._do("passing", passing="swallow")

    def heal(self) -> None:
        self._do("passing", passing="pass")

    def wait(self, *, requests: int = 0, bytes_up: int = 0, timeout_s: float = 30.0) -> bool:
        """Wait until so much has passed since the last reset; False where the time ran out first."""
        return bool(self._do("wait", requests=requests, bytes_up=bytes_up, timeout_s=timeout_s))

    def close(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(timeout=10)
        self._process.stdout.close()

    def __enter__(self) -> Wire:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


if __name__ == "__main__":
    trio.run(_main, int(sys.argv[1]))
