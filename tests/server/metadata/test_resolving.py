from __future__ import annotations

import pytest
from msgspec.structs import replace

from protocol.ids import NOBODY, ROOT_NODE, NodeId, VersionNumber
from protocol.messages.batches import Conflict
from protocol.messages.changes import Create, Resolve
from protocol.messages.conflicts import ConflictCopy, Keep, Original
from protocol.messages.nodes import Kind
from protocol.messages.notices import Touched
from server.metadata import feed, resolving
from tests.server.metadata.world import NOW_NS, SPACE, World, clashing, commit, link, rename, rmdir, unlink

COPY = b"f (conflict from desk 2026-01-02 03.04.05)"
LATER_NS = NOW_NS + 60 * 10**9


def conflict_of(world: World, kind: Kind = Kind.FILE, parent: NodeId = ROOT_NODE) -> tuple[NodeId, Conflict]:
    """A file "f" with the content "theirs", and a copy of desk's with the content "mine"."""
    node = world.laptop.create(b"f", parent=parent)
    world.laptop.write(node, b"theirs")
    made = replace(clashing(world.creation(b"f", kind, parent)), target=b"t" if kind is Kind.SYMLINK else b"")
    answer = world.desk.do(commit(node, b"mine") if kind is Kind.FILE else made)
    assert answer.conflict is not None
    return node, answer.conflict


def decision(
    conflict: Conflict, keep: Keep, version: int = 1, original_version: int | None = 1, time_ns: int = LATER_NS
) -> Resolve:
    seen = None if original_version is None else VersionNumber(original_version)
    return Resolve(time_ns, conflict.parent, conflict.name, conflict.node, VersionNumber(version), keep, seen)


def listed(world: World) -> list[ConflictCopy]:
    return resolving.listed(world.tx, SPACE, NodeId(0)).conflicts


def test_a_copy_is_listed_with_what_it_conflicts_with(world: World) -> None:
    folder = world.laptop.create(b"d", Kind.FOLDER)
    node, conflict = conflict_of(world, parent=folder)
    assert listed(world) == [
        ConflictCopy(
            conflict.node,
            folder,
            [b"d", COPY],
            Kind.FILE,
            VersionNumber(1),
            size=4,
            mtime_ns=NOW_NS,
            device="desk",
            committed_ns=NOW_NS,
            original=Original(node, VersionNumber(1), [b"d", b"f"]),
        )
    ]


def test_the_original_is_listed_where_it_lives_by_now(world: World) -> None:
    node, _ = conflict_of(world)
    folder = world.laptop.create(b"d", Kind.FOLDER)
    world.laptop.do(rename(node, b"f", b"g", new_parent=folder))
    [copy] = listed(world)
    assert copy.original is not None
    assert copy.original.path == [b"d", b"g"]


def test_a_copy_that_was_removed_is_listed_no_more(world: World) -> None:
    _, conflict = conflict_of(world)
    world.laptop.do(unlink(conflict.name, conflict.node))
    assert listed(world) == []


def test_a_copy_of_what_is_gone_is_listed_without_original(world: World) -> None:
    node, _ = conflict_of(world)
    world.laptop.do(unlink(b"f", node))
    [copy] = listed(world)
    assert copy.original is None


def test_what_was_made_anew_under_the_name_stands_for_the_original(world: World) -> None:
    node, _ = conflict_of(world)
    world.laptop.do(unlink(b"f", node))
    again = world.laptop.create(b"f")
    [copy] = listed(world)
    assert copy.original == Original(again, VersionNumber(0), [b"f"])


def test_conflicts_come_in_pages(world: World) -> None:
    node, _ = conflict_of(world)
    for text in (b"x", b"y"):
        world.desk.do(commit(node, text))
    pages, after = [], NodeId(0)
    for _ in range(3):
        page = resolving.listed(world.tx, SPACE, after, limit=1)
        pages.append((page.conflicts[0].size, page.more))
        after = page.conflicts[-1].node
    assert sorted(size for size, _ in pages) == [1, 1, 4]
    assert [more for _, more in pages] == [True, True, False]


def test_mine_becomes_a_new_version_of_the_original(world: World) -> None:
    node, conflict = conflict_of(world)
    copied = world.node(conflict.node)
    world.laptop.do(decision(conflict, Keep.MINE))
    row = world.node(node)
    assert (world.names(), row.version, row.manifest) == ([b"f"], 2, copied.manifest)
    assert (row.size, row.data_bytes, row.mtime_ns, row.ctime_ns) == (4, 4, copied.mtime_ns, LATER_NS)
    assert listed(world) == []


def test_theirs_removes_the_copy(world: World) -> None:
    node, conflict = conflict_of(world)
    before = world.node(node)
    world.laptop.do(decision(conflict, Keep.THEIRS))
    assert (world.names(), world.node(node)) == ([b"f"], before)


def test_both_leaves_an_ordinary_file(world: World) -> None:
    _, conflict = conflict_of(world)
    world.laptop.do(decision(conflict, Keep.BOTH))
    assert (world.names(), listed(world)) == ([b"f", COPY], [])
    assert world.node(conflict.node).conflict_of is None


