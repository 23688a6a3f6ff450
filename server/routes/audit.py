"""The audit log, for admins all of it, for owners what is of their workspaces."""

from __future__ import annotations

from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from protocol import problems
from protocol.messages.accounts import Role
from protocol.messages.audit import Audit
from server.describing import Parameter, operation
from server.http import limit_query, number_query, reply
from server.metadata import accounts, audit
from server.metadata.store import Transaction
from server.service import caller, service_of

EVENTS_PAGE: Final = 100
EVENTS_PAGE_MAX: Final = 1_000


async def list_events(request: Request) -> Response:
    """Those after the event ``after``; the newest where that is not said. In their order."""
    after = number_query(request, "after", None)
    limit = limit_query(request, EVENTS_PAGE, EVENTS_PAGE_MAX)

    def work(tx: Transaction) -> Audit:
        who = caller(tx, request)
        if who.admin:
            return audit.listed(tx, after, limit)
        owned = [each.id for each in accounts.list_workspaces(tx, who.user) if each.role is Role.OWNER]
        return audit.listed(tx, after, limit, owned)

    return reply(request, await service_of(request).metadata.read(work))


ROUTES = [
    operation(
        "GET",
        "/audit",
        list_events,
        gives=Audit,
        query=[
            Parameter("after", {"type": "integer", "minimum": 0}, "The id of the last one that is known."),
            Parameter(
                "limit",
                {"type": "integer", "minimum": 1, "maximum": EVENTS_PAGE_MAX, "default": EVENTS_PAGE},
                "How many at most.",
            ),
        ],
        fails=[problems.FORBIDDEN],
    )
]
