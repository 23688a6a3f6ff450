"""Content by path: ``GET``, ``HEAD`` and ``PUT`` of files."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Final, NamedTuple

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from protocol import manifest as manifests
from protocol import problems
from protocol.ids import NO_VERSION, VersionNumber
from protocol.limits import KIB
from protocol.manifest import EMPTY, Manifest
from protocol.messages.items import etag_of
from protocol.messages.nodes import Kind, Node
from server.access import Access, content_access_of
from server.conditions import Verdict, conditions_of, http_date
from server.content.uploads import Allow, Goal, Uploaded, upload, upload_small
from server.http import body_parts, declared_bytes, flag_query, names_of, number_query, reply
from server.metadata import paths, tree
from server.metadata.store import Transaction
from server.metadata.tree import NoSuchNode
from server.ranges import ByteRange, Unsatisfiable, ranges
from server.routes.downloads import Content, Download, content_headers
from server.service import service_of
from server.settling import look
from server.shares import asker_of
from server.troubles import Trouble

_SMALL_BYTES: Final = 64 * KIB
"""A body up to so long waits for no place, and its file is made and committed at once."""


class _Found(NamedTuple):
    """A version of a file, or what is there instead."""

    name: bytes
    node: Node
    number: VersionNumber
    manifest: Manifest = EMPTY
    committed_s: int | None = None


async def get(request: Request) -> Response:
    """A version of a file, or ranges of it."""
    service, access = service_of(request), content_access_of(request)
    names = names_of(request.path_params["path"])
    number = number_query(request, "version", None)
    if number is not None and not access.has_history:
        raise Trouble(problems.FORBIDDEN, "a link leads to the newest version alone")
    found = await look(service, access.workspace, access.reads, lambda tx: _version(tx, access, names, number))
    _check_is_file(found.node)
    etag, conditions = etag_of(found.node.id, found.number), conditions_of(request.headers)
    headers = content_headers(found.name, is_download=flag_query(request, "download"))
    headers["ETag"] = etag
    if found.committed_s is not None:
        headers["Last-Modified"] = http_date(found.committed_s)
    match conditions.of_read(etag, found.committed_s):
        case Verdict.FAILED:
            raise Trouble(problems.PRECONDITION, "what is there is not what the request says")
        case Verdict.NOT_MODIFIED:
            return Response(status_code=304, headers=headers)
        case Verdict.GO_ON:
            pass
    size = found.manifest.size_bytes
    wanted: list[ByteRange] | None = None
    if request.method == "GET" and conditions.allow_range(etag):
        try:
            wanted = ranges(request.headers.get("range"), size)
        except Unsatisfiable:
            detail = f"the content has {size} bytes, none of them in the ranges asked for"
            raise Trouble(problems.RANGE, detail, {"Content-Range": f"bytes */{size}"}) from None
    content = Content(access.workspace, found.manifest, access.reads)
    return Download(service, content, headers, wanted, has_body=request.method == "GET")


async def put(request: Request) -> Response:
    """A content for a file, from a plain body."""
    access, names = content_access_of(request), names_of(request.path_params["path"])
    if not names:
        raise Trouble(problems.CONFLICT, "the workspace's root is a folder")
    goal = Goal(access.workspace, names, conditions_of(request.headers), flag_query(request, "parents"))
    declared = declared_bytes(request)
    if declared is None or declared > _SMALL_BYTES:
        await service_of(request).metadata.read(access.changes)  # Not much is taken of a stranger's body.
    return _uploaded(request, await take_body(request, goal, access.changes))


async def take_body(request: Request, goal: Goal, allow: Allow) -> Uploaded:
    """A request's body as a file's content; raises what ``upload`` raises."""
    service = service_of(request)
    async with aclosing(body_parts(request)) as parts:
        head, is_all = await _head(parts)
        async with aclosing(_joined(head, parts)) as body:
            if is_all:
                return await upload_small(service, goal, body, allow)
            async with service.places.uploads.place(asker_of(request.scope)):
                return await upload(service, goal, body, allow)


async def _head(parts: AsyncIterator[bytes]) -> tuple[bytes, bool]:
    """The beginning of a body, and whether that is all of it."""
    head = bytearray()
    async for part in parts:
        head += part
        if len(head) > _SMALL_BYTES:
            return bytes(head), False
    return bytes(head), True


async def _joined(head: bytes, rest: AsyncIterator[bytes]) -> AsyncGenerator[bytes, None]:
    yield head
    async for part in rest:
        yield part


def _uploaded(request: Request, done: Uploaded) -> Response:
    answer = reply(request, done.item, 201 if done.is_new else 200)
    answer.headers["ETag"] = done.item.etag
    return answer


def _version(tx: Transaction, access: Access, names: list[bytes], number: int | None) -> _Found:
    place = paths.place(tx, access.workspace, names, access.root)
    node, name = place.taken(), place.name
    version = node.version if number is None else VersionNumber(number)
    if node.kind is not Kind.FILE or version == NO_VERSION:
        return _Found(name, node, version)
    found = tree.version(tx, access.workspace, node.id, version)
    if found is None:
        raise NoSuchNode("there is no such version")
    name = name or tree.path_of(tx, access.workspace, node.id)[1][-1]
    return _Found(name, node, version, manifests.decode(found.manifest), found.committed_ns // 10**9)


def _check_is_file(node: Node) -> None:
    match node.kind:
        case Kind.FILE:
            return
        case Kind.FOLDER:
            raise Trouble(problems.CONFLICT, "this is a folder: list it (folders) or take it as a zip (archive)")
        case Kind.SYMLINK:
            raise Trouble(problems.CONFLICT, "this is a symbolic link, which is not followed: ask for its target")
        case _:
            raise Trouble(problems.CONFLICT, f"this is a {node.kind}, which has no content")


ROUTES = [
    Route("/workspaces/{workspace}/files/{path:path}", get, methods=["GET", "HEAD"]),
    Route("/workspaces/{workspace}/files/{path:path}", put, methods=["PUT"]),
]
