"""Who has a workspace: the list, and what owners change in it. Who leaves does so by themselves."""

from __future__ import annotations

from urllib.parse import unquote

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from protocol.messages.accounts import Member, Members
from server.http import message, no_content, reply, workspace_of
from server.metadata import accounts
from server.metadata.store import Transaction
from server.service import member, owner, person, service_of


async def list_members(request: Request) -> Response:
    """For members."""
    workspace = workspace_of(request)

    def work(tx: Transaction) -> Members:
        member(tx, request, workspace)
        return Members(accounts.list_members(tx, workspace))

    return reply(request, await service_of(request).metadata.read(work))


async def share(request: Request) -> Response:
    """For owners: make somebody a member, or give a member another role."""
    workspace = workspace_of(request)
    given = await message(request, Member)

    def work(tx: Transaction) -> None:
        owner(tx, request, workspace)
        accounts.share(tx, workspace, given.user, given.role)

    await service_of(request).metadata.write(work)
    return no_content()


async def remove(request: Request) -> Response:
    """For owners: somebody is no longer a member. Anybody may leave."""
    workspace, name = workspace_of(request), unquote(request.path_params["user"])

    def work(tx: Transaction) -> None:
        if person(tx, request, workspace)[0].user_name != name:
            owner(tx, request, workspace)
        accounts.share(tx, workspace, name, None)

    await service_of(request).metadata.write(work)
    return no_content()


ROUTES = [
    Route("/workspaces/{workspace}/members", list_members),
    Route("/workspaces/{workspace}/members", share, methods=["POST"]),
    Route("/workspaces/{workspace}/members/{user}", remove, methods=["DELETE"]),
]
