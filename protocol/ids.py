"""Names of things. Distinct types, so that a node can't be passed where a version is wanted."""

from __future__ import annotations

import hashlib
import secrets
from typing import Final, NewType

NodeId = NewType("NodeId", int)
"""A file, folder or other inode of a workspace: 1 to 2**62 - 1; never changes and is never used again."""

BlockId = NewType("BlockId", bytes)
"""32 bytes: the keyed BLAKE3 hash of a block's plain bytes."""

WorkspaceId = NewType("WorkspaceId", str)
"""32 lower-case hexadecimal digits."""

DeviceId = NewType("DeviceId", str)
"""32 lower-case hexadecimal digits."""

UserId = NewType("UserId", str)
"""32 lower-case hexadecimal digits."""

JournalId = NewType("JournalId", bytes)
"""16 random bytes: the stream of numbered changes that one mount's journal folder sends."""

SessionId = NewType("SessionId", bytes)
"""16 random bytes: one mount of one workspace, from its start to its end; holds a lease. Whoever knows it can speak for
that mount: nobody else is told."""

OriginId = NewType("OriginId", bytes)
"""16 bytes that stand for a session where others may see them (``origin_of``); empty: no mount's."""

BatchId = NewType("BatchId", bytes)
"""16 random bytes: numbered changes that are sent together, each time that they are; empty: unknown."""

Seq = NewType("Seq", int)
"""The number of a change of a workspace, from 1, without gaps; 0 is the empty workspace."""

VersionNumber = NewType("VersionNumber", int)
"""The number of a file's content, from 1 per node; 0 is 'nothing uploaded yet'."""

NOBODY: Final = OriginId(b"")
ROOT_NODE: Final = NodeId(1)
NO_CHANGE: Final = Seq(0)
NO_VERSION: Final = VersionNumber(0)
BLOCK_ID_BYTES: Final = 32
JOURNAL_ID_BYTES: Final = 16
SESSION_ID_BYTES: Final = 16
BATCH_ID_BYTES: Final = 16


def new_node_id() -> NodeId:
    """A random id in 2**32 … 2**62 - 1.

    Mounts choose ids, so that a create needs no answer before the next change can name its node. A clash
    among ten million nodes has a chance of one in 10^5, and the server refuses it.
    """
    return NodeId(secrets.randbelow((1 << 62) - (1 << 32)) + (1 << 32))


def new_journal_id() -> JournalId:
    """A random id of a stream of numbered changes."""
    return JournalId(secrets.token_bytes(JOURNAL_ID_BYTES))


def new_session_id() -> SessionId:
    """A random id of a mount's run: a mount that crashed and its successor are two sessions."""
    return SessionId(secrets.token_bytes(SESSION_ID_BYTES))


def origin_of(session: SessionId) -> OriginId:
    """What changes that a session sent are known by: the first half of its SHA-256."""
    return OriginId(hashlib.sha256(session).digest()[:16]) if session else NOBODY


def new_batch_id() -> BatchId:
    """A random id of changes that are sent together."""
    return BatchId(secrets.token_bytes(BATCH_ID_BYTES))


def new_hex_id() -> str:
    """128 random bits as 32 hexadecimal digits, for users, devices and workspaces."""
    return secrets.token_hex(16)
