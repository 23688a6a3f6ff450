"""Conflict copies: what became of changes that crossed, and what can be kept of them."""

from __future__ import annotations

from enum import StrEnum

from protocol.ids import NodeId, VersionNumber
from protocol.messages.nodes import Kind
from protocol.messages.notices import Notices
from protocol.messages.texts import EntryName
from protocol.messages.wire import Message


class Original(Message, frozen=True):
    """What stands under the name that a conflict copy was made beside."""

    node: NodeId
    version: VersionNumber
    path: list[EntryName]


class ConflictCopy(Message, frozen=True):
    """A node that is marked as a conflict of another; paths are names from the root."""

    node: NodeId
    parent: NodeId
    path: list[EntryName]
    kind: Kind
    version: VersionNumber
    size: int
    mtime_ns: int
    device: str = ""
    """Whose content it is; empty where that is not known (of what is no file)."""
    committed_ns: int = 0
    """By the server's clock; 0 where nothing is uploaded."""
    original: Original | None = None
    """None: it is gone, and nothing has its name."""


class ConflictsReply(Message, frozen=True):
    """A page of a workspace's conflict copies in order of their ids."""

    notices: Notices
    conflicts: list[ConflictCopy]
    more: bool = False


class Keep(StrEnum):
    """What is kept of a conflict copy and what it conflicts with."""

    MINE = "mine"
    """The copy: its content becomes a new version of the original, and the copy goes."""
    THEIRS = "theirs"
    """What stands under the original's name: the copy goes."""
    BOTH = "both"
    """The copy is an ordinary file under its name."""


class Resolution(Message, frozen=True):
    """End the conflict of a copy, by somebody without a mount, who saw these versions."""

    keep: Keep
    version: VersionNumber
    original_version: VersionNumber | None = None
    """None: there was no original."""
