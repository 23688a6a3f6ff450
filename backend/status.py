"""What people are shown of a mount: where a file's content is, and ``samedrive status``, a snapshot as a message."""

from __future__ import annotations

from enum import StrEnum

import msgspec

from backend.apart import Apart
from backend.blocks import Blocks
from backend.errors import REFUSALS, DriveError
from backend.openfile import OpenFile
from backend.outbox import Outbox
from backend.reach import Reach
from backend.remote import WorkspaceRemote
from backend.session import Session
from backend.tree import Tree
from protocol.messages.nodes import Node, State


class FileState(StrEnum):
    """Where a file's content is, as the extended attribute ``user.samedrive.state`` says it."""

    LOCAL = "local"
    """Something was written here that is in no committed version."""
    UPLOADING = "uploading"
    """It is being sent, from here or by the device that made the file."""
    SYNCED = "synced"
    CONFLICT = "conflict"
    """Committed as the second of two changes of one version: a copy beside the first."""


def state_of(row: Node, file: OpenFile | None, apart: Apart) -> FileState:
    """Where a node's content is; ``file`` is the version of it that is asked about, where it is open."""
    if file is not None and file.is_dirty:
        return FileState.UPLOADING if file.is_being_sent else FileState.LOCAL
    if row.id in apart.nodes():
        return FileState.UPLOADING if apart.replay.is_sending else FileState.LOCAL
    if row.conflict_of is not None:
        return FileState.CONFLICT
    return FileState.UPLOADING if row.state is State.PENDING else FileState.SYNCED


class MountState(StrEnum):
    """Whether a mount works with its server."""

    ONLINE = "online"
    """The server answered last."""
    WAITING = "waiting"
    """It did not, and may in a moment: what is known under the lease is answered, and the rest waits."""
    OFFLINE = "offline"
    """The mount works apart: what is cached is shown, what is done is kept, until all of it is at the server. A strict
    mount never does: it refuses what the server doesn't vouch for."""
    REFUSED = "refused"
    """The server answers that this device, or this user, may not: what was done here is kept."""


def mount_state(trouble: DriveError | None, *, is_apart: bool, is_strict: bool, has_lease: bool) -> MountState:
    """``trouble`` is what the last answer, or its absence, was."""
    match trouble:
        case _ if isinstance(trouble, REFUSALS):
            return MountState.REFUSED
        case _ if is_apart or (is_strict and trouble is not None and not has_lease):
            return MountState.OFFLINE
        case None:
            return MountState.ONLINE
        case _:
            return MountState.WAITING


class Unsent(msgspec.Struct, frozen=True):
    """A file with bytes that are in no committed version yet."""

    path: str
    size_bytes: int
    trouble: str = ""
    """Why the last try failed; empty while it is open or being sent."""


class Status(msgspec.Struct, frozen=True):
    """One mount. Counters are since the mount began; bytes are those of request and answer bodies."""

    state: MountState
    trouble: str
    """Why the mount is not online: what the server answered last, or that it did not; else empty."""
    seq: int
    queued_changes: int
    """Not at the server yet, those that are kept from while it was away among them."""
    sending: list[Unsent]
    requests: int
    polls: int
    bytes_up: int
    bytes_down: int
    blocks_up: int
    blocks_down: int
    cache_bytes: int
    cache_hits: int
    cache_misses: int
    cache_trouble: str
    key_trouble: str
    """What to do where new content is under a key that isn't known here; else empty."""
    known: int
    """Nodes and names that are kept in memory."""


def status_of(
    remote: WorkspaceRemote,
    tree: Tree,
    session: Session,
    reach: Reach,
    outbox: Outbox,
    apart: Apart,
    blocks: Blocks,
    unsent: list[Unsent],
) -> Status:
    """The present state of a mount's parts."""
    trouble = session.trouble
    traffic = remote.caller.traffic
    return Status(
        state=mount_state(trouble, is_apart=reach.apart, is_strict=reach.strict, has_lease=session.lease_left_s() > 0),
        trouble="" if trouble is None else str(trouble),
        seq=tree.applied,
        queued_changes=len(outbox) + len(apart),
        sending=unsent,
        requests=traffic.requests,
        polls=traffic.polls,
        bytes_up=traffic.bytes_up,
        bytes_down=traffic.bytes_down,
        blocks_up=remote.blocks_up,
        blocks_down=remote.blocks_down,
        cache_bytes=blocks.cached_bytes,
        cache_hits=blocks.hits,
        cache_misses=blocks.misses,
        cache_trouble=blocks.cache_trouble,
        key_trouble=blocks.key_trouble,
        known=len(tree),
    )
