"""The ASGI application: routes under /v1, on undecoded paths."""

from __future__ import annotations

from typing import Any, cast

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.routing import Mount, Router

from protocol.messages.wire import API
from server.http import UndecodedPaths
from server.lingering import Lingering
from server.routes import accounts, archives, blocks, changes, files, sessions, tree, tus
from server.service import Service
from server.troubles import handlers


def create_app(service: Service) -> Starlette:
    """The application of one server's parts."""
    routes = [
        *accounts.ROUTES,
        *tree.ROUTES,
        *changes.ROUTES,
        *sessions.ROUTES,
        *blocks.ROUTES,
        *files.ROUTES,
        *archives.ROUTES,
        *tus.ROUTES,
    ]
    app = Starlette(
        routes=[Mount(f"/{API}", app=Router(routes, redirect_slashes=False))],
        middleware=[Middleware(UndecodedPaths), Middleware(Lingering)],
        exception_handlers=cast(Any, handlers()),
    )
    app.router.redirect_slashes = False
    app.state.service = service
    return app
