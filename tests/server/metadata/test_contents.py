from __future__ import annotations

import msgspec
import pytest

from protocol import manifest as manifests
from protocol.ids import ROOT_NODE, NodeId
from protocol.limits import INLINE_MANIFEST_PIECES
from protocol.manifest import HOLE, BadManifest, Manifest, Piece
from protocol.messages.batches import Applied, MissingBlocks
from protocol.messages.changes import Commit
from protocol.messages.nodes import Kind, State
from protocol.messages.notices import Touched
from protocol.sealing import key_id_of
from server.metadata import blocks, feed, tree
from server.metadata.blocks import OverQuota, StoredBlock
from tests.server.metadata.world import NOW_NS, SPACE, World, block_id, commit, rmdir, unlink

COPY = b"a (conflict from desk 2026-01-02 03.04.05).txt"


def of_pieces(node: NodeId, pieces: list[Piece], base: int = 0) -> Commit:
    """A commit whose blocks are on the server already."""
    manifest = Manifest.of(pieces)
    return msgspec.structs.replace(
        commit(node, b"", base), size=manifest.size_bytes, manifest=manifests.encode(manifest)
    )


def test_a_first_commit_makes_version_1(world: World) -> None:
    node = world.laptop.create(b"a")
    written_ns = NOW_NS + 9
    change = msgspec.structs.replace(commit(node, b"hello"), mtime_ns=7, time_ns=written_ns)
    [applied] = world.laptop.send(change).answers
    assert isinstance(applied, Applied)
    row = world.node(node)
    assert (row.version, row.state, row.size, row.data_bytes) == (1, State.UPLOADED, 5, 5)
    assert (row.mtime_ns, row.ctime_ns, row.manifest) == (7, written_ns, change.manifest)
    assert applied.nodes == [row]
    assert applied.conflict is None


def test_a_commit_of_what_was_written_before_the_files_last_change_moves_its_ctime_on(world: World) -> None:
    node = world.laptop.create(b"a")
    world.laptop.do(commit(node, b"hello", time_ns=NOW_NS - 9))
    assert world.node(node).ctime_ns == NOW_NS + 1


def test_a_commit_tells_that_content_changed_and_no_name(world: World) -> None:
    node = world.laptop.create(b"a")
    world.laptop.write(node, b"hello")
    [*_, notice] = feed.notices(world.tx, SPACE, world.laptop.seen).notices
    assert (notice.nodes, notice.entries, notice.state) == ([Touched(node, content=True)], [], State.UPLOADED)


def test_inline_blocks_are_kept_with_the_commit(world: World) -> None:
    node = world.laptop.create(b"a")
    world.laptop.write(node, b"hello")
    assert blocks.stored(world.tx, SPACE, [block_id(b"hello")]) == [
        StoredBlock(b"hello", None, 5, 5, key_id_of(b"hello"))
    ]


def test_earlier_versions_stay_readable(world: World) -> None:
    node = world.laptop.create(b"a")
    world.laptop.write(node, b"one")
    world.laptop.write(node, b"other", base=1)
    first, second = (tree.manifest(world.tx, SPACE, node, number) for number in (1, 2))
    assert first is not None
    assert second is not None
    assert (first.size, second.size) == (3, 5)
    assert tree.manifest(world.tx, SPACE, node, 3) is None  # type: ignore[arg-type]


def test_the_empty_file_has_a_version_too(world: World) -> None:
    node = world.laptop.create(b"a")
    world.laptop.write(node, b"")
    assert (world.node(node).version, world.node(node).size) == (1, 0)


def test_holes_need_no_block_and_are_no_data(world: World) -> None:
    node = world.laptop.create(b"a")
    world.laptop.do(of_pieces(node, [Piece(HOLE, 1 << 40)]))
    assert (world.node(node).size, world.node(node).data_bytes) == (1 << 40, 0)


