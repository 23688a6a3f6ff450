"""Reading nodes, names, listings, manifests and conflicts."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from protocol import problems
from protocol.ids import NodeId, VersionNumber, WorkspaceId
from protocol.limits import LISTING_PAGE_ENTRIES
from protocol.messages.changes import Resolve
from protocol.messages.conflicts import ConflictsReply, Resolution
from protocol.messages.nodes import Node
from protocol.messages.tree import ListingReply, LookupReply, ManifestReply, NodeReply, SpaceReply
from server.describing import CHANGING, IN_A_WORKSPACE, Parameter, operation
from server.http import (
    limit_query,
    message,
    name_of,
    no_content,
    node_of,
    number_query,
    raw_query,
    reply,
    workspace_of,
)
from server.metadata import tree
from server.metadata.resolving import CONFLICTS_PAGE, listed
from server.metadata.store import Transaction
from server.metadata.tree import NoSuchNode
from server.metadata.unmounted import Editing
from server.service import member, service_of
from server.settling import edit_as_asked, read
from server.troubles import Trouble

T = TypeVar("T")


async def node(request: Request) -> Response:
    """A node's attributes."""
    identity, workspace = node_of(request), workspace_of(request)

    def work(tx: Transaction) -> Node:
        found = tree.node(tx, workspace, identity)
        if found is None:
            raise NoSuchNode("there is no such node")
        return found

    found, news = await read(request, workspace, work)
    return reply(request, NodeReply(news, found))


async def lookup(request: Request) -> Response:
    """What a name means; one that means nothing is an answer too."""
    folder, name, workspace = node_of(request), name_of(request.path_params["name"]), workspace_of(request)
    found, news = await read(request, workspace, lambda tx: tree.lookup(tx, workspace, folder, name))
    return reply(request, LookupReply(news, found))


async def listing(request: Request) -> Response:
    """A page of a folder."""
    folder, after, workspace = node_of(request), name_of(raw_query(request, "after")), workspace_of(request)
    limit = limit_query(request, LISTING_PAGE_ENTRIES, LISTING_PAGE_ENTRIES)
    generation = number_query(request, "generation", None)
    page, news = await read(
        request, workspace, lambda tx: tree.listing(tx, workspace, folder, after, limit, generation)
    )
    return reply(request, ListingReply(news, page.generation, page.entries, page.more))


async def conflicts(request: Request) -> Response:
    """A page of the conflict copies."""
    workspace, after = workspace_of(request), NodeId(number_query(request, "after", 0) or 0)
    limit = limit_query(request, CONFLICTS_PAGE, CONFLICTS_PAGE)
    page, news = await read(request, workspace, lambda tx: listed(tx, workspace, after, limit))
    return reply(request, ConflictsReply(news, page.conflicts, page.more))


async def resolve(request: Request) -> Response:
    """End a conflict: for who has no mount to do it with."""
    node, workspace = node_of(request), workspace_of(request)
    given = await message(request, Resolution)

    def work(editing: Editing) -> None:
        copies = listed(editing.tx, workspace, NodeId(node - 1), 1).conflicts
        if not copies or (copy := copies[0]).node != node:
            raise NoSuchNode("there is no such conflict copy, or it is none any more")
        change = Resolve(
            time_ns=editing.now_ns,
            parent=copy.parent,
            name=copy.path[-1],
            node=node,
            version=given.version,
            keep=given.keep,
            original_version=given.original_version,
        )
        editing.apply(change)

    await edit_as_asked(request, workspace, work)
    return no_content()


async def manifest(request: Request) -> Response:
    """The content of a version: whoever knows its number was told of it, so nothing is revealed."""
    identity = node_of(request)
    version = number_query(request, "version", None)
    if version is None:
        raise Trouble(problems.BAD_REQUEST, "which version?")

    def work(tx: Transaction, workspace: WorkspaceId) -> ManifestReply:
        found = tree.manifest(tx, workspace, NodeId(identity), VersionNumber(version))
        if found is None:
            raise NoSuchNode("there is no such version")
        return found

    return reply(request, await _snapshot(request, work))


async def usage(request: Request) -> Response:
    """For statfs. Sums, which reveal no change."""
    free = service_of(request).blocks.space.free_bytes()
    return reply(request, await _snapshot(request, lambda tx, space: tree.usage(tx, space, free)))


async def space(request: Request) -> Response:
    """For people who look at it. Sums, like the above."""
    free = service_of(request).blocks.space.free_bytes()
    return reply(request, await _snapshot(request, lambda tx, space: tree.space(tx, space, free)))


async def _snapshot(request: Request, work: Callable[[Transaction, WorkspaceId], T]) -> T:
    workspace = workspace_of(request)

    def checked(tx: Transaction) -> T:
        member(tx, request, workspace)
        return work(tx, workspace)

    return await service_of(request).metadata.read(checked)


ROUTES = [
    Route("/workspaces/{workspace}/nodes/{node}", node),
    Route("/workspaces/{workspace}/nodes/{node}/entries", listing),
    Route("/workspaces/{workspace}/nodes/{node}/entries/{name}", lookup),
    Route("/workspaces/{workspace}/nodes/{node}/manifest", manifest),
    operation(
        "GET",
        "/workspaces/{workspace}/conflicts",
        conflicts,
        gives=ConflictsReply,
        query=[
            Parameter("after", {"type": "integer", "minimum": 0}, "The node of the page before's last copy."),
            Parameter("limit", {"type": "integer", "minimum": 1, "default": CONFLICTS_PAGE}, "How many at most."),
        ],
        fails=IN_A_WORKSPACE,
    ),
    operation(
        "POST",
        "/workspaces/{workspace}/conflicts/{node}",
        resolve,
        takes=Resolution,
        fails=(*CHANGING, problems.PRECONDITION),
    ),
    Route("/workspaces/{workspace}/usage", usage),
    operation("GET", "/workspaces/{workspace}/space", space, gives=SpaceReply, fails=IN_A_WORKSPACE),
]
