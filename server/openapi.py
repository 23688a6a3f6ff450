"""The OpenAPI document (3.1) of the requests that are described: made from ``describing`` and the message types.

https://spec.openapis.org/oas/v3.1.0
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from protocol import problems
from protocol.limits import NAME_MAX_BYTES
from protocol.messages.wire import API, JSON, MSGPACK, PROBLEM_JSON, Message
from protocol.problems import Problem
from protocol.version import VERSION
from server.describing import Body, Content, Description, Parameter

_HEX_ID: Final = {"type": "string", "pattern": "^[0-9a-f]{32}$"}
_PATH_PARAMETERS: Final[Mapping[str, tuple[Mapping[str, Any], str]]] = {
    "workspace": (_HEX_ID, "A workspace's id."),
    "device": (_HEX_ID, "A device's id."),
    "user": ({"type": "string", "minLength": 1}, "A user's name."),
    "token": (_HEX_ID, "A token's id."),
    "upload": (_HEX_ID, "A resumable upload's id."),
    "link": ({"type": "string", "pattern": "^[0-9a-f]{16}$"}, "A link's id, which is no secret."),
    "secret": ({"type": "string", "minLength": 1}, "What the link was made with."),
    "node": ({"type": "integer", "minimum": 1, "maximum": (1 << 62) - 1}, "A node's id."),
    "path": (
        {"type": "string"},
        f"Names from the workspace's root with / between them, which stand there as they are; each name, of 1 to"
        f" {NAME_MAX_BYTES} bytes, is percent-encoded and has no / in it.",
    ),
}
_ANY: Final = (problems.BAD_REQUEST, problems.INTERNAL, problems.UNAVAILABLE)
"""What every request can meet."""

_REFERENCE: Final = "#/components/schemas/{name}"


def route(descriptions: Sequence[Description]) -> Route:
    """The request for the document, which anybody may read."""
    content = msgspec.json.encode(document(descriptions))

    async def openapi(_: Request) -> Response:
        """This document."""
        return Response(content, media_type=JSON)

    return Route("/openapi.json", openapi)


def document(descriptions: Sequence[Description]) -> dict[str, Any]:
    """The document, as values for JSON."""
    types = {Problem: None} | {body: None for one in descriptions for body in _bodies(one) if isinstance(body, type)}
    _, components = msgspec.json.schema_components(types, ref_template=_REFERENCE)
    paths: dict[str, dict[str, Any]] = {}
    for one in descriptions:
        path = f"/{API}{re.sub(r':path}', '}', one.path)}"
        paths.setdefault(path, {})[one.method.lower()] = _operation(one)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Samedrive",
            "version": VERSION,
            "description": f"Messages are JSON, or MessagePack where the headers say {MSGPACK}. Every error is a"
            " problem (RFC 9457). docs/api.md shows it with curl.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "security": [{"token": []}],
        "paths": paths,
        "components": {
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
            "schemas": components,
        },
    }


def _bodies(one: Description) -> Iterable[Body]:
    return [one.takes, *one.gives.values()]


def _operation(one: Description) -> dict[str, Any]:
    summary, _, rest = one.text.partition("\n\n")
    described: dict[str, Any] = {
        "operationId": one.name,
        "summary": " ".join(summary.split()),
        "parameters": [
            *(_path_parameter(name) for name in re.findall(r"{(\w+)", one.path)),
            *(_parameter("query", parameter) for parameter in one.query),
            *(_parameter("header", parameter) for parameter in one.headers),
        ],
        "responses": {str(status): _answer(status, body, one.tells) for status, body in one.gives.items()}
        | _problems(one),
    }
    if rest:
        described["description"] = " ".join(rest.split())
    if one.takes is not None:
        described["requestBody"] = {"required": True, "content": _content(one.takes)}
    if one.anybody:
        described["security"] = []
    return described


def _path_parameter(name: str) -> dict[str, Any]:
    schema, text = _PATH_PARAMETERS[name]
    return {"name": name, "in": "path", "required": True, "schema": schema, "description": text}


def _parameter(where: str, parameter: Parameter) -> dict[str, Any]:
    return {
        "name": parameter.name,
        "in": where,
        "required": parameter.required,
        "schema": parameter.schema,
        "description": parameter.text,
    }


def _answer(status: int, body: Body, headers: Sequence[Parameter]) -> dict[str, Any]:
    texts = {200: "Done.", 201: "Made.", 204: "Done.", 206: "A part.", 304: "As it was."}
    answer: dict[str, Any] = {"description": body.text if isinstance(body, Content) else texts[status]}
    if headers:
        answer["headers"] = {
            one.name: {"schema": one.schema, "description": one.text, "required": one.required} for one in headers
        }
    if body is not None:
        answer["content"] = _content(body)
    return answer


def _content(body: type[Message] | Content) -> dict[str, Any]:
    if isinstance(body, Content):
        return {body.media_type: {"schema": {"type": "string", "format": "binary"}}}
    return {JSON: {"schema": {"$ref": _REFERENCE.format(name=body.__name__)}}}


def _problems(one: Description) -> dict[str, Any]:
    """By status, with the codes that it can stand for."""
    codes: dict[int, list[str]] = {}
    for code in dict.fromkeys([*_ANY, *([] if one.anybody else [problems.UNAUTHORIZED]), *one.problems]):
        codes.setdefault(problems.STATUS[code], []).append(code)
    schema = {"$ref": _REFERENCE.format(name=Problem.__name__)}
    return {
        str(status): {
            "description": f"A problem: {', '.join(named)}.",
            "content": {PROBLEM_JSON: {"schema": schema}},
        }
        for status, named in sorted(codes.items())
    }
