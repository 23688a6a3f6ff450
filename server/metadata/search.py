"""Items by a part of their name, in any case (Unicode's case folding, and composed as NFC: a Mac's names too).

Names are bytes and aren't indexed for this: entries are looked through in order of their key. One request looks at
``SCAN_ENTRIES`` at most, and says from where the next one goes on.
"""

from __future__ import annotations

import unicodedata
from typing import Final, NamedTuple

from protocol.ids import NodeId, WorkspaceId
from protocol.messages.items import Item
from server.metadata import tree
from server.metadata.items import item_of, last_path
from server.metadata.store import Transaction

SCAN_ENTRIES: Final = 50_000
"""Some tenths of a second of a reading thread, of which there are two."""

_CHUNK: Final = 2_000


class Key(NamedTuple):
    """An entry's: a search goes on after it."""

    parent: NodeId
    name: bytes


def search(
    tx: Transaction, workspace: WorkspaceId, part: str, after: Key, limit: int, scan: int = SCAN_ENTRIES
) -> tuple[list[Key], Key | None]:
    """Entries after ``after`` whose name contains ``part``, and where to go on; None where that was all."""
    wanted = folded(part)
    hits: list[Key] = []
    while scan > 0:
        chunk = min(_CHUNK, scan)
        rows = tx.all(
            "SELECT parent, name FROM entries WHERE workspace = ? AND (parent, name) > (?, ?)"
            " ORDER BY parent, name LIMIT ?",
            (workspace, *after, chunk),
        )
        for row in rows:
            after = Key(*row)
            if wanted in folded(after.name.decode(errors="replace")):
                hits.append(after)
                if len(hits) == limit:
                    return hits, after
        if len(rows) < chunk:
            return hits, None
        scan -= chunk
    return hits, after


def found(tx: Transaction, workspace: WorkspaceId, part: str, after: Key, limit: int) -> tuple[list[Item], Key | None]:
    """The items of those entries, and where to go on."""
    hits, key = search(tx, workspace, part, after, limit)
    folders: dict[NodeId, list[bytes]] = {}
    items = []
    for parent, name in hits:
        if parent not in folders:
            folders[parent] = last_path(tx, workspace, parent)
        node = tree.lookup(tx, workspace, parent, name)
        assert node is not None
        items.append(item_of(tx, workspace, [*folders[parent], name], node))
    return items, key


def folded(text: str) -> str:
    """What is the same for this search."""
    return text.lower() if text.isascii() else unicodedata.normalize("NFC", text.casefold())
