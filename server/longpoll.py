"""Waiting for a workspace's next change on behalf of a request."""

from __future__ import annotations

import trio
from starlette.requests import Request

from server.notifier import Waiter


async def rings(waiter: Waiter, request: Request, deadline: float) -> bool:
    """Wait for the bell; False where the time is over first, or the client goes away."""
    rung = False
    async with trio.open_nursery() as nursery:
        nursery.cancel_scope.deadline = deadline
        nursery.start_soon(_cancel_when_gone, request, nursery.cancel_scope)
        await waiter.rung.wait()
        rung = True
        nursery.cancel_scope.cancel()
    return rung


async def _cancel_when_gone(request: Request, waiting: trio.CancelScope) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
    waiting.cancel()
