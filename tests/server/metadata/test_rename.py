from __future__ import annotations

import msgspec
import pytest

from protocol.ids import ROOT_NODE
from protocol.messages.changes import RenameMode
from protocol.messages.nodes import Kind
from protocol.messages.notices import TouchedEntry
from server.metadata import feed
from tests.server.metadata.world import NOW_NS, SPACE, World, link, rename, rmdir

ASIDE = b"b (conflict from desk 2026-01-02 03.04.05)"


def test_an_entry_moves_between_folders(world: World) -> None:
    folder = world.laptop.create(b"d", Kind.FOLDER)
    moved = world.laptop.create(b"sub", Kind.FOLDER)
    world.laptop.do(rename(moved, b"sub", b"new", new_parent=folder))
    assert (world.named(b"sub"), world.named(b"new", folder)) == (None, moved)
    assert (world.node(ROOT_NODE).nlink, world.node(folder).nlink) == (3, 3)
    [*_, notice] = feed.notices(world.tx, SPACE, world.laptop.seen).notices
    assert notice.entries == [TouchedEntry(ROOT_NODE, b"sub"), TouchedEntry(folder, b"new")]
    assert {touched.node for touched in notice.nodes} == {ROOT_NODE, folder, moved}


def test_a_file_replaces_the_file_that_its_mount_saw(world: World) -> None:
    source, target = world.laptop.create(b"a"), world.laptop.create(b"b")
    world.laptop.write(target, b"old")
    answer = world.laptop.do(rename(source, b"a", b"b", replaced=(target, 1)))
    assert answer.conflict is None
    assert world.names() == [b"b"]
    assert (world.named(b"b"), world.node(target).nlink) == (source, 0)
    assert {row.id for row in answer.nodes} == {ROOT_NODE, source, target}


@pytest.mark.parametrize("seen_version", [None, 0, 2])
def test_content_that_the_mount_had_not_seen_is_kept_beside(world: World, seen_version: int | None) -> None:
    source, target = world.laptop.create(b"a"), world.laptop.create(b"b")
    world.desk.write(target, b"new")
    replaced = None if seen_version is None else (target, seen_version)
    answer = world.laptop.do(rename(source, b"a", b"b", replaced=replaced))
    assert answer.conflict is not None
    assert (answer.conflict.node, answer.conflict.name) == (target, ASIDE)
    assert (world.named(b"b"), world.named(ASIDE)) == (source, target)


def test_another_file_under_the_new_name_is_kept_beside(world: World) -> None:
    source, seen = world.laptop.create(b"a"), world.laptop.create(b"seen")
    target = world.desk.create(b"b")
    world.desk.write(target, b"x")
    answer = world.laptop.do(rename(source, b"a", b"b", replaced=(seen, 1)))
    assert answer.conflict is not None
    assert world.named(ASIDE) == target


def test_an_unseen_symlink_is_kept_beside(world: World) -> None:
    source, target = world.laptop.create(b"a"), world.desk.create(b"b", Kind.SYMLINK)
    world.laptop.do(rename(source, b"a", b"b"))
    assert world.named(b"b (conflict from laptop 2026-01-02 03.04.05)") == target


def test_a_file_without_content_is_replaced_and_comes_back_with_its_first_commit(world: World) -> None:
    source, target = world.laptop.create(b"a"), world.desk.create(b"b")
    assert world.laptop.do(rename(source, b"a", b"b")).conflict is None
    world.desk.write(target, b"late")
    assert world.named(b"b") == source
    assert world.named(b"b (conflict from desk 2026-01-02 03.04.05)") == target


def test_noreplace_refuses_a_taken_name(world: World) -> None:
    source = world.laptop.create(b"a")
    world.laptop.create(b"b")
    assert world.laptop.refused(rename(source, b"a", b"b", mode=RenameMode.NOREPLACE)) == "EEXIST"
    world.laptop.do(rename(source, b"a", b"c", mode=RenameMode.NOREPLACE))
    assert world.names() == [b"b", b"c"]


def test_two_names_of_one_file_stay_both(world: World) -> None:
    node = world.laptop.create(b"a")
    world.laptop.do(link(node, b"b"))
    head = world.head()
    answer = world.laptop.do(rename(node, b"a", b"b"))
    assert world.names() == [b"a", b"b"]
    assert (world.head(), answer.seq) == (head, head)


