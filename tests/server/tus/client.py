"""Requests of somebody who uploads by tus."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import httpx
import trio
import trio.testing
from starlette.types import ASGIApp

from protocol import manifest as manifests
from protocol.limits import KIB, MIB
from protocol.manifest import Manifest
from protocol.messages.tree import ManifestReply
from tests.server.plainly import content, get, in_parts, listed
from tests.server.world import Client, World

LARGE = content(20 * MIB)
OFFSET_OCTETS = "application/offset+octet-stream"


def metadata(**pairs: str | bytes) -> str:
    """Upload-Metadata."""
    encoded = {key: value.encode() if isinstance(value, str) else value for key, value in pairs.items()}
    return ",".join(f"{key} {base64.b64encode(value).decode()}" for key, value in encoded.items())


async def tus(
    client: Client, method: str, path: str, body: bytes | AsyncIterator[bytes] | None = None, **headers: str
) -> httpx.Response:
    """One request: ``upload_length`` is the header Upload-Length."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    if body is not None:
        named.setdefault("content-type", OFFSET_OCTETS)
    return await client.http.request(
        method,
        path,
        headers={"Authorization": f"Bearer {client.token}", "Tus-Resumable": "1.0.0", **named},
        content=body,
    )


@dataclass
class Upload:
    """One upload of a client."""

    client: Client
    url: str

    async def patch(self, offset: int, body: bytes | AsyncIterator[bytes], **headers: str) -> httpx.Response:
        """More of it."""
        parts = in_parts(body) if isinstance(body, bytes) else body
        return await tus(self.client, "PATCH", self.url, parts, upload_offset=str(offset), **headers)

    async def head(self) -> httpx.Response:
        """How far it has come."""
        return await tus(self.client, "HEAD", self.url)

    async def offset(self) -> int:
        """How many bytes have come."""
        answer = await self.head()
        assert answer.status_code == 200, answer.headers
        return int(answer.headers["upload-offset"])

    async def patch_over(self, app: ASGIApp, offset: int, parts: Sequence[bytes | None]) -> int:
        """A request whose parts come one by one, as over a connection; None: the client is gone. Its status, or 0."""
        incoming = list(parts)
        status = 0

        async def receive() -> dict[str, Any]:
            await trio.lowlevel.checkpoint()
            part = incoming.pop(0)
            if part is None:
                return {"type": "http.disconnect"}
            return {"type": "http.request", "body": part, "more_body": bool(incoming)}

        async def send(message: Any) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]

        headers = {
            "authorization": f"Bearer {self.client.token}",
            "tus-resumable": "1.0.0",
            "content-type": OFFSET_OCTETS,
            "transfer-encoding": "chunked",
            "upload-offset": str(offset),
        }
        scope = {
            "type": "http",
            "method": "PATCH",
            "path": self.url,
            "raw_path": self.url.encode(),
            "query_string": b"",
            "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
            "client": ("127.0.0.1", 1),
        }
        await app(scope, receive, send)
        return status


async def create(client: Client, length: int | None, path: str = "new", **headers: str) -> Upload:
    """A new upload, which must be possible."""
    headers.setdefault("upload_metadata", metadata(path=path))
    if length is not None:
        headers["upload_length"] = str(length)
    answer = await tus(client, "POST", f"/v1/tus/{client.workspace}", **headers)
    assert answer.status_code == 201, answer.content
    return Upload(client, answer.headers["location"])


async def rows(world: World, table: str) -> int:
    row = await world.metadata.read(lambda tx: tx.one(f"SELECT count(*) FROM {table}"))
    assert row is not None
    return int(row[0])


async def pass_time(world: World, more_ns: int) -> None:
    """From now on it is so much later."""
    now_ns = world.service.now_ns() + more_ns
    world.service = world.app.state.service = replace(world.service, now_ns=lambda: now_ns)


def split(plain: bytes) -> list[bytes]:
    """As it comes over a connection."""
    return [plain[at : at + 64 * KIB] for at in range(0, len(plain), 64 * KIB)]


def checksum(algorithm: str, plain: bytes) -> str:
    return f"{algorithm} {base64.b64encode(hashlib.new(algorithm, plain).digest()).decode()}"


async def read(client: Client, path: str) -> bytes:
    answer = await get(client, path)
    assert answer.status_code == 200, answer.content
    return answer.content


async def manifest_of(client: Client) -> Manifest:
    """Of the only file."""
    [node] = (await listed(client)).values()
    reply = await client.ask(ManifestReply, "GET", f"./nodes/{node.id}/manifest?version=1")
    return manifests.decode(reply.manifest)


async def part_of(client: Client, plain: bytes) -> Upload:
    upload = await create(client, len(plain), upload_metadata="", upload_concat="partial")
    if plain:
        assert (await upload.patch(0, plain)).status_code == 204
    return upload
