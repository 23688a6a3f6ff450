"""Tokens for scripts: a person makes, lists and revokes their own."""

from __future__ import annotations

from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from protocol import problems
from protocol.ids import DeviceId
from protocol.limits import DEVICE_NAME_MAX_CHARS
from protocol.messages.audit import What
from protocol.messages.tokens import MadeToken, NewToken, Token, Tokens
from server.describing import operation
from server.http import check_expiry, check_name, message, no_content, reply
from server.metadata import audit, tokens
from server.metadata.store import Transaction
from server.passwords import hash_token, new_token
from server.service import caller, service_of
from server.troubles import Trouble

_WORKSPACES_MAX: Final = 1_000


async def make_token(request: Request) -> Response:
    """The only answer that has the secret."""
    service = service_of(request)
    wanted = await message(request, NewToken)
    check_name("a token's name", wanted.name, DEVICE_NAME_MAX_CHARS)
    check_expiry(wanted.expires_ns, service.now_ns())
    if wanted.workspaces is not None and not 0 < len(wanted.workspaces) <= _WORKSPACES_MAX:
        raise Trouble(problems.BAD_REQUEST, f"a token is for 1 to {_WORKSPACES_MAX} workspaces, or for all")
    secret = new_token()

    def work(tx: Transaction) -> Token:
        who, now_ns = caller(tx, request), service.now_ns()
        made = tokens.make(tx, who.user, wanted, hash_token(secret), now_ns)
        audit.note(tx, audit.who_of(who), What.TOKEN_MADE, now_ns, f"{made.name}: {made.scope}")
        return made

    return reply(request, MadeToken(await service.metadata.write(work), secret), 201)


async def list_tokens(request: Request) -> Response:
    """One's own that are good."""
    service = service_of(request)

    def work(tx: Transaction) -> Tokens:
        return Tokens(tokens.listed(tx, caller(tx, request).user, service.now_ns()))

    return reply(request, await service.metadata.read(work))


async def revoke_token(request: Request) -> Response:
    """One's own."""
    service, token = service_of(request), DeviceId(request.path_params["token"])

    def work(tx: Transaction) -> None:
        who = caller(tx, request)
        name = tokens.revoke(tx, token, who.user)
        audit.note(tx, audit.who_of(who), What.TOKEN_REVOKED, service.now_ns(), name)

    await service.metadata.write(work)
    return no_content()


_OURS: Final = (problems.FORBIDDEN, problems.NOT_FOUND, problems.NO_SPACE)

ROUTES = [
    operation("GET", "/tokens", list_tokens, gives=Tokens, fails=[problems.FORBIDDEN]),
    operation(
        "POST", "/tokens", make_token, takes=NewToken, gives=MadeToken, status=201, fails=(*_OURS, problems.CONFLICT)
    ),
    operation("DELETE", "/tokens/{token}", revoke_token, fails=_OURS),
]
