"""The tree by paths: an item, a folder's items, search, and changes of names."""

from __future__ import annotations

from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from protocol import problems
from protocol.ids import NodeId
from protocol.limits import ITEMS_PAGE, ITEMS_PAGE_MAX, SEARCH_MAX_BYTES
from protocol.messages.items import Copy, FolderPage, Found, Item, Move
from server.access import access_of
from server.conditions import conditions_of
from server.describing import CHANGING, IN_A_WORKSPACE, Parameter, operation
from server.http import (
    flag_query,
    limit_query,
    message,
    name_of,
    names_of,
    no_content,
    raw_query,
    reply,
    text_query,
    workspace_of,
)
from server.metadata import copying, items, naming, removing, search
from server.metadata.copying import Ahead
from server.metadata.search import Key
from server.metadata.store import Transaction
from server.metadata.unmounted import Editing
from server.service import service_of
from server.settling import edit_as_asked, edit_in_steps, look, read
from server.troubles import Trouble

LIMIT: Final = Parameter(
    "limit", {"type": "integer", "minimum": 1, "default": ITEMS_PAGE}, f"How many at most; {ITEMS_PAGE_MAX} are given."
)
FLAG: Final = {"type": "integer", "enum": [0, 1], "default": 0}
PARENTS: Final = Parameter("parents", FLAG, "1: make the folders above it that are not there.")
IF_MATCH: Final = Parameter("If-Match", {"type": "string"}, "The etag of what is there, as it was seen.")


async def item(request: Request) -> Response:
    """What a path leads to. An empty path is the root; symbolic links are not followed."""
    names, workspace = names_of(request.path_params["path"]), workspace_of(request)
    found, _ = await read(request, workspace, lambda tx: items.item_at(tx, workspace, names))
    return reply(request, found)


async def folder(request: Request) -> Response:
    """A page of a folder, in order of names' bytes."""
    service, access, names = service_of(request), access_of(request), names_of(request.path_params["path"])
    after, limit = name_of(raw_query(request, "after")), limit_query(request, ITEMS_PAGE, ITEMS_PAGE_MAX)

    def work(tx: Transaction) -> FolderPage:
        return items.page(tx, access.workspace, names, after, limit, access.root)

    return reply(request, await look(service, access.workspace, access.reads, work))


async def find(request: Request) -> Response:
    """Items whose name contains a text, whatever its case. A page can hold few items, or none, and have a next one:
    one request looks through 50,000 names at most."""
    workspace, part = workspace_of(request), text_query(request, "q", SEARCH_MAX_BYTES)
    if not part:
        raise Trouble(problems.BAD_REQUEST, "q is a part of a name")
    after, limit = _key(raw_query(request, "after")), limit_query(request, ITEMS_PAGE, ITEMS_PAGE_MAX)
    (found, key), _ = await read(request, workspace, lambda tx: search.found(tx, workspace, part, after, limit))
    return reply(request, Found(found, None if key is None else f"{key.parent}-{key.name.hex()}"))


def _key(text: str) -> Key:
    """Where a search goes on, as an answer had it; raises Trouble."""
    parent, _, name = (text or "0-").partition("-")
    try:
        return Key(NodeId(min(int(parent), 1 << 62)), bytes.fromhex(name))
    except ValueError:
        raise Trouble(problems.BAD_REQUEST, "after is what an answer's next was") from None


async def make_folder(request: Request) -> Response:
    """Make a folder."""
    names, workspace = names_of(request.path_params["path"]), workspace_of(request)
    parents = flag_query(request, "parents")

    def work(editing: Editing) -> Item:
        return naming.make_folder(editing, names, parents=parents)

    return reply(request, await edit_as_asked(request, workspace, work), 201)


async def remove_file(request: Request) -> Response:
    """Remove a file, or anything else that is no folder: it goes to the trash, unless it has other names."""
    names, workspace = names_of(request.path_params["path"]), workspace_of(request)
    allow = conditions_of(request.headers).allow_change
    await edit_as_asked(request, workspace, lambda editing: naming.remove_file(editing, names, allow))
    return no_content()


async def remove_folder(request: Request) -> Response:
    """Remove a folder, which must be empty unless this is recursive: then file by file, and a failure on the way leaves
    the rest. All of it is in the trash."""
    names, workspace = names_of(request.path_params["path"]), workspace_of(request)
    if not flag_query(request, "recursive"):
        await edit_as_asked(request, workspace, lambda editing: removing.remove_empty(editing, names))
        return no_content()
    doomed = await edit_as_asked(request, workspace, lambda editing: removing.doom(editing, names))
    await edit_in_steps(request, workspace, [doomed], removing.remove_some)
    return no_content()


async def move(request: Request) -> Response:
    """Rename an item, or move it to another folder. Without ``replace`` a name that is taken is a conflict."""
    workspace, given = workspace_of(request), await message(request, Move)
    names, new_names = names_of(given.from_), names_of(given.to)

    def work(editing: Editing) -> Item:
        return naming.move(editing, names, new_names, replace=given.replace, replaces=given.replaces)

    return reply(request, await edit_as_asked(request, workspace, work))


async def copy(request: Request) -> Response:
    """Copy an item; no content moves, and nothing counts towards the quota. A folder is copied file by file, and a
    failure on the way leaves what has been copied."""
    workspace, given = workspace_of(request), await message(request, Copy)
    names, new_names = names_of(given.from_), names_of(given.to)

    def work(editing: Editing) -> list[Ahead]:
        return copying.copy(editing, names, new_names, replace=given.replace, version=given.version)

    await edit_in_steps(request, workspace, await edit_as_asked(request, workspace, work), copying.copy_some)
    made, _ = await read(request, workspace, lambda tx: items.item_at(tx, workspace, new_names))
    return reply(request, made)


_SPACE: Final = "/workspaces/{workspace}"
_LOCAL: Final = (*CHANGING, problems.PRECONDITION)

ROUTES = [
    operation("GET", f"{_SPACE}/items/{{path:path}}", item, gives=Item, fails=IN_A_WORKSPACE),
    operation(
        "GET",
        f"{_SPACE}/folders/{{path:path}}",
        folder,
        gives=FolderPage,
        query=[Parameter("after", {"type": "string"}, "The name of the page before's last item."), LIMIT],
        fails=(*IN_A_WORKSPACE, problems.CONFLICT),
    ),
    operation(
        "PUT",
        f"{_SPACE}/folders/{{path:path}}",
        make_folder,
        gives=Item,
        status=201,
        query=[PARENTS],
        fails=CHANGING,
    ),
    operation("DELETE", f"{_SPACE}/files/{{path:path}}", remove_file, headers=[IF_MATCH], fails=_LOCAL),
    operation(
        "DELETE",
        f"{_SPACE}/folders/{{path:path}}",
        remove_folder,
        query=[Parameter("recursive", FLAG, "1: with all that is in it.")],
        fails=CHANGING,
    ),
    operation("POST", f"{_SPACE}/move", move, takes=Move, gives=Item, fails=_LOCAL),
    operation("POST", f"{_SPACE}/copy", copy, takes=Copy, gives=Item, fails=CHANGING),
    operation(
        "GET",
        f"{_SPACE}/search",
        find,
        gives=Found,
        query=[
            Parameter("q", {"type": "string", "minLength": 1, "maxLength": SEARCH_MAX_BYTES}, "A part of names.", True),
            Parameter("after", {"type": "string"}, "The page before's next."),
            LIMIT,
        ],
        fails=IN_A_WORKSPACE,
    ),
]
