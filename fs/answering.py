"""What is around every handler: errors are translated, and an answer comes within the deadline.

Only ``FUSEError`` leaves a handler. What nobody expected is logged and is EIO for that call alone. So is what makes no
progress for the deadline: a safety net below the deadlines of the parts, for a process that waits for a handler can't
even be killed (it goes when it is answered). Requests that carry content make progress while any content or answer
moves, whosesoever: a long upload that moves is not cut, and on a connection where nothing moves everybody is.
"""

from __future__ import annotations

import errno
import functools
import logging
from collections.abc import Awaitable, Callable
from typing import Any, Final, Protocol, TypeVar, cast

import pyfuse3
import trio

from backend.errors import DriveError

DEADLINE_S: Final = 30.0

log = logging.getLogger(__name__)
Handler = TypeVar("Handler", bound=Callable[..., Awaitable[Any]])


class Deadlines:
    """Of one mount's requests."""

    def __init__(self, no_progress_s: float) -> None:
        self.no_progress_s = no_progress_s
        self._moving: set[trio.CancelScope] = set()

    def moved(self) -> None:
        """Bytes came or went: the deadlines of what carries content begin anew."""
        for scope in self._moving:
            scope.deadline = trio.current_time() + self.no_progress_s

    async def within(self, work: Awaitable[Any]) -> Any:
        """The result of ``work``; raises trio.TooSlowError."""
        with trio.fail_after(self.no_progress_s):
            return await work

    async def within_while_moving(self, work: Awaitable[Any]) -> Any:
        """The same for what carries content."""
        with trio.fail_after(self.no_progress_s) as scope:
            self._moving.add(scope)
            try:
                return await work
            finally:
                self._moving.discard(scope)


class Answers(Protocol):
    """Whose methods are handlers."""

    deadlines: Deadlines

    def subject(self, handler: str, arguments: tuple[Any, ...]) -> str:
        """What a request was about, for people."""
        ...


def answering(handler: Handler) -> Handler:
    """Of a handler that moves no content."""

    @functools.wraps(handler)
    async def answered(self: Answers, *arguments: Any) -> Any:
        try:
            return await self.deadlines.within(handler(self, *arguments))
        except Exception as error:
            raise _translated(self, handler.__name__, arguments, error) from error

    return cast(Handler, answered)


def answering_content(handler: Handler) -> Handler:
    """Of a handler that may wait for content to be fetched or sent."""

    @functools.wraps(handler)
    async def answered(self: Answers, *arguments: Any) -> Any:
        try:
            return await self.deadlines.within_while_moving(handler(self, *arguments))
        except Exception as error:
            raise _translated(self, handler.__name__, arguments, error) from error

    return cast(Handler, answered)


def by_number(handler: Handler) -> Handler:
    """Of requests about an inode that was found by name before: one that is gone is ESTALE.

    The kernel then looks the name up again: a name that is renamed over is never seen missing.
    """

    @functools.wraps(handler)
    async def answered(*arguments: Any) -> Any:
        try:
            return await handler(*arguments)
        except DriveError as error:
            if error.errno == errno.ENOENT:
                raise pyfuse3.FUSEError(errno.ESTALE) from error
            raise

    return cast(Handler, answered)


def _translated(answers: Answers, handler: str, arguments: tuple[Any, ...], error: Exception) -> pyfuse3.FUSEError:
    match error:
        case pyfuse3.FUSEError():
            return error
        case DriveError():
            return pyfuse3.FUSEError(error.errno)
        case trio.TooSlowError():
            log.error(
                "%s of %s: no progress for %g s, answered with an error",
                handler,
                _subject(answers, handler, arguments),
                answers.deadlines.no_progress_s,
            )
        case _:
            log.error("%s of %s failed", handler, _subject(answers, handler, arguments), exc_info=error)
    return pyfuse3.FUSEError(errno.EIO)


def _subject(answers: Answers, handler: str, arguments: tuple[Any, ...]) -> str:
    """What can't be named must not keep the request from its answer."""
    try:
        return answers.subject(handler, arguments)
    except Exception:
        return "what can't be named"
