from __future__ import annotations

import msgspec
import pytest

from protocol.ids import ROOT_NODE, NodeId, origin_of
from protocol.messages.batches import Applied
from protocol.messages.nodes import Kind, State
from protocol.messages.notices import Touched, TouchedEntry
from server.metadata import feed, tree
from server.metadata.entries import LINK_MAX
from tests.server.metadata.world import SPACE, World, clashing, link, rmdir, unlink


def test_a_new_file_is_pending_and_has_one_name(world: World) -> None:
    node = world.laptop.create(b"a")
    row = world.node(node)
    assert (row.kind, row.nlink, row.state, row.version, row.size) == (Kind.FILE, 1, State.PENDING, 0, 0)
    assert (row.mode, row.uid, row.gid) == (0o644, 1000, 1000)
    assert world.named(b"a") == node


def test_a_new_folder_adds_to_its_parents_links(world: World) -> None:
    folder = world.laptop.create(b"d", Kind.FOLDER)
    world.laptop.create(b"f")
    assert world.node(folder).nlink == 2
    assert world.node(ROOT_NODE).nlink == 3


def test_a_symlink_has_its_target_and_its_size(world: World) -> None:
    node = world.node(world.laptop.create(b"s", Kind.SYMLINK))
    assert (node.target, node.size, node.state) == (b"elsewhere", 9, State.UPLOADED)


def test_a_create_sets_its_parents_times(world: World) -> None:
    world.now_ns += 5
    world.laptop.create(b"a")
    root = world.node(ROOT_NODE)
    assert (root.mtime_ns, root.ctime_ns) == (world.now_ns, world.now_ns)


@pytest.mark.parametrize(
    ("fields", "errno"),
    [
        ({"parent": NodeId(99)}, "ENOENT"),
        ({"name": b""}, "EINVAL"),
        ({"name": b".."}, "EINVAL"),
        ({"name": b"a/b"}, "EINVAL"),
        ({"name": b"a\0"}, "EINVAL"),
        ({"name": b"n" * 256}, "ENAMETOOLONG"),
        ({"node": ROOT_NODE}, "EINVAL"),
        ({"node": NodeId(1 << 62)}, "EINVAL"),
        ({"node": NodeId(1 << 64)}, "EINVAL"),
        ({"mode": 0o10000}, "EINVAL"),
        ({"uid": 1 << 63}, "EINVAL"),
        ({"target": b"t"}, "EINVAL"),
        ({"kind": Kind.SYMLINK, "target": b"t" * 4096}, "ENAMETOOLONG"),
    ],
)
def test_a_bad_create_is_refused_and_changes_nothing(world: World, fields: dict[str, object], errno: str) -> None:
    change = msgspec.structs.replace(world.creation(b"a"), **fields)
    assert world.laptop.refused(change) == errno
    assert (world.head(), world.names()) == (0, [])


def test_a_name_of_255_arbitrary_bytes_is_kept(world: World) -> None:
    name = bytes(byte for byte in range(1, 256) if byte != ord("/")) + b"\xff"
    world.laptop.create(name)
    assert world.names() == [name]


def test_nothing_is_created_in_a_file(world: World) -> None:
    file = world.laptop.create(b"f")
    assert world.laptop.refused(world.creation(b"a", parent=file)) == "ENOTDIR"


def test_nothing_is_created_in_a_removed_folder(world: World) -> None:
    folder = world.laptop.create(b"d", Kind.FOLDER)
    world.laptop.do(rmdir(b"d", folder))
    assert world.desk.refused(world.creation(b"a", parent=folder)) == "ENOENT"


def test_a_taken_name_is_refused(world: World) -> None:
    world.laptop.create(b"a")
    assert world.desk.refused(world.creation(b"a")) == "EEXIST"


def test_two_creates_of_one_name_keep_both(world: World) -> None:
    first = world.laptop.create(b"a.txt")
    change = clashing(world.creation(b"a.txt"))
    answer = world.desk.do(change)
    name = b"a (conflict from desk 2026-01-02 03.04.05).txt"
    assert answer.conflict is not None
    assert (answer.conflict.node, answer.conflict.parent, answer.conflict.name) == (change.node, ROOT_NODE, name)
    assert world.names() == [name, b"a.txt"]
    assert world.node(change.node).conflict_of == first


def test_a_third_create_of_one_name_gets_a_counter(world: World) -> None:
    world.laptop.create(b"a.txt")
    world.desk.do(clashing(world.creation(b"a.txt")))
    world.desk.do(clashing(world.creation(b"a.txt")))
    assert b"a (conflict from desk 2026-01-02 03.04.05 2).txt" in world.names()


def test_a_create_sent_again_as_a_new_change_is_applied_once(world: World) -> None:
    change = world.creation(b"a")
    world.laptop.do(change)
    answer = world.laptop.do(change)
    assert (world.head(), answer.seq, answer.nodes) == (1, 1, [world.node(change.node)])


def test_a_create_sent_again_after_a_rename_elsewhere_leaves_the_file_there(world: World) -> None:
    change = world.creation(b"a")
    world.laptop.do(change)
    world.desk.do(link(change.node, b"b"))
    world.desk.do(unlink(b"a", change.node))
    world.laptop.do(change)
    assert world.names() == [b"b"]


