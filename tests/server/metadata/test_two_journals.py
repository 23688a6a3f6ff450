"""Two devices that were away change the same tree; each sends its journal when it is back, one after the other.

A test that says "first" is of the journal that arrives first. The rows of docs/conflicts.md name these tests.
"""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from protocol import manifest as manifests
from protocol.ids import ROOT_NODE, NodeId
from protocol.messages.batches import AnyAnswer, Applied, Conflict
from protocol.messages.changes import AnyChange, Create, OnClash, RenameMode
from protocol.messages.nodes import Kind
from tests.server.metadata.replay import replay
from tests.server.metadata.world import World, clashing, commit, errnos, link, rename, rmdir, unlink

MARK = b" (conflict from %s 2026-01-02 03.04.05)"
BY_LAPTOP, BY_DESK = MARK % b"laptop", MARK % b"desk"


def content(world: World, node: NodeId | None) -> bytes:
    """The head version's bytes."""
    assert node is not None
    manifest = world.node(node).manifest
    assert manifest is not None, "nothing uploaded"
    return b"".join(piece.block[: piece.length] for piece in manifests.decode(manifest).pieces)


def tree_of(world: World, folder: NodeId = ROOT_NODE, above: bytes = b"") -> dict[bytes, bytes]:
    """Path and content of every file; of a folder with a slash and nothing."""
    found: dict[bytes, bytes] = {}
    for name in world.names(folder):
        node = world.named(name, folder)
        assert node is not None
        if world.node(node).kind is Kind.FOLDER:
            found[above + name + b"/"] = b""
            found |= tree_of(world, node, above + name + b"/")
        else:
            found[above + name] = content(world, node)
    return found


def merging(change: Create) -> Create:
    return replace(change, on_clash=OnClash.MERGE)


def conflicts(answers: list[AnyAnswer]) -> list[Conflict]:
    return [answer.conflict for answer in answers if isinstance(answer, Applied) and answer.conflict is not None]


@pytest.fixture
def file(world: World) -> NodeId:
    """ "f" of version 1, with the content "base", which both devices have seen."""
    node = world.laptop.create(b"f")
    world.laptop.write(node, b"base")
    return node


@pytest.fixture
def folder(world: World) -> NodeId:
    """An empty folder "d", which both devices have seen."""
    return world.laptop.create(b"d", Kind.FOLDER)


# ── content ──


def test_edit_against_edit_keeps_the_second_beside(world: World, file: NodeId) -> None:
    replay(world.laptop, [commit(file, b"first", 1)])
    [conflict] = conflicts(replay(world.desk, [commit(file, b"second", 1)]))
    assert tree_of(world) == {b"f": b"first", b"f" + BY_DESK: b"second"}
    assert world.node(conflict.node).conflict_of == file


@pytest.mark.parametrize("batch_size", [1, 100])
def test_edits_after_a_lost_one_go_to_the_same_copy(world: World, file: NodeId, batch_size: int) -> None:
    """The second edit expects version 2 to be its own, while version 2 is the other's."""
    replay(world.laptop, [commit(file, b"first", 1)])
    replay(world.desk, [commit(file, b"a", 1), commit(file, b"b", 2), commit(file, b"c", 3)], batch_size)
    assert tree_of(world) == {b"f": b"first", b"f" + BY_DESK: b"c"}


@pytest.mark.parametrize("batch_size", [1, 100])
def test_a_removal_after_a_lost_edit_removes_nothing(world: World, file: NodeId, batch_size: int) -> None:
    replay(world.laptop, [commit(file, b"first", 1)])
    replay(world.desk, [commit(file, b"a", 1), commit(file, b"b", 2), unlink(b"f", file, version=3)], batch_size)
    assert tree_of(world) == {b"f": b"first", b"f" + BY_DESK: b"b"}


@pytest.mark.parametrize("batch_size", [1, 100])
def test_a_replace_after_a_lost_edit_keeps_the_first_edit_beside(world: World, file: NodeId, batch_size: int) -> None:
    replay(world.laptop, [commit(file, b"first", 1)])
    made = world.creation(b"new")
    over = rename(made.node, b"new", b"f", replaced=(file, 2))
    replay(world.desk, [commit(file, b"a", 1), made, commit(made.node, b"new"), over], batch_size)
    assert tree_of(world) == {b"f": b"new", b"f" + BY_LAPTOP: b"first", b"f" + BY_DESK: b"a"}


