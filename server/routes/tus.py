"""Resumable uploads, by the protocol tus 1.0.0 (docs/api.md)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from functools import partial
from typing import Any, Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from protocol import problems
from protocol.ids import Seq, WorkspaceId
from protocol.limits import KIB
from protocol.messages.wire import API
from server import tus
from server.conditions import http_date
from server.content.digests import ALGORITHMS, Digest
from server.content.transfers import join, receive
from server.content.uploads import Allow, Goal, check_goal
from server.describing import CHANGING, IN_A_WORKSPACE, Content, Parameter, operation
from server.http import HEX_ID, body_parts, declared_bytes, no_content, workspace_of
from server.metadata import accounts, transfers, tree
from server.metadata.accounts import Caller, Unknown
from server.metadata.store import Transaction
from server.metadata.transfers import Transfer
from server.metadata.unmounted import Editing
from server.service import caller, check_opens, editor, service_of
from server.settling import edit
from server.shares import asker_of
from server.troubles import Trouble

_SMALL_BYTES: Final = 64 * KIB
"""What a request may hold in memory without waiting for a place."""

_OVERRIDE: Final = "X-HTTP-Method-Override"


class SpeaksTus:
    """Around each handler: the version of the protocol is checked, and named in every answer."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run the handler."""

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers[tus.RESUMABLE] = tus.VERSION
                headers["Cache-Control"] = "no-store"
            await send(message)

        await self._app(scope, receive, sending)


async def upload_protocol(_: Request) -> Response:
    """What this server can do."""
    headers = {
        "Tus-Version": tus.VERSION,
        "Tus-Extension": tus.EXTENSIONS,
        "Tus-Max-Size": str(tus.MAX_SIZE_BYTES),
        "Tus-Checksum-Algorithm": ",".join(ALGORITHMS),
    }
    return Response(status_code=204, headers=headers)


async def create_upload(request: Request) -> Response:
    """A new upload, with as much of its content as the body has; or one made of others."""
    service, headers = service_of(request), request.headers
    tus.check_version(headers)
    metadata, concat = headers.get(tus.METADATA, ""), headers.get(tus.CONCAT)
    workspace = await _workspace(request, metadata)
    allow = _allowed(request, workspace)
    parts = None if concat is None else tus.parts_of(concat)
    if concat is not None and parts is not None:
        return await _joined(request, workspace, metadata, concat, parts, allow)
    length, digest = tus.length_of(headers), tus.digest_of(headers)
    goal = None if concat is not None else _goal(workspace, metadata)

    def work(editing: Editing) -> Transfer:
        if goal is not None:
            check_goal(editing, goal)
        user, now_ns = editing.caller.user, editing.now_ns
        return transfers.create(editing.tx, workspace, user, length, metadata, concat, now_ns)

    service.blocks.space.check(1)
    has_body = declared_bytes(request) != 0
    if has_body:
        _check_media(headers)
    made = await edit(service, workspace, allow, work)
    if has_body or length == 0:
        made = await _receive(request, made, allow, digest)
    return _created(made)


async def upload_progress(request: Request) -> Response:
    """How far an upload has come."""
    tus.check_version(request.headers)
    found = await _found(request)
    headers = {tus.METADATA: found.metadata} if found.metadata else {}
    if found.length is None:
        headers[tus.DEFER_LENGTH] = "1"
    else:
        headers[tus.LENGTH] = str(found.length)
    if found.concat is not None:
        headers[tus.CONCAT] = found.concat
    return Response(status_code=200, headers={**headers, **_progress(found)})


async def continue_upload(request: Request) -> Response:
    """More of an upload; with the last of it, the file is there."""
    service, headers = service_of(request), request.headers
    tus.check_version(headers)
    _check_media(headers)
    workspace, identity = workspace_of(request), _identity(request)
    allow = _allowed(request, workspace)
    offset, length, digest = tus.number(headers, tus.OFFSET), _late_length(headers), tus.digest_of(headers)
    if offset is None:
        raise Trouble(problems.BAD_REQUEST, f"{tus.OFFSET} says where the body goes")

    def work(tx: Transaction) -> Transfer:
        now_ns = service.now_ns()
        found = transfers.find(tx, workspace, identity, allow(tx).user, now_ns)
        _check_may_grow(found, length)
        return found if found.etag is not None else transfers.take_turn(tx, found, offset, length, now_ns)

    taken = await service.metadata.write(work)
    if taken.etag is not None:
        if offset != taken.received or declared_bytes(request) != 0:
            raise Trouble(problems.CONFLICT, "all of this upload has come")
        taken = await _found(request)
    else:
        taken = await _receive(request, taken, allow, digest)
    return Response(status_code=204, headers=_progress(taken))


async def end_upload(request: Request) -> Response:
    """End an upload. A file that it has become stays."""
    tus.check_version(request.headers)
    service, workspace, identity = service_of(request), workspace_of(request), _identity(request)

    def work(tx: Transaction) -> None:
        user = editor(tx, request, workspace).user
        transfers.remove(tx, workspace, transfers.find(tx, workspace, identity, user, service.now_ns()).id)

    await service.metadata.write(work)
    return no_content()


