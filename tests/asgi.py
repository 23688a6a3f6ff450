"""A request to an application in this process, without a socket."""

from __future__ import annotations

from typing import Any

import trio
from starlette.types import ASGIApp

from backend.http import Response


async def call(app: ASGIApp, method: str, path: str, headers: dict[str, str], body: bytes) -> Response:
    """The application's whole answer."""
    target, _, query = path.partition("?")
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": target,
        "raw_path": target.encode(),
        "query_string": query.encode(),
        "root_path": "",
        "headers": [
            *((name.lower().encode(), value.encode()) for name, value in headers.items()),
            (b"content-length", str(len(body)).encode()),
        ],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 80),
    }
    incoming = [{"type": "http.request", "body": body, "more_body": False}]
    status, content_type, parts = 0, "", []

    async def receive() -> Any:
        return incoming.pop() if incoming else await trio.sleep_forever()

    async def send(event: Any) -> None:
        nonlocal status, content_type
        if event["type"] == "http.response.start":
            status = event["status"]
            content_type = dict(event["headers"]).get(b"content-type", b"").decode()
        else:
            parts.append(event.get("body", b""))

    await app(scope, receive, send)
    return Response(status, content_type, b"".join(parts))
