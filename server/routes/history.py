"""The versions of a file, and an earlier one made the newest again."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from protocol import problems
from protocol.limits import ITEMS_PAGE, ITEMS_PAGE_MAX
from protocol.messages.items import History, Item, Restore
from server.describing import CHANGING, IN_A_WORKSPACE, Parameter, operation
from server.http import limit_query, message, names_of, number_query, reply, workspace_of
from server.metadata import history
from server.routes.items import LIMIT
from server.settling import edit_as_asked, read


async def versions(request: Request) -> Response:
    """A page of a file's versions, newest first."""
    names, workspace = names_of(request.path_params["path"]), workspace_of(request)
    before = number_query(request, "before", None)
    limit = limit_query(request, ITEMS_PAGE, ITEMS_PAGE_MAX)
    found, _ = await read(request, workspace, lambda tx: history.history(tx, workspace, names, before, limit))
    return reply(request, found)


async def restore(request: Request) -> Response:
    """Let an earlier version of a file be its newest. It gets a new number, and those after it stay in the history."""
    workspace, given = workspace_of(request), await message(request, Restore)
    names = names_of(given.path)
    return reply(
        request,
        await edit_as_asked(request, workspace, lambda editing: history.restore(editing, names, given.version)),
    )


ROUTES = [
    operation(
        "GET",
        "/workspaces/{workspace}/history/{path:path}",
        versions,
        gives=History,
        query=[
            Parameter("before", {"type": "integer", "minimum": 0}, "The number of the page before's last version."),
            LIMIT,
        ],
        fails=(*IN_A_WORKSPACE, problems.CONFLICT),
    ),
    operation("POST", "/workspaces/{workspace}/restore", restore, takes=Restore, gives=Item, fails=CHANGING),
]
