"""Which blocks a workspace has and where they lie. Bytes are verified before they get here.

Invariant: ``workspaces.used_bytes`` is the sum of the sealed bytes of the workspace's blocks.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from protocol.ids import BlockId, WorkspaceId
from server.metadata.store import Transaction


class OverQuota(Exception):
    """The workspace may not hold so much."""


@dataclass(frozen=True, slots=True)
class StoredBlock:
    """Where a block lies: ``inline`` holds its sealed bytes, or ``object`` names them in the block store."""

    inline: bytes | None
    object: str | None
    sealed_bytes: int
    plain_bytes: int


_CHUNK: Final = 128
"""Ids in one query. Always so many (the last is repeated), so that the statement is prepared once."""

_LENGTHS: Final = f"SELECT id, plain_bytes FROM blocks WHERE workspace = ? AND id IN ({', '.join('?' * _CHUNK)})"


def plain_lengths(tx: Transaction, workspace: WorkspaceId, ids: Iterable[BlockId]) -> dict[BlockId, int]:
    """Plain bytes of those of the blocks that are there."""
    wanted = list(dict.fromkeys(ids))
    found: dict[BlockId, int] = {}
    if len(wanted) <= 2:
        for block in wanted:
            length = plain_length(tx, workspace, block)
            if length is not None:
                found[block] = length
        return found
    for start in range(0, len(wanted), _CHUNK):
        chunk = wanted[start : start + _CHUNK]
        chunk += chunk[-1:] * (_CHUNK - len(chunk))
        found.update(tx.all(_LENGTHS, (workspace, *chunk)))
    return found


def plain_length(tx: Transaction, workspace: WorkspaceId, block: BlockId) -> int | None:
    """Plain bytes of a block that is there."""
    row = tx.one("SELECT plain_bytes FROM blocks WHERE workspace = ? AND id = ?", (workspace, block))
    return None if row is None else row[0]


def missing(tx: Transaction, workspace: WorkspaceId, ids: Iterable[BlockId]) -> list[BlockId]:
    """Those of the ids that the workspace lacks, each once, in their order."""
    wanted = list(dict.fromkeys(ids))
    found = plain_lengths(tx, workspace, wanted)
    return [block for block in wanted if block not in found]


def stored(tx: Transaction, workspace: WorkspaceId, ids: Sequence[BlockId]) -> list[StoredBlock | None]:
    """Where these blocks lie, in their order."""
    return [_stored(tx, workspace, block) for block in ids]


def _stored(tx: Transaction, workspace: WorkspaceId, block: BlockId) -> StoredBlock | None:
    row = tx.one(
        "SELECT d.sealed, b.object, b.sealed_bytes, b.plain_bytes FROM blocks b"
        " LEFT JOIN block_data d ON d.workspace = b.workspace AND d.id = b.id AND b.object IS NULL"
        " WHERE b.workspace = ? AND b.id = ?",
        (workspace, block),
    )
    return None if row is None else StoredBlock(*row)


def record(tx: Transaction, workspace: WorkspaceId, block: BlockId, at: StoredBlock) -> bool:
    """The block is stored there now; False where it was stored elsewhere before. Raises OverQuota."""
    if plain_length(tx, workspace, block) is not None:
        return False
    check_quota(tx, workspace, at.sealed_bytes)
    tx.execute(
        "INSERT INTO blocks (workspace, id, object, sealed_bytes, plain_bytes) VALUES (?, ?, ?, ?, ?)",
        (workspace, block, at.object, at.sealed_bytes, at.plain_bytes),
    )
    if at.inline is not None:
        tx.execute("INSERT INTO block_data (workspace, id, sealed) VALUES (?, ?, ?)", (workspace, block, at.inline))
    tx.execute("UPDATE workspaces SET used_bytes = used_bytes + ? WHERE id = ?", (at.sealed_bytes, workspace))
    return True


def forget(tx: Transaction, workspace: WorkspaceId, block: BlockId) -> StoredBlock | None:
    """What lies there failed verification: the next put replaces it. Returns where it lay."""
    lay = _stored(tx, workspace, block)
    if lay is not None:
        tx.execute("DELETE FROM block_data WHERE workspace = ? AND id = ?", (workspace, block))
        tx.execute("DELETE FROM blocks WHERE workspace = ? AND id = ?", (workspace, block))
        tx.execute("UPDATE workspaces SET used_bytes = used_bytes - ? WHERE id = ?", (lay.sealed_bytes, workspace))
    return lay


def check_quota(tx: Transaction, workspace: WorkspaceId, more_bytes: int) -> None:
    """Raises OverQuota where so many more sealed bytes don't fit."""
    row = tx.one("SELECT quota_bytes, used_bytes FROM workspaces WHERE id = ?", (workspace,))
    if row is not None and row[0] is not None and row[1] + more_bytes > row[0]:
        raise OverQuota(f"the workspace's quota of {row[0]} bytes is full")
