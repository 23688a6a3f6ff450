"""Who has a workspace: the list, and what owners change in it. Who leaves does so by themselves."""

from __future__ import annotations

from urllib.parse import unquote

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from protocol.messages.accounts import Member, Members
from protocol.messages.audit import What
from server.http import message, no_content, reply, workspace_of
from server.metadata import accounts, audit
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
    service, workspace = service_of(request), workspace_of(request)
    given = await message(request, Member)

    def work(tx: Transaction) -> None:
        who = owner(tx, request, workspace)
        accounts.share(tx, workspace, given.user, given.role)
        subject = f"{given.user}: {given.role}"
        audit.note(tx, audit.who_of(who), What.MEMBER_SET, service.now_ns(), subject, workspace)

    await service.metadata.write(work)
    return no_content()


async def remove(request: Request) -> Response:
    """For owners: somebody is no longer a member. Anybody may leave."""
    service, workspace, name = service_of(request), workspace_of(request), unquote(request.path_params["user"])

    def work(tx: Transaction) -> None:
        who, _ = person(tx, request, workspace)
        if who.user_name != name:
            owner(tx, request, workspace)
        accounts.share(tx, workspace, name, None)
        audit.note(tx, audit.who_of(who), What.MEMBER_REMOVED, service.now_ns(), name, workspace)

    await service.metadata.write(work)
    return no_content()


ROUTES = [
    Route("/workspaces/{workspace}/members", list_members),
    Route("/workspaces/{workspace}/members", share, methods=["POST"]),
    Route("/workspaces/{workspace}/members/{user}", remove, methods=["DELETE"]),
]
