"""Any changes in any order leave a tree that is one."""

from __future__ import annotations

import random

import pytest

from protocol.ids import ROOT_NODE, NodeId
from protocol.messages.batches import Applied, Batch
from protocol.messages.changes import AnyChange, RenameMode, SetAttributes
from protocol.messages.nodes import Kind
from server.metadata import feed, tree
from tests.server.metadata.world import SPACE, Device, World, clashing, commit, link, rename, rmdir, unlink

NAMES = [b"a", b"b", b"c", b"d.txt"]
BATCHES = 120


class Chaos:
    """Draws changes that are right often enough to build something, and wrong often enough to be refused."""

    def __init__(self, world: World, seed: int) -> None:
        self.world = world
        self.random = random.Random(seed)
        self.nodes: list[NodeId] = [ROOT_NODE]
        self.folders: list[NodeId] = [ROOT_NODE]

    def change(self) -> AnyChange:
        draw = self.random
        parent, name = draw.choice(self.folders), draw.choice(NAMES)
        node = self.world.named(name, parent) if self.is_folder(parent) and draw.random() < 0.9 else None
        node = node or draw.choice(self.nodes)
        match draw.randrange(9):
            case 0 | 1 | 2:
                kind = draw.choice([Kind.FILE, Kind.FOLDER, Kind.FOLDER, Kind.SYMLINK])
                made = self.world.creation(name, kind, parent)
                self.nodes.append(made.node)
                if kind is Kind.FOLDER:
                    self.folders.append(made.node)
                return clashing(made) if kind is Kind.FILE and draw.random() < 0.3 else made
            case 3:
                row = tree.node(self.world.tx, SPACE, node)
                base = (row.version if row else 0) - draw.choice([0, 0, 1])
                return commit(node, b"content %d" % draw.randrange(5), base)
            case 4:
                return link(draw.choice(self.nodes), name, parent)
            case 5:
                return unlink(name, node, parent)
            case 6:
                return rmdir(name, node, parent)
            case 7:
                return SetAttributes(self.world.now_ns, node, mode=draw.randrange(0o10000))
            case _:
                target, mode = draw.choice(self.folders), draw.choice(list(RenameMode))
                seen = self.world.named(name, target) if self.is_folder(target) and draw.random() < 0.5 else None
                replaced = (seen, self.world.node(seen).version) if seen else None
                new_name = draw.choice(NAMES)
                return rename(node, name, new_name, parent=parent, new_parent=target, mode=mode, replaced=replaced)

    def is_folder(self, node: NodeId) -> bool:
        row = tree.node(self.world.tx, SPACE, node)
        return row is not None and row.kind is Kind.FOLDER and row.nlink > 0


@pytest.mark.parametrize("seed", range(12))
def test_random_changes_keep_the_invariants(world: World, seed: int) -> None:
    chaos = Chaos(world, seed)
    contents: set[bytes] = set()
    for _ in range(BATCHES):
        device: Device = chaos.random.choice([world.laptop, world.desk])
        changes = [chaos.change() for _ in range(chaos.random.randint(1, 4))]
        before = world.head()
        batch = Batch(device.journal, device.last_number + 1, list(changes))
        reply = device.send(*changes)
        world.check()
        done = [answer for answer in reply.answers if isinstance(answer, Applied)]
        assert len({answer.seq for answer in done if answer.seq > before}) == world.head() - before
        for answer in done:
            assert all(row == world.node(row.id) for row in answer.nodes)
        contents |= {
            change.manifest
            for change, answer in zip(changes, reply.answers, strict=True)
            if change.__struct_config__.tag == "commit" and isinstance(answer, Applied)
        }
        if chaos.random.random() < 0.2:
            assert world.apply(device, batch).answers == reply.answers
            world.check()
    kept = {row[0] for row in world.tx.all("SELECT manifest FROM versions")}
    assert contents <= kept, "content of a commit that was applied is in no version"


@pytest.mark.parametrize("seed", range(4))
def test_a_mirror_that_follows_the_notices_alone_stays_right(world: World, seed: int) -> None:
    """What notices don't name has not changed: a cache that drops exactly what they name is never wrong."""
    chaos = Chaos(world, 1000 + seed)
    nodes: dict[NodeId, object] = {}
    names: dict[tuple[NodeId, bytes], NodeId | None] = {}
    for _ in range(BATCHES):
        before = world.head()
        world.laptop.send(chaos.change(), chaos.change())
        for notice in feed.notices(world.tx, SPACE, before).notices:
            for touched in notice.nodes:
                nodes.pop(touched.node, None)
            for entry in notice.entries:
                names.pop((entry.parent, entry.name), None)
        for node, row in nodes.items():
            assert tree.node(world.tx, SPACE, node) == row
        for (parent, name), found in names.items():
            assert not chaos.is_folder(parent) or world.named(name, parent) == found
        for node in chaos.nodes:
            if (row := tree.node(world.tx, SPACE, node)) is not None:
                nodes[node] = row
        for parent in filter(chaos.is_folder, chaos.folders):
            for name in NAMES:
                names[parent, name] = world.named(name, parent)
