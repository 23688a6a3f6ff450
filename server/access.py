"""What a request may reach, and as whom: a member's workspace, or what a link leads to.

A handler that can be reached both ways takes an ``Access`` from ``access_of`` and asks it in each of its transactions.
For a link's request ``through`` has made that before the handler begins: the link was found by its secret, its password
was right, and the request is counted.

Invariants: paths of a request begin at ``root``, and no answer says where that is; a link's holder is told nothing of a
link that is over but that there is none; and no secret is kept, logged or answered.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import wraps
from typing import Final
from urllib.parse import unquote

from starlette.requests import Request
from starlette.responses import Response

from protocol import problems
from protocol.ids import ROOT_NODE, NodeId, WorkspaceId
from protocol.limits import PASSWORD_MAX_BYTES
from protocol.messages.audit import What
from protocol.messages.links import LinkKind
from server.describing import Handler
from server.http import address_of, workspace_of
from server.metadata import audit, links
from server.metadata.accounts import Caller, Unknown
from server.metadata.links import Through
from server.metadata.store import Transaction
from server.passwords import hash_token
from server.service import check_opens, editor, member, service_of
from server.troubles import Trouble

Count = Callable[[Transaction, Through, int, str], None]

_LINK: Final = "samedrive.link"
"""Where a request's scope, which is its own, has the link that let it in."""

PRIVATE: Final = {
    "Cache-Control": "private, no-store",
    "Referrer-Policy": "no-referrer",
    "X-Robots-Tag": "noindex, nofollow",
}
"""Of what is answered through a link: its address is a secret, and what is revoked is gone."""


@dataclass(frozen=True, slots=True)
class Access:
    """A part of a workspace, and what may be done there. ``reads`` and ``changes`` raise what refuses it."""

    workspace: WorkspaceId
    root: NodeId
    reads: Callable[[Transaction], Caller]
    changes: Callable[[Transaction], Caller]
    has_history: bool
    """Whether versions but the newest may be read, too."""


def access_of(request: Request) -> Access:
    """What this request may reach, by its route; raises Trouble for what is no workspace."""
    return _of_link(request, link_of(request)) if "secret" in request.path_params else _of_member(request)


def _of_member(request: Request) -> Access:
    workspace = workspace_of(request)
    return Access(
        workspace,
        ROOT_NODE,
        lambda tx: member(tx, request, workspace)[0],
        lambda tx: editor(tx, request, workspace),
        has_history=True,
    )


def content_access_of(request: Request) -> Access:
    """The same, for plain content: raises Trouble in the transactions of a workspace that the server can't open."""
    access = access_of(request)

    def opening(allow: Callable[[Transaction], Caller]) -> Callable[[Transaction], Caller]:
        def allowed(tx: Transaction) -> Caller:
            found = allow(tx)
            check_opens(tx, access.workspace)
            return found

        return allowed

    return replace(access, reads=opening(access.reads), changes=opening(access.changes))


def through(handler: Handler, kind: LinkKind | None, count: Count = links.count_use) -> Handler:
    """``handler`` for those who have a link of this kind (None: any); ``count`` lets the request in.

    It is given the link, the time, and the path below what it leads to, for people.
    """

    @wraps(handler)
    async def guarded(request: Request) -> Response:
        request.scope[_LINK] = await _entered(request, kind, count)
        response = await handler(request)
        response.headers.update(PRIVATE)
        return response

    return guarded


def link_of(request: Request) -> Through:
    """The link that a request came through."""
    found: Through = request.scope[_LINK]
    return found


async def _entered(request: Request, kind: LinkKind | None, count: Count) -> Through:
    """Find the link, have its password, and count; raises Unknown, Trouble and TooManyAttempts."""
    service, secret_hash = service_of(request), hash_token(request.path_params["secret"])
    path = unquote(request.path_params.get("path", ""), errors="replace")

    def find(tx: Transaction) -> Through:
        link = links.standing(tx, secret_hash, service.now_ns())
        if kind not in (None, link.kind):
            raise Unknown("there is no such link")
        return replace(link, maker=replace(link.maker, address=address_of(request)))

    def enter(tx: Transaction) -> Through:
        link = find(tx)
        if link.password_hash != known.password_hash:
            raise Unknown("there is no such link")
        count(tx, link, service.now_ns(), path)
        return link

    known = await service.metadata.read(find)
    if known.password_hash is not None:
        await _check_password(request, known, known.password_hash)
    return await service.metadata.write(enter)


async def _check_password(request: Request, link: Through, kept: str) -> None:
    """The password is that of HTTP's Basic authentication (RFC 7617), whatever the user's name; raises Trouble."""
    service, given = service_of(request), _basic_password(request)
    if given is None:
        raise Trouble(problems.PASSWORD, "this link has a password")
    if not await service.passwords.verify_again(given, kept, f"link {link.id}", address_of(request)):
        who = audit.who_of(link.maker)
        await service.metadata.write(
            lambda tx: audit.note(tx, who, What.LINK_REFUSED, service.now_ns(), workspace=link.workspace)
        )
        raise Trouble(problems.PASSWORD, "that is not this link's password")


def _basic_password(request: Request) -> str | None:
    scheme, _, credentials = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "basic" or len(credentials) > 2 * PASSWORD_MAX_BYTES:
        return None
    try:
        return base64.b64decode(credentials, validate=True).decode().partition(":")[2]
    except (binascii.Error, UnicodeDecodeError):
        return None


def _of_link(request: Request, link: Through) -> Access:
    service, secret_hash = service_of(request), hash_token(request.path_params["secret"])

    def standing(tx: Transaction) -> Caller:
        found = links.standing(tx, secret_hash, service.now_ns())
        links.target(tx, found)
        return replace(found.maker, address=link.maker.address)

    def refused(tx: Transaction) -> Caller:
        raise Unknown("there is no such link")

    reads, changes = (standing, refused) if link.kind is LinkKind.READ else (refused, standing)
    return Access(link.workspace, link.node, reads, changes, has_history=False)
