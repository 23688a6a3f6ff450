"""Requests between machines and a server in one process: late, out of order, lost, repeated, or not at all.

A ``Wire`` is one machine's connection and says what is wrong with it; a ``Link`` is what one mount of that machine
uses (``backend.http.Http``). Every choice is ``random``'s.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import Enum, auto
from random import Random
from typing import Final

import trio

from backend.errors import Offline
from backend.http import Lane, Response, Traffic
from protocol.limits import NO_PROGRESS_S

_POLL_LATE_S: Final = 3.0
"""As ``backend.http`` has it."""


class Fault(Enum):
    """What is wrong with a wire."""

    NONE = auto()
    REFUSED = auto()
    """Every request fails at once."""
    BLACK_HOLE = auto()
    """Nothing arrives on either side, and nobody is told."""
    MUTE = auto()
    """Requests don't arrive."""
    DEAF = auto()
    """Replies don't arrive."""


@dataclass(frozen=True, slots=True)
class Weather:
    """How good the network is."""

    delay_s: float
    """One way, on average."""
    straggles: float = 0.02
    """So many messages are much later than that."""
    straggle_s: float = 0.3
    loses: float = 0.0
    """So many requests, and so many replies, are lost; who waits is told soon (a connection that broke)."""
    repeats: float = 0.0
    """So many requests come twice."""

    def pause_s(self, random: Random) -> float:
        """One message's way."""
        pause_s = self.delay_s * random.uniform(0.5, 1.5)
        return pause_s + random.expovariate(1 / self.straggle_s) if random.random() < self.straggles else pause_s


@dataclass(frozen=True, slots=True)
class Request:
    """What a link hands to a server."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    machine: str


Serve = Callable[[Request], Awaitable[Response | None]]
"""None where the server went down meanwhile."""


class Wire:
    """One machine's connection to the server."""

    def __init__(self, machine: str, weather: Weather, random: Random, nursery: trio.Nursery, serve: Serve) -> None:
        self.machine = machine
        self.fault = Fault.NONE
        self.weather = weather
        self._random = random
        self._nursery = nursery
        self._serve = serve

    def link(self) -> Link:
        """For one mount."""
        return Link(self)

    def send(self, request: Request, answer: _Answer) -> None:
        """Put a request on the way, once or twice."""
        self._nursery.start_soon(self._carry, request, answer)
        if self._random.random() < self.weather.repeats:
            self._nursery.start_soon(self._carry, request, answer)

    async def _carry(self, request: Request, answer: _Answer) -> None:
        random, weather = self._random, self.weather
        await trio.sleep(weather.pause_s(random))
        if self.fault is Fault.REFUSED:
            answer.fail("connection refused")
            return
        if self.fault in (Fault.BLACK_HOLE, Fault.MUTE):
            return
        if random.random() < weather.loses:
            answer.fail("connection reset")
            return
        response = await self._serve(request)
        await trio.sleep(weather.pause_s(random))
        if self.fault in (Fault.BLACK_HOLE, Fault.DEAF):
            return
        if response is None or random.random() < weather.loses:
            answer.fail("connection reset")
            return
        await answer.give(response)


class Link:
    """``backend.http.Http`` of one mount, which can be stopped (SIGSTOP) and can die."""

    def __init__(self, wire: Wire) -> None:
        self.traffic = Traffic()
        self._wire = wire
        self._running = trio.Event()
        self._running.set()
        self._dead = False

    def stop(self) -> None:
        """The process neither sends nor takes answers for a while."""
        if not self._dead and self._running.is_set():
            self._running = trio.Event()

    def go_on(self) -> None:
        """It does again."""
        self._running.set()

    def die(self) -> None:
        """Nothing that is left of the process reaches the server any more."""
        self._dead = True
        self._running.set()

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
        await trio.lowlevel.checkpoint()
        await self._running.wait()
        answer = _Answer(self._taking)
        if not self._dead:
            self._wire.send(Request(method, path, headers or {}, bytes(body), self._wire.machine), answer)
            with trio.move_on_after(wait_s + (_POLL_LATE_S if lane is Lane.POLL else NO_PROGRESS_S)):
                await answer.come.wait()
        answer.closed = True
        await self._running.wait()
        if self._dead or isinstance(answer.content, str) or answer.content is None:
            raise Offline(answer.content or "no answer came")
        return answer.content

    async def _taking(self) -> bool:
        await self._running.wait()
        return not self._dead


class _Answer:
    """What a request waits for: a response, or why there is none."""

    def __init__(self, taking: Callable[[], Awaitable[bool]]) -> None:
        self.come = trio.Event()
        self.content: Response | str | None = None
        self.closed = False
        """Nobody waits for it any more."""
        self._taking = taking

    async def give(self, response: Response) -> None:
        if await self._taking() and not self.come.is_set():
            self.content = response
            self.come.set()

    def fail(self, reason: str) -> None:
        if not self.come.is_set():
            self.content = reason
            self.come.set()
