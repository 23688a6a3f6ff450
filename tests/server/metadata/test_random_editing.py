"""What is done without a mount, in any order and between a mount's changes, leaves a tree that is one."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar
from urllib.parse import unquote_to_bytes

import pytest

from protocol.ids import NodeId, VersionNumber
from protocol.messages.nodes import Kind
from server.metadata import copying, feed, happenings, history, items, naming, removing, search, trash, tree
from server.metadata.editing import Rule
from server.metadata.search import Key
from server.metadata.tree import NoSuchNode
from server.metadata.unmounted import Editing
from tests.server.metadata.test_random_changes import Chaos
from tests.server.metadata.world import SPACE, World

T = TypeVar("T")
NAMES = [b"a", b"b", b"c", b"d.txt"]
ROUNDS = 100


class Script(Chaos):
    """Somebody without a mount, who does what is right often enough."""

    def act(self) -> None:
        """One request's transactions; what a rule refuses is undone."""
        draw, edit = self.random, Editing(self.world.tx, SPACE, self.world.desk.caller, self.world.now_ns)
        names, others = self.there(), self.new()
        number = VersionNumber(draw.randint(1, 3))
        replace = draw.random() < 0.3
        match draw.randrange(8):
            case 0 | 1:
                self.attempt(lambda: naming.make_folder(edit, others, parents=draw.random() < 0.5))
            case 2:
                self.attempt(lambda: naming.remove_file(edit, names))
            case 3:
                doomed = self.attempt(lambda: [removing.doom(edit, names)])
                while doomed:
                    doomed = self.attempt(lambda left=doomed: removing.remove_some(edit, left, 2))
            case 4:
                self.attempt(lambda: naming.move(edit, names, others, replace=replace, replaces=None))
            case 5:
                ahead = self.attempt(lambda: copying.copy(edit, names, others, replace=replace, version=None))
                while ahead:
                    ahead = self.attempt(lambda left=ahead: copying.copy_some(edit, left, 3))
            case 6:
                self.attempt(lambda: history.restore(edit, names, number))
            case _:
                removed = trash.trash(self.world.tx, SPACE, None, 10).items
                if removed:
                    node = NodeId(int(draw.choice(removed).node))
                    emptied = self.attempt(lambda: trash.bring_back(edit, node))
                    while emptied:
                        emptied = self.attempt(lambda left=emptied: trash.fill_some(edit, left, 2))

    def attempt(self, work: Callable[[], T]) -> T | None:
        try:
            return self.world.tx.attempt(work)
        except (Rule, NoSuchNode):
            return None
        finally:
            self.world.check()

    def there(self) -> list[bytes]:
        """The names to something, mostly."""
        rows = self.world.tx.all("SELECT node FROM entries ORDER BY node")
        if not rows or self.random.random() < 0.1:
            return [self.random.choice(NAMES) for _ in range(self.random.randint(0, 3))]
        return items.last_path(self.world.tx, SPACE, self.random.choice(rows)[0])

    def new(self) -> list[bytes]:
        """The names to something that may be there, in a folder that mostly is."""
        return [*(self.there() if self.random.random() < 0.7 else []), self.random.choice(NAMES)]


def look(world: World) -> None:
    """Whatever can be read is read."""
    for item in trash.trash(world.tx, SPACE, None, 100).items:
        assert item.path
    happenings.happenings(world.tx, SPACE, None, 5)
    found, _ = search.found(world.tx, SPACE, "a", Key(NodeId(0), b""), 100)
    for item in found:
        assert items.item_at(world.tx, SPACE, [unquote_to_bytes(part) for part in item.path.split("/")]) == item


@pytest.mark.parametrize("seed", range(8))
def test_random_requests_keep_the_invariants(world: World, seed: int) -> None:
    script = Script(world, seed)
    for _ in range(ROUNDS):
        world.laptop.send(script.change(), script.change())
        script.act()
        look(world)


@pytest.mark.parametrize("seed", range(4))
def test_notices_name_whatever_changed(world: World, seed: int) -> None:
    script = Script(world, 1000 + seed)
    nodes: dict[NodeId, object] = {}
    names: dict[tuple[NodeId, bytes], NodeId | None] = {}
    for _ in range(ROUNDS):
        before = world.head()
        world.laptop.send(script.change())
        script.act()
        for notice in feed.notices(world.tx, SPACE, before).notices:
            for touched in notice.nodes:
                nodes.pop(touched.node, None)
            for entry in notice.entries:
                names.pop((entry.parent, entry.name), None)
        for node, row in nodes.items():
            assert tree.node(world.tx, SPACE, node) == row
        for (parent, name), found in names.items():
            assert not script.is_folder(parent) or world.named(name, parent) == found
        for (identity,) in world.tx.all("SELECT id FROM nodes"):
            nodes[identity] = world.node(identity)
            if world.node(identity).kind is Kind.FOLDER and script.is_folder(identity):
                for name in NAMES:
                    names[identity, name] = world.named(name, identity)