def test_a_long_manifest_does_not_travel_with_its_node(world: World) -> None:
    node = world.laptop.create(b"a")
    found = [block_id(b"%d" % number) for number in range(300)]
    for block in found:
        blocks.record(world.tx, SPACE, block, StoredBlock(None, block.hex(), 20, 10, 1))
    world.laptop.do(of_pieces(node, [Piece(block, 10) for block in found[:INLINE_MANIFEST_PIECES]]))
    assert world.node(node).manifest is not None
    world.laptop.do(of_pieces(node, [Piece(block, 10) for block in found], base=1))
    assert world.node(node).manifest is None
    long = tree.manifest(world.tx, SPACE, node, world.node(node).version)
    assert long is not None
    assert len(manifests.decode(long.manifest).pieces) == 300


def test_missing_blocks_are_named_in_order_and_nothing_is_kept(world: World) -> None:
    node = world.laptop.create(b"a")
    inline = commit(node, b"here")
    lacking = [block_id(b"%d" % number) for number in range(3)]
    pieces = [Piece(block, 10) for block in lacking] + [Piece(block_id(b"here"), 4), Piece(lacking[0], 10)]
    change = msgspec.structs.replace(of_pieces(node, pieces), blocks=inline.blocks)
    [answer] = world.laptop.send(change).answers
    assert answer == MissingBlocks(lacking)
    assert world.head() == 1
    assert blocks.missing(world.tx, SPACE, [block_id(b"here")]) == [block_id(b"here")]


@pytest.mark.parametrize(
    "broken",
    [
        {"size": 6},
        {"manifest": b""},
        {"manifest": b"\x02"},
        {"manifest": b"\x01short"},
        {"manifest": manifests.encode(Manifest((Piece(block_id(b"hello"), 4),))), "size": 4},
    ],
)
def test_a_wrong_manifest_fails_the_whole_batch(world: World, broken: dict[str, object]) -> None:
    node = world.laptop.create(b"a")
    with pytest.raises(BadManifest):
        world.laptop.send(world.creation(b"b"), msgspec.structs.replace(commit(node, b"hello"), **broken))
    assert (world.head(), world.names()) == (1, [b"a"])
    world.laptop.send(world.creation(b"b"))
    assert world.names() == [b"a", b"b"]


def test_only_files_that_were_have_content(world: World) -> None:
    folder = world.laptop.create(b"d", Kind.FOLDER)
    assert world.laptop.refused(commit(folder, b"x")) == "EINVAL"
    assert world.laptop.refused(commit(NodeId(12345), b"x")) == "ENOENT"


def test_the_second_of_two_commits_becomes_a_conflict_copy(world: World) -> None:
    node = world.laptop.create(b"a.txt")
    world.laptop.write(node, b"base")
    world.laptop.write(node, b"first", base=1)
    answer = world.desk.write(node, b"second", base=1)
    assert answer.conflict is not None
    assert (answer.conflict.parent, answer.conflict.name) == (ROOT_NODE, COPY)
    copy = world.node(answer.conflict.node)
    assert (copy.size, copy.version, copy.conflict_of, copy.mode) == (6, 1, node, world.node(node).mode)
    assert (world.node(node).version, world.node(node).size) == (2, 5)
    assert world.named(COPY) == copy.id


def test_a_conflict_copy_is_told_as_a_new_name_with_content(world: World) -> None:
    node = world.laptop.create(b"a.txt")
    world.laptop.write(node, b"first")
    answer = world.desk.write(node, b"second")
    assert answer.conflict is not None
    [*_, notice] = feed.notices(world.tx, SPACE, world.desk.seen).notices
    assert Touched(answer.conflict.node, content=True) in notice.nodes
    assert [(entry.parent, entry.name) for entry in notice.entries] == [(ROOT_NODE, COPY)]


def test_the_same_changes_make_the_same_conflict_copy() -> None:
    made = []
    for _ in range(2):
        world = World()
        node = world.laptop.create(b"a.txt")
        world.laptop.write(node, b"first")
        made.append(world.desk.write(node, b"second").conflict)
        world.connection.close()
    assert made[0] == made[1]


