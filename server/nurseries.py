"""Tasks of one request, whose first error is the request's."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio


@asynccontextmanager
async def together() -> AsyncIterator[trio.Nursery]:
    """A nursery that raises the first error in it as itself, and not in a group."""
    try:
        async with trio.open_nursery() as nursery:
            yield nursery
    except BaseExceptionGroup as group:
        raise _first(group) from None


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """Where there is more than being cancelled, that."""
    errors = list(_leaves(group))
    return next((error for error in errors if not isinstance(error, trio.Cancelled)), errors[0])


def _leaves(group: BaseExceptionGroup[BaseException]) -> list[BaseException]:
    return [
        leaf
        for error in group.exceptions
        for leaf in (_leaves(error) if isinstance(error, BaseExceptionGroup) else [error])
    ]
