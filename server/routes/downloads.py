"""Answers that are a content: all of it, a range, or several (multipart/byteranges), and what keeps it harmless.

What people upload is served from the server's own address. So a browser is told never to guess its type, and that a
page in it may run nothing and reach nothing; scripts and style sheets are plain text, or a page of ours could be made
to load them.
"""

from __future__ import annotations

import mimetypes
import secrets
from collections.abc import Sequence
from contextlib import AsyncExitStack
from typing import Final, NamedTuple
from urllib.parse import quote

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from protocol.ids import WorkspaceId
from protocol.limits import KIB
from protocol.manifest import Manifest
from protocol.messages.wire import OCTETS
from server.blockcare import Allow
from server.content.reading import Part, read
from server.metadata.items import name_text
from server.ranges import ByteRange
from server.service import Service
from server.shares import asker_of

_SMALL_BYTES: Final = 64 * KIB
"""So much waits for no place."""

_PLAIN: Final = "text/plain"
_AS_TEXT: Final = frozenset({"text/javascript", "application/javascript", "application/x-javascript", "text/css"})
_COMPRESSED: Final = {"gzip": "application/gzip", "bzip2": "application/x-bzip2", "xz": "application/x-xz"}
_MORE_TYPES: Final = {
    ".avif": "image/avif",
    ".flac": "audio/flac",
    ".m4a": "audio/mp4",
    ".md": "text/markdown",
    ".mkv": "video/x-matroska",
    ".ogg": "audio/ogg",
    ".opus": "audio/ogg",
    ".webp": "image/webp",
    ".zst": "application/zstd",
}
"""Those of common files that the standard library's own table lacks; a machine's tables are not asked."""


def _types() -> mimetypes.MimeTypes:
    types = mimetypes.MimeTypes()
    for extension, media_type in _MORE_TYPES.items():
        types.add_type(media_type, extension)
    return types


_TYPES: Final = _types()


class Content(NamedTuple):
    """A version to be sent. ``allow`` is asked again at each block: who may no longer read gets no more of it."""

    workspace: WorkspaceId
    manifest: Manifest
    allow: Allow


class Download(Response):
    """A content, or ranges of it; nothing is sent before the first block is open."""

    def __init__(
        self,
        service: Service,
        content: Content,
        headers: dict[str, str],
        wanted: Sequence[ByteRange] | None,
        *,
        has_body: bool,
    ) -> None:
        size = content.manifest.size_bytes
        media_type = headers["Content-Type"]
        self._service = service
        self._content = content
        self._has_body = has_body
        self._pieces: list[bytes | ByteRange]
        """What is sent, in order: bytes as they are, and ranges of the content."""
        if wanted is None:
            status, self._pieces = 200, [ByteRange(0, size)]
        elif len(wanted) == 1:
            status, self._pieces = 206, [wanted[0]]
            headers = {**headers, "Content-Range": wanted[0].content_range(size)}
        else:
            boundary = secrets.token_hex(16)
            status, self._pieces = 206, _multipart(wanted, size, media_type, boundary)
            headers = {**headers, "Content-Type": f"multipart/byteranges; boundary={boundary}"}
        self._length = sum(len(piece) if isinstance(piece, bytes) else piece.size_bytes for piece in self._pieces)
        headers = {**headers, "Accept-Ranges": "bytes", "Content-Length": str(self._length)}
        super().__init__(status_code=status, headers=headers)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Read and send; raises what reading raises."""
        has_begun, held = False, b""

        async def take(part: Part) -> None:
            nonlocal has_begun, held
            if not has_begun:
                await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
                has_begun = True
            await send({"type": "http.response.body", "body": held + part, "more_body": True})
            held = b""

        async with AsyncExitStack() as stack:
            if self._length > _SMALL_BYTES and self._has_body:
                await stack.enter_async_context(self._service.places.downloads.place(asker_of(scope)))
            for piece in self._pieces if self._has_body else []:
                if isinstance(piece, bytes):
                    held += piece
                else:
                    workspace, manifest, allow = self._content
                    await read(self._service.blocks, workspace, manifest, piece.start, piece.stop, allow, take)
        if held or not has_begun:
            await take(b"")
        await send({"type": "http.response.body", "body": b"", "more_body": False})


def _multipart(wanted: Sequence[ByteRange], size: int, media_type: str, boundary: str) -> list[bytes | ByteRange]:
    """RFC 9110, section 14.6."""
    pieces: list[bytes | ByteRange] = []
    for one in wanted:
        head = f"\r\n--{boundary}\r\nContent-Type: {media_type}\r\nContent-Range: {one.content_range(size)}\r\n\r\n"
        pieces += [head.encode(), one]
    return [*pieces, f"\r\n--{boundary}--\r\n".encode()]


def content_headers(name: bytes, *, is_download: bool) -> dict[str, str]:
    """Type and name of a content, and what a browser may do with it."""
    return {
        "Content-Type": media_type_of(name),
        "Content-Disposition": disposition("attachment" if is_download else "inline", name_text(name)),
        "X-Content-Type-Options": "nosniff",
        "Content-Security-Policy": "default-src 'none'; sandbox",
        "Cross-Origin-Resource-Policy": "same-origin",
        "Cache-Control": "private, no-cache",
    }


def media_type_of(name: bytes) -> str:
    """By the name's end; text is taken to be UTF-8."""
    found, coding = _TYPES.guess_type(f"./{name_text(name)}", strict=False)  # Not a URL: "data:" is a name here.
    if coding is not None:
        return _COMPRESSED.get(coding, OCTETS)
    if found in _AS_TEXT:
        found = _PLAIN
    if found is None:
        return OCTETS
    return f"{found}; charset=utf-8" if found.startswith("text/") else found


def disposition(kind: str, name: str) -> str:
    """RFC 6266: a plain name for old clients, and the exact one percent-encoded. Neither can end the header's value."""
    plain = "".join(char if char.isascii() and (char.isalnum() or char in " ._-()") else "_" for char in name)
    return f"{kind}; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}"