def test_edit_first_against_delete_keeps_the_edit(world: World, file: NodeId) -> None:
    replay(world.laptop, [commit(file, b"edit", 1)])
    assert errnos(replay(world.desk, [unlink(b"f", file, version=1)])) == ["ESTALE"]
    assert tree_of(world) == {b"f": b"edit"}


def test_delete_first_against_edit_brings_the_file_back(world: World, file: NodeId) -> None:
    replay(world.laptop, [unlink(b"f", file, version=1)])
    assert conflicts(replay(world.desk, [commit(file, b"edit", 1)])) == []
    assert tree_of(world) == {b"f": b"edit"}


def test_delete_against_delete_deletes(world: World, file: NodeId) -> None:
    replay(world.laptop, [unlink(b"f", file, version=1)])
    assert errnos(replay(world.desk, [unlink(b"f", file, version=1)])) == ["ENOENT"]
    assert tree_of(world) == {}


# ── folders that were removed ──


def test_edit_of_a_file_whose_folder_was_deleted_brings_both_back(world: World, folder: NodeId) -> None:
    inner = world.laptop.create(b"e", Kind.FOLDER, parent=folder)
    node = world.laptop.create(b"f", parent=inner)
    world.laptop.write(node, b"base")
    gone = [unlink(b"f", node, inner, version=1), rmdir(b"e", inner, folder), rmdir(b"d", folder)]
    replay(world.laptop, gone)
    replay(world.desk, [commit(node, b"edit", 1)])
    assert tree_of(world) == {b"d/": b"", b"d/e/": b"", b"d/e/f": b"edit"}


def test_a_folder_whose_file_was_edited_stays_with_that_file(world: World, folder: NodeId) -> None:
    node, other = world.laptop.create(b"f", parent=folder), world.laptop.create(b"o", parent=folder)
    world.laptop.write(node, b"base")
    world.laptop.write(other, b"other")
    replay(world.desk, [commit(node, b"edit", 1)])
    gone = [unlink(b"f", node, folder, version=1), unlink(b"o", other, folder, version=1), rmdir(b"d", folder)]
    assert errnos(replay(world.laptop, gone)) == ["ESTALE", "", "ENOTEMPTY"]
    assert tree_of(world) == {b"d/": b"", b"d/f": b"edit"}


def test_a_new_file_brings_its_folder_back(world: World, folder: NodeId) -> None:
    replay(world.laptop, [rmdir(b"d", folder)])
    made = clashing(world.creation(b"f", parent=folder))
    assert conflicts(replay(world.desk, [made, commit(made.node, b"new")])) == []
    assert tree_of(world) == {b"d/": b"", b"d/f": b"new"}


def test_a_folder_with_a_new_file_is_not_removed(world: World, folder: NodeId) -> None:
    made = clashing(world.creation(b"f", parent=folder))
    replay(world.desk, [made, commit(made.node, b"new")])
    assert errnos(replay(world.laptop, [rmdir(b"d", folder)])) == ["ENOTEMPTY"]
    assert tree_of(world) == {b"d/": b"", b"d/f": b"new"}


@pytest.mark.parametrize("batch_size", [1, 100])
def test_a_new_file_goes_to_the_folder_that_has_the_removed_ones_name(
    world: World, folder: NodeId, batch_size: int
) -> None:
    again = world.creation(b"d", Kind.FOLDER)
    replay(world.laptop, [rmdir(b"d", folder), again])
    made = clashing(world.creation(b"tmp", parent=folder))
    save = rename(made.node, b"tmp", b"f", parent=folder, new_parent=folder)
    answers = replay(world.desk, [made, commit(made.node, b"new"), save], batch_size)
    assert errnos(answers) == ["", "", ""]
    assert tree_of(world) == {b"d/": b"", b"d/f": b"new"}
    assert world.named(b"d") == again.node


