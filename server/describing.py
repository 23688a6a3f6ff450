"""Routes that say what they take and give: the one table that both the server and its OpenAPI document are made from.

Knows nothing of the document's form (``openapi``).
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from protocol import problems
from protocol.messages.wire import Message

Handler = Callable[[Request], Coroutine[Any, Any, Response]]


class Parameter(NamedTuple):
    """A query parameter or header, of a request or an answer: its name, its JSON schema, and what it is for."""

    name: str
    schema: Mapping[str, Any]
    text: str
    required: bool = False


class Content(NamedTuple):
    """A body that is no message: its media type, and what it is."""

    media_type: str
    text: str


Body = type[Message] | Content | None


@dataclass(frozen=True)
class Description:
    """What a request is: its path below /v1, what it takes, and its answers by status, problems by their codes."""

    name: str
    method: str
    path: str
    text: str
    gives: Mapping[int, Body]
    takes: Body = None
    query: Sequence[Parameter] = ()
    headers: Sequence[Parameter] = ()
    tells: Sequence[Parameter] = ()
    """Headers of the answers that are no problems."""
    problems: Sequence[str] = ()
    """Besides those that any request can meet."""
    anybody: bool = False
    """It needs no token."""


class Operation(Route):
    """The route of a request that is described."""

    def __init__(self, description: Description, handler: Handler, middleware: Sequence[Middleware] = ()) -> None:
        super().__init__(description.path, handler, methods=[description.method], middleware=middleware)
        self.description = description


def operation(
    method: str,
    path: str,
    handler: Handler,
    *,
    takes: Body = None,
    gives: Body = None,
    status: int | None = None,
    query: Sequence[Parameter] = (),
    headers: Sequence[Parameter] = (),
    tells: Sequence[Parameter] = (),
    fails: Sequence[str] = (),
    anybody: bool = False,
    middleware: Sequence[Middleware] = (),
) -> Operation:
    """A route and its description, its text being the handler's docstring. ``status`` is 200, or 204 for nothing."""
    answer = {status or (204 if gives is None else 200): gives}
    text = inspect.getdoc(handler) or ""
    name = handler.__name__
    described = Description(name, method, path, text, answer, takes, query, headers, tells, fails, anybody)
    return Operation(described, handler, middleware)


def descriptions(routes: Sequence[BaseRoute]) -> list[Description]:
    """Those of the routes that have one."""
    return [route.description for route in routes if isinstance(route, Operation)]


IN_A_WORKSPACE = (problems.NOT_FOUND, problems.BAD_REQUEST)
"""What a question about a workspace can meet."""

CHANGING = (*IN_A_WORKSPACE, problems.FORBIDDEN, problems.CONFLICT, problems.NO_SPACE)
"""What a change of a workspace can meet."""
