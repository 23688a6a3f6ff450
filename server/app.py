"""The ASGI application: routes under /v1, on undecoded paths, and the web page beside them."""

from __future__ import annotations

from typing import Any, Final, cast

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.routing import Mount, Route, Router

from protocol.messages.wire import API
from server import contents, openapi
from server.describing import descriptions
from server.http import UndecodedPaths
from server.lingering import Lingering
from server.routes import (
    accounts,
    archives,
    audit,
    blocks,
    changes,
    feed,
    files,
    history,
    items,
    links,
    members,
    page,
    resealing,
    sessions,
    tokens,
    trash,
    tree,
    tus,
)
from server.service import Service
from server.troubles import handlers

ROUTES: Final[list[Route]] = [
    *accounts.ROUTES,
    *members.ROUTES,
    *tokens.ROUTES,
    *links.ROUTES,
    *audit.ROUTES,
    *tree.ROUTES,
    *changes.ROUTES,
    *sessions.ROUTES,
    *blocks.ROUTES,
    *resealing.ROUTES,
    *files.ROUTES,
    *archives.ROUTES,
    *items.ROUTES,
    *history.ROUTES,
    *trash.ROUTES,
    *feed.ROUTES,
    *tus.ROUTES,
]

DESCRIPTIONS: Final = [*descriptions(ROUTES), *contents.DESCRIPTIONS]
"""What the OpenAPI document has."""


def create_app(service: Service) -> Starlette:
    """The application of one server's parts."""
    routes = [*ROUTES, openapi.route(DESCRIPTIONS)]
    app = Starlette(
        routes=[Mount(f"/{API}", app=Router(routes, redirect_slashes=False)), *page.ROUTES],
        middleware=[Middleware(UndecodedPaths), Middleware(Lingering)],
        exception_handlers=cast(Any, handlers()),
    )
    app.router.redirect_slashes = False
    app.state.service = service
    return app