def test_a_create_sent_again_is_told_where_the_file_is_by_now(world: World) -> None:
    world.desk.create(b"a")
    change = clashing(world.creation(b"a"))
    first = world.laptop.do(change)
    assert first.conflict is not None
    assert world.laptop.do(change).conflict == first.conflict


def test_another_create_with_a_known_id_is_refused(world: World) -> None:
    change = world.creation(b"a")
    world.laptop.do(change)
    other = msgspec.structs.replace(change, name=b"b", time_ns=change.time_ns + 1)
    assert world.desk.refused(other) == "EEXIST"


def test_hard_links_count(world: World) -> None:
    node = world.laptop.create(b"a")
    world.laptop.do(link(node, b"b"))
    assert world.node(node).nlink == 2
    world.laptop.do(unlink(b"a", node))
    assert world.node(node).nlink == 1
    assert world.names() == [b"b"]


def test_links_are_refused_by_the_rules_of_link(world: World) -> None:
    file, folder = world.laptop.create(b"f"), world.laptop.create(b"d", Kind.FOLDER)
    gone = world.laptop.create(b"gone")
    world.laptop.do(unlink(b"gone", gone))
    assert world.laptop.refused(link(folder, b"x")) == "EPERM"
    assert world.laptop.refused(link(file, b"d")) == "EEXIST"
    assert world.laptop.refused(link(gone, b"x")) == "ENOENT"
    assert world.laptop.refused(link(file, b"x", parent=file)) == "ENOTDIR"
    assert world.laptop.refused(link(NodeId(77), b"x")) == "ENOENT"


def test_a_file_has_a_bounded_number_of_names(world: World) -> None:
    node = world.laptop.create(b"a")
    world.tx.execute("UPDATE nodes SET nlink = ? WHERE id = ?", (LINK_MAX, node))
    assert world.laptop.refused(link(node, b"b")) == "EMLINK"
    world.tx.execute("UPDATE nodes SET nlink = 1 WHERE id = ?", (node,))


def test_an_unlinked_node_is_kept_without_names(world: World) -> None:
    node = world.laptop.create(b"a")
    answer = world.laptop.do(unlink(b"a", node))
    assert world.node(node).nlink == 0
    assert node in [row.id for row in answer.nodes]
    assert world.named(b"a") is None


def test_unlink_is_refused_by_the_rules_of_unlink(world: World) -> None:
    file, folder = world.laptop.create(b"f"), world.laptop.create(b"d", Kind.FOLDER)
    assert world.laptop.refused(unlink(b"d", folder)) == "EISDIR"
    assert world.laptop.refused(unlink(b"x", file)) == "ENOENT"
    assert world.laptop.refused(unlink(b"f", folder)) == "ESTALE"
    assert world.laptop.refused(unlink(b"f", file, parent=file)) == "ENOTDIR"


def test_rmdir_is_refused_by_the_rules_of_rmdir(world: World) -> None:
    file, folder = world.laptop.create(b"f"), world.laptop.create(b"d", Kind.FOLDER)
    world.laptop.create(b"inside", parent=folder)
    assert world.laptop.refused(rmdir(b"d", folder)) == "ENOTEMPTY"
    assert world.laptop.refused(rmdir(b"f", file)) == "ENOTDIR"
    assert world.laptop.refused(rmdir(b"d", file)) == "ESTALE"
    assert world.laptop.refused(rmdir(b"x", file)) == "ENOENT"


def test_a_removed_folder_leaves_its_parents_links(world: World) -> None:
    folder = world.laptop.create(b"d", Kind.FOLDER)
    world.laptop.do(rmdir(b"d", folder))
    assert (world.node(folder).nlink, world.node(ROOT_NODE).nlink) == (0, 2)


def test_usage_counts_the_nodes_in_the_tree(world: World) -> None:
    file = world.laptop.create(b"f")
    world.laptop.do(link(file, b"g"))
    world.laptop.create(b"d", Kind.FOLDER)
    assert tree.usage(world.tx, SPACE, free_on_disk_bytes=100).nodes == 3
    world.laptop.do(unlink(b"f", file))
    world.laptop.do(unlink(b"g", file))
    assert tree.usage(world.tx, SPACE, free_on_disk_bytes=100).nodes == 2


def test_a_create_tells_node_parent_name_and_state(world: World) -> None:
    node = world.laptop.create(b"a")
    [notice] = feed.notices(world.tx, SPACE, world.laptop.seen).notices
    assert (notice.seq, notice.what, notice.origin, notice.state) == (
        1,
        "create",
        origin_of(world.laptop.session),
        State.PENDING,
    )
    assert set(notice.nodes) == {Touched(node), Touched(ROOT_NODE)}
    assert notice.entries == [TouchedEntry(ROOT_NODE, b"a")]


def test_the_answer_carries_the_nodes_as_they_are_after_the_batch(world: World) -> None:
    one, other = world.creation(b"a"), world.creation(b"d", Kind.FOLDER)
    first, second = world.laptop.send(one, other).answers
    assert isinstance(first, Applied)
    assert isinstance(second, Applied)
    root = world.node(ROOT_NODE)
    assert root.nlink == 3
    assert root in first.nodes
    assert root in second.nodes