def test_a_folder_comes_back_beside_a_file_that_has_its_name(world: World, folder: NodeId) -> None:
    other = world.creation(b"d")
    replay(world.laptop, [rmdir(b"d", folder), other, commit(other.node, b"file")])
    made = clashing(world.creation(b"f", parent=folder))
    replay(world.desk, [made, commit(made.node, b"new")])
    there = b"d" + BY_DESK
    assert tree_of(world) == {b"d": b"file", there + b"/": b"", there + b"/f": b"new"}
    assert world.node(folder).conflict_of == other.node


def test_a_lost_edit_of_a_file_whose_folder_was_deleted_is_kept_in_it(world: World, folder: NodeId) -> None:
    node = world.laptop.create(b"f", parent=folder)
    world.laptop.write(node, b"base")
    replay(world.laptop, [commit(node, b"x", 1), unlink(b"f", node, folder, version=2), rmdir(b"d", folder)])
    replay(world.desk, [commit(node, b"edit", 1)])
    assert tree_of(world) == {b"d/": b"", b"d/f" + BY_DESK: b"edit"}


def test_a_second_name_brings_its_folder_back(world: World, file: NodeId, folder: NodeId) -> None:
    """Else the removal of the first name, which follows, would take the file away."""
    replay(world.laptop, [rmdir(b"d", folder)])
    replay(world.desk, [linking(file, b"g", folder), unlink(b"f", file, version=1)])
    assert tree_of(world) == {b"d/": b"", b"d/g": b"base"}


def test_a_folder_whose_chain_is_broken_comes_back_in_the_root(world: World, folder: NodeId) -> None:
    inner = world.laptop.create(b"e", Kind.FOLDER, parent=folder)
    replay(world.laptop, [rmdir(b"e", inner, folder), rmdir(b"d", folder)])
    world.tx.execute("DELETE FROM nodes WHERE id = ?", (folder,))
    made = clashing(world.creation(b"f", parent=inner))
    replay(world.desk, [made, commit(made.node, b"new")])
    assert tree_of(world) == {b"e/": b"", b"e/f": b"new"}


def test_a_very_deep_removed_folder_comes_back(world: World) -> None:
    made, parent = [], ROOT_NODE
    for depth in range(1500):
        made.append(world.creation(b"%d" % depth, Kind.FOLDER, parent))
        parent = made[-1].node
    world.laptop.send(*made, *(rmdir(one.name, one.node, one.parent) for one in reversed(made)))
    assert tree_of(world) == {}
    file = clashing(world.creation(b"f", parent=parent))
    replay(world.desk, [file, commit(file.node, b"new")])
    assert world.node(ROOT_NODE).nlink == 3
    assert content(world, world.named(b"f", parent)) == b"new"


# ── new names ──


@pytest.mark.parametrize("batch_size", [1, 100])
def test_create_against_create_keeps_both(world: World, batch_size: int) -> None:
    one, two = clashing(world.creation(b"a")), clashing(world.creation(b"a"))
    replay(world.laptop, [one, commit(one.node, b"first")], batch_size)
    replay(world.desk, [two, commit(two.node, b"second")], batch_size)
    assert tree_of(world) == {b"a": b"first", b"a" + BY_DESK: b"second"}
    assert world.node(two.node).conflict_of == one.node


@pytest.mark.parametrize("batch_size", [1, 100])
def test_a_file_that_got_a_conflict_name_is_renamed_and_removed_by_its_old_one(world: World, batch_size: int) -> None:
    one, two = clashing(world.creation(b"a")), clashing(world.creation(b"a"))
    replay(world.laptop, [one, commit(one.node, b"first")])
    moves = [two, commit(two.node, b"second"), rename(two.node, b"a", b"b"), rename(two.node, b"b", b"c")]
    assert errnos(replay(world.desk, moves, batch_size)) == [""] * 4
    assert tree_of(world) == {b"a": b"first", b"c": b"second"}
    three = clashing(world.creation(b"a"))
    replay(world.desk, [three, commit(three.node, b"third"), unlink(b"a", three.node, version=1)], batch_size)
    assert tree_of(world) == {b"a": b"first", b"c": b"second"}


