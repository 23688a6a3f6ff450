"""What the requests for a file's content are, for the OpenAPI document: their bodies are bytes, not messages."""

from __future__ import annotations

from typing import Any, Final

from protocol import problems
from protocol.messages.items import Item
from protocol.messages.wire import OCTETS
from server.describing import CHANGING, IN_A_WORKSPACE, Content, Description, Parameter

_FILE: Final = "/workspaces/{workspace}/files/{path:path}"
_FLAG: Final[dict[str, Any]] = {"type": "integer", "enum": [0, 1], "default": 0}
_TEXT: Final[dict[str, Any]] = {"type": "string"}
_BYTES: Final = Content(OCTETS, "The content.")

_QUERY: Final = (
    Parameter("version", {"type": "integer", "minimum": 1}, "Which version; the newest where none is named."),
    Parameter("download", _FLAG, "1: for a browser to keep as a file, and not to show."),
)
_HEADERS: Final = (
    Parameter("Range", _TEXT, "One or several ranges of bytes."),
    Parameter("If-Range", _TEXT, "The etag that the ranges are of; the whole content where it has another."),
    Parameter("If-Match", _TEXT, "The etag that it must have."),
    Parameter("If-None-Match", _TEXT, "The etags of what is known already."),
    Parameter("If-Modified-Since", _TEXT, "When what is known already was modified."),
)
_READING: Final = (
    *IN_A_WORKSPACE,
    problems.CONFLICT,
    problems.PRECONDITION,
)

DESCRIPTIONS: Final = (
    Description(
        "content",
        "GET",
        _FILE,
        "The content of a file, or parts of it, of any version.",
        {200: _BYTES, 206: _BYTES, 304: None},
        query=_QUERY,
        headers=_HEADERS,
        problems=_READING,
    ),
    Description(
        "content_headers",
        "HEAD",
        _FILE,
        "The headers that the content comes with.",
        {200: None, 304: None},
        query=_QUERY,
        headers=_HEADERS,
        problems=_READING,
    ),
    Description(
        "upload",
        "PUT",
        _FILE,
        "Write a file: a new one, or a new version of the one that is there.",
        {200: Item, 201: Item},
        takes=_BYTES,
        query=[Parameter("parents", _FLAG, "1: make the folders above it that are not there.")],
        headers=[
            Parameter("If-Match", _TEXT, "The etag of the version that this one replaces."),
            Parameter("If-None-Match", _TEXT, "* where there must be no such file yet."),
        ],
        problems=(*CHANGING, problems.PRECONDITION, problems.BODY_TOO_LARGE),
    ),
    Description(
        "archive",
        "GET",
        "/workspaces/{workspace}/archive/{path:path}",
        "A folder with all that is in it, as a zip file.",
        {200: Content("application/zip", "The zip file.")},
        problems=(*IN_A_WORKSPACE, problems.CONFLICT),
    ),
)
