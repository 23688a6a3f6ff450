"""What a request that failed is answered with: a problem (RFC 9457).

Owns the translation of exceptions to problems: handlers raise what went wrong and never build an error answer.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

import msgspec
import structlog
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from protocol import problems
from protocol.manifest import BadManifest
from protocol.messages.wire import PROBLEM_JSON
from server.blockcare import BadBlock, Damaged, NotOpened
from server.blockstore.store import BlockStoreError
from server.content.writing import TooLong
from server.metadata.accounts import Taken, Unknown
from server.metadata.blocks import OverQuota
from server.metadata.changes import OutOfOrder
from server.metadata.contents import Lacking
from server.metadata.editing import Rule
from server.metadata.store import StoreFull, StoreUnavailable
from server.metadata.transfers import ChecksumMismatch, Overtaken, TooMany, TooMuch, WrongOffset
from server.metadata.tree import ListingChanged, NoSuchNode
from server.passwords import TooManyAttempts
from server.space import NoSpace

_SECRET: Final = re.compile(r"\A(/[^/]+/links/)[^/]+")

log = structlog.get_logger()


class Trouble(Exception):
    """A problem to answer with. ``code`` is one of ``protocol.problems``."""

    def __init__(self, code: str, detail: str, headers: Mapping[str, str] = MappingProxyType({})) -> None:
        super().__init__(detail)
        self.code = code
        self.headers = headers


_CODES: Final[Mapping[type[Exception], str]] = {
    Unknown: problems.NOT_FOUND,
    NoSuchNode: problems.NOT_FOUND,
    Taken: problems.CONFLICT,
    ListingChanged: problems.LISTING_CHANGED,
    OutOfOrder: problems.OUT_OF_ORDER,
    TooManyAttempts: problems.TOO_MANY_ATTEMPTS,
    BadBlock: problems.BAD_BLOCK,
    BadManifest: problems.BAD_MANIFEST,
    OverQuota: problems.QUOTA,
    NoSpace: problems.NO_SPACE,
    StoreFull: problems.NO_SPACE,
    StoreUnavailable: problems.UNAVAILABLE,
    BlockStoreError: problems.UNAVAILABLE,
    Lacking: problems.UNAVAILABLE,
    Damaged: problems.INTERNAL,
    NotOpened: problems.END_TO_END,
    TooLong: problems.BODY_TOO_LARGE,
    TooMuch: problems.BODY_TOO_LARGE,
    ChecksumMismatch: problems.CHECKSUM,
    WrongOffset: problems.CONFLICT,
    Overtaken: problems.CONFLICT,
    TooMany: problems.QUOTA,
}

_RULE_CODES: Final = {
    "ENOENT": problems.NOT_FOUND,
    "EEXIST": problems.CONFLICT,
    "ENOTEMPTY": problems.CONFLICT,
    "ENOTDIR": problems.CONFLICT,
    "EISDIR": problems.CONFLICT,
    "EMLINK": problems.CONFLICT,
    "EBUSY": problems.CONFLICT,
    "ESTALE": problems.PRECONDITION,
}
"""What a rule of file systems that refuses a change made without a mount is answered with; else BAD_REQUEST."""

_CHALLENGES: Final = {problems.PASSWORD: 'Basic realm="link", charset="UTF-8"'}
"""How to come again after a 401, where it is not with a token (RFC 9110, section 11.6.1)."""

_HTTP_CODES: Final = {
    404: problems.NOT_FOUND,
    405: problems.METHOD_NOT_ALLOWED,
    413: problems.BODY_TOO_LARGE,
}


def handlers() -> dict[type[Exception], Callable[[Request, Exception], object]]:
    """For Starlette: what each exception is answered with."""
    return {
        **dict.fromkeys(_CODES, _known),
        Rule: _rule,
        Trouble: _trouble,
        HTTPException: _http,
        ClientDisconnect: _gone,
        Exception: _unexpected,
    }


def loggable(path: str) -> str:
    """A request's path without what opens a link."""
    return _SECRET.sub(r"\1…", path)


async def _known(_: Request, error: Exception) -> Response:
    for kind in type(error).__mro__:
        if kind in _CODES:
            return _problem(_CODES[kind], str(error))
    raise error


async def _rule(_: Request, error: Exception) -> Response:
    assert isinstance(error, Rule)
    return _problem(_RULE_CODES.get(error.errno, problems.BAD_REQUEST), str(error))


async def _trouble(_: Request, error: Exception) -> Response:
    assert isinstance(error, Trouble)
    return _problem(error.code, str(error), headers=error.headers)


async def _http(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    code = _HTTP_CODES.get(error.status_code, problems.BAD_REQUEST)
    return _problem(code, error.detail, error.status_code)


async def _gone(_: Request, error: Exception) -> Response:
    return _problem(problems.BAD_REQUEST, "the client went away")


async def _unexpected(request: Request, error: Exception) -> Response:
    log.error("request failed", method=request.method, path=loggable(request.url.path), exc_info=error)
    return _problem(problems.INTERNAL, "the server could not handle this request; its log says why")


def _problem(
    code: str, detail: str, status: int | None = None, headers: Mapping[str, str] = MappingProxyType({})
) -> Response:
    status = problems.STATUS[code] if status is None else status
    problem = problems.Problem(title=code.replace("-", " "), status=status, detail=detail, code=code)
    more = {"WWW-Authenticate": _CHALLENGES.get(code, "Bearer")} if status == 401 else {}
    return Response(msgspec.json.encode(problem), status, {**headers, **more}, PROBLEM_JSON)
