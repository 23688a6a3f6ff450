"""What the headers of tus 1.0.0 say (tus.io/protocols/resumable-upload). Pure; what they must not say is ``Trouble``.

Knows no rows and no tree. Values of Upload-Metadata are base64 of plain text, and a path in them is names with ``/``
between: nothing is percent-encoded, because base64 carries any bytes.
"""

from __future__ import annotations

import base64
import binascii
import re
from decimal import Decimal
from typing import Final, NamedTuple

from starlette.datastructures import Headers

from protocol import problems
from protocol.ids import WorkspaceId
from protocol.limits import KIB, MANIFEST_MAX_PIECES, NAME_MAX_BYTES
from server.conditions import Conditions, conditions_of
from server.content.digests import ALGORITHMS, Digest
from server.http import HEX_ID
from server.metadata.transfers import PARTIAL
from server.troubles import Trouble

VERSION: Final = "1.0.0"
EXTENSIONS: Final = "creation,creation-defer-length,creation-with-upload,expiration,checksum,termination,concatenation"
OFFSET_OCTETS: Final = "application/offset+octet-stream"

MAX_SIZE_BYTES: Final = MANIFEST_MAX_PIECES * 768 * KIB
"""Blocks of ordinary content are longer than that on the average (``protocol.chunking``)."""

RESUMABLE: Final = "Tus-Resumable"
OFFSET: Final = "Upload-Offset"
LENGTH: Final = "Upload-Length"
DEFER_LENGTH: Final = "Upload-Defer-Length"
METADATA: Final = "Upload-Metadata"
CONCAT: Final = "Upload-Concat"
CHECKSUM: Final = "Upload-Checksum"
EXPIRES: Final = "Upload-Expires"

_UPLOAD_URL: Final = re.compile(r"/tus/([0-9a-f]{32})/([0-9a-f]{32})/?\Z")
_ABSENT: Final = frozenset({b"", b"null", b"undefined"})
"""Uppy sends the text of JavaScript's null for what a file doesn't have."""

_SECONDS: Final = re.compile(r"-?[0-9]{1,10}(\.[0-9]{1,9})?\Z")


class Target(NamedTuple):
    """Where a content is to go."""

    names: list[bytes]
    conditions: Conditions
    mtime_ns: int | None


def check_version(headers: Headers) -> None:
    """Raises Trouble where the client speaks another version."""
    if headers.get(RESUMABLE) != VERSION:
        raise Trouble(problems.PRECONDITION, f"this server speaks {RESUMABLE}: {VERSION}", {"Tus-Version": VERSION})


def number(headers: Headers, name: str) -> int | None:
    """A whole number; None where it is absent."""
    text = headers.get(name)
    if text is None:
        return None
    if not text.isascii() or not text.isdigit() or len(text) > 18:
        raise Trouble(problems.BAD_REQUEST, f"{name} is a whole number")
    return int(text)


def length_of(headers: Headers) -> int | None:
    """How long an upload will be; None where Upload-Defer-Length says that this is told later."""
    length, later = number(headers, LENGTH), headers.get(DEFER_LENGTH)
    if (length is None) == (later is None) or later not in (None, "1"):
        raise Trouble(problems.BAD_REQUEST, f"an upload is created with {LENGTH}, or with {DEFER_LENGTH}: 1")
    return check_size(length)


def check_size(length: int | None) -> int | None:
    """The same length, if a file can have it."""
    if length is not None and length > MAX_SIZE_BYTES:
        raise Trouble(problems.BODY_TOO_LARGE, f"an upload has at most {MAX_SIZE_BYTES} bytes")
    return length


def metadata_of(text: str) -> dict[str, bytes]:
    """The pairs of Upload-Metadata."""
    found: dict[str, bytes] = {}
    for pair in text.split(",") if text.strip() else []:
        key, _, value = pair.strip().partition(" ")
        if not key or key in found:
            raise Trouble(problems.BAD_REQUEST, f"{METADATA} has pairs of an own key and a value in base64")
        try:
            found[key] = base64.b64decode(value.strip(), validate=True)
        except (binascii.Error, ValueError):
            raise Trouble(problems.BAD_REQUEST, f"{METADATA}: the value of {key} is not base64") from None
    return found