@pytest.mark.parametrize("kind", [Kind.SYMLINK, Kind.FIFO, Kind.FOLDER])
def test_a_new_node_of_any_kind_is_kept_beside_what_has_its_name(world: World, file: NodeId, kind: Kind) -> None:
    made = clashing(world.creation(b"f", kind))
    [conflict] = conflicts(replay(world.desk, [made]))
    assert (conflict.node, conflict.name) == (made.node, b"f" + BY_DESK)
    assert world.node(made.node).conflict_of == file


@pytest.mark.parametrize("batch_size", [1, 100])
def test_mkdir_against_mkdir_is_merged(world: World, batch_size: int) -> None:
    one, two = world.creation(b"d", Kind.FOLDER), world.creation(b"d", Kind.FOLDER)
    inner = [clashing(world.creation(b"a", parent=made.node)) for made in (one, two)]
    below = merging(world.creation(b"e", Kind.FOLDER, parent=two.node))
    replay(world.laptop, [merging(one), inner[0], commit(inner[0].node, b"first")], batch_size)
    head = world.head()
    made = [merging(two), inner[1], commit(inner[1].node, b"second"), below]
    answer, *others = replay(world.desk, made, batch_size)
    assert isinstance(answer, Applied)
    assert (answer.seq, answer.merged, answer.conflict) == (head, one.node, None)
    assert one.node in [row.id for row in answer.nodes]
    assert errnos(others) == [""] * 3
    assert tree_of(world) == {b"d/": b"", b"d/a": b"first", b"d/a" + BY_DESK: b"second", b"d/e/": b""}


@pytest.mark.parametrize("batch_size", [1, 100])
def test_a_merged_folder_is_renamed_and_removed_by_the_id_that_its_mount_chose(world: World, batch_size: int) -> None:
    replay(world.laptop, [world.creation(b"d", Kind.FOLDER)])
    made = merging(world.creation(b"d", Kind.FOLDER))
    moves = [made, rename(made.node, b"d", b"e"), rmdir(b"e", made.node)]
    assert errnos(replay(world.desk, moves, batch_size)) == [""] * 3
    assert tree_of(world) == {}


def test_a_merge_with_nobody_makes_the_folder(world: World) -> None:
    made = merging(world.creation(b"d", Kind.FOLDER))
    [answer] = replay(world.desk, [made])
    assert isinstance(answer, Applied)
    assert (answer.merged, world.named(b"d")) == (None, made.node)


def test_a_folder_is_not_merged_with_a_file(world: World, file: NodeId) -> None:
    made = merging(world.creation(b"f", Kind.FOLDER))
    [conflict] = conflicts(replay(world.desk, [made]))
    assert (conflict.node, conflict.name, world.node(made.node).conflict_of) == (made.node, b"f" + BY_DESK, file)


def test_a_merge_brings_the_folder_above_back(world: World, folder: NodeId) -> None:
    replay(world.laptop, [rmdir(b"d", folder)])
    replay(world.desk, [merging(world.creation(b"e", Kind.FOLDER, parent=folder))])
    assert tree_of(world) == {b"d/": b"", b"d/e/": b""}


def test_only_folders_are_merged(world: World, file: NodeId) -> None:
    assert errnos(replay(world.desk, [merging(world.creation(b"x"))])) == ["EINVAL"]
    odd = replace(link(file, b"x"), on_clash=OnClash.MERGE)
    assert errnos(replay(world.desk, [odd])) == ["EINVAL"]


def linking(node: NodeId, name: bytes, parent: NodeId = ROOT_NODE) -> AnyChange:
    """A hard link that keeps both."""
    return replace(link(node, name, parent), on_clash=OnClash.KEEP_BOTH)


@pytest.mark.parametrize("batch_size", [1, 100])
def test_a_second_name_that_is_taken_gets_a_conflict_name(world: World, file: NodeId, batch_size: int) -> None:
    one = clashing(world.creation(b"g"))
    replay(world.laptop, [one, commit(one.node, b"first")])
    answers = replay(world.desk, [linking(file, b"g")], batch_size)
    assert [conflict.node for conflict in conflicts(answers)] == [file]
    assert tree_of(world) == {b"f": b"base", b"g": b"first", b"g" + BY_DESK: b"base"}
    assert world.node(file).conflict_of is None


