"""Items: files and folders as who has no mount sees them, by path."""

from __future__ import annotations

from protocol.ids import NodeId, VersionNumber
from protocol.messages.nodes import Kind, State
from protocol.messages.wire import Message


class Item(Message, frozen=True, omit_defaults=False):
    """What a path means."""

    path: str
    """Percent-encoded names with ``/`` between them, from the workspace's root."""
    name: str
    """For people: bytes that are no UTF-8 are shown as U+FFFD."""
    kind: Kind
    size: int
    mtime_ns: int
    version: VersionNumber
    etag: str
    node: str
    """Its id in decimal digits: JavaScript's numbers are too short for it."""
    mode: int
    state: State
    target: str | None = None
    """Of a symlink, for people."""
    conflict_of: str | None = None
    """The path of the file whose version this content came second to."""


def etag_of(node: NodeId, version: VersionNumber) -> str:
    """The strong entity tag of a file's version."""
    return f'"{node:x}-{version}"'
