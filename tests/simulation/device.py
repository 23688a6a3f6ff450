"""The way from a kernel to its mount's process: the real request handlers, which may be slow, stopped or gone.

Invariant: every request ends: with the handler's answer, or with an error once the process is gone.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Awaitable, Callable, Sequence
from random import Random
from typing import Any

import pyfuse3
import trio

from fs.operations import Operations


class Listing:
    """A ``pyfuse3.ReaddirToken``: the buffer of one readdirplus request."""

    def __init__(self, room: int) -> None:
        self.room = room
        self.entries: list[tuple[bytes, pyfuse3.EntryAttributes, int]] = []


def reply_entry(token: pyfuse3.ReaddirToken, name: bytes, attributes: pyfuse3.EntryAttributes, next_id: int) -> bool:
    """``pyfuse3.readdir_reply`` for a ``Listing``."""
    assert isinstance(token, Listing)
    if len(token.entries) == token.room:
        return False
    token.entries.append((name, attributes, next_id))
    return True


class Device:
    """``/dev/fuse`` of one mount."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self._operations: Operations | None = None
        self._nursery: trio.Nursery | None = None
        self._running = trio.Event()
        self._requests: set[_Request] = set()

    def connect(self, operations: Operations, nursery: trio.Nursery) -> None:
        """Requests are answered from now on, in this nursery."""
        self._operations, self._nursery = operations, nursery
        self._running.set()

    def stop(self) -> None:
        """The mount's process takes no requests for a while."""
        if self._operations is not None and self._running.is_set():
            self._running = trio.Event()

    def go_on(self) -> None:
        """It takes them again."""
        self._running.set()

    def disconnect(self) -> None:
        """The mount's process is gone: every request fails, now and later."""
        self._operations = self._nursery = None
        self._running.set()
        for request in list(self._requests):
            request.fail(errno.ECONNABORTED)

    @property
    def is_answered(self) -> bool:
        """Whether requests reach a mount that runs."""
        return self._operations is not None and self._running.is_set()

    async def ask(self, handler: str, *arguments: object, take: Callable[[Any], None] = lambda answer: None) -> Any:
        """One request; ``take`` is called with the answer in the same step as it is given."""
        if self._random.random() < 0.1:
            await trio.sleep(self._random.uniform(0, 0.002))
        await self._running.wait()
        if self._operations is None or self._nursery is None:
            raise OSError(errno.ENOTCONN, "the mount is gone")
        request = _Request(take)
        self._requests.add(request)
        self._nursery.start_soon(self._serve, getattr(self._operations, handler), arguments, request)
        try:
            await request.done.wait()
        finally:
            self._requests.discard(request)
        if request.errno:
            raise OSError(request.errno, os.strerror(request.errno))
        return request.answer

    async def wait_quiet(self) -> None:
        """Until every request has been answered, those that nobody waits for among them."""
        while self._requests:
            await next(iter(self._requests)).done.wait()

    def tell(self, handler: str, *arguments: object) -> None:
        """One request whose answer nobody waits for."""
        if self._nursery is not None:
            self._nursery.start_soon(self._silently, handler, *arguments)

    def forget(self, number: int, times: int) -> None:
        """FUSE_FORGET, which has no answer."""
        if self._nursery is not None:
            self._nursery.start_soon(self._forget, number, times)

    async def _serve(
        self, handler: Callable[..., Awaitable[Any]], arguments: Sequence[object], request: _Request
    ) -> None:
        try:
            answer = await handler(*arguments)
        except pyfuse3.FUSEError as error:
            request.fail(error.errno)
        else:
            if not request.done.is_set():
                request.take(answer)
                request.answer = answer
                request.done.set()

    async def _silently(self, handler: str, *arguments: object) -> None:
        try:
            await self.ask(handler, *arguments)
        except OSError:
            return

    async def _forget(self, number: int, times: int) -> None:
        await self._running.wait()
        if self._operations is not None:
            await self._operations.forget([(number, times)])


class _Request:
    """One request on its way."""

    def __init__(self, take: Callable[[Any], None]) -> None:
        self.take = take
        self.done = trio.Event()
        self.answer: Any = None
        self.errno = 0

    def fail(self, number: int) -> None:
        if not self.done.is_set():
            self.errno = number
            self.done.set()
