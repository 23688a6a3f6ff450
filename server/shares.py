"""Places for requests that hold much memory for as long as their client likes.

Whoever is slow, or means to be, holds its place for long. So each asker gets a part of all places at the most, and the
others' requests pass by those that wait for it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from hashlib import sha256

import trio
from starlette.types import Scope


class Shares:
    """So many places, of which each asker has at most ``share``."""

    def __init__(self, places: int, share: int) -> None:
        self._all = trio.CapacityLimiter(places)
        self._share = share
        self._askers: dict[str, _Asker] = {}
        """Those that have a place or wait for one."""

    @asynccontextmanager
    async def place(self, asker: str) -> AsyncIterator[None]:
        """Hold one, when there is one."""
        own = self._askers.setdefault(asker, _Asker(self._share))
        own.requests += 1
        try:
            async with own.places, self._all:
                yield
        finally:
            own.requests -= 1
            if not own.requests:
                del self._askers[asker]


class _Asker:
    def __init__(self, share: int) -> None:
        self.places = trio.CapacityLimiter(share)
        self.requests = 0


def asker_of(scope: Scope) -> str:
    """Who a request comes from, as far as sharing goes: by its token, else by its address."""
    for name, value in scope["headers"]:
        if name == b"authorization":
            return sha256(value).hexdigest()
    return str((scope.get("client") or ("",))[0])
