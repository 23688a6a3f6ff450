"""Sealed blocks in and out."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from protocol import problems
from protocol.limits import MISSING_QUERY_BLOCKS, READ_MANY_BLOCKS, READ_MANY_BYTES, SEALED_MAX_BYTES
from protocol.messages import OCTETS, BlockList
from server.http import Trouble, block_of, body, message, no_content, reply, workspace_of
from server.metadata import blocks
from server.metadata.store import Transaction
from server.service import editor, member, service_of


async def missing(request: Request) -> Response:
    """Which of these does the workspace lack?"""
    workspace = workspace_of(request)
    asked = await message(request, BlockList)
    _bound(asked, MISSING_QUERY_BLOCKS)

    def work(tx: Transaction) -> BlockList:
        editor(tx, request, workspace)
        return BlockList(blocks.missing(tx, workspace, asked.blocks))

    return reply(request, await service_of(request).metadata.read(work))


async def put(request: Request) -> Response:
    """Store one."""
    service, workspace, block = service_of(request), workspace_of(request), block_of(request)

    def allow(tx: Transaction) -> None:
        editor(tx, request, workspace)

    size = request.headers.get("content-length", "")
    keys = await service.blocks.wanted(workspace, block, int(size) if size.isdecimal() else SEALED_MAX_BYTES, allow)
    sealed = await body(request, SEALED_MAX_BYTES)
    if keys is not None:
        await service.blocks.put(workspace, block, sealed, keys)
    return no_content()


async def get(request: Request) -> Response:
    """One."""
    workspace, block = workspace_of(request), block_of(request)

    def allow(tx: Transaction) -> None:
        member(tx, request, workspace)

    [sealed] = await service_of(request).blocks.get(workspace, [block], READ_MANY_BYTES, allow)
    if sealed is None:
        raise Trouble(problems.NOT_FOUND, "there is no such block")
    return Response(sealed, media_type=OCTETS)


async def read_many(request: Request) -> Response:
    """The first of those asked for, as many as fit: 32 bytes of id, 4 bytes of length (big-endian), the bytes."""
    workspace = workspace_of(request)
    asked = await message(request, BlockList)
    _bound(asked, READ_MANY_BLOCKS)

    def allow(tx: Transaction) -> None:
        member(tx, request, workspace)

    found = await service_of(request).blocks.get(workspace, asked.blocks, READ_MANY_BYTES, allow)
    parts: list[bytes] = []
    for block, sealed in zip(asked.blocks, found, strict=False):
        if sealed is None:
            raise Trouble(problems.NOT_FOUND, f"there is no block {block.hex()}")
        parts += [block, len(sealed).to_bytes(4, "big"), sealed]
    return Response(b"".join(parts), media_type=OCTETS)


def _bound(asked: BlockList, most: int) -> None:
    if not 0 < len(asked.blocks) <= most:
        raise Trouble(problems.BAD_REQUEST, f"ask for 1 to {most} blocks")


ROUTES = [
    Route("/workspaces/{workspace}/blocks/missing", missing, methods=["POST"]),
    Route("/workspaces/{workspace}/blocks/read", read_many, methods=["POST"]),
    Route("/workspaces/{workspace}/blocks/{block}", put, methods=["PUT"]),
    Route("/workspaces/{workspace}/blocks/{block}", get),
]
