"""How requests end when client and server are not done at the same time.

**The answer comes before the whole body has.** A request is refused (413, 401, 507 …) while its body is still on the
way. Closing at once would throw the answer away with the bytes that the kernel has not delivered (RFC 9112, section
9.6), and a body that nobody takes fills the HTTP server's queue and holds the connection for good. So the answer is
sent, the rest of the body is dropped for at most LINGER_S, and only then the answer is ended: a body that ended by
then leaves the connection usable, any other is cut.

**The client is gone before the answer comes.** To send then is no error (ASGI, "Disconnect"). Hypercorn raises
BusyResourceError where its other task is just closing the connection; nothing more is sent after that.
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
        """Run the application; see the module."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        body = _Body(receive, ended=not _has_body(scope))
        answer = _Answer(send)

        async def sending(message: Message) -> None:
            if body.ended or message["type"] != "http.response.body" or message.get("more_body", False):
                await answer.send(message)
                return
            await answer.send({**message, "more_body": True})
            with trio.move_on_after(LINGER_S):
                await body.drop()
            async with trio.open_nursery() as nursery:  # The end of the answer waits until the queue is taken.
                nursery.start_soon(body.drop)
                await answer.send({"type": "http.response.body", "body": b"", "more_body": False})
                nursery.cancel_scope.cancel()

        await self._app(scope, body.receive, sending)


class _Answer:
    """What is sent while there is somebody to send to."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._gone = False

    async def send(self, message: Message) -> None:
        if self._gone:
            return
        try:
            await self._send(message)
        except trio.BusyResourceError:
            self._gone = True


class _Body:
    """A request's body, and whether its end has been taken."""

    def __init__(self, receive: Receive, *, ended: bool) -> None:
        self._receive = receive
        self.ended = ended

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
