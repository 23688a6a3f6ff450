"""What this mount knows of the workspace's tree: nodes, names, and which change they are true at. Pure.

Owns the cached rows and nothing else: no I/O, no clock. It must not know the kernel or the server's calls.

Invariants (``check`` verifies them in tests):

- ``applied`` is the number of the last change whose outdated rows have been dropped; it falls only at a reset, with
  everything dropped: the server may have been restored from a backup.
- A row that came with a reply at ``seq`` is kept only if no change in (seq, applied] touched it: a reply may
  overtake a notice. Touches older than ``_floor`` are forgotten, so a reply older than that is not kept at all.
- A row is never replaced by one of an older reply, but by one that is made here while the server is away.
- A reply may be ahead of ``applied`` (those to what was kept apart are): what it told stays when the changes up to it
  are applied.
- That a name is absent is known from a look-up of it or from a complete listing alone (or this mount's own unlink).
- Applying a change only drops; values come from replies.
- What no name leads to is bounded by itself (``_removed``, ``_absent``), for ``_trim`` follows names.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Final

import msgspec

from protocol.ids import ROOT_NODE, NodeId, OriginId, Seq
from protocol.messages.nodes import Node
from protocol.messages.notices import Notice, Notices
from protocol.messages.tree import Entry, UsageReply

NODES_MAX: Final = 200_000
"""About 200 MB; the folders used least recently go first."""

REMOVED_MAX: Final = 1_000
"""Nodes without a name, which programs may have open still; the longest removed go first."""

ABSENT_MAX: Final = 10_000
"""Names that are known to be absent; those learnt first go first."""

TOUCHES_MAX: Final = 65_536
"""Remembered touches; beyond that the guard falls back to refusing older replies."""


class FolderSnapshot(msgspec.Struct, frozen=True, array_like=True):
    """A folder's known names: node, or 0 for a name that is known to be absent."""

    folder: NodeId
    complete: bool
    names: dict[bytes, int]


class Snapshot(msgspec.Struct, frozen=True, omit_defaults=True):
    """All that is known, true at ``applied`` or since ``nodes``' own numbers."""

    applied: Seq
    nodes: list[Node]
    folders: list[FolderSnapshot]
    usage: UsageReply | None = None


class Absent(Enum):
    """A name that is known to have no entry."""

    ABSENT = "absent"


ABSENT: Final = Absent.ABSENT

Known = NodeId | Absent | None
"""What a name means: a node, nothing, or (None) not known here."""


@dataclass(frozen=True, slots=True)
class Outdated:
    """What others have to drop: rows that the kernel may hold."""

    attributes: frozenset[NodeId] = frozenset()
    contents: frozenset[NodeId] = frozenset()
    """Regular files with a new version by somebody else: they get a new kernel inode."""
    names: bool = False
    everything: bool = False

    @classmethod
    def all_of(cls, parts: Sequence[Outdated]) -> Outdated:
        """What any of these outdated."""
        return cls(
            frozenset[NodeId]().union(*(part.attributes for part in parts)),
            frozenset[NodeId]().union(*(part.contents for part in parts)),
            any(part.names for part in parts),
            any(part.everything for part in parts),
        )

    def __bool__(self) -> bool:
        return bool(self.attributes or self.contents or self.names or self.everything)


@dataclass(slots=True)
class _Folder:
    names: dict[bytes, Known] = field(default_factory=dict)
    complete: bool = False
    """Names that aren't in ``names`` are absent. A name outdated since is in ``names`` as None."""
    unknown: int = 0
    """How many names are in ``names`` as None."""

    def learn(self, name: bytes, meaning: Known) -> None:
        known_before = name in self.names and self.names[name] is None
        if meaning is None and not self.complete:
            self.names.pop(name, None)
        else:
            self.names[name] = meaning
            self.unknown += meaning is None
        self.unknown -= known_before


