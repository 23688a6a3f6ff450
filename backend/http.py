"""The one place that knows httpx: bytes out, bytes in, foreign errors translated.

Owns three pools, kept apart because httpcore scans a pool for every request and because a long poll must
never wait behind a bulk transfer: small calls, block transfers, the long poll.

``Http`` is the seam: a simulation passes its own.
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from types import TracebackType
from typing import Final, Protocol

import httpx

from backend.errors import Offline, Unusable

_CONNECT_S: Final = 5.0
_NO_PROGRESS_S: Final = 30.0
"""Of a read or a write of the socket, without a byte: a transfer that moves is not cut."""


class Lane(Enum):
    """Which pool carries a request; the value is its number of connections."""

    SMALL = 8
    BULK = 6
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
        verify: ssl.SSLContext | bool = True
        if ca_file is not None:
            try:
                verify = ssl.create_default_context(cafile=str(ca_file))
            except OSError as error:
                raise Unusable(f"the CA file {ca_file} can't be used: {error}") from None
        elif not url.startswith("https:"):
            verify = False
        try:
            self._clients = {lane: self._client(lane, verify) for lane in Lane}
        except httpx.InvalidURL as error:
            raise Unusable(f"{url!r} is not a server's address: {error}") from None

    def _client(self, lane: Lane, verify: ssl.SSLContext | bool) -> httpx.AsyncClient:
        return httpx.AsyncClient(
            base_url=self._url,
            verify=verify,
            trust_env=False,
            timeout=httpx.Timeout(_NO_PROGRESS_S, connect=_CONNECT_S),
            limits=httpx.Limits(max_connections=lane.value, max_keepalive_connections=lane.value),
            headers={"Accept-Encoding": "identity", "User-Agent": "samedrive"},
        )

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
        client = self._clients[lane]
        try:
            request = client.build_request(
                method,
                path,
                headers=headers,
                content=bytes(body) if body else None,
                timeout=httpx.Timeout(_NO_PROGRESS_S + wait_s, connect=_CONNECT_S),
            )
            response = await client.send(request, stream=True)
            try:
                content = await _read(response)
            finally:
                await response.aclose()
        except httpx.UnsupportedProtocol:
            raise Unusable(f"{self._url!r} is not a server's address: it begins with http:// or https://") from None
        except httpx.ConnectError as error:
            raise Offline(f"no connection to {self._url}: {error}") from error
        except httpx.TransportError as error:
            raise Offline(f"{self._url} did not answer: {type(error).__name__} {error}".rstrip()) from error
        self.traffic.bytes_up += len(body)
        self.traffic.bytes_down += len(content)
        return Response(response.status_code, response.headers.get("content-type", ""), content)

    async def __aenter__(self) -> HttpxClient:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        for client in self._clients.values():
            await client.aclose()


async def _read(response: httpx.Response) -> bytes:
    """The body; parts are joined once, so that a large one isn't copied for each part."""
    parts = [part async for part in response.aiter_raw()]
    return parts[0] if len(parts) == 1 else b"".join(parts)
