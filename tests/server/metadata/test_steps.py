"""What happens between the steps in which large things are done without a mount."""

from __future__ import annotations

import pytest

from protocol.ids import NodeId
from protocol.messages.nodes import Kind
from server.metadata import copying, removing, trash
from server.metadata.editing import Rule
from server.metadata.unmounted import Editing
from tests.server.metadata.world import SPACE, World, rename, rmdir, unlink


@pytest.fixture
def edit(world: World) -> Editing:
    return Editing(world.tx, SPACE, world.desk.caller, world.now_ns)


@pytest.fixture
def folder(world: World) -> NodeId:
    """A folder "a" with three files."""
    made = world.laptop.create(b"a", Kind.FOLDER)
    for name in (b"1", b"2", b"3"):
        world.laptop.write(world.laptop.create(name, parent=made), name)
    return made


def test_a_folder_that_was_moved_is_not_removed_further(world: World, edit: Editing, folder: NodeId) -> None:
    left = removing.remove_some(edit, [removing.doom(edit, [b"a"])], 1)
    world.laptop.do(rename(folder, b"a", b"b"))
    with pytest.raises(Rule):
        removing.remove_some(edit, left)
    assert world.names(folder) == [b"2", b"3"]


def test_what_came_into_a_folder_meanwhile_is_removed_with_it(world: World, edit: Editing, folder: NodeId) -> None:
    left = removing.remove_some(edit, [removing.doom(edit, [b"a"])], 1)
    world.laptop.create(b"0", parent=folder)
    assert removing.remove_some(edit, left) == []
    assert world.names() == []


def test_of_a_folder_that_was_removed_meanwhile_nothing_more_is_copied(
    world: World, edit: Editing, folder: NodeId
) -> None:
    left = copying.copy_some(edit, copying.copy(edit, [b"a"], [b"z"], replace=False, version=None), 1)
    for name in (b"1", b"2", b"3"):
        world.laptop.do(unlink(name, world.named(name, folder) or NodeId(0), folder))
    world.laptop.do(rmdir(b"a", folder))
    assert copying.copy_some(edit, left) == []
    copy = world.named(b"z")
    assert copy is not None
    assert world.names(copy) == [b"1"]


def test_a_copy_that_was_removed_meanwhile_ends(world: World, edit: Editing, folder: NodeId) -> None:
    left = copying.copy(edit, [b"a"], [b"z"], replace=False, version=None)
    copy = world.named(b"z")
    assert copy is not None
    world.laptop.do(rmdir(b"z", copy))
    with pytest.raises(Rule):
        copying.copy_some(edit, left)


def test_a_copy_that_was_moved_into_its_source_ends(world: World, edit: Editing, folder: NodeId) -> None:
    left = copying.copy(edit, [b"a"], [b"z"], replace=False, version=None)
    copy = world.named(b"z")
    assert copy is not None
    world.laptop.do(rename(copy, b"z", b"z", new_parent=folder))
    with pytest.raises(Rule):
        copying.copy_some(edit, left)


def test_a_folder_that_was_removed_again_is_not_filled_further(world: World, edit: Editing, folder: NodeId) -> None:
    removing.remove_some(edit, [removing.doom(edit, [b"a"])])
    left = trash.fill_some(edit, trash.bring_back(edit, folder), 1)
    [name] = world.names(folder)
    world.laptop.do(unlink(name, world.named(name, folder) or NodeId(0), folder))
    world.laptop.do(rmdir(b"a", folder))
    assert trash.fill_some(edit, left) == []
    world.check()
