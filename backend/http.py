"""Where requests are made of httpx: bytes out, bytes in, foreign errors translated.

Owns three pools, kept apart because nothing may wait behind a bulk transfer: small calls, block transfers, the
long poll.

``Http`` is the seam: a simulation passes its own.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from types import TracebackType
from typing import Final, Protocol

import httpx

from backend.connections import TrioTransport
from backend.errors import Offline, Unusable
from protocol.limits import NO_PROGRESS_S

_CONNECT_S: Final = 5.0
_POLL_LATE_S: Final = 3.0
"""A poll that is answered later than it should be by so much has lost its connection."""


class Lane(Enum):
    """Which pool carries a request; the value is its number of connections."""

    SMALL = 8
    BULK = 10
    POLL = 1


@dataclass(frozen=True, slots=True)
class Response:
    """A complete answer."""

    status: int
    content_type: str
    body: bytes


@dataclass(slots=True)
class Traffic:
    """Counters since the start. Bytes are those of bodies."""

    requests: int = 0
    polls: int = 0
    bytes_up: int = 0
    bytes_down: int = 0
    moves: int = 0
    """How often bytes moved on any lane but the poll's."""
    moved: Callable[[], None] = field(default=lambda: None, repr=False)
    """Called each time."""

    def note_move(self) -> None:
        """Bytes of an answer came, or a part of a body went."""
        self.moves += 1
        self.moved()


class Http(Protocol):
    """One server, by path."""

    traffic: Traffic

    async def request(
        self,
        method: str,
        path: str,
        *,
        lane: Lane = Lane.SMALL,
        headers: dict[str, str] | None = None,
        body: bytes | bytearray = b"",
        wait_s: float = 0.0,
    ) -> Response:
        """Send one request and read its whole answer; raises Offline. ``wait_s`` is how long the server may think."""
        ...


class HttpxClient:
    """The real one. Use as an async context manager."""

    def __init__(self, url: str, ca_file: Path | None = None) -> None:
        self.traffic = Traffic()
        self._url = url.rstrip("/")
        if not self._url.startswith(("http://", "https://")):
            raise Unusable(f"{url!r} is not a server's address: it begins with http:// or https://")
        try:
            self._base = httpx.URL(self._url)
            tls = None if self._base.scheme == "http" else ssl.create_default_context(cafile=ca_file and str(ca_file))
        except httpx.InvalidURL as error:
            raise Unusable(f"{url!r} is not a server's address: {error}") from None
        except OSError as error:
            raise Unusable(f"the CA file {ca_file} can't be used: {error}") from None
        if not self._base.host:
            raise Unusable(f"{url!r} is not a server's address: it names no host")
        self._host = self._base.netloc.decode("ascii")
        self._transports = {
            lane: TrioTransport(lane.value, tls, self._poll_moved if lane is Lane.POLL else self.traffic.note_move)
            for lane in Lane
        }

    async def request(
        self,
        method: str,
        path: str,
        *,
        lane: Lane = Lane.SMALL,
        headers: dict[str, str] | None = None,
        body: bytes | bytearray = b"",
        wait_s: float = 0.0,
    ) -> Response:
        """See ``Http.request``."""
        if lane is Lane.POLL:
            self.traffic.polls += 1
        else:
            self.traffic.requests += 1
        target = httpx.URL(self._url + path)
        try:
            response = await self._transports[lane].handle_async_request(
                httpx.Request(
                    method,
                    target,
                    headers={"Host": self._host, "User-Agent": "samedrive", **(headers or {})},
                    content=bytes(body) if isinstance(body, bytearray) else body,
                    extensions={"timeout": _timeouts(lane, wait_s)},
                )
            )
        except httpx.ConnectError as error:
            raise Offline(f"no connection to {self._url}: {error}") from error
        except httpx.TransportError as error:
            raise Offline(f"{self._url} did not answer: {error}") from error
        content = response.content
        self.traffic.bytes_up += len(body)
        self.traffic.bytes_down += len(content)
        return Response(response.status_code, response.headers.get("content-type", ""), content)

    def _poll_moved(self) -> None:
        """It says nothing of what anybody waits for."""

    async def __aenter__(self) -> HttpxClient:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        for transport in self._transports.values():
            await transport.aclose()


def _timeouts(lane: Lane, wait_s: float) -> dict[str, float]:
    """Of a connection, and of a read or a write of the socket without a byte: a transfer that moves is not cut."""
    read_s = _POLL_LATE_S if lane is Lane.POLL else NO_PROGRESS_S
    return {"connect": _CONNECT_S, "read": read_s + wait_s, "write": NO_PROGRESS_S}