def test_a_new_name_brings_a_removed_file_back_under_it(world: World, file: NodeId) -> None:
    replay(world.laptop, [unlink(b"f", file, version=1)])
    assert errnos(replay(world.desk, [linking(file, b"g"), unlink(b"f", file, version=1, others=1)])) == ["", "ENOENT"]
    assert tree_of(world) == {b"g": b"base"}


def test_of_two_names_that_two_remove_one_each_one_stays(world: World, file: NodeId) -> None:
    world.laptop.do(link(file, b"g"))
    replay(world.laptop, [unlink(b"f", file, version=1, others=1)])
    assert errnos(replay(world.desk, [unlink(b"g", file, version=1, others=1)])) == ["ESTALE"]
    assert tree_of(world) == {b"g": b"base"}


def test_the_last_name_of_a_file_that_had_two_is_not_replaced(world: World, file: NodeId) -> None:
    world.laptop.do(link(file, b"g"))
    replay(world.laptop, [unlink(b"g", file, version=1, others=1)])
    made = world.creation(b"new")
    over = rename(made.node, b"new", b"f", replaced=(file, 1), others=1)
    replay(world.desk, [made, commit(made.node, b"new"), over])
    assert tree_of(world) == {b"f": b"new", b"f" + BY_LAPTOP: b"base"}


def test_delete_against_link_takes_the_first_name(world: World, file: NodeId) -> None:
    replay(world.desk, [linking(file, b"g")])
    replay(world.laptop, [unlink(b"f", file, version=1)])
    assert tree_of(world) == {b"g": b"base"}


# ── renames ──


def test_of_two_renames_the_first_wins(world: World, file: NodeId) -> None:
    replay(world.laptop, [rename(file, b"f", b"a")])
    assert errnos(replay(world.desk, [rename(file, b"f", b"b")])) == ["ENOENT"]
    assert tree_of(world) == {b"a": b"base"}


def test_rename_first_against_delete_keeps_the_file(world: World, file: NodeId) -> None:
    replay(world.laptop, [rename(file, b"f", b"a")])
    assert errnos(replay(world.desk, [unlink(b"f", file, version=1)])) == ["ENOENT"]
    assert tree_of(world) == {b"a": b"base"}


def test_delete_first_against_rename_deletes(world: World, file: NodeId) -> None:
    replay(world.laptop, [unlink(b"f", file, version=1)])
    assert errnos(replay(world.desk, [rename(file, b"f", b"a")])) == ["ENOENT"]
    assert tree_of(world) == {}


def test_an_edit_follows_a_rename(world: World, file: NodeId) -> None:
    replay(world.laptop, [rename(file, b"f", b"a")])
    replay(world.desk, [commit(file, b"edit", 1)])
    assert tree_of(world) == {b"a": b"edit"}


def test_a_rename_takes_an_edit_along(world: World, file: NodeId) -> None:
    replay(world.desk, [commit(file, b"edit", 1)])
    replay(world.laptop, [rename(file, b"f", b"a")])
    assert tree_of(world) == {b"a": b"edit"}


def test_a_rename_into_a_removed_folder_leaves_the_file_where_it_is(world: World, file: NodeId, folder: NodeId) -> None:
    replay(world.laptop, [rmdir(b"d", folder)])
    answers = replay(world.desk, [rename(file, b"f", b"f", new_parent=folder), unlink(b"f", file, folder, version=1)])
    assert errnos(answers) == ["ENOENT", "ENOENT"]
    assert tree_of(world) == {b"f": b"base"}


def test_a_folder_that_a_file_was_moved_into_is_not_removed(world: World, file: NodeId, folder: NodeId) -> None:
    replay(world.desk, [rename(file, b"f", b"f", new_parent=folder)])
    assert errnos(replay(world.laptop, [rmdir(b"d", folder)])) == ["ENOTEMPTY"]
    assert tree_of(world) == {b"d/": b"", b"d/f": b"base"}


