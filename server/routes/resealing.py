"""An end-to-end workspace's blocks, which its owner seals anew after a key was added: nobody else could."""

from __future__ import annotations

from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from protocol import problems
from protocol.ids import BlockId, WorkspaceId
from protocol.limits import SEALED_MAX_BYTES
from protocol.messages.blocks import OldBlocks
from server.exchanging import exchange
from server.http import block_of, block_query, body, no_content, reply, workspace_of
from server.metadata import accounts, blocks, workspacekeys
from server.metadata.store import Transaction
from server.service import owner, service_of
from server.troubles import Trouble

PAGE_BLOCKS: Final = 1_000


async def old_blocks(request: Request) -> Response:
    """A page of the blocks that are sealed under another key than the last, in order of their ids."""
    workspace, after = workspace_of(request), block_query(request, "after")

    def work(tx: Transaction) -> list[BlockId]:
        _allow(tx, request, workspace)
        key_id = workspacekeys.last_id(tx, workspace)
        return blocks.ids_under_other_keys(tx, workspace, key_id, after, PAGE_BLOCKS + 1)

    found = await service_of(request).metadata.read(work)
    return reply(request, OldBlocks(found[:PAGE_BLOCKS], len(found) > PAGE_BLOCKS))


async def put_anew(request: Request) -> Response:
    """One of them, sealed under the last key."""
    service, workspace, block = service_of(request), workspace_of(request), block_of(request)

    def allow(tx: Transaction) -> None:
        _allow(tx, request, workspace)

    await service.metadata.read(allow)
    async with service.places.bulk:
        sealed = await body(request, SEALED_MAX_BYTES)
        if not await exchange(service.metadata, service.blocks, workspace, block, sealed, allow):
            raise Trouble(problems.NOT_FOUND, "there is no such block")
    return no_content()


def _allow(tx: Transaction, request: Request, workspace: WorkspaceId) -> None:
    owner(tx, request, workspace)
    if not accounts.is_end_to_end(tx, workspace):
        raise Trouble(problems.CONFLICT, "the server seals the blocks of this workspace anew itself")


ROUTES = [
    Route("/workspaces/{workspace}/resealing", old_blocks),
    Route("/workspaces/{workspace}/resealing/{block}", put_anew, methods=["PUT"]),
]
