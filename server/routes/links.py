"""Links: those who may change a workspace make, list and revoke them; whoever has one uses it."""

from __future__ import annotations

from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from protocol import problems
from protocol.ids import WorkspaceId
from protocol.messages.audit import What
from protocol.messages.items import etag_of
from protocol.messages.links import Link, LinkKind, Links, MadeLink, NewLink, Shared
from protocol.messages.nodes import Kind
from server.access import PRIVATE, access_of, content_access_of, link_of, through
from server.content.uploads import Goal
from server.describing import CHANGING, IN_A_WORKSPACE, operation
from server.http import check_expiry, check_password, message, names_of, no_content, reply, workspace_of
from server.metadata import audit, links, tree
from server.metadata.accounts import Caller
from server.metadata.items import shown
from server.metadata.store import Transaction
from server.passwords import hash_token, new_token
from server.routes import archives, files, items, page
from server.routes.files import take_body
from server.service import check_opens, service_of, sharer
from server.settling import look
from server.troubles import Trouble

# ── for those who share ──


async def make_link(request: Request) -> Response:
    """For owners and editors. The only answer that has the secret."""
    service, workspace = service_of(request), workspace_of(request)
    wanted = await message(request, NewLink)
    names = names_of(wanted.path)
    check_expiry(wanted.expires_ns, service.now_ns())
    if wanted.transfers_max is not None and wanted.transfers_max <= 0:
        raise Trouble(problems.BAD_REQUEST, "transfers_max is a number from 1")
    await service.metadata.read(lambda tx: _linker(tx, request, workspace))
    password_hash = None
    if wanted.password is not None:
        check_password(wanted.password)
        password_hash = await service.passwords.hash(wanted.password)
    secret = new_token()

    def work(tx: Transaction) -> Link:
        who = _linker(tx, request, workspace)
        now_ns = service.now_ns()
        made = links.make(tx, workspace, who, wanted, names, hash_token(secret), password_hash, now_ns)
        audit.note(tx, audit.who_of(who), What.LINK_MADE, now_ns, _described(made), workspace)
        return made

    return reply(request, MadeLink(await service.metadata.write(work), secret), 201)


def _linker(tx: Transaction, request: Request, workspace: WorkspaceId) -> Caller:
    """The person who asks, who may make links where a link's holder could read anything."""
    who, _ = sharer(tx, request, workspace)
    check_opens(tx, workspace)
    return who


async def list_links(request: Request) -> Response:
    """For owners and editors."""
    workspace = workspace_of(request)

    def work(tx: Transaction) -> Links:
        sharer(tx, request, workspace)
        return Links(links.listed(tx, workspace))

    return reply(request, await service_of(request).metadata.read(work))


async def revoke_link(request: Request) -> Response:
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
    """What the link leads to; for a browser that wants to show it, the page that asks for that."""
    response = page.at_a_secret() if page.asks_for_a_page(request) else await _told(request)
    response.headers.update(PRIVATE)
    response.headers["Vary"] = "Accept"
    return response


async def _shared(request: Request) -> Response:
    service, link, access = service_of(request), link_of(request), access_of(request)
    is_open = link.kind is LinkKind.READ

    def work(tx: Transaction) -> Shared:
        node = links.target(tx, link)
        names = tree.path_of(tx, access.workspace, node.id)[1]
        return Shared(
            link=link.kind,
            name=shown(names[-1]) if names else "",
            kind=node.kind,
            size=node.size if is_open and node.kind is Kind.FILE else 0,
            mtime_ns=node.mtime_ns if is_open else 0,
            etag=etag_of(node.id, node.version) if is_open and node.kind is Kind.FILE else "",
            expires_ns=link.expires_ns,
            transfers_left=link.transfers_left,
        )

    return reply(request, await look(service, access.workspace, access.reads if is_open else access.changes, work))


_told: Final = through(_shared, None)


async def upload(request: Request) -> Response:
    """A file for a folder: under another name where the one that is asked for is taken, then. Nothing is told of it."""
    access, names = content_access_of(request), names_of(request.path_params["path"])
    if len(names) != 1:
        raise Trouble(problems.BAD_REQUEST, "an upload has a name, and goes into the folder itself")
    await take_body(request, Goal(access.workspace, names, root=access.root, is_beside=True), access.changes)
    return Response(status_code=201)


_LINKS: Final = "/workspaces/{workspace}/links"
_LINK: Final = "/links/{secret}"
_OPENING: Final = (problems.NOT_FOUND, problems.PASSWORD, problems.TOO_MANY_ATTEMPTS, problems.NO_SPACE)

ROUTES = [
    operation("GET", _LINKS, list_links, gives=Links, fails=(*IN_A_WORKSPACE, problems.FORBIDDEN)),
    operation(
        "POST", _LINKS, make_link, takes=NewLink, gives=MadeLink, status=201, fails=(*CHANGING, problems.END_TO_END)
    ),
    operation("DELETE", f"{_LINKS}/{{link}}", revoke_link, fails=CHANGING),
    operation("GET", _LINK, shared, gives=Shared, fails=_OPENING, anybody=True),
    Route(f"{_LINK}/folders/{{path:path}}", through(items.folder, LinkKind.READ)),
    Route(f"{_LINK}/files/{{path:path}}", through(files.get, LinkKind.READ), methods=["HEAD"]),
    Route(f"{_LINK}/files/{{path:path}}", through(files.get, LinkKind.READ, links.count_transfer)),
    Route(f"{_LINK}/archive/{{path:path}}", through(archives.get, LinkKind.READ), methods=["HEAD"]),
    Route(f"{_LINK}/archive/{{path:path}}", through(archives.get, LinkKind.READ, links.count_transfer)),
    Route(f"{_LINK}/files/{{path:path}}", through(upload, LinkKind.UPLOAD, links.count_transfer), methods=["PUT"]),
]
