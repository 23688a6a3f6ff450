"""Whether this mount works with its server or apart from it.

Owns that state, and the calls under way that end when it turns to apart. Who decides is ``backend.session``, when
the lease is over and the server can't be reached; who ends it is ``backend.outbox``, when all that was done apart
is at the server. A strict mount never works apart.

Invariant: while ``apart``, no guarded call reaches the server, so nothing that it says is mixed with what is local.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

import trio

from backend.errors import Offline

T = TypeVar("T")


class Reach:
    """One mount's."""

    def __init__(self, *, strict: bool = False) -> None:
        self.strict = strict
        self.apart = False
        self._calls: set[trio.CancelScope] = set()
        self._parted = trio.Event()
        self._joined = trio.Event()
        self._joined.set()
        self._news = trio.Event()

    def part(self) -> None:
        """From now on this mount works apart. No checkpoint."""
        self.apart = True
        self._joined = trio.Event()
        self._parted.set()
        self._news.set()
        for scope in self._calls:
            scope.cancel()

    def join(self) -> None:
        """From now on it works with its server. No checkpoint."""
        self.apart = False
        self._parted = trio.Event()
        self._joined.set()
        self.heard()

    def heard(self) -> None:
        """The server has answered."""
        self._news.set()
        self._news = trio.Event()

    async def guard(self, call: Callable[[], Awaitable[T]]) -> T:
        """A call to the server; raises Offline at once while the mount works apart, and when that begins meanwhile."""
        if not self.apart:
            with trio.CancelScope() as scope:
                self._calls.add(scope)
                try:
                    return await call()
                finally:
                    self._calls.discard(scope)
        raise Offline("the server can't be reached")

    async def surely(self, call: Callable[[], Awaitable[T]]) -> T:
        """A call that is made again where the mount turned out to work apart: then what is here answers."""
        was_apart = self.apart
        try:
            return await call()
        except Offline:
            if was_apart or self.strict:
                raise
            await self.wait_verdict()
        return await call()

    async def wait_parted(self) -> None:
        """Return when the mount works apart."""
        await self._parted.wait()

    async def wait_joined(self) -> None:
        """Return when the mount works with its server."""
        await self._joined.wait()

    async def wait_verdict(self) -> None:
        """After a call that failed: return when the server has answered another, or the mount works apart."""
        if not self.apart:
            await self._news.wait()