def workspace_in(metadata: dict[str, bytes]) -> WorkspaceId | None:
    """The workspace that the metadata names; None where it names none."""
    text = metadata.get("workspace", b"").decode("latin-1")
    if not text:
        return None
    if not HEX_ID.match(text):
        raise Trouble(problems.NOT_FOUND, "there is no such workspace")
    return WorkspaceId(text)


def target_of(metadata: dict[str, bytes]) -> Target:
    """Where the metadata wants the content."""
    conditions = {
        header: value.decode("latin-1")
        for header, key in (("if-match", "ifMatch"), ("if-none-match", "ifNoneMatch"))
        if (value := metadata.get(key, b"")) not in _ABSENT
    }
    return Target(_names(metadata), conditions_of(Headers(conditions)), _mtime_ns(metadata))


def _names(metadata: dict[str, bytes]) -> list[bytes]:
    def given(key: str) -> bytes:
        value = metadata.get(key, b"")
        return b"" if value in _ABSENT else value

    path = given("path")
    if not path:
        file = given("relativePath") or given("filename") or given("name")
        folder = given("folder").strip(b"/")
        path = b"/".join(part for part in (folder, file.removeprefix(b"/")) if part) if file else b""
    names = path.split(b"/")
    for name in names:
        if name in (b"", b".", b"..") or len(name) > NAME_MAX_BYTES or b"\0" in name:
            raise Trouble(
                problems.BAD_REQUEST,
                f"{METADATA} needs a path: names of 1 to {NAME_MAX_BYTES} bytes that are not . or .., with / between"
                " them (or a filename, with folder or relativePath)",
            )
    return names


def _mtime_ns(metadata: dict[str, bytes]) -> int | None:
    value = metadata.get("mtime", b"")
    if value in _ABSENT:
        return None
    text = value.decode("latin-1")
    if not _SECONDS.match(text):
        raise Trouble(problems.BAD_REQUEST, f"{METADATA}: mtime is in seconds since 1970, such as 1700000000.25")
    mtime_ns = int(Decimal(text) * 10**9)
    if not -(1 << 63) <= mtime_ns < 1 << 63:
        raise Trouble(problems.BAD_REQUEST, f"{METADATA}: mtime is before the year 2262")
    return mtime_ns


def digest_of(headers: Headers) -> Digest | None:
    """What Upload-Checksum says of the body; None where it is absent."""
    text = headers.get(CHECKSUM)
    if text is None:
        return None
    algorithm, _, value = text.partition(" ")
    if algorithm not in ALGORITHMS:
        raise Trouble(problems.BAD_REQUEST, f"{CHECKSUM} is by one of {', '.join(ALGORITHMS)}")
    try:
        return Digest.by(algorithm, base64.b64decode(value.strip(), validate=True))
    except (binascii.Error, ValueError):
        raise Trouble(problems.BAD_REQUEST, f"{CHECKSUM}: the value is not base64") from None


def parts_of(concat: str) -> list[tuple[WorkspaceId, str]] | None:
    """Workspace and id of each upload that Upload-Concat joins; None for ``partial``."""
    if concat == PARTIAL:
        return None
    kind, _, urls = concat.partition(";")
    found = [_UPLOAD_URL.search(url) for url in urls.split()]
    if kind.strip() != "final" or not found:
        raise Trouble(problems.BAD_REQUEST, f"{CONCAT} is {PARTIAL}, or final; and the URLs of partial uploads")
    if None in found:
        raise Trouble(problems.NOT_FOUND, f"{CONCAT} names what is no upload")
    return [(WorkspaceId(match[1]), match[2]) for match in found if match is not None]
