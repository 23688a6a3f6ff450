from __future__ import annotations

import pytest

from protocol.ids import ROOT_NODE, NodeId
from protocol.messages.changes import SetAttributes
from protocol.messages.nodes import Kind
from server.metadata import tree
from server.metadata.tree import ListingChanged, NoSuchNode
from tests.server.metadata.world import SPACE, World, rmdir

NAMES = sorted(b"%d" % number for number in range(25))


def test_pages_of_a_folder_are_its_entries_in_order_of_bytes(world: World) -> None:
    world.laptop.send(*(world.creation(name) for name in reversed(NAMES)))
    found: list[bytes] = []
    after, more = b"", True
    while more:
        page = tree.listing(world.tx, SPACE, ROOT_NODE, after, limit=10)
        found += [entry.name for entry in page.entries]
        after, more = found[-1], page.more
    assert found == NAMES


def test_entries_carry_their_nodes(world: World) -> None:
    node = world.laptop.create(b"a")
    world.laptop.write(node, b"hello")
    page = tree.listing(world.tx, SPACE, ROOT_NODE, b"")
    assert [entry.node for entry in page.entries] == [world.node(node)]
    assert page.entries[0].node.manifest is not None
    assert not page.more


def test_a_page_of_another_generation_is_refused(world: World) -> None:
    world.laptop.send(*(world.creation(name) for name in NAMES))
    page = tree.listing(world.tx, SPACE, ROOT_NODE, b"", limit=10)
    tree.listing(world.tx, SPACE, ROOT_NODE, NAMES[9], 10, page.generation)
    world.desk.create(b"new")
    with pytest.raises(ListingChanged):
        tree.listing(world.tx, SPACE, ROOT_NODE, NAMES[9], 10, page.generation)


def test_changes_elsewhere_leave_a_folders_generation(world: World) -> None:
    folder = world.laptop.create(b"d", Kind.FOLDER)
    before = tree.listing(world.tx, SPACE, ROOT_NODE, b"").generation
    node = world.laptop.create(b"inside", parent=folder)
    world.laptop.write(node, b"x")
    world.laptop.do(SetAttributes(1, folder, mode=0o700))
    assert tree.listing(world.tx, SPACE, ROOT_NODE, b"").generation == before


def test_an_absent_name_is_none_and_an_absent_folder_an_error(world: World) -> None:
    file, folder = world.laptop.create(b"f"), world.laptop.create(b"d", Kind.FOLDER)
    assert tree.lookup(world.tx, SPACE, ROOT_NODE, b"x") is None
    assert tree.lookup(world.tx, SPACE, ROOT_NODE, b"f") == world.node(file)
    world.laptop.do(rmdir(b"d", folder))
    for parent in (file, folder, NodeId(999)):
        with pytest.raises(NoSuchNode):
            tree.lookup(world.tx, SPACE, parent, b"x")
        with pytest.raises(NoSuchNode):
            tree.listing(world.tx, SPACE, parent, b"")


def test_a_listing_with_attributes_is_answered_from_keys_alone(world: World) -> None:
    plan = world.tx.all(
        "EXPLAIN QUERY PLAN SELECT n.id, e.name, v.manifest FROM entries e"
        " JOIN nodes n ON n.workspace = e.workspace AND n.id = e.node"
        " LEFT JOIN versions v ON v.workspace = n.workspace AND v.node = n.id AND v.number = n.version"
        " WHERE e.workspace = ? AND e.parent = ? AND e.name > ? ORDER BY e.name LIMIT ?",
        (SPACE, ROOT_NODE, b"", 10),
    )
    steps = [row[3] for row in plan]
    assert all(step.startswith("SEARCH") for step in steps), steps


def test_usage_without_a_quota_is_what_the_disk_has(world: World) -> None:
    world.laptop.write(world.laptop.create(b"a"), b"12345")
    usage = tree.usage(world.tx, SPACE, free_on_disk_bytes=100)
    assert (usage.total_bytes, usage.free_bytes) == (105, 100)


def test_another_workspace_has_nothing_of_this_one(world: World) -> None:
    node = world.laptop.create(b"a")
    other = type(SPACE)("cd" * 16)
    assert tree.node(world.tx, other, node) is None
    with pytest.raises(NoSuchNode):
        tree.lookup(world.tx, other, ROOT_NODE, b"a")