def saving(world: World, text: bytes, file: NodeId, version: int) -> list[AnyChange]:
    """As editors do: a new file, renamed over the old one, of which the mount saw a version."""
    made = clashing(world.creation(b"f.tmp"))
    return [made, commit(made.node, text), rename(made.node, b"f.tmp", b"f", replaced=(file, version))]


@pytest.mark.parametrize("batch_size", [1, 100])
def test_edit_first_against_replace_keeps_the_edit_beside(world: World, file: NodeId, batch_size: int) -> None:
    replay(world.laptop, [commit(file, b"edit", 1)])
    replay(world.desk, saving(world, b"saved", file, 1), batch_size)
    assert tree_of(world) == {b"f": b"saved", b"f" + BY_LAPTOP: b"edit"}
    assert world.node(file).conflict_of == world.named(b"f")


@pytest.mark.parametrize("batch_size", [1, 100])
def test_replace_first_against_edit_keeps_the_edit_beside(world: World, file: NodeId, batch_size: int) -> None:
    replay(world.laptop, saving(world, b"saved", file, 1), batch_size)
    [conflict] = conflicts(replay(world.desk, [commit(file, b"edit", 1)]))
    assert tree_of(world) == {b"f": b"saved", b"f" + BY_DESK: b"edit"}
    assert (conflict.node, world.node(file).conflict_of) == (file, world.named(b"f"))


@pytest.mark.parametrize("batch_size", [1, 100])
def test_of_two_replaces_the_first_is_kept_beside(world: World, file: NodeId, batch_size: int) -> None:
    replay(world.laptop, saving(world, b"first", file, 1), batch_size)
    [conflict] = conflicts(replay(world.desk, saving(world, b"second", file, 1), batch_size))
    assert tree_of(world) == {b"f": b"second", b"f" + BY_LAPTOP: b"first"}
    assert world.node(conflict.node).conflict_of == world.named(b"f")


def test_delete_first_against_replace_leaves_the_new_content(world: World, file: NodeId) -> None:
    replay(world.laptop, [unlink(b"f", file, version=1)])
    assert conflicts(replay(world.desk, saving(world, b"saved", file, 1))) == []
    assert tree_of(world) == {b"f": b"saved"}


def test_replace_first_against_delete_keeps_the_new_content(world: World, file: NodeId) -> None:
    replay(world.laptop, saving(world, b"saved", file, 1))
    assert errnos(replay(world.desk, [unlink(b"f", file, version=1)])) == ["ESTALE"]
    assert tree_of(world) == {b"f": b"saved"}


def test_a_copy_stays_a_conflict_of_what_replaces_its_original(world: World, file: NodeId) -> None:
    [conflict] = conflicts(replay(world.desk, [commit(file, b"x", 0)]))
    replay(world.laptop, saving(world, b"saved", file, 1))
    assert world.node(conflict.node).conflict_of == world.named(b"f")


def test_a_copy_that_is_renamed_over_its_original_is_a_conflict_no_more(world: World, file: NodeId) -> None:
    [conflict] = conflicts(replay(world.desk, [commit(file, b"x", 0)]))
    replay(world.laptop, [rename(conflict.node, conflict.name, b"f", replaced=(file, 1))])
    assert (tree_of(world), world.node(conflict.node).conflict_of) == ({b"f": b"x"}, None)


def test_a_file_and_a_folder_do_not_replace_each_other(world: World, file: NodeId) -> None:
    """The name that was free, or another file's, is a folder's by now: the file keeps its own name."""
    replay(world.laptop, [unlink(b"f", file, version=1), world.creation(b"f", Kind.FOLDER)])
    assert errnos(replay(world.desk, saving(world, b"saved", file, 1))) == ["", "", "EISDIR"]
    assert tree_of(world) == {b"f/": b"", b"f.tmp": b"saved"}


