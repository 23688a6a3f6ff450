"""Answers to questions about a workspace's tree: nodes, names, listings, contents, space.

**seq.** Each reply states the number of the last change that it is true at; where that is in ``notices``, the mount
drops what these outdate first, then keeps what the reply carries.
"""

from __future__ import annotations

from protocol.ids import NodeId, Seq, VersionNumber
from protocol.messages.nodes import Node
from protocol.messages.notices import Notices
from protocol.messages.texts import EntryName
from protocol.messages.wire import Message


class NodeReply(Message, frozen=True):
    """One node, true at ``notices.seq``."""

    notices: Notices
    node: Node


class LookupReply(Message, frozen=True):
    """What a name of a folder means; ``node`` is None where there is no such entry (that is no error)."""

    notices: Notices
    node: Node | None = None


class Entry(Message, array_like=True, frozen=True):
    """A name in a folder, and its node."""

    name: EntryName
    node: Node


class ListingReply(Message, frozen=True):
    """A page of a folder in order of names' bytes. ``generation`` changes with each change of its entries."""

    notices: Notices
    generation: int
    entries: list[Entry]
    more: bool = False


class ManifestReply(Message, frozen=True):
    """The content of one version."""

    seq: Seq
    node: NodeId
    version: VersionNumber
    size: int
    manifest: bytes


class UsageReply(Message, frozen=True):
    """For statfs: bytes that the workspace may hold and still has; how many nodes it has."""

    total_bytes: int
    free_bytes: int
    nodes: int


class SpaceReply(Message, frozen=True, omit_defaults=False):
    """For people: what a workspace holds, and what storing each block once and compressed saves."""

    files: int
    versions: int
    content_bytes: int
    """Lengths of all files as they are now."""
    versions_bytes: int
    """Lengths of all versions that are kept: what storing each as it is would take."""
    blocks_bytes: int
    """Plain bytes of all blocks, each of which is stored once however many versions have it."""
    stored_bytes: int
    """Sealed bytes of all blocks: what the workspace takes."""
    free_bytes: int
    quota_bytes: int | None
