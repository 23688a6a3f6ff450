"""Small files of a folder that are read one after the other: their blocks are fetched ahead, many a request.

Owns nothing but which file comes next in the last folders that were listed. Programs that walk a tree (grep -r, rsync,
cp) open files in the order of a listing.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Final

from backend.blocks import Blocks
from protocol import manifest as manifests
from protocol.ids import BlockId, NodeId
from protocol.limits import INLINE_SEALED_BYTES
from protocol.messages.nodes import Kind, Node
from protocol.messages.tree import Entry

FOLDERS: Final = 16
AHEAD: Final = 32
"""Files fetched ahead at once; again when half of them have been opened."""


class _Walk:
    """One listed folder: its small files in order, and how far it has been walked and fetched.

    Their manifests are decoded when their blocks are fetched: most listings are followed by no reading.
    """

    def __init__(self, files: list[tuple[NodeId, bytes]]) -> None:
        self.files = files
        self.places = {node: place for place, (node, _) in enumerate(files)}
        self.last_opened = -2
        self.fetched = 0


class Siblings:
    """The folders listed last."""

    def __init__(self, blocks: Blocks) -> None:
        self._blocks = blocks
        self._walks: OrderedDict[int, _Walk] = OrderedDict()
        self._walk_of: dict[NodeId, int] = {}
        self._count = 0

    def listed(self, entries: Sequence[Entry]) -> None:
        """A folder was listed."""
        rows = [entry.node for entry in entries]
        files = [(row.id, row.manifest) for row in rows if row.manifest is not None and _is_small(row)]
        if len(files) < 2:
            return
        self._count += 1
        self._walks[self._count] = _Walk(files)
        for node, _ in files:
            self._walk_of[node] = self._count
        if len(self._walks) > FOLDERS:
            number, walk = self._walks.popitem(last=False)
            for node, _ in walk.files:
                if self._walk_of.get(node) == number:
                    del self._walk_of[node]

    def opened(self, row: Node) -> None:
        """A file was opened: where it is the next of its folder or near it, those after it are fetched."""
        walk = self._walks.get(self._walk_of.get(row.id, 0))
        if walk is None:
            return
        place = walk.places[row.id]
        in_sequence = 0 < place - walk.last_opened <= 4
        walk.last_opened = place
        if in_sequence and place + AHEAD // 2 >= walk.fetched:
            begin = max(place, walk.fetched)
            walk.fetched = begin + AHEAD
            blocks = [_only_block(manifest) for _, manifest in walk.files[begin : walk.fetched]]
            self._blocks.prefetch([block for block in blocks if block is not None])


def _is_small(row: Node) -> bool:
    return row.kind is Kind.FILE and 0 < row.size <= INLINE_SEALED_BYTES


def _only_block(manifest: bytes) -> BlockId | None:
    pieces = manifests.decode(manifest).pieces
    return pieces[0].block if len(pieces) == 1 and not pieces[0].is_hole else None