async def override(request: Request) -> Response:
    """For who can send nothing but POST."""
    handlers: dict[str, Callable[[Request], Awaitable[Response]]] = {
        "PATCH": continue_upload,
        "DELETE": end_upload,
        "HEAD": upload_progress,
    }
    method = request.headers.get(_OVERRIDE, "").upper()
    if method not in handlers:
        raise Trouble(problems.METHOD_NOT_ALLOWED, f"an upload takes HEAD, PATCH and DELETE, or POST with {_OVERRIDE}")
    return await handlers[method](request)


# ── parts of these ──


async def _joined(
    request: Request,
    workspace: WorkspaceId,
    metadata: str,
    concat: str,
    parts: list[tuple[WorkspaceId, str]],
    allow: Allow,
) -> Response:
    service, goal = service_of(request), _goal(workspace, metadata)
    if declared_bytes(request) != 0:
        raise Trouble(problems.BAD_REQUEST, "an upload that is made of others has no content of its own")
    if any(other != workspace for other, _ in parts):
        detail = f"the parts are in another workspace: name it for them, too, or send all to /{API}/tus/WORKSPACE"
        raise Trouble(problems.CONFLICT, detail)

    def find(tx: Transaction) -> list[Transfer]:
        user = allow(tx).user
        return [transfers.find(tx, workspace, identity, user, service.now_ns()) for _, identity in parts]

    found = await service.metadata.read(find)
    if not all(part.is_partial for part in found):
        raise Trouble(problems.BAD_REQUEST, "only uploads that were created as parts can be joined")
    if any(part.length != part.received for part in found):
        raise Trouble(problems.CONFLICT, "a part has not come completely")
    tus.check_size(sum(part.received for part in found))
    async with service.places.uploads.place(asker_of(request.scope)):
        return _created(await join(service, found, metadata, concat, allow, goal))


async def _receive(request: Request, taken: Transfer, allow: Allow, digest: Digest | None) -> Transfer:
    service, declared = service_of(request), declared_bytes(request)
    if taken.length is not None and declared is not None and taken.received + declared > taken.length:
        raise transfers.TooMuch(f"the upload has {taken.length} bytes, and more are to come")
    goal = partial(_goal, taken.workspace, taken.metadata)
    async with aclosing(body_parts(request)) as parts:
        async with _room(request, taken.tail_bytes, declared):
            return await receive(service, taken, parts, allow, goal, digest)


@asynccontextmanager
async def _room(request: Request, tail_bytes: int, declared: int | None) -> AsyncIterator[None]:
    if declared is not None and tail_bytes + declared <= _SMALL_BYTES:
        yield
        return
    async with service_of(request).places.uploads.place(asker_of(request.scope)):
        yield


async def _workspace(request: Request, metadata: str) -> WorkspaceId:
    """By the URL, else by the metadata, else the caller's default."""
    if "workspace" in request.path_params:
        return workspace_of(request)
    named = tus.workspace_in(tus.metadata_of(metadata))
    if named is not None:
        return named

    def default(tx: Transaction) -> WorkspaceId:
        user = caller(tx, request).user
        return next((found.id for found in accounts.list_workspaces(tx, user) if found.default), WorkspaceId(""))

    found = await service_of(request).metadata.read(default)
    if not found:
        raise Trouble(problems.BAD_REQUEST, f"{tus.METADATA} needs a workspace: you have none of your own")
    return found


def _allowed(request: Request, workspace: WorkspaceId) -> Callable[[Transaction], Caller]:
    def allowed(tx: Transaction) -> Caller:
        found = editor(tx, request, workspace)
        check_opens(tx, workspace)
        return found

    return allowed


async def _found(request: Request) -> Transfer:
    """What the URL names, when it may be revealed: that it became a file, when every mount may know of that."""
    service, workspace, identity = service_of(request), workspace_of(request), _identity(request)

    def find(tx: Transaction) -> tuple[Transfer, Seq]:
        user = editor(tx, request, workspace).user
        return transfers.find(tx, workspace, identity, user, service.now_ns()), tree.head(tx, workspace)

    found, head = await service.metadata.read(find)
    if found.etag is not None:
        await service.leases.settled(workspace, head, None)
    return found


def _identity(request: Request) -> str:
    identity: str = request.path_params["upload"]
    if not HEX_ID.match(identity):
        raise Unknown("there is no such upload")
    return identity


def _goal(workspace: WorkspaceId, metadata: str) -> Goal:
    target = tus.target_of(tus.metadata_of(metadata))
    return Goal(workspace, target.names, target.conditions, makes_parents=True, mtime_ns=target.mtime_ns)


def _late_length(headers: Headers) -> int | None:
    return tus.check_size(tus.number(headers, tus.LENGTH))


