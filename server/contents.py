"""What the requests for a file's content are, for the OpenAPI document: their bodies are bytes, not messages."""

from __future__ import annotations

from typing import Any, Final

from protocol import problems
from protocol.messages.items import FolderPage, Item
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
    problems.END_TO_END,
    problems.PRECONDITION,
    problems.RANGE,
)

_LINK: Final = "/links/{secret}"
_THROUGH: Final = (
    *IN_A_WORKSPACE,
    problems.PASSWORD,
    problems.TOO_MANY_ATTEMPTS,
    problems.NO_SPACE,
    problems.FORBIDDEN,
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
        problems=(*CHANGING, problems.END_TO_END, problems.QUOTA, problems.PRECONDITION, problems.BODY_TOO_LARGE),
    ),
    Description(
        "linked_folder",
        "GET",
        f"{_LINK}/folders/{{path:path}}",
        "A page of a folder, through a link to read: paths begin at what the link leads to.",
        {200: FolderPage},
        query=[
            Parameter("after", _TEXT, "The name of the page before's last item."),
            Parameter("limit", {"type": "integer", "minimum": 1}, "How many at most."),
        ],
        problems=(*_THROUGH, problems.CONFLICT),
        anybody=True,
    ),
    Description(
        "linked_content",
        "GET",
        f"{_LINK}/files/{{path:path}}",
        "The content of a file, through a link to read. The path of a linked file itself is empty.",
        {200: _BYTES, 206: _BYTES, 304: None},
        query=_QUERY[1:],
        headers=_HEADERS,
        problems=(*_THROUGH, problems.CONFLICT, problems.PRECONDITION, problems.RANGE),
        anybody=True,
    ),
    Description(
        "linked_archive",
        "GET",
        f"{_LINK}/archive/{{path:path}}",
        "A folder with all that is in it, as a zip file, through a link to read.",
        {200: Content("application/zip", "The zip file.")},
        problems=(*_THROUGH, problems.CONFLICT),
        anybody=True,
    ),
    Description(
        "upload_through_link",
        "PUT",
        f"{_LINK}/files/{{path:path}}",
        "A file for a folder, through a link for uploads. It gets another name where its own is taken.",
        {201: None},
        takes=_BYTES,
        problems=(*_THROUGH, problems.CONFLICT, problems.PRECONDITION, problems.BODY_TOO_LARGE),
        anybody=True,
    ),
    Description(
        "archive",
        "GET",
        "/workspaces/{workspace}/archive/{path:path}",
        "A folder with all that is in it, as a zip file.",
        {200: Content("application/zip", "The zip file.")},
        problems=(*IN_A_WORKSPACE, problems.CONFLICT, problems.END_TO_END),
    ),
)
