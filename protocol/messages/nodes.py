"""Nodes: the inodes of a workspace, as both ends speak of them.

Invariants:

- a node's ``id`` and ``kind`` never change;
- a file's ``version`` counts the contents that it has had: 0 as long as its state is pending.
"""

from __future__ import annotations

from enum import StrEnum

from protocol.ids import NodeId, VersionNumber
from protocol.messages.texts import Target, XattrName, XattrValue
from protocol.messages.wire import Message


class Kind(StrEnum):
    """What an inode is."""

    FILE = "file"
    FOLDER = "folder"
    SYMLINK = "symlink"
    FIFO = "fifo"
    SOCKET = "socket"
    CHARACTER = "character"
    BLOCK = "block"


class State(StrEnum):
    """Whether a file has content yet: pending from its create, uploaded from its first commit."""

    PENDING = "pending"
    UPLOADED = "uploaded"


class Node(Message, frozen=True):
    """A node's attributes, all that a mount needs to answer stat, readlink, getxattr and open."""

    id: NodeId
    kind: Kind
    mode: int
    """Permission bits with suid, sgid and sticky: 0 to 0o7777."""
    uid: int
    gid: int
    nlink: int
    mtime_ns: int
    ctime_ns: int
    atime_ns: int
    size: int = 0
    """Bytes of content; of a symlink, the length of its target."""
    data_bytes: int = 0
    """Bytes of content that are not in holes."""
    rdev: int = 0
    version: VersionNumber = VersionNumber(0)
    state: State = State.UPLOADED
    target: Target = b""
    """A symlink's target."""
    manifest: bytes | None = None
    """A file's content (see ``protocol.manifest``), where it has at most INLINE_MANIFEST_PIECES pieces."""
    xattrs: dict[XattrName, XattrValue] = {}
    """Names are bytes decoded as Latin-1, one character a byte: JSON needs text for keys."""
    conflict_of: NodeId | None = None


def xattr_name_to_wire(name: bytes) -> str:
    """An extended attribute's name as a text of one character a byte."""
    return name.decode("latin-1")


def xattr_name_from_wire(name: str) -> bytes:
    """The reverse; raises UnicodeEncodeError where the text has characters past U+00FF."""
    return name.encode("latin-1")