class Tree:
    """The cache of one mount."""

    def __init__(self, applied: Seq, nodes_max: int = NODES_MAX) -> None:
        self.applied = applied
        self.usage: UsageReply | None = None
        """What the server said last of the workspace's size."""
        self._nodes: dict[NodeId, tuple[Seq, Node]] = {}
        self._folders: OrderedDict[NodeId, _Folder] = OrderedDict()
        self._removed: OrderedDict[NodeId, None] = OrderedDict()
        self._absent: OrderedDict[tuple[NodeId, bytes], None] = OrderedDict()
        self._touched_nodes: dict[NodeId, Seq] = {}
        self._touched_names: dict[tuple[NodeId, bytes], Seq] = {}
        self._ahead: dict[tuple[NodeId, bytes], Seq] = {}
        """Names that were told by replies that were ahead of ``applied``."""
        self._floor = applied
        self._nodes_max = nodes_max

    def __len__(self) -> int:
        """How many nodes and names are kept, absent ones among them."""
        return len(self._nodes) + sum(len(known.names) for known in self._folders.values())

    # ── questions ──

    def node(self, node: NodeId) -> Node | None:
        """A node's attributes, or None where they aren't known."""
        row = self._nodes.get(node)
        return row[1] if row else None

    def is_older(self, node: NodeId, seq: Seq) -> bool:
        """Whether a node's row that is true at ``seq`` may have been outdated since."""
        return self._outdated(self._touched_nodes.get(node), seq)

    def is_older_name(self, folder: NodeId, name: bytes, seq: Seq) -> bool:
        """Whether what a name meant at ``seq`` may have been outdated since."""
        return self._outdated(self._touched_names.get((folder, name)), seq)

    def lookup(self, folder: NodeId, name: bytes) -> Known:
        """What a name means, as far as it is known."""
        known = self._folders.get(folder)
        if known is None:
            return None
        self._folders.move_to_end(folder)
        return known.names.get(name, ABSENT if known.complete else None)

    def knows_some_of(self, folder: NodeId) -> bool:
        """Whether a page of this folder, or a name in it, has been kept."""
        return folder in self._folders

    def listing(self, folder: NodeId) -> list[tuple[bytes, NodeId]] | None:
        """All names of a folder in order with their nodes, or None where not all are known."""
        known = self._folders.get(folder)
        if known is None or not known.complete or known.unknown:
            return None
        self._folders.move_to_end(folder)
        return sorted((name, node) for name, node in known.names.items() if isinstance(node, int))

    def is_below(self, node: NodeId, folder: NodeId) -> bool:
        """Whether a node is this folder or below it, as far as names are known."""
        below, seen = [folder], {folder}
        while below and node not in seen:
            known = self._folders.get(below.pop())
            found = set(_nodes_of(known.names.values())) - seen if known is not None else set()
            seen |= found
            below += found
        return node in seen

    def path_of(self, node: NodeId) -> str:
        """A path of a node for people, as far as names are known; slow, for messages about trouble."""
        parts: list[str] = []
        while node != ROOT_NODE:
            if (found := self.place_of(node)) is None:
                return "/".join([f"node {node}", *reversed(parts)])
            node = found[0]
            parts.append(found[1].decode(errors="backslashreplace"))
        return "/".join(reversed(parts))

    def place_of(self, node: NodeId) -> tuple[NodeId, bytes] | None:
        """A name of a node, as far as names are known; slow."""
        return next(
            (
                (folder, name)
                for folder, known in self._folders.items()
                for name, meaning in known.names.items()
                if meaning == node
            ),
            None,
        )

    def unknown_names(self, folder: NodeId) -> list[bytes] | None:
        """Names of a listed folder that have been outdated since; None where the folder hasn't been listed."""
        known = self._folders.get(folder)
        if known is None or not known.complete:
            return None
        return [name for name, meaning in known.names.items() if meaning is None] if known.unknown else []

    # ── replies ──

    def keep_node(self, node: Node, seq: Seq) -> None:
        """A reply that is true at ``seq`` carried this node."""
        if self._outdated(self._touched_nodes.get(node.id), seq):
            return
        row = self._nodes.get(node.id)
        if row is None or row[0] <= seq:
            self._nodes[node.id] = (seq, node)
            if node.nlink == 0:
                self._note_removed(node.id)

    def keep_local(self, node: Node) -> None:
        """A row that was made here, apart from the server: it goes before what any reply told, until ``drop``."""
        self._nodes[node.id] = (self.applied, node)

    def keep_name(self, folder: NodeId, name: bytes, meaning: NodeId | Absent, seq: Seq) -> None:
        """A reply that is true at ``seq`` told what this name means."""
        if self.is_older_name(folder, name, seq):
            return
        self._folder(folder).learn(name, meaning)
        if seq > self.applied:
            self._ahead[folder, name] = seq
        if meaning is ABSENT:
            self._note_absent(folder, name)

    def keep_page(self, folder: NodeId, entries: Sequence[Entry], seq: Seq) -> None:
        """A page of a folder, true at ``seq``: its names are known, and its nodes."""
        for entry in entries:
            self.keep_name(folder, entry.name, entry.node.id, seq)
            self.keep_node(entry.node, seq)
        self._trim()

    def keep_listing(self, folder: NodeId, entries: Sequence[Entry], seq: Seq) -> None:
        """A complete listing, all its pages of one generation, the first true at ``seq``."""
        if seq < self._floor:
            return
        known = _Folder(complete=True)
        for entry in entries:
            known.names[entry.name] = entry.node.id
            self.keep_node(entry.node, seq)
        for (parent, name), touched in self._touched_names.items():
            if parent == folder and touched > seq:
                known.learn(name, None)
        self._folders[folder] = known
        self._folders.move_to_end(folder)
        self._trim()

    # ── changes ──

    def begin(self, seq: Seq) -> None:
        """Nothing is known, and what is learnt from now on is true at ``seq`` or later."""
        self.forget_everything()
        self._forget_touches(seq)
        self.applied = seq

    def apply(self, notices: Notices, mine: OriginId) -> Outdated:
        """Drop what these changes outdated, and tell what else has to go. Changes applied before are passed over.

        ``mine`` is what this mount's session is known by: nothing but attributes and names is outdated by its changes,
        since its open files have the content.
        """
        if notices.reset:
            self.begin(notices.seq)
            return Outdated(everything=True, names=True)
        attributes: set[NodeId] = set()
        contents: set[NodeId] = set()
        names = False
        for notice in notices.notices:
            if notice.seq <= self.applied:
                continue
            self._drop(notice)
            attributes.update(touched.node for touched in notice.nodes)
            names = names or bool(notice.entries)
            if notice.origin != mine:
                contents.update(touched.node for touched in notice.nodes if touched.content)
        self.applied = max(self.applied, notices.seq)
        if self._ahead:
            self._ahead = {name: seq for name, seq in self._ahead.items() if seq > self.applied}
        if len(self._touched_nodes) + len(self._touched_names) > TOUCHES_MAX:
            self._forget_touches(self.applied)
        return Outdated(frozenset(attributes), frozenset(contents), names or bool(contents))

    def _drop(self, notice: Notice) -> None:
        for touched in notice.nodes:
            row = self._nodes.get(touched.node)
            if row is not None and row[0] < notice.seq:
                del self._nodes[touched.node]
            self._touched_nodes[touched.node] = notice.seq
        for entry in notice.entries:
            known = self._folders.get(entry.parent)
            if known is not None and self._ahead.get((entry.parent, entry.name), Seq(0)) < notice.seq:
                known.learn(entry.name, None)
            self._touched_names[entry.parent, entry.name] = notice.seq

    def forget_everything(self) -> None:
        """The feed was interrupted for longer than what is kept may be trusted."""
        self._nodes.clear()
        self._folders.clear()
        self._ahead.clear()
        self._removed.clear()
        self._absent.clear()

    def drop(self, nodes: Iterable[NodeId], names: Iterable[tuple[NodeId, bytes]]) -> None:
        """Forget rows that were local."""
        for node in nodes:
            self._nodes.pop(node, None)
        for folder, name in names:
            if (known := self._folders.get(folder)) is not None:
                known.learn(name, None)

    # ── from one mount to the next ──

    def snapshot(self) -> Snapshot:
        """All that is known. What was outdated and not learnt again isn't in it."""
        return Snapshot(
            self.applied,
            [row for _, row in self._nodes.values()],
            [
                FolderSnapshot(
                    folder,
                    known.complete and not known.unknown,
                    {
                        name: meaning if isinstance(meaning, int) else 0
                        for name, meaning in known.names.items()
                        if meaning
                    },
                )
                for folder, known in self._folders.items()
            ],
            self.usage,
        )

    def restore(self, snapshot: Snapshot) -> None:
        """What an earlier mount knew; changes since are applied next."""
        self.begin(snapshot.applied)
        self.usage = snapshot.usage
        for row in snapshot.nodes:
            self.keep_node(row, snapshot.applied)
        for one in snapshot.folders:
            names: dict[bytes, Known] = {name: NodeId(node) if node else ABSENT for name, node in one.names.items()}
            self._folders[one.folder] = _Folder(names, one.complete)
            for name, node in one.names.items():
                if not node:
                    self._note_absent(one.folder, name)

    # ── inside ──

    def _outdated(self, touched: Seq | None, seq: Seq) -> bool:
        return seq < self._floor or (touched is not None and touched > seq)

    def _forget_touches(self, floor: Seq) -> None:
        self._touched_nodes.clear()
        self._touched_names.clear()
        self._floor = floor

    def _folder(self, folder: NodeId) -> _Folder:
        known = self._folders.get(folder)
        if known is None:
            known = self._folders[folder] = _Folder()
        return known

    def _note_removed(self, node: NodeId) -> None:
        self._removed[node] = None
        self._removed.move_to_end(node)
        while len(self._removed) > REMOVED_MAX:
            longest, _ = self._removed.popitem(last=False)
            row = self._nodes.get(longest)
            if row is None or row[1].nlink == 0:
                self._nodes.pop(longest, None)
                self._folders.pop(longest, None)

    def _note_absent(self, folder: NodeId, name: bytes) -> None:
        self._absent[folder, name] = None
        self._absent.move_to_end((folder, name))
        while len(self._absent) > ABSENT_MAX:
            (parent, first), _ = self._absent.popitem(last=False)
            known = self._folders.get(parent)
            if known is not None and known.names.get(first) is ABSENT:
                del known.names[first]  # Still absent where the listing is complete; elsewhere asked for again.

    def _trim(self) -> None:
        while len(self._nodes) > self._nodes_max and len(self._folders) > 1:
            _, known = self._folders.popitem(last=False)
            for node in _nodes_of(known.names.values()):
                self._nodes.pop(node, None)

    def check(self) -> None:
        """Assert the invariants; for tests."""
        for node, (seq, row) in self._nodes.items():
            assert row.id == node
            assert self._touched_nodes.get(node, Seq(0)) <= seq
        for folder, known in self._folders.items():
            assert known.unknown == sum(meaning is None for meaning in known.names.values())
            assert known.complete or known.unknown == 0, folder
        assert self._floor <= self.applied


def _nodes_of(meanings: Iterable[Known]) -> list[NodeId]:
    return [meaning for meaning in meanings if isinstance(meaning, int)]