def test_a_decision_is_told_as_a_change_of_nobodys(world: World) -> None:
    """The mount that sends it has the original's old content in its caches, like every other."""
    node, conflict = conflict_of(world)
    world.laptop.do(decision(conflict, Keep.MINE))
    [*_, notice] = feed.notices(world.tx, SPACE, world.laptop.seen).notices
    assert (notice.what, notice.origin) == ("resolve", NOBODY)
    assert Touched(node, content=True) in notice.nodes
    assert [(entry.parent, entry.name) for entry in notice.entries] == [(ROOT_NODE, COPY)]


@pytest.mark.parametrize("keep", list(Keep))
def test_a_copy_that_has_changed_is_looked_at_again(world: World, keep: Keep) -> None:
    _, conflict = conflict_of(world)
    world.desk.write(conflict.node, b"more", base=1)
    assert world.laptop.refused(decision(conflict, keep)) == "ESTALE"
    assert len(listed(world)) == 1


@pytest.mark.parametrize("keep", [Keep.MINE, Keep.THEIRS])
def test_an_original_that_has_changed_is_looked_at_again(world: World, keep: Keep) -> None:
    node, conflict = conflict_of(world)
    world.laptop.write(node, b"more", base=1)
    assert world.laptop.refused(decision(conflict, keep)) == "ESTALE"


def test_a_conflict_ends_once(world: World) -> None:
    _, conflict = conflict_of(world)
    world.laptop.do(decision(conflict, Keep.BOTH))
    assert world.desk.refused(decision(conflict, Keep.THEIRS)) == "EINVAL"
    world.laptop.do(unlink(conflict.name, conflict.node))
    assert world.desk.refused(decision(conflict, Keep.THEIRS)) == "ENOENT"


def test_what_is_no_copy_has_no_conflict_to_end(world: World) -> None:
    node, _ = conflict_of(world)
    assert world.laptop.refused(decision(Conflict(node, ROOT_NODE, b"f"), Keep.BOTH)) == "EINVAL"


def test_mine_takes_the_name_back_where_the_original_is_gone(world: World) -> None:
    folder = world.laptop.create(b"d", Kind.FOLDER)
    node, conflict = conflict_of(world, parent=folder)
    world.laptop.do(unlink(b"f", node, folder))
    world.laptop.do(rename(conflict.node, conflict.name, b"aside", parent=folder, new_parent=ROOT_NODE))
    world.laptop.do(rmdir(b"d", folder))
    world.laptop.do(decision(Conflict(conflict.node, ROOT_NODE, b"aside"), Keep.MINE, original_version=None))
    assert (world.names(), world.named(b"f", folder)) == ([b"d"], conflict.node)


def test_theirs_is_refused_where_the_original_is_gone(world: World) -> None:
    node, conflict = conflict_of(world)
    world.laptop.do(unlink(b"f", node))
    assert world.laptop.refused(decision(conflict, Keep.THEIRS, original_version=None)) == "ENOENT"
    world.laptop.do(decision(conflict, Keep.BOTH, original_version=None))
    assert world.names() == [COPY]


def test_a_copy_that_has_taken_the_name_itself_stays_there(world: World) -> None:
    node, conflict = conflict_of(world)
    world.laptop.do(unlink(b"f", node))
    world.laptop.do(rename(conflict.node, conflict.name, b"f"))
    world.laptop.do(decision(Conflict(conflict.node, ROOT_NODE, b"f"), Keep.MINE, original_version=None))
    assert (world.names(), listed(world)) == ([b"f"], [])


def test_another_name_of_the_copy_stays(world: World) -> None:
    _, conflict = conflict_of(world)
    world.laptop.do(link(conflict.node, b"kept"))
    world.laptop.do(decision(conflict, Keep.THEIRS))
    assert (world.names(), world.node(conflict.node).conflict_of) == ([b"f", b"kept"], None)


@pytest.mark.parametrize("kind", [Kind.SYMLINK, Kind.FOLDER])
def test_only_a_files_content_takes_the_place_of_anothers(world: World, kind: Kind) -> None:
    _, conflict = conflict_of(world, kind)
    assert world.laptop.refused(decision(conflict, Keep.MINE, version=0)) == "EINVAL"
    world.laptop.do(decision(conflict, Keep.THEIRS, version=0))
    assert world.names() == [b"f"]


def test_a_folder_with_something_in_it_is_not_removed(world: World) -> None:
    _, conflict = conflict_of(world, Kind.FOLDER)
    world.laptop.create(b"x", parent=conflict.node)
    assert world.laptop.refused(decision(conflict, Keep.THEIRS, version=0)) == "ENOTEMPTY"


def test_a_copy_without_content_yet_is_waited_for(world: World) -> None:
    world.laptop.write(world.laptop.create(b"f"), b"theirs")
    change: Create = clashing(world.creation(b"f"))
    conflict = world.desk.do(change).conflict
    assert conflict is not None
    assert world.laptop.refused(decision(conflict, Keep.MINE, version=0)) == "EBUSY"
