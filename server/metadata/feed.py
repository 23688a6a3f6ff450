"""The change log, and the journals whose numbered changes it is made of."""

from __future__ import annotations

import msgspec

from protocol.ids import DeviceId, JournalId, Seq, WorkspaceId
from protocol.limits import CHANGES_PAGE
from protocol.messages import JoinReply, Notice, Notices
from server.metadata.store import Transaction
from server.metadata.tree import head

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Notice).decode


def append(tx: Transaction, workspace: WorkspaceId, device: DeviceId, notice: Notice, now_ns: int) -> None:
    """Log a change, whose number is the one after the head."""
    tx.execute("INSERT INTO changes VALUES (?, ?, ?, ?, ?)", (workspace, notice.seq, now_ns, device, _encode(notice)))
    tx.execute("UPDATE workspaces SET head_seq = ? WHERE id = ?", (notice.seq, workspace))


def notices(tx: Transaction, workspace: WorkspaceId, after: Seq, limit: int = CHANGES_PAGE) -> Notices:
    """The changes after ``after``, at most ``limit``; a reset where the log does not reach back so far.

    ``Notices.seq`` is the number of the last change carried, or the head where none is left.
    """
    newest = head(tx, workspace)
    if after > newest:
        return Notices(newest, reset=True)
    rows = tx.all(
        "SELECT notice FROM changes WHERE workspace = ? AND seq > ? ORDER BY seq LIMIT ?", (workspace, after, limit)
    )
    found = [_decode(row[0]) for row in rows]
    if newest > after and (not found or found[0].seq != after + 1):
        return Notices(newest, reset=True)
    return Notices(found[-1].seq if found else newest, found)


def join(tx: Transaction, workspace: WorkspaceId, device: DeviceId, journal: JournalId, now_ns: int) -> JoinReply:
    """A mount begins: it has nothing cached, so it has dropped everything up to the head."""
    newest = head(tx, workspace)
    tx.execute(
        "INSERT INTO journals VALUES (?, ?, ?, 0, 1, ?, ?)"
        " ON CONFLICT (workspace, device, journal) DO UPDATE SET acknowledged = excluded.acknowledged",
        (workspace, device, journal, msgspec.msgpack.encode([]), newest),
    )
    tx.execute("UPDATE devices SET seen_ns = ? WHERE id = ?", (now_ns, device))
    row = tx.one(
        "SELECT last_number FROM journals WHERE workspace = ? AND device = ? AND journal = ?",
        (workspace, device, journal),
    )
    return JoinReply(newest, 0 if row is None else row[0])


def acknowledge(tx: Transaction, workspace: WorkspaceId, device: DeviceId, journal: JournalId, seq: Seq) -> None:
    """The mount has dropped what changes up to ``seq`` outdated: the device's cursor."""
    tx.execute(
        "UPDATE journals SET acknowledged = ? WHERE workspace = ? AND device = ? AND journal = ? AND acknowledged < ?",
        (seq, workspace, device, journal, seq),
    )