def test_a_commit_of_what_is_the_head_already_changes_nothing(world: World) -> None:
    node = world.laptop.create(b"a")
    world.laptop.write(node, b"same")
    head = world.head()
    answer = world.laptop.write(node, b"same", base=0)
    assert (answer.conflict, answer.seq, world.head()) == (None, head, head)
    assert answer.nodes == [world.node(node)]


def test_a_commit_sent_again_does_not_undo_a_removal_since(world: World) -> None:
    node = world.laptop.create(b"a")
    world.laptop.write(node, b"same")
    world.desk.do(unlink(b"a", node))
    head = world.head()
    answer = world.laptop.write(node, b"same", base=0)
    assert (answer.conflict, world.head(), world.node(node).nlink) == (None, head, 0)


def test_a_commit_brings_an_unlinked_file_back(world: World) -> None:
    node = world.laptop.create(b"a")
    world.laptop.write(node, b"one")
    world.desk.do(unlink(b"a", node))
    answer = world.laptop.write(node, b"two", base=1)
    assert answer.conflict is None
    assert (world.named(b"a"), world.node(node).nlink, world.node(node).version) == (node, 1, 2)
    [*_, notice] = feed.notices(world.tx, SPACE, world.laptop.seen).notices
    assert [(entry.parent, entry.name) for entry in notice.entries] == [(ROOT_NODE, b"a")]


def test_a_file_comes_back_beside_what_has_its_name_by_then(world: World) -> None:
    node = world.laptop.create(b"a.txt")
    world.laptop.do(unlink(b"a.txt", node))
    other = world.laptop.create(b"a.txt")
    world.desk.write(node, b"late")
    assert (world.named(b"a.txt"), world.named(COPY)) == (other, node)


def test_a_file_comes_back_in_its_folder_that_comes_back_with_it(world: World) -> None:
    folder = world.laptop.create(b"d", Kind.FOLDER)
    node = world.laptop.create(b"a", parent=folder)
    world.laptop.do(unlink(b"a", node, parent=folder))
    world.laptop.do(rmdir(b"d", folder))
    world.desk.write(node, b"late")
    assert (world.names(), world.named(b"a", folder)) == ([b"d"], node)


def test_a_lost_commit_to_an_unlinked_file_is_kept_where_it_was(world: World) -> None:
    node = world.laptop.create(b"a.txt")
    world.laptop.write(node, b"one")
    world.laptop.write(node, b"two", base=1)
    world.laptop.do(unlink(b"a.txt", node))
    answer = world.desk.write(node, b"late", base=1)
    assert answer.conflict is not None
    assert (world.names(), world.node(node).nlink) == ([COPY], 0)


def test_over_quota_nothing_of_the_batch_is_kept() -> None:
    world = World(quota_bytes=10)
    node = world.laptop.create(b"a")
    world.laptop.write(node, b"12345678")
    with pytest.raises(OverQuota):
        world.laptop.send(world.creation(b"b"), commit(node, b"abc", base=1))
    assert (world.names(), world.head()) == ([b"a"], 2)
    assert tree.usage(world.tx, SPACE, 1000).free_bytes == 2
    world.laptop.write(node, b"ab", base=1)
    assert tree.usage(world.tx, SPACE, 1000) == tree.UsageReply(total_bytes=10, free_bytes=0, nodes=2)
    world.check()
    world.connection.close()


def test_a_block_that_is_there_is_not_counted_again() -> None:
    world = World(quota_bytes=5)
    node = world.laptop.create(b"a")
    world.laptop.write(node, b"12345")
    copy = world.laptop.create(b"b")
    world.laptop.write(copy, b"12345")
    assert world.node(copy).version == 1
    world.check()
    world.connection.close()


def test_the_mount_says_when_it_happened_and_the_server_when_it_was_committed(world: World) -> None:
    node = world.laptop.create(b"a")
    world.now_ns = NOW_NS + 60 * 10**9
    world.laptop.write(node, b"x")
    assert world.node(node).ctime_ns == NOW_NS
    assert world.tx.one("SELECT committed_ns FROM versions") == (world.now_ns,)
