"""Requests of somebody without a mount, and what is counted of them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from random import Random
from typing import Any

import httpx
import msgspec
import trio

from protocol import manifest as manifests
from protocol.chunking import cut
from protocol.ids import NodeId, VersionNumber
from protocol.manifest import Manifest, Piece
from protocol.messages.blocks import BlockList
from protocol.messages.changes import Commit
from protocol.messages.items import Item
from protocol.messages.nodes import Node
from protocol.messages.tree import ListingReply
from tests.server.world import NOW_NS, Client, World


def content(size_bytes: int, seed: int = 1) -> bytes:
    """Bytes that can't be compressed, the same for each seed."""
    return Random(seed).randbytes(size_bytes)


async def in_parts(plain: bytes, part_bytes: int = 1 << 16) -> AsyncIterator[bytes]:
    """A body as it comes from a connection."""
    for at in range(0, len(plain), part_bytes):
        yield plain[at : at + part_bytes]


async def ask(
    client: Client,
    method: str,
    path: str,
    body: bytes | AsyncIterator[bytes] | None = None,
    **headers: str,
) -> httpx.Response:
    """One request below the workspace, as a script makes it: ``if_match`` is the header If-Match."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return await client.http.request(
        method,
        f"/v1/workspaces/{client.workspace}/{path}",
        headers={"Authorization": f"Bearer {client.token}", **named},
        content=body,
    )


async def get(client: Client, path: str, **headers: str) -> httpx.Response:
    """A content."""
    return await ask(client, "GET", f"files/{path}", **headers)


async def put(
    client: Client, path: str, body: bytes | AsyncIterator[bytes], status: int | None = None, **headers: str
) -> Item:
    """Upload, which must succeed; with this status, where one is given."""
    answer = await ask(client, "PUT", f"files/{path}", body, **headers)
    assert answer.status_code in ([200, 201] if status is None else [status]), answer.content
    return msgspec.json.decode(answer.content, type=Item)


async def mount_writes(client: Client, node: int, plain: bytes, base: int = 0) -> None:
    """Give a file a content in the way of a mount: cut, sealed and put there, then committed."""
    pieces, at = [], 0
    for length in cut(plain, client.keys.chunk_seed):
        block, sealed = client.sealed(plain[at : at + length])
        if (await client.ask(BlockList, "POST", "./blocks/missing", BlockList([block]))).blocks:
            assert (await client.call("PUT", f"./blocks/{block.hex()}", sealed)).status_code == 204
        pieces.append(Piece(block, length))
        at += length
    await commit_pieces(client, node, pieces, base)


async def commit_pieces(client: Client, node: int, pieces: list[Piece], base: int = 0) -> None:
    """Give a file a content whose blocks are there."""
    manifest = Manifest.of(pieces)
    encoded = manifests.encode(manifest)
    change = Commit(NOW_NS, NodeId(node), VersionNumber(base), manifest.size_bytes, encoded, NOW_NS)
    await client.send(change)


async def listed(client: Client, folder: int = 1) -> dict[bytes, Node]:
    """What a folder has."""
    reply = await client.ask(ListingReply, "GET", f"./nodes/{folder}/entries")
    return {entry.name: entry.node for entry in reply.entries}


class Exchange:
    """One request whose parts come and go one by one, as over a connection."""

    def __init__(self, world: World, client: Client, method: str, path: str, query: str = "") -> None:
        self.status = 0
        self.came = b""
        self._app = world.app
        raw = f"/v1/workspaces/{client.workspace}/{path}".encode()
        self._scope = {
            "type": "http",
            "method": method,
            "path": raw.decode(),
            "raw_path": raw,
            "query_string": query.encode(),
            "headers": [
                (b"authorization", f"Bearer {client.token}".encode()),
                *([(b"transfer-encoding", b"chunked")] if method == "PUT" else []),
            ],
            "client": ("127.0.0.1", 1),
        }

    async def run(
        self,
        body: Sequence[bytes | None] = (b"",),
        before_part: Callable[[int], Awaitable[object]] | None = None,
        when_sent: Callable[[int], Awaitable[object]] | None = None,
    ) -> None:
        """``body`` ends with its last part, or None: the client is gone. Both hooks get the part's number, from 0."""
        incoming, sent = list(enumerate(body)), 0

        async def receive() -> dict[str, Any]:
            await trio.lowlevel.checkpoint()
            if not incoming:
                await trio.sleep_forever()
            number, part = incoming.pop(0)
            if before_part is not None:
                await before_part(number)
            if part is None:
                return {"type": "http.disconnect"}
            return {"type": "http.request", "body": part, "more_body": bool(incoming)}

        async def send(message: Any) -> None:
            nonlocal sent
            await trio.lowlevel.checkpoint()
            if message["type"] == "http.response.start":
                self.status = message["status"]
                return
            self.came += message.get("body", b"")
            if when_sent is not None and message.get("body"):
                sent += 1
                await when_sent(sent - 1)

        await self._app(self._scope, receive, send)


class Watched(dict[str, bytes]):
    """The objects of a store, and which of them were read."""

    def __init__(self, objects: dict[str, bytes]) -> None:
        super().__init__(objects)
        self.read: list[str] = []

    def __getitem__(self, name: str) -> bytes:
        self.read.append(name)
        return super().__getitem__(name)
