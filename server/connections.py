"""Connections to the server: Hypercorn's, accepted and ended here.

Hypercorn 0.18 under trio keeps an idle connection that its client has closed until ``keep_alive_timeout`` has passed,
and with it a file descriptor: its timer is stopped by the next request only, and the connection waits for the timer.
``hypercorn.trio.serve`` has no place to say otherwise, so what it does for one listener of HTTP/1.1 is done here.

It also takes bodies in parts of 64 KiB, each of which passes trio, Hypercorn, h11 and Starlette; here they are larger,
and fewer of them wait for their request.
"""

from __future__ import annotations

import socket
import ssl
from functools import partial
from typing import Final

import trio
from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.config import Config
from hypercorn.events import Closed, RawData
from hypercorn.protocol.h11 import H11Protocol
from hypercorn.trio.tcp_server import TCPServer
from hypercorn.trio.worker_context import WorkerContext
from starlette.types import ASGIApp

from protocol.limits import KIB

RECEIVE_BYTES: Final = 256 * KIB
QUEUED_PARTS: Final = 3
"""Of a body that nobody takes: for ``max_app_queue_size``."""


async def serve(
    app: ASGIApp,
    config: Config,
    listener: socket.socket,
    stop: trio.Event,
    *,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Answer requests until ``stop``, then finish open ones for at most ``config.graceful_timeout`` s."""
    context = WorkerContext(None)
    answered = ASGIWrapper(app)  # type: ignore[arg-type]  # Starlette and Hypercorn name ASGI's messages each their way.
    connection = partial(_Connection, answered, config, context, {})
    async with trio.open_nursery() as connections:
        async with trio.open_nursery() as accepting:
            accepting.start_soon(
                partial(
                    trio.serve_listeners,
                    connection,
                    [_listener(listener, config.create_ssl_context())],
                    handler_nursery=connections,
                )
            )
            task_status.started()
            await stop.wait()
            accepting.cancel_scope.cancel()
        await context.terminated.set()
        connections.cancel_scope.deadline = trio.current_time() + config.graceful_timeout


class _Http1(H11Protocol):
    """HTTP/1.1 and nothing else, whatever the client offers to speak.

    Hypercorn's HTTP/2 collects in memory all that an application sends to a client whose window is shut.
    """

    async def _check_protocol(self, event: object) -> None:
        pass


class _Connection(TCPServer):
    async def _read_data(self) -> None:
        of = self.protocol
        of.protocol = _Http1(
            *(of.app, of.config, of.context, of.task_group, of.state, of.ssl, of.client, of.server, of.send)
        )
        try:
            while data := await self.stream.receive_some(RECEIVE_BYTES):
                await self.protocol.handle(RawData(bytes(data)))
            await self.protocol.handle(RawData(b""))
        except (trio.ClosedResourceError, trio.BrokenResourceError):
            pass  # The connection is gone.
        await self.protocol.handle(Closed())
        await self.idle_task.stop()


def _listener(
    listener: socket.socket, tls: ssl.SSLContext | None
) -> trio.SocketListener | trio.SSLListener[trio.SocketStream]:
    plain = trio.SocketListener(trio.socket.from_stdlib_socket(listener))
    return plain if tls is None else trio.SSLListener(plain, tls, https_compatible=True)