@pytest.mark.parametrize("first", ["laptop", "desk"])
def test_two_folders_are_not_moved_into_each_other(world: World, first: str) -> None:
    one, two = world.laptop.create(b"a", Kind.FOLDER), world.laptop.create(b"b", Kind.FOLDER)
    moves = {
        "laptop": [rename(one, b"a", b"a", new_parent=two)],
        "desk": [rename(two, b"b", b"b", new_parent=one)],
    }
    second = "desk" if first == "laptop" else "laptop"
    assert errnos(replay(getattr(world, first), moves[first])) == [""]
    assert errnos(replay(getattr(world, second), moves[second])) == ["EINVAL"]
    assert tree_of(world) == ({b"b/": b"", b"b/a/": b""} if first == "laptop" else {b"a/": b"", b"a/b/": b""})


def test_a_folder_is_not_moved_below_its_child_that_was_moved_up(world: World, folder: NodeId) -> None:
    inner = world.laptop.create(b"e", Kind.FOLDER, parent=folder)
    other = world.laptop.create(b"o", Kind.FOLDER)
    replay(world.laptop, [rename(folder, b"d", b"d", new_parent=other)])
    assert errnos(replay(world.desk, [rename(other, b"o", b"o", new_parent=inner)])) == ["EINVAL"]
    assert tree_of(world) == {b"o/": b"", b"o/d/": b"", b"o/d/e/": b""}


@pytest.fixture
def pair(world: World) -> tuple[NodeId, NodeId]:
    """Files "p" and "q"."""
    made = world.laptop.create(b"p"), world.laptop.create(b"q")
    for node, text in zip(made, (b"of p", b"of q"), strict=True):
        world.laptop.write(node, text)
    return made


def test_of_two_exchanges_the_first_wins(world: World, pair: tuple[NodeId, NodeId]) -> None:
    replay(world.laptop, [rename(pair[0], b"p", b"q", mode=RenameMode.EXCHANGE)])
    assert errnos(replay(world.desk, [rename(pair[0], b"p", b"q", mode=RenameMode.EXCHANGE)])) == ["ESTALE"]
    assert tree_of(world) == {b"p": b"of q", b"q": b"of p"}


def test_exchange_against_edit_keeps_the_edit_under_the_new_name(world: World, pair: tuple[NodeId, NodeId]) -> None:
    replay(world.laptop, [rename(pair[0], b"p", b"q", mode=RenameMode.EXCHANGE)])
    replay(world.desk, [commit(pair[0], b"edit", 1)])
    assert tree_of(world) == {b"p": b"of q", b"q": b"edit"}


def test_edit_against_exchange_keeps_the_edit_under_the_new_name(world: World, pair: tuple[NodeId, NodeId]) -> None:
    replay(world.desk, [commit(pair[0], b"edit", 1)])
    replay(world.laptop, [rename(pair[0], b"p", b"q", mode=RenameMode.EXCHANGE)])
    assert tree_of(world) == {b"p": b"of q", b"q": b"edit"}


@pytest.mark.parametrize("gone", [0, 1])
def test_delete_against_exchange_is_refused(world: World, pair: tuple[NodeId, NodeId], gone: int) -> None:
    replay(world.laptop, [unlink(b"pq"[gone : gone + 1], pair[gone], version=1)])
    assert errnos(replay(world.desk, [rename(pair[0], b"p", b"q", mode=RenameMode.EXCHANGE)])) == ["ENOENT"]


def test_exchange_against_delete_keeps_both(world: World, pair: tuple[NodeId, NodeId]) -> None:
    replay(world.laptop, [rename(pair[0], b"p", b"q", mode=RenameMode.EXCHANGE)])
    assert errnos(replay(world.desk, [unlink(b"p", pair[0], version=1)])) == ["ESTALE"]
    assert tree_of(world) == {b"p": b"of q", b"q": b"of p"}


def test_an_exchange_with_what_another_put_there_loses_nothing(world: World, pair: tuple[NodeId, NodeId]) -> None:
    made = world.creation(b"new")
    over = rename(made.node, b"new", b"q", replaced=(pair[1], 1))
    replay(world.laptop, [made, commit(made.node, b"new"), over])
    replay(world.desk, [rename(pair[0], b"p", b"q", mode=RenameMode.EXCHANGE, replaced=(pair[1], 1))])
    assert tree_of(world) == {b"p": b"new", b"q": b"of p"}
