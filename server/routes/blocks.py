"""Sealed blocks in and out."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Final

import trio
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from protocol import problems
from protocol.ids import BLOCK_ID_BYTES
from protocol.limits import KIB, MISSING_QUERY_BLOCKS, READ_MANY_BLOCKS, READ_MANY_BYTES, SEALED_MAX_BYTES
from protocol.messages.blocks import BlockList, frame_head
from protocol.messages.wire import OCTETS
from server.http import block_of, body, declared_bytes, message, no_content, reply, workspace_of
from server.metadata.store import Transaction
from server.service import editor, member, service_of
from server.troubles import Trouble

_PART_BYTES: Final = 256 * KIB
"""Of an answer, at a time: below us each part is copied once or twice."""

Fetch = Callable[[], Awaitable[Sequence[bytes]]]


class Octets(Response):
    """An answer of several blocks' bytes, which are fetched when there is a place, and hold it until they are sent."""

    def __init__(self, fetch: Fetch, places: trio.CapacityLimiter) -> None:
        super().__init__(media_type=OCTETS)
        self._fetch = fetch
        self._places = places

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Fetch and send; raises what fetching raises, before anything is sent."""
        async with self._places:
            pieces = await self._fetch()
            self.headers["content-length"] = str(sum(map(len, pieces)))
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            for part in _parts(pieces):
                await send({"type": "http.response.body", "body": part, "more_body": True})
            await send({"type": "http.response.body", "body": b"", "more_body": False})


async def missing(request: Request) -> Response:
    """Which of these does the workspace lack?"""
    service, workspace = service_of(request), workspace_of(request)
    asked = await message(request, BlockList)
    _check(asked, MISSING_QUERY_BLOCKS)

    def work(tx: Transaction) -> BlockList:
        editor(tx, request, workspace)
        return BlockList(service.blocks.missing(tx, workspace, asked.blocks))

    return reply(request, await service.metadata.read(work))


async def damaged(request: Request) -> Response:
    """The caller could not open these."""
    service, workspace = service_of(request), workspace_of(request)
    asked = await message(request, BlockList)
    _check(asked, READ_MANY_BLOCKS)
    await service.blocks.report(workspace, asked.blocks, lambda tx: editor(tx, request, workspace))
    return no_content()


async def put(request: Request) -> Response:
    """Store one."""
    service, workspace, block = service_of(request), workspace_of(request), block_of(request)
    declared = declared_bytes(request)
    if declared is not None and declared > SEALED_MAX_BYTES:
        raise Trouble(problems.BODY_TOO_LARGE, f"a sealed block has at most {SEALED_MAX_BYTES} bytes")

    def allow(tx: Transaction) -> None:
        editor(tx, request, workspace)

    size = SEALED_MAX_BYTES if declared is None else declared
    wanted = await service.blocks.wanted(workspace, block, size, allow)
    async with service.places.bulk:
        sealed = await body(request, SEALED_MAX_BYTES)
        if wanted is not None:
            await service.blocks.put(wanted, sealed, allow)
    return no_content()


async def get(request: Request) -> Response:
    """One."""
    service, workspace, block = service_of(request), workspace_of(request), block_of(request)

    async def fetch() -> list[bytes]:
        found = await service.blocks.get(workspace, [block], READ_MANY_BYTES, lambda tx: member(tx, request, workspace))
        if not found:
            raise Trouble(problems.NOT_FOUND, "there is no such block")
        return [sealed for _, sealed in found]

    return Octets(fetch, service.places.bulk)


async def read_many(request: Request) -> Response:
    """The first of those asked for that fit and are there, in frames."""
    service, workspace = service_of(request), workspace_of(request)
    asked = await message(request, BlockList)
    _check(asked, READ_MANY_BLOCKS)

    async def fetch() -> list[bytes]:
        found = await service.blocks.get(
            workspace, asked.blocks, READ_MANY_BYTES, lambda tx: member(tx, request, workspace)
        )
        if not found:
            raise Trouble(problems.NOT_FOUND, f"there is no block {asked.blocks[0].hex()}")
        return [piece for block, sealed in found for piece in (frame_head(block, len(sealed)), sealed)]

    return Octets(fetch, service.places.bulk)


def _parts(pieces: Sequence[bytes]) -> Iterator[bytes]:
    """The pieces' bytes in parts of _PART_BYTES to twice that: small pieces joined, large ones cut."""
    part = bytearray()
    for piece in pieces:
        view = memoryview(piece)
        for at in range(0, len(piece), _PART_BYTES):
            part += view[at : at + _PART_BYTES]
            if len(part) >= _PART_BYTES:
                yield bytes(part)
                part.clear()
    if part:
        yield bytes(part)


def _check(asked: BlockList, most: int) -> None:
    if not 0 < len(asked.blocks) <= most:
        raise Trouble(problems.BAD_REQUEST, f"ask for 1 to {most} blocks")
    if any(len(block) != BLOCK_ID_BYTES for block in asked.blocks):
        raise Trouble(problems.BAD_REQUEST, f"a block id has {BLOCK_ID_BYTES} bytes")


ROUTES = [
    Route("/workspaces/{workspace}/blocks/missing", missing, methods=["POST"]),
    Route("/workspaces/{workspace}/blocks/read", read_many, methods=["POST"]),
    Route("/workspaces/{workspace}/blocks/damaged", damaged, methods=["POST"]),
    Route("/workspaces/{workspace}/blocks/{block}", put, methods=["PUT"]),
    Route("/workspaces/{workspace}/blocks/{block}", get),
]