def _check_may_grow(found: Transfer, length: int | None) -> None:
    """``length`` is what the request says about the whole."""
    if found.is_final:
        raise Trouble(problems.FORBIDDEN, "an upload that is made of others takes no content of its own")
    if length is not None and found.length is not None and length != found.length:
        raise Trouble(problems.BAD_REQUEST, f"the upload has {found.length} bytes: that stays")
    if length is not None and length < found.received:
        raise Trouble(problems.BAD_REQUEST, f"{found.received} bytes of the upload have come, more than {length}")


def _check_media(headers: Headers) -> None:
    if headers.get("content-type", "").partition(";")[0].strip().lower() != tus.OFFSET_OCTETS:
        raise Trouble(problems.UNSUPPORTED_MEDIA, f"the content of an upload comes as {tus.OFFSET_OCTETS}")


def _progress(found: Transfer) -> dict[str, str]:
    """What all answers about an upload say."""
    if found.etag is not None:
        return {tus.OFFSET: str(found.received), "ETag": found.etag}
    return {tus.OFFSET: str(found.received), tus.EXPIRES: http_date(found.expires_ns // 10**9)}


def _created(made: Transfer) -> Response:
    location = f"/{API}/tus/{made.workspace}/{made.id}"
    return Response(status_code=201, headers={**_progress(made), "Location": location})


_TUS: Final = [Middleware(SpeaksTus)]
_ONE: Final = "/tus/{workspace}/{upload}"

_TEXT: Final[dict[str, Any]] = {"type": "string"}
_BYTES: Final[dict[str, Any]] = {"type": "integer", "minimum": 0}
_SPOKEN: Final = Parameter(tus.RESUMABLE, {"type": "string", "const": tus.VERSION}, "The protocol.", required=True)
_LENGTH: Final = Parameter(tus.LENGTH, _BYTES, "How many bytes the whole upload has.")
_CHECKSUM: Final = Parameter(tus.CHECKSUM, _TEXT, f"Of the body: one of {', '.join(ALGORITHMS)}, and it in base64.")
_COME: Final = Parameter(tus.OFFSET, _BYTES, "How many bytes have come.", required=True)
_UNTIL: Final = Parameter(tus.EXPIRES, _TEXT, "Until when it can be continued.")
_ETAG: Final = Parameter("ETag", _TEXT, "Of the file that it has become.")
_CONTENT: Final = Content(tus.OFFSET_OCTETS, "The next bytes.")

_FAILS: Final = (*CHANGING, problems.PRECONDITION, problems.END_TO_END)
_RECEIVING: Final = (
    *_FAILS,
    problems.QUOTA,
    problems.BODY_TOO_LARGE,
    problems.UNSUPPORTED_MEDIA,
    problems.CHECKSUM,
)

ROUTES = [
    *(
        route
        for path in ("/tus", "/tus/")
        for route in (
            Route(path, upload_protocol, methods=["OPTIONS"], middleware=_TUS),
            Route(path, create_upload, methods=["POST"], middleware=_TUS),
        )
    ),
    Route("/tus/{workspace}", upload_protocol, methods=["OPTIONS"], middleware=_TUS),
    operation(
        "POST",
        "/tus/{workspace}",
        create_upload,
        status=201,
        headers=[
            _SPOKEN,
            _LENGTH,
            Parameter(tus.DEFER_LENGTH, {"type": "string", "const": "1"}, f"Instead of {tus.LENGTH}: told later."),
            Parameter(tus.METADATA, _TEXT, "Where it goes: pairs of a key and a value in base64, such as path."),
            Parameter(tus.CONCAT, _TEXT, "partial, or final; and the URLs of the partial uploads that it is made of."),
            _CHECKSUM,
        ],
        tells=[Parameter("Location", _TEXT, "The upload's URL.", required=True), _COME, _UNTIL, _ETAG],
        fails=_RECEIVING,
        middleware=_TUS,
    ),
    Route(_ONE, upload_protocol, methods=["OPTIONS"], middleware=_TUS),
    operation(
        "HEAD",
        _ONE,
        upload_progress,
        status=200,
        headers=[_SPOKEN],
        tells=[_COME, _LENGTH, _UNTIL, _ETAG],
        fails=(*IN_A_WORKSPACE, problems.FORBIDDEN, problems.PRECONDITION),
        middleware=_TUS,
    ),
    operation(
        "PATCH",
        _ONE,
        continue_upload,
        takes=_CONTENT,
        headers=[
            _SPOKEN,
            Parameter(tus.OFFSET, _BYTES, "Where the body goes: how many bytes have come.", required=True),
            _LENGTH,
            _CHECKSUM,
        ],
        tells=[_COME, _UNTIL, _ETAG],
        fails=_RECEIVING,
        middleware=_TUS,
    ),
    operation("DELETE", _ONE, end_upload, headers=[_SPOKEN], fails=_FAILS, middleware=_TUS),
    Route(_ONE, override, methods=["POST"], middleware=_TUS),
]
