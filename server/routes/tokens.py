"""Tokens for scripts: a person makes, lists and revokes their own."""

from __future__ import annotations

from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from protocol import problems
from protocol.ids import DeviceId
from protocol.limits import DEVICE_NAME_MAX_CHARS
from protocol.messages.tokens import MadeToken, NewToken, Token, Tokens
from server.http import check_expiry, check_name, message, no_content, reply
from server.metadata import tokens
from server.metadata.store import Transaction
from server.passwords import hash_token, new_token
from server.service import caller, service_of
from server.troubles import Trouble

_WORKSPACES_MAX: Final = 1_000


async def make(request: Request) -> Response:
    """The only answer that has the secret."""
    service = service_of(request)
    wanted = await message(request, NewToken)
    check_name("a token's name", wanted.name, DEVICE_NAME_MAX_CHARS)
    check_expiry(wanted.expires_ns, service.now_ns())
    if wanted.workspaces is not None and not 0 < len(wanted.workspaces) <= _WORKSPACES_MAX:
        raise Trouble(problems.BAD_REQUEST, f"a token is for 1 to {_WORKSPACES_MAX} workspaces, or for all")
    secret = new_token()

    def work(tx: Transaction) -> Token:
        who = caller(tx, request)
        return tokens.make(tx, who.user, wanted, hash_token(secret), service.now_ns())

    return reply(request, MadeToken(await service.metadata.write(work), secret), 201)


async def list_tokens(request: Request) -> Response:
    """One's own that are good."""
    service = service_of(request)

    def work(tx: Transaction) -> Tokens:
        return Tokens(tokens.listed(tx, caller(tx, request).user, service.now_ns()))

    return reply(request, await service.metadata.read(work))


async def revoke(request: Request) -> Response:
    """One's own."""
    token = DeviceId(request.path_params["token"])
    await service_of(request).metadata.write(lambda tx: tokens.revoke(tx, token, caller(tx, request).user))
    return no_content()


ROUTES = [
    Route("/tokens", list_tokens),
    Route("/tokens", make, methods=["POST"]),
    Route("/tokens/{token}", revoke, methods=["DELETE"]),
]
