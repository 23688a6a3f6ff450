"""Reading nodes, names, listings and manifests."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from protocol import problems
from protocol.ids import NodeId, VersionNumber, WorkspaceId
from protocol.limits import LISTING_PAGE_ENTRIES
from protocol.messages import LookupReply, ManifestReply, NodeReply
from server.http import Trouble, name_of, node_of, number_query, raw_query, reply, workspace_of
from server.metadata import tree
from server.metadata.store import Transaction
from server.metadata.tree import NoSuchNode
from server.service import member, service_of

T = TypeVar("T")


async def node(request: Request) -> Response:
    """A node's attributes."""
    identity = node_of(request)

    def work(tx: Transaction, workspace: WorkspaceId) -> NodeReply:
        found = tree.node(tx, workspace, identity)
        if found is None:
            raise NoSuchNode("there is no such node")
        return NodeReply(tree.head(tx, workspace), found)

    return reply(request, await _read(request, work))


async def lookup(request: Request) -> Response:
    """What a name means; one that means nothing is an answer too."""
    folder, name = node_of(request), name_of(request.path_params["name"])
    return reply(
        request,
        await _read(request, lambda tx, space: LookupReply(tree.head(tx, space), tree.lookup(tx, space, folder, name))),
    )


async def listing(request: Request) -> Response:
    """A page of a folder."""
    folder, after = node_of(request), name_of(raw_query(request, "after"))
    limit = number_query(request, "limit", LISTING_PAGE_ENTRIES, LISTING_PAGE_ENTRIES) or 1
    generation = number_query(request, "generation", None)
    return reply(
        request,
        await _read(request, lambda tx, space: tree.listing(tx, space, folder, after, limit, generation)),
    )


async def manifest(request: Request) -> Response:
    """The content of a version."""
    identity = node_of(request)
    version = number_query(request, "version", None)
    if version is None:
        raise Trouble(problems.BAD_REQUEST, "which version?")

    def work(tx: Transaction, workspace: WorkspaceId) -> ManifestReply:
        found = tree.manifest(tx, workspace, NodeId(identity), VersionNumber(version))
        if found is None:
            raise NoSuchNode("there is no such version")
        return found

    return reply(request, await _read(request, work))


async def usage(request: Request) -> Response:
    """For statfs."""
    free = service_of(request).blocks.space.free_bytes()
    return reply(request, await _read(request, lambda tx, space: tree.usage(tx, space, free)))


async def _read(request: Request, work: Callable[[Transaction, WorkspaceId], T]) -> T:
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
    Route("/workspaces/{workspace}/usage", usage),
]
