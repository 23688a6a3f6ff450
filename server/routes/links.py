"""Links: those who may change a workspace make, list and revoke them; whoever has one uses it."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from protocol import problems
from protocol.messages.audit import What
from protocol.messages.links import Link, LinkKind, Links, MadeLink, NewLink, Shared
from protocol.messages.nodes import Kind
from server.access import access_of, link_of, through
from server.http import check_expiry, check_password, message, names_of, no_content, reply, workspace_of
from server.metadata import audit, links, tree
from server.metadata.store import Transaction
from server.passwords import hash_token, new_token
from server.service import service_of, sharer
from server.troubles import Trouble

# ── for those who share ──


async def make(request: Request) -> Response:
    """For owners and editors. The only answer that has the secret."""
    service, workspace = service_of(request), workspace_of(request)
    wanted = await message(request, NewLink)
    names = names_of(wanted.path)
    check_expiry(wanted.expires_ns, service.now_ns())
    if wanted.transfers_max is not None and not 0 < wanted.transfers_max < 1 << 63:
        raise Trouble(problems.BAD_REQUEST, "transfers_max is a number from 1")
    await service.metadata.read(lambda tx: sharer(tx, request, workspace))
    password_hash = None
    if wanted.password is not None:
        check_password(wanted.password)
        password_hash = await service.passwords.hash(wanted.password)
    secret = new_token()

    def work(tx: Transaction) -> Link:
        who, _ = sharer(tx, request, workspace)
        now_ns = service.now_ns()
        made = links.make(tx, workspace, who, wanted, names, hash_token(secret), password_hash, now_ns)
        audit.note(tx, audit.who_of(who), What.LINK_MADE, now_ns, _described(made), workspace)
        return made

    return reply(request, MadeLink(await service.metadata.write(work), secret), 201)


async def list_links(request: Request) -> Response:
    """For owners and editors."""
    workspace = workspace_of(request)

    def work(tx: Transaction) -> Links:
        sharer(tx, request, workspace)
        return Links(links.listed(tx, workspace))

    return reply(request, await service_of(request).metadata.read(work))


async def revoke(request: Request) -> Response:
    """For owners and editors, whoever made it."""
    service, workspace = service_of(request), workspace_of(request)

    def work(tx: Transaction) -> None:
        who, _ = sharer(tx, request, workspace)
        revoked = links.revoke(tx, workspace, request.path_params["link"])
        audit.note(tx, audit.who_of(who), What.LINK_REVOKED, service.now_ns(), _described(revoked), workspace)

    await service.metadata.write(work)
    return no_content()


def _described(link: Link) -> str:
    return f"{link.id}, {link.kind}: /{link.path or ''}"


# ── for whoever has the secret ──


async def shared(request: Request) -> Response:
    """What the link leads to."""
    link, access = link_of(request), access_of(request)

    def work(tx: Transaction) -> Shared:
        node = links.target(tx, link)
        names = tree.path_of(tx, access.workspace, node.id)[1]
        name = names[-1].decode(errors="replace") if names else ""
        is_open = link.kind is LinkKind.READ
        return Shared(
            link=link.kind,
            name=name,
            kind=node.kind,
            size=node.size if is_open and node.kind is Kind.FILE else 0,
            mtime_ns=node.mtime_ns if is_open else 0,
            etag=f'"{node.id:x}-{node.version}"' if is_open and node.kind is Kind.FILE else "",
            expires_ns=link.expires_ns,
            transfers_left=link.transfers_left,
        )

    return reply(request, await service_of(request).metadata.read(work))


ROUTES = [
    Route("/workspaces/{workspace}/links", list_links),
    Route("/workspaces/{workspace}/links", make, methods=["POST"]),
    Route("/workspaces/{workspace}/links/{link}", revoke, methods=["DELETE"]),
    Route("/links/{secret}", through(shared, None)),
]
