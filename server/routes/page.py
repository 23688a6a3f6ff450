"""The web page: the files of ``server/page/``, as they are.

The page holds its token itself and sends it in a header, so no cookie exists that another site could ride on. What it
may load is this server's alone and never text that became code: the policy below has no exception, and Trusted Types
close the ways from text to markup (the one policy that is allowed, ``worker``, knows one address).

The front page is also what a browser gets at a link's address: the same for every address, whether there is such a link
or not. Its scripts then ask what the link leads to.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

FOLDER: Final = Path(__file__).resolve().parent.parent / "page"
_FRONT: Final = "index.html"

_TYPES: Final = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
}

# frame-src: PDFs are shown from a blob, and downloads begin in a frame, so that one that fails leaves the page alone.
_POLICY: Final = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "connect-src 'self'",
        "img-src 'self' blob:",
        "media-src 'self' blob:",
        "frame-src 'self' blob:",
        "worker-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types worker",
    )
)

_HEADERS: Final = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Cache-Control": "no-cache",  # Kept, and asked for again: an upgraded server has no old page.
}


@dataclass(frozen=True, slots=True)
class _File:
    """One of the page's files, held in memory: all of them are some hundred kilobytes."""

    content: bytes
    media_type: str
    etag: str

    async def shown(self, request: Request) -> Response:
        """The file, or that the browser has it."""
        headers = {**_HEADERS, "ETag": self.etag}
        known = [tag.strip().removeprefix("W/") for tag in request.headers.get("if-none-match", "").split(",")]
        if self.etag in known or "*" in known:
            return Response(status_code=304, headers=headers)
        return Response(self.content, headers=headers, media_type=self.media_type)


def _read(path: Path) -> _File:
    content = path.read_bytes()
    return _File(content, _TYPES[path.suffix], f'"{hashlib.sha256(content).hexdigest()[:32]}"')


_FILES: Final[Mapping[str, _File]] = {
    path.name: _read(path) for path in sorted(FOLDER.iterdir()) if path.suffix in _TYPES
}

ROUTES: Final = [Route("/" if name == _FRONT else f"/{name}", file.shown) for name, file in _FILES.items()]
"""A route for each file, and the front page at ``/``."""


def asks_for_a_page(request: Request) -> bool:
    """Whether a browser wants to show what is at an address: it names HTML, as programs do not."""
    return "text/html" in request.headers.get("accept", "")


def at_a_secret() -> Response:
    """The front page, at an address that nobody may keep."""
    front = _FILES[_FRONT]
    return Response(front.content, headers=_HEADERS, media_type=front.media_type)
