"""Answers that come before the whole body has: read on for a little, then close.

A request is refused (413, 401, 507 …) while its body is still on the way. Closing at once would throw the
answer away with the bytes that the kernel has not delivered (RFC 9112, section 9.6), and a body that nobody takes
fills the HTTP server's queue and holds the connection for good. So the answer is sent, the rest of the body is
dropped for at most LINGER_S, and only then the answer is ended: a body that ended by then leaves the connection
usable, any other is cut.
"""

from __future__ import annotations

from typing import Final

import trio
from starlette.types import ASGIApp, Message, Receive, Scope, Send

LINGER_S: Final = 2.0


class Lingering:
    """ASGI middleware."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run the application on a body whose rest is dropped when the answer ends before it."""
        if scope["type"] != "http" or not _has_body(scope):
            await self._app(scope, receive, send)
            return
        body = _Body(receive)

        async def sending(message: Message) -> None:
            if body.ended or message["type"] != "http.response.body" or message.get("more_body", False):
                await send(message)
                return
            await send({**message, "more_body": True})
            with trio.move_on_after(LINGER_S):
                await body.drop()
            async with trio.open_nursery() as nursery:  # The end of the answer waits until the queue is taken.
                nursery.start_soon(body.drop)
                await send({"type": "http.response.body", "body": b"", "more_body": False})
                nursery.cancel_scope.cancel()

        await self._app(scope, body.receive, sending)


class _Body:
    """A request's body, and whether its end has been taken."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self.ended = False

    async def receive(self) -> Message:
        message = await self._receive()
        self.ended = self.ended or not message.get("more_body", False)
        return message

    async def drop(self) -> None:
        while not self.ended:
            await self.receive()


def _has_body(scope: Scope) -> bool:
    return any(
        (name == b"content-length" and value != b"0") or name == b"transfer-encoding"
        for name, value in scope["headers"]
    )
