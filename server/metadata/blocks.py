"""Which blocks a workspace has and where they lie. Bytes are verified before they get here.

Invariant: ``workspaces.used_bytes`` is the sum of the sealed bytes of the workspace's blocks, ``block_count`` their
number, and ``old_blocks`` the number of those that are sealed under another key than the last.
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
    key_id: int
    """What it is sealed under."""


_CHUNK: Final = 128
"""Ids in one query. Always so many (the last is repeated), so that the statement is prepared once."""

_LOOK: Final = 256
"""Rows that are looked at in one step: a millisecond with what lies inline."""

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
        "SELECT d.sealed, b.object, b.sealed_bytes, b.plain_bytes, b.key_id FROM blocks b"
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
    _add(tx, workspace, block, at)
    return True


def _add(tx: Transaction, workspace: WorkspaceId, block: BlockId, at: StoredBlock) -> None:
    tx.execute(
        "INSERT INTO blocks (workspace, id, object, sealed_bytes, plain_bytes, key_id) VALUES (?, ?, ?, ?, ?, ?)",
        (workspace, block, at.object, at.sealed_bytes, at.plain_bytes, at.key_id),
    )
    if at.inline is not None:
        tx.execute("INSERT INTO block_data (workspace, id, sealed) VALUES (?, ?, ?)", (workspace, block, at.inline))
    _count(tx, workspace, at, 1)


def forget(tx: Transaction, workspace: WorkspaceId, block: BlockId) -> StoredBlock | None:
    """What lies there failed verification: the next put replaces it. Returns where it lay."""
    lay = _stored(tx, workspace, block)
    if lay is not None:
        tx.execute("DELETE FROM block_data WHERE workspace = ? AND id = ?", (workspace, block))
        tx.execute("DELETE FROM blocks WHERE workspace = ? AND id = ?", (workspace, block))
        _count(tx, workspace, lay, -1)
    return lay


def replace(tx: Transaction, workspace: WorkspaceId, block: BlockId, lay: StoredBlock, lies: StoredBlock) -> bool:
    """The same bytes, sealed anew, lie elsewhere now. False, with nothing changed, where they lay elsewhere already."""
    if _stored(tx, workspace, block) != lay:
        return False
    forget(tx, workspace, block)
    _add(tx, workspace, block, lies)
    return True


def _count(tx: Transaction, workspace: WorkspaceId, at: StoredBlock, times: int) -> None:
    tx.execute(
        "UPDATE workspaces SET used_bytes = used_bytes + ?, block_count = block_count + ?,"
        " old_blocks = old_blocks + CASE WHEN key_id = ? THEN 0 ELSE ? END WHERE id = ?",
        (times * at.sealed_bytes, times, at.key_id, times, workspace),
    )


def workspaces_with_old(tx: Transaction) -> list[WorkspaceId]:
    """Those with blocks that are sealed under another key than the last, as far as the server has their keys."""
    rows = tx.all("SELECT id FROM workspaces WHERE old_blocks > 0 AND envelope IS NULL ORDER BY id")
    return [WorkspaceId(row[0]) for row in rows]


def under_other_keys(
    tx: Transaction, workspace: WorkspaceId, key_id: int, after: BlockId, most_bytes: int
) -> tuple[dict[BlockId, StoredBlock], BlockId | None]:
    """Some blocks with ids past ``after`` that aren't sealed under this key, of so many sealed bytes, or one.

    And after which id to go on; None at the end.
    """
    found: dict[BlockId, StoredBlock] = {}
    rows = tx.all(
        "SELECT id, key_id, sealed_bytes FROM blocks WHERE workspace = ? AND id > ? ORDER BY id LIMIT ?",
        (workspace, after, _LOOK),
    )
    total = 0
    for identity, under, sealed_bytes in rows:
        block = BlockId(identity)
        if under != key_id:
            total += sealed_bytes
            if found and total > most_bytes:
                return found, after
            [at] = stored(tx, workspace, [block])
            assert at is not None
            found[block] = at
        after = block
    return found, after if len(rows) == _LOOK else None


def ids_under_other_keys(
    tx: Transaction, workspace: WorkspaceId, key_id: int, after: BlockId, most: int
) -> list[BlockId]:
    """At most so many ids past ``after`` of blocks that aren't sealed under this key, in order."""
    rows = tx.all(
        "SELECT id FROM blocks WHERE workspace = ? AND id > ? AND key_id != ? ORDER BY id LIMIT ?",
        (workspace, after, key_id, most),
    )
    return [BlockId(row[0]) for row in rows]


def check_quota(tx: Transaction, workspace: WorkspaceId, more_bytes: int) -> None:
    """Raises OverQuota where so many more sealed bytes don't fit."""
    row = tx.one("SELECT quota_bytes, used_bytes FROM workspaces WHERE id = ?", (workspace,))
    if row is not None and row[0] is not None and row[1] + more_bytes > row[0]:
        raise OverQuota(f"the workspace's quota of {row[0]} bytes is full")
