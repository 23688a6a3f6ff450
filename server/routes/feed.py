"""The feed: what happens in a workspace, for people and scripts, with a long poll."""

from __future__ import annotations

import trio
from starlette.requests import Request
from starlette.responses import Response

from protocol.ids import Seq
from protocol.limits import ITEMS_PAGE, ITEMS_PAGE_MAX, POLL_MAX_S
from protocol.messages.items import Feed
from server.describing import IN_A_WORKSPACE, Parameter, operation
from server.http import limit_query, number_query, reply, seconds_query, workspace_of
from server.longpoll import rings
from server.metadata.happenings import happenings
from server.routes.items import LIMIT
from server.service import service_of
from server.settling import read


async def feed(request: Request) -> Response:
    """Changes in their order: those after a number, for which it waits where there are none, or the last ones."""
    service, workspace = service_of(request), workspace_of(request)
    deadline = trio.current_time() + seconds_query(request, "wait_s", POLL_MAX_S)
    limit, after = limit_query(request, ITEMS_PAGE, ITEMS_PAGE_MAX), number_query(request, "after", None)

    async def look() -> Feed:
        since = None if after is None else Seq(after)
        return (await read(request, workspace, lambda tx: happenings(tx, workspace, since, limit)))[0]

    with service.notifier.waiting_for(workspace) as waiter:
        found = await look()
        while (
            after is not None
            and not (found.changes or found.reset or service.notifier.stopping)
            and await rings(waiter, request, deadline)
        ):
            waiter.reset()
            found = await look()
    return reply(request, found)


ROUTES = [
    operation(
        "GET",
        "/workspaces/{workspace}/feed",
        feed,
        gives=Feed,
        query=[
            Parameter(
                "after", {"type": "integer", "minimum": 0}, "The seq of the answer before; none: the last changes."
            ),
            Parameter(
                "wait_s",
                {"type": "number", "minimum": 0, "default": 0},
                f"How many seconds to wait for a change, {POLL_MAX_S:g} at the most.",
            ),
            LIMIT,
        ],
        fails=IN_A_WORKSPACE,
    ),
]
