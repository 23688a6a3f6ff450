"""Conflict copies for a person at this mount: which there are, and the change that ends one.

Owns no state. What a reply reveals is applied to the caches before it is used, as with every reply about the tree.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from backend.errors import NotFound, Refused
from backend.names import Names
from backend.session import Session
from protocol.ids import ROOT_NODE, NodeId
from protocol.messages.changes import Resolve
from protocol.messages.conflicts import ConflictCopy, ConflictsReply, Keep


class ConflictsRemote(Protocol):
    """Where conflicts are known: ``backend.remote.WorkspaceRemote``."""

    async def conflicts_page(self, after: NodeId, limit: int | None = None) -> ConflictsReply:
        """Raises DriveError."""
        ...


async def listed(remote: ConflictsRemote, session: Session) -> list[ConflictCopy]:
    """All of the workspace's conflict copies, in order of their paths; raises DriveError."""
    found: list[ConflictCopy] = []
    after, more = NodeId(0), True
    while more:
        reply = await remote.conflicts_page(after)
        await session.absorb(reply.notices)
        found += reply.conflicts
        more = reply.more and bool(reply.conflicts)
        after = found[-1].node if found else after
    return sorted(found, key=lambda copy: copy.path)


async def decision(
    remote: ConflictsRemote, session: Session, names: Names, path: Sequence[bytes], keep: Keep, now_ns: int
) -> Resolve:
    """The change that ends the conflict of the copy at a path below the mount.

    Raises NotFound where nothing is there, and Refused where that is not a conflict copy.
    """
    parent, node = ROOT_NODE, ROOT_NODE
    for name in path:
        row = await names.lookup(node, name)
        if row is None:
            raise NotFound("there is no such file")
        parent, node = node, row.id
    reply = await remote.conflicts_page(NodeId(node - 1), 1)
    await session.absorb(reply.notices)
    if not path or not reply.conflicts or (copy := reply.conflicts[0]).node != node:
        raise Refused.named("EINVAL", "this is not a conflict copy (samedrive conflicts lists them)")
    return Resolve(
        time_ns=now_ns,
        parent=parent,
        name=path[-1],
        node=node,
        version=copy.version,
        keep=keep,
        original_version=None if copy.original is None else copy.original.version,
    )
