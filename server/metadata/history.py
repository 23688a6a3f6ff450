"""The versions of a file, and an earlier one made the newest again: as a new version, so that none is lost."""

from __future__ import annotations

from collections.abc import Sequence

from protocol.ids import VersionNumber, WorkspaceId
from protocol.messages.items import FileVersion, History, Item
from server.metadata.contents import take_content
from server.metadata.editing import AS_ASKED, Edit, Outcome
from server.metadata.items import etag_of, file_at, item_at, item_of
from server.metadata.store import Transaction
from server.metadata.unmounted import Editing


def history(tx: Transaction, workspace: WorkspaceId, names: Sequence[bytes], before: int | None, limit: int) -> History:
    """A file's versions with numbers below ``before`` (None: all), newest first; raises NoSuchNode and Rule."""
    file = file_at(tx, workspace, names)
    rows = tx.all(
        "SELECT v.number, v.size, v.committed_ns, d.name, u.name FROM versions v"
        " LEFT JOIN devices d ON d.id = v.device LEFT JOIN users u ON u.id = d.user_id"
        " WHERE v.workspace = ? AND v.node = ? AND v.number < ? ORDER BY v.number DESC LIMIT ?",
        (workspace, file.id, 1 << 62 if before is None else before, limit + 1),
    )
    versions = [
        FileVersion(number, size, committed_ns, device or "", user or "", etag_of(file.id, number))
        for number, size, committed_ns, device, user in rows[:limit]
    ]
    return History(item_of(tx, workspace, names, file), versions, len(rows) > limit)


def restore(edit: Editing, names: Sequence[bytes], number: VersionNumber) -> Item:
    """Let a version be the newest, unless it is; raises NoSuchNode and Rule."""
    file = file_at(edit.tx, edit.workspace, names)

    def work(change: Edit) -> Outcome:
        if number != file.version:
            take_content(change, file, file, number, change.now_ns, change.now_ns)
        return AS_ASKED

    edit.log("restore", work)
    return item_at(edit.tx, edit.workspace, names)
