"""Two devices that are away make any changes to one tree; whoever sends first, no bytes are lost."""

from __future__ import annotations

import random

import pytest
from msgspec.structs import replace

from protocol import manifest as manifests
from protocol.ids import ROOT_NODE, NodeId
from protocol.messages.batches import Applied
from protocol.messages.changes import AnyChange, Commit, Create, Link, OnClash, Rename, RenameMode, Replaced
from protocol.messages.nodes import Kind
from server.metadata import tree
from tests.server.metadata.replay import replay
from tests.server.metadata.world import SPACE, Device, World, commit, link, rename, rmdir, unlink

NAMES = [b"a", b"b", b"c.txt", b"d"]
BEFORE, AWAY = 20, 20


class Person:
    """Works alone at one device, on what that device sees."""

    def __init__(self, name: bytes, world: World, device: Device, draw: random.Random) -> None:
        self.name = name
        self.world = world
        self.device = device
        self.random = draw
        self.journal: list[AnyChange] = []
        self._contents = 0

    def work(self, changes: int) -> None:
        """Make so many changes that the device itself takes, as it would be asked by its kernel."""
        while len(self.journal) < changes:
            for change in self._wish():
                [answer] = self.device.send(change).answers
                if not isinstance(answer, Applied):
                    break
                self.journal.append(_keeping(change))

    def _wish(self) -> list[AnyChange]:
        draw = self.random
        entries = entries_of(self.world)
        folders = [ROOT_NODE, *(node for _, _, node in entries if self._kind(node) is Kind.FOLDER)]
        new_parent, new_name = draw.choice(folders), draw.choice(NAMES)
        if not entries or draw.random() < 0.3:
            kind = draw.choice([Kind.FILE, Kind.FILE, Kind.FOLDER, Kind.SYMLINK])
            made = self.world.creation(new_name, kind, new_parent)
            return [made, commit(made.node, self._text())] if kind is Kind.FILE else [made]
        parent, name, node = draw.choice(entries)
        row = self.world.node(node)
        match draw.randrange(10):
            case 0 | 1 | 2 if row.kind is Kind.FOLDER:
                return [rmdir(name, node, parent)]
            case 0 | 1 | 2:
                return [unlink(name, node, parent, row.version, row.nlink - 1)]
            case 3 | 4 | 5 if row.kind is Kind.FILE:
                return [commit(node, self._text(), row.version)]
            case 6:
                return [link(node, new_name, new_parent)]
            case _:
                return [self._rename((parent, name), node, (new_parent, new_name))]

    def _rename(self, source: tuple[NodeId, bytes], node: NodeId, target: tuple[NodeId, bytes]) -> Rename:
        mode = self.random.choice(list(RenameMode))
        change = rename(node, source[1], target[1], parent=source[0], new_parent=target[0], mode=mode)
        if (over := self.world.named(target[1], target[0])) is None:
            return change
        row = self.world.node(over)
        return replace(change, replaced=Replaced(over, row.version, row.nlink - 1))

    def _kind(self, node: NodeId) -> Kind:
        return self.world.node(node).kind

    def _text(self) -> bytes:
        self._contents += 1
        return b"%d by %s" % (self._contents, self.name)


def _keeping(change: AnyChange) -> AnyChange:
    """As it stands in a journal: made where the name was free, it may be taken when it is sent."""
    if isinstance(change, Create):
        return replace(change, on_clash=OnClash.MERGE if change.kind is Kind.FOLDER else OnClash.KEEP_BOTH)
    return replace(change, on_clash=OnClash.KEEP_BOTH) if isinstance(change, Link) else change


def entries_of(world: World) -> list[tuple[NodeId, bytes, NodeId]]:
    rows = world.tx.all("SELECT parent, name, node FROM entries WHERE workspace = ? ORDER BY parent, name", (SPACE,))
    return [(NodeId(parent), name, NodeId(node)) for parent, name, node in rows]


def shown(world: World) -> set[bytes]:
    """The contents that somebody who walks through the tree finds."""
    found = set()
    for _, _, node in entries_of(world):
        row = tree.node(world.tx, SPACE, node)
        assert row is not None
        if row.kind is Kind.FILE and row.manifest is not None:
            found.add(b"".join(piece.block[: piece.length] for piece in manifests.decode(row.manifest).pieces))
    return found


def written(journal: list[AnyChange]) -> set[bytes]:
    """The contents that a journal's commits carry."""
    return {block.sealed for change in journal if isinstance(change, Commit) for block in change.blocks}


@pytest.mark.parametrize("seed", range(60))
def test_two_journals_lose_no_bytes_that_their_devices_kept(world: World, seed: int) -> None:
    draw = random.Random(seed)
    Person(b"both", world, world.laptop, draw).work(BEFORE)
    before = shown(world)
    one = Person(b"one", *world.fork(world.laptop), draw)
    two = Person(b"two", *world.fork(world.desk), draw)
    for person in (one, two):
        person.work(AWAY)
    replay(world.laptop, one.journal, draw.choice([1, 3, 100]))
    assert shown(world) == shown(one.world), "nobody was in the first one's way"
    replay(world.desk, two.journal, draw.choice([1, 3, 100]))
    kept_by_one, kept_by_two = shown(one.world), shown(two.world)
    assert kept_by_one & written(one.journal) <= shown(world)
    assert kept_by_two & written(two.journal) <= shown(world)
    assert before & kept_by_one & kept_by_two <= shown(world)
    for person in (one, two):
        person.world.connection.close()
