"""Links: a file or folder for whoever has a secret, without an account."""

from __future__ import annotations

from enum import StrEnum

from protocol.messages.nodes import Kind
from protocol.messages.wire import Message


class LinkKind(StrEnum):
    """What its holder may do."""

    READ = "read"
    """Fetch the file, or whatever is in the folder."""
    UPLOAD = "upload"
    """Add files to the folder, and see none; nothing that is there is replaced."""


class NewLink(Message, frozen=True):
    """``path`` is percent-encoded, from the workspace's root."""

    path: str
    kind: LinkKind = LinkKind.READ
    password: str | None = None
    expires_ns: int | None = None
    """Nanoseconds since 1970; None: it goes on until it is revoked."""
    transfers_max: int | None = None
    """So many files may be fetched, or brought; each request for content counts, also one for a part of it."""


class Link(Message, frozen=True, omit_defaults=False):
    """A link without its secret, for those who may make links in its workspace."""

    id: str
    kind: LinkKind
    path: str | None
    """Where the file or folder is now, percent-encoded; None: it has been removed, and the link leads nowhere."""
    leads_to: Kind
    made_by: str
    created_ns: int
    expires_ns: int | None = None
    has_password: bool = False
    transfers_max: int | None = None
    transfers: int = 0
    uses: int = 0
    """Requests that it let in, transfers among them."""
    used_ns: int = 0
    """When the last one was; 0: none yet."""


class MadeLink(Message, frozen=True):
    """The secret is shown once; the server keeps its hash."""

    link: Link
    secret: str


class Links(Message, frozen=True):
    """A list."""

    links: list[Link]


class Shared(Message, frozen=True, omit_defaults=False):
    """What a link leads to, for whoever has it. Of a folder for uploads no more is told than its name."""

    link: LinkKind
    name: str
    """For people: bytes that are no UTF-8 are shown as U+FFFD."""
    kind: Kind
    size: int
    mtime_ns: int
    etag: str
    """Of a file's content."""
    expires_ns: int | None
    transfers_left: int | None
    """None: no bound."""