def test_a_rename_to_itself_changes_nothing(world: World) -> None:
    node = world.laptop.create(b"a")
    world.laptop.do(rename(node, b"a", b"a"))
    assert (world.head(), world.names()) == (1, [b"a"])


def test_a_folder_replaces_an_empty_folder_only(world: World) -> None:
    source, target = world.laptop.create(b"a", Kind.FOLDER), world.laptop.create(b"b", Kind.FOLDER)
    inside = world.laptop.create(b"x", Kind.FOLDER, parent=target)
    assert world.laptop.refused(rename(source, b"a", b"b")) == "ENOTEMPTY"
    world.laptop.do(rmdir(b"x", inside, parent=target))
    world.laptop.do(rename(source, b"a", b"b"))
    assert (world.named(b"b"), world.node(target).nlink, world.node(ROOT_NODE).nlink) == (source, 0, 3)


def test_files_and_folders_do_not_replace_each_other(world: World) -> None:
    file, folder = world.laptop.create(b"f"), world.laptop.create(b"d", Kind.FOLDER)
    assert world.laptop.refused(rename(file, b"f", b"d")) == "EISDIR"
    assert world.laptop.refused(rename(folder, b"d", b"f")) == "ENOTDIR"


def test_a_folder_does_not_move_below_itself(world: World) -> None:
    top = world.laptop.create(b"a", Kind.FOLDER)
    middle = world.laptop.create(b"b", Kind.FOLDER, parent=top)
    bottom = world.laptop.create(b"c", Kind.FOLDER, parent=middle)
    assert world.laptop.refused(rename(top, b"a", b"x", new_parent=top)) == "EINVAL"
    assert world.laptop.refused(rename(top, b"a", b"x", new_parent=bottom)) == "EINVAL"
    assert world.laptop.refused(rename(bottom, b"c", b"a", parent=middle)) == "ENOTEMPTY"


def test_exchange_swaps_what_two_names_mean(world: World) -> None:
    folder = world.laptop.create(b"d", Kind.FOLDER)
    file = world.laptop.create(b"f")
    inner = world.laptop.create(b"inner", Kind.FOLDER, parent=folder)
    world.now_ns += 10
    change = rename(file, b"f", b"inner", new_parent=folder, mode=RenameMode.EXCHANGE)
    answer = world.laptop.do(msgspec.structs.replace(change, time_ns=world.now_ns))
    assert {row.id for row in answer.nodes} == {ROOT_NODE, folder, file, inner}
    assert {row.ctime_ns for row in answer.nodes} == {world.now_ns}
    assert (world.named(b"f"), world.named(b"inner", folder)) == (inner, file)
    assert (world.node(ROOT_NODE).nlink, world.node(folder).nlink) == (4, 2)


def test_exchange_needs_both_names_and_no_folder_below_itself(world: World) -> None:
    top = world.laptop.create(b"a", Kind.FOLDER)
    inner = world.laptop.create(b"b", Kind.FOLDER, parent=top)
    assert world.laptop.refused(rename(top, b"a", b"x", mode=RenameMode.EXCHANGE)) == "ENOENT"
    up = rename(inner, b"b", b"a", parent=top, new_parent=ROOT_NODE, mode=RenameMode.EXCHANGE)
    assert world.laptop.refused(up) == "EINVAL"
    down = rename(top, b"a", b"b", new_parent=top, mode=RenameMode.EXCHANGE)
    assert world.laptop.refused(down) == "EINVAL"


def test_the_old_name_must_still_mean_the_node(world: World) -> None:
    node, other = world.laptop.create(b"a"), world.laptop.create(b"b")
    assert world.laptop.refused(rename(other, b"a", b"c")) == "ESTALE"
    assert world.laptop.refused(rename(node, b"x", b"c")) == "ENOENT"
    assert world.laptop.refused(rename(node, b"a", b"n" * 256)) == "ENAMETOOLONG"
    assert world.laptop.refused(rename(node, b"a", b"c", new_parent=other)) == "ENOTDIR"


def test_a_rename_sets_the_times_of_node_and_parents(world: World) -> None:
    world.now_ns += 10
    folder = world.laptop.create(b"d", Kind.FOLDER)
    node = world.laptop.create(b"a")
    world.laptop.do(rename(node, b"a", b"a", new_parent=folder))
    assert {world.node(one).ctime_ns for one in (ROOT_NODE, folder, node)} == {NOW_NS}
    assert {world.node(one).mtime_ns for one in (ROOT_NODE, folder)} == {NOW_NS}
    assert world.node(node).mtime_ns == world.now_ns
