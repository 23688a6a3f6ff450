"""The change log as people and scripts read it: who did what, when, to which items."""

from __future__ import annotations

from protocol.ids import NodeId, Seq, WorkspaceId
from protocol.messages.items import Feed, Happening, Item
from protocol.messages.notices import Notice
from server.metadata import feed, tree
from server.metadata.items import encoded, item_of, last_path
from server.metadata.store import Row, Transaction


def happenings(tx: Transaction, workspace: WorkspaceId, after: Seq | None, limit: int) -> Feed:
    """The changes after ``after`` (None: the last ones), at most ``limit``."""
    newest = tree.head(tx, workspace)
    if after is not None and after > newest:  # Of a log that is no more: a restored backup.
        return Feed(newest, [], reset=True)
    rows = tx.all(
        "SELECT c.seq, c.at_ns, u.name, d.name, c.notice FROM changes c"
        " LEFT JOIN devices d ON d.id = c.device LEFT JOIN users u ON u.id = d.user_id"
        " WHERE c.workspace = ? AND c.seq > ? ORDER BY c.seq LIMIT ?",
        (workspace, newest - limit if after is None else after, limit),
    )
    if after is not None and newest > after and (not rows or rows[0][0] != after + 1):
        return Feed(newest, [], reset=True)
    return Feed(Seq(rows[-1][0]) if rows else newest, [_happening(tx, workspace, row) for row in rows], reset=False)


def _happening(tx: Transaction, workspace: WorkspaceId, row: Row) -> Happening:
    seq, at_ns, user, device, encoded_notice = row
    notice = feed.decode_notice(encoded_notice)
    about = _about(notice)
    items = [item for node in about if (item := _item(tx, workspace, node)) is not None]
    names = [[*last_path(tx, workspace, entry.parent), entry.name] for entry in notice.entries]
    paths = [encoded(path) for path in names] or [encoded(last_path(tx, workspace, node)) for node in about]
    return Happening(seq, at_ns, user or "", device or "", notice.what, paths, items)


def _about(notice: Notice) -> list[NodeId]:
    """What a change was about: not the folders that were touched because a name in them changed."""
    folders = {entry.parent for entry in notice.entries}
    return [touched.node for touched in notice.nodes if touched.node not in folders]


def _item(tx: Transaction, workspace: WorkspaceId, node: NodeId) -> Item | None:
    found = tree.node(tx, workspace, node)
    if found is None or found.nlink == 0:
        return None
    return item_of(tx, workspace, last_path(tx, workspace, node), found)
