"""What was removed, and how it comes back."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from protocol.ids import NodeId
from protocol.limits import ITEMS_PAGE, ITEMS_PAGE_MAX
from protocol.messages.items import Item, Trash
from server.describing import CHANGING, IN_A_WORKSPACE, Parameter, operation
from server.http import limit_query, node_of, number_query, reply, workspace_of
from server.metadata import trash
from server.routes.items import LIMIT
from server.settling import edit_as_asked, edit_in_steps, read


async def listing(request: Request) -> Response:
    """A page of what was removed, newest first. What went with a folder is not listed: it comes back with it."""
    workspace, after = workspace_of(request), number_query(request, "after", None)
    limit = limit_query(request, ITEMS_PAGE, ITEMS_PAGE_MAX)
    after_node = None if after is None else NodeId(after)
    found, _ = await read(request, workspace, lambda tx: trash.trash(tx, workspace, after_node, limit))
    return reply(request, found)


async def bring_back(request: Request) -> Response:
    """Bring something back to where it was, or beside what has its name by now; a folder with all that went with it,
    file by file."""
    workspace, node = workspace_of(request), node_of(request)
    left = await edit_as_asked(request, workspace, lambda editing: trash.bring_back(editing, node))
    await edit_in_steps(request, workspace, left, trash.fill_some)
    found, _ = await read(request, workspace, lambda tx: trash.item_back(tx, workspace, node))
    return reply(request, found)


ROUTES = [
    operation(
        "GET",
        "/workspaces/{workspace}/trash",
        listing,
        gives=Trash,
        query=[
            Parameter("after", {"type": "integer", "minimum": 0}, "The page before's next."),
            LIMIT,
        ],
        fails=IN_A_WORKSPACE,
    ),
    operation("POST", "/workspaces/{workspace}/trash/{node}", bring_back, gives=Item, fails=CHANGING),
]
