"""The change log, and the journals whose numbered changes it is made of.

Invariant: a workspace's changes are numbered to its head without gaps, and none is ever changed; the oldest may be gone
(``pruning``).
"""

from __future__ import annotations

from typing import Final

import msgspec

from protocol.ids import DeviceId, JournalId, Seq, SessionId, WorkspaceId
from protocol.limits import CHANGES_PAGE, NEWS_MAX_CHANGES
from protocol.messages.batches import JournalReply
from protocol.messages.notices import Notice, Notices
from server.metadata.store import Transaction
from server.metadata.tree import head

_encode = msgspec.msgpack.Encoder().encode
decode_notice = msgspec.msgpack.Decoder(Notice).decode
_NO_ANSWERS: Final = msgspec.msgpack.encode([])


def append(
    tx: Transaction, workspace: WorkspaceId, device: DeviceId, notice: Notice, more_nodes: int, now_ns: int
) -> None:
    """Log a change, whose number is the one after the head, and which put so many more nodes into the tree."""
    tx.execute(
        "INSERT INTO changes (workspace, seq, at_ns, device, notice) VALUES (?, ?, ?, ?, ?)",
        (workspace, notice.seq, now_ns, device, _encode(notice)),
    )
    tx.execute(
        "UPDATE workspaces SET head_seq = ?, node_count = node_count + ? WHERE id = ?",
        (notice.seq, more_nodes, workspace),
    )


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
    found = [decode_notice(row[0]) for row in rows]
    if newest > after and (not found or found[0].seq != after + 1):
        return Notices(newest, reset=True)
    return Notices(found[-1].seq if found else newest, found)


def news(tx: Transaction, workspace: WorkspaceId, applied: Seq | None, most: int = NEWS_MAX_CHANGES) -> Notices:
    """All changes after ``applied`` up to the head; a reset where there are more than ``most``.

    None is for who applies none: only where the log stands.
    """
    newest = head(tx, workspace)
    if applied is None:
        return Notices(newest)
    return Notices(newest, reset=True) if newest - applied > most else notices(tx, workspace, applied, most)


def join(
    tx: Transaction, workspace: WorkspaceId, device: DeviceId, journal: JournalId, after: Seq, now_ns: int
) -> JournalReply:
    """A mount begins: it has nothing cached that changes up to ``after`` outdated."""
    _inherit(tx, workspace, device, journal)
    tx.execute(
        "INSERT INTO journals (workspace, device, journal, last_number, first_number, answers, acknowledged)"
        " VALUES (?, ?, ?, 0, 1, ?, ?)"
        " ON CONFLICT (workspace, device, journal) DO UPDATE SET acknowledged = excluded.acknowledged",
        (workspace, device, journal, _NO_ANSWERS, after),
    )
    tx.execute("UPDATE devices SET seen_ns = ? WHERE id = ?", (now_ns, device))
    return last_batch(tx, workspace, device, journal)


def take(
    tx: Transaction, workspace: WorkspaceId, device: DeviceId, journal: JournalId, session: SessionId
) -> JournalReply:
    """From now on this session sends the journal's changes, and no earlier one; returns its last batch."""
    _inherit(tx, workspace, device, journal)
    tx.execute(
        "UPDATE journals SET session = ? WHERE workspace = ? AND device = ? AND journal = ?",
        (session, workspace, device, journal),
    )
    return last_batch(tx, workspace, device, journal)


def _inherit(tx: Transaction, workspace: WorkspaceId, device: DeviceId, journal: JournalId) -> None:
    """A journal goes where its folder goes: to another device of the same user, whose login it is now.

    What the old one sent must not be applied again. Another user's journals stay: anybody can name them.
    """
    row = tx.one(
        "SELECT j.device FROM journals j JOIN devices had ON had.id = j.device"
        " JOIN devices has ON has.user_id = had.user_id"
        " WHERE j.workspace = ? AND j.journal = ? AND has.id = ? ORDER BY j.device = has.id DESC, j.last_number DESC",
        (workspace, journal, device),
    )
    if row is not None and row[0] != device:
        tx.execute(
            "UPDATE journals SET device = ? WHERE workspace = ? AND device = ? AND journal = ?",
            (device, workspace, row[0], journal),
        )


def last_batch(tx: Transaction, workspace: WorkspaceId, device: DeviceId, journal: JournalId) -> JournalReply:
    """The numbers of a journal's last batch; of one that never joined, as if none had come yet."""
    row = tx.one(
        "SELECT first_number, last_number, batch FROM journals WHERE workspace = ? AND device = ? AND journal = ?",
        (workspace, device, journal),
    )
    return JournalReply(1, 0) if row is None else JournalReply(*row)


def cursor_of(tx: Transaction, workspace: WorkspaceId, device: DeviceId, journal: JournalId) -> Seq:
    """Up to which change the device has surely dropped what it outdated; 0 for a journal that never joined."""
    row = tx.one(
        "SELECT acknowledged FROM journals WHERE workspace = ? AND device = ? AND journal = ?",
        (workspace, device, journal),
    )
    return Seq(0 if row is None else row[0])


def acknowledge(tx: Transaction, workspace: WorkspaceId, device: DeviceId, journal: JournalId, seq: Seq) -> None:
    """The mount has dropped what changes up to ``seq`` outdated: the device's cursor. It never moves back."""
    seq = min(seq, head(tx, workspace))
    tx.execute(
        "UPDATE journals SET acknowledged = ? WHERE workspace = ? AND device = ? AND journal = ? AND acknowledged < ?",
        (seq, workspace, device, journal, seq),
    )
