"""Who has a workspace: the list, and what owners change in it. Who leaves does so by themselves."""

from __future__ import annotations

from typing import Final
from urllib.parse import unquote

from starlette.requests import Request
from starlette.responses import Response

from protocol import problems
from protocol.messages.accounts import Member, Members
from protocol.messages.audit import What
from server.describing import IN_A_WORKSPACE, operation
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


async def remove_member(request: Request) -> Response:
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


_MEMBERS: Final = "/workspaces/{workspace}/members"
_SHARING: Final = (*IN_A_WORKSPACE, problems.FORBIDDEN, problems.CONFLICT, problems.NO_SPACE)

ROUTES = [
    operation("GET", _MEMBERS, list_members, gives=Members, fails=IN_A_WORKSPACE),
    operation("POST", _MEMBERS, share, takes=Member, fails=_SHARING),
    operation("DELETE", f"{_MEMBERS}/{{user}}", remove_member, fails=_SHARING),
]
