"""The cache of names and nodes: what it keeps of replies and drops for changes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from backend.tree import ABSENT, ABSENT_MAX, REMOVED_MAX, Outdated, Tree
from protocol.ids import NodeId, OriginId, Seq
from protocol.messages.nodes import Kind, Node
from protocol.messages.notices import Notice, Notices, Touched, TouchedEntry
from protocol.messages.tree import Entry

MINE, OTHER = OriginId(b"m" * 16), OriginId(b"o" * 16)
ROOT, FILE = NodeId(1), NodeId(7)


def node(identity: int, size: int = 0) -> Node:
    return Node(NodeId(identity), Kind.FILE, 0o644, 0, 0, 1, 0, 0, 0, size=size)


def touching(seq: int, nodes: dict[int, bool], names: tuple[bytes, ...] = (), origin: OriginId = OTHER) -> Notices:
    notice = Notice(
        seq=Seq(seq),
        what="commit",
        origin=origin,
        nodes=[Touched(NodeId(node), content) for node, content in nodes.items()],
        entries=[TouchedEntry(ROOT, name) for name in names],
    )
    return Notices(Seq(seq), [notice])


@pytest.fixture
def tree() -> Tree:
    return Tree(Seq(10))


def test_a_name_is_unknown_until_it_was_asked_for(tree: Tree) -> None:
    assert tree.lookup(ROOT, b"a") is None
    tree.keep_name(ROOT, b"a", FILE, Seq(10))
    assert tree.lookup(ROOT, b"a") == FILE
    assert tree.lookup(ROOT, b"b") is None


def test_absence_is_learnt_from_a_look_up(tree: Tree) -> None:
    tree.keep_name(ROOT, b"a", ABSENT, Seq(10))
    assert tree.lookup(ROOT, b"a") is ABSENT


def test_absence_is_learnt_from_a_complete_listing_and_not_from_a_page(tree: Tree) -> None:
    tree.keep_page(ROOT, [Entry(b"a", node(7))], Seq(10))
    assert tree.lookup(ROOT, b"b") is None
    tree.keep_listing(ROOT, [Entry(b"a", node(7))], Seq(10))
    assert tree.lookup(ROOT, b"b") is ABSENT
    assert tree.listing(ROOT) == [(b"a", FILE)]


def test_removed_nodes_are_kept_up_to_a_bound_and_the_longest_removed_go_first(tree: Tree) -> None:
    for number in range(REMOVED_MAX + 100):
        tree.keep_node(replace(node(1_000 + number), nlink=0), Seq(10))
    assert tree.node(NodeId(1_099)) is None
    assert tree.node(NodeId(1_100)) is not None
    assert len(tree) == REMOVED_MAX


def test_a_removed_folder_goes_with_what_was_known_of_it(tree: Tree) -> None:
    for number in range(REMOVED_MAX + 100):
        folder = NodeId(1_000 + number)
        tree.keep_listing(folder, [], Seq(10))
        tree.keep_name(folder, b"absent", ABSENT, Seq(10))
        tree.keep_node(replace(node(folder), kind=Kind.FOLDER, nlink=0), Seq(10))
    assert not tree.knows_some_of(NodeId(1_000))
    assert len(tree) == 2 * REMOVED_MAX


def test_what_came_back_stays_known(tree: Tree) -> None:
    tree.keep_node(replace(node(7), nlink=0), Seq(10))
    tree.keep_node(node(7), Seq(11))
    for number in range(REMOVED_MAX):
        tree.keep_node(replace(node(1_000 + number), nlink=0), Seq(11))
    assert tree.node(FILE) is not None


@pytest.mark.parametrize("complete", [True, False])
def test_absent_names_are_kept_up_to_a_bound(tree: Tree, complete: bool) -> None:
    if complete:
        tree.keep_listing(ROOT, [], Seq(10))
    for number in range(ABSENT_MAX + 100):
        tree.keep_name(ROOT, b"%d" % number, ABSENT, Seq(10))
    assert len(tree) == ABSENT_MAX
    assert tree.lookup(ROOT, b"0") is (ABSENT if complete else None)
    assert tree.lookup(ROOT, b"%d" % ABSENT_MAX) is ABSENT
    tree.check()


def test_a_change_drops_what_it_outdates(tree: Tree) -> None:
    tree.keep_listing(ROOT, [Entry(b"a", node(7)), Entry(b"b", node(8))], Seq(10))
    outdated = tree.apply(touching(11, {7: True}, (b"a",)), MINE)
    assert tree.applied == 11
    assert tree.node(FILE) is None
    assert tree.lookup(ROOT, b"a") is None
    assert tree.lookup(ROOT, b"b") == 8
    assert tree.listing(ROOT) is None
    assert tree.unknown_names(ROOT) == [b"a"]
    assert outdated.contents == {FILE}
    assert outdated.names


def test_a_change_of_this_mounts_own_outdates_no_content(tree: Tree) -> None:
    """Its open files have it already: they keep their inode."""
    tree.keep_node(node(7), Seq(10))
    tree.keep_name(ROOT, b"a", FILE, Seq(10))
    outdated = tree.apply(touching(11, {7: True}, (b"a",), MINE), MINE)
    assert outdated == Outdated(attributes=frozenset({FILE}), names=True)
    assert tree.node(FILE) is None
    assert tree.lookup(ROOT, b"a") is None


def test_news_without_a_change_move_the_number_on(tree: Tree) -> None:
    assert not tree.apply(Notices(Seq(12)), MINE)
    assert tree.applied == 12


def test_news_that_come_late_move_nothing_back(tree: Tree) -> None:
    tree.apply(Notices(Seq(12)), MINE)
    assert not tree.apply(touching(11, {7: True}, (b"a",)), MINE)
    assert tree.applied == 12
    tree.check()


def test_a_tree_that_begins_anew_knows_nothing_and_keeps_no_older_reply(tree: Tree) -> None:
    tree.keep_listing(ROOT, [Entry(b"a", node(7))], Seq(10))
    tree.begin(Seq(20))
    assert tree.applied == 20
    assert tree.lookup(ROOT, b"a") is None
    tree.keep_node(node(7), Seq(19))
    assert tree.node(FILE) is None


def test_what_two_sets_of_changes_outdated_is_outdated_together() -> None:
    one = Outdated(attributes=frozenset({FILE}), names=True)
    other = Outdated(contents=frozenset({ROOT}), everything=True)
    assert Outdated.all_of([one, other]) == Outdated(frozenset({FILE}), frozenset({ROOT}), names=True, everything=True)
    assert not Outdated.all_of([])
    assert not Outdated.all_of([Outdated(), Outdated()])


def test_a_change_is_applied_once(tree: Tree) -> None:
    tree.apply(touching(11, {7: False}), MINE)
    tree.keep_node(node(7), Seq(11))
    assert not tree.apply(touching(11, {7: False}), MINE)
    assert tree.node(FILE) is not None


def test_a_reply_that_a_notice_overtook_is_not_kept(tree: Tree) -> None:
    tree.apply(touching(11, {7: True}, (b"a",)), MINE)
    tree.keep_node(node(7), Seq(10))
    tree.keep_name(ROOT, b"a", FILE, Seq(10))
    assert tree.node(FILE) is None
    assert tree.lookup(ROOT, b"a") is None


def test_a_listing_that_a_notice_overtook_leaves_that_name_unknown(tree: Tree) -> None:
    tree.apply(touching(11, {7: True}, (b"a",)), MINE)
    tree.keep_listing(ROOT, [Entry(b"b", node(8))], Seq(10))
    assert tree.lookup(ROOT, b"a") is None
    assert tree.lookup(ROOT, b"c") is ABSENT


def test_a_newer_row_is_not_replaced_by_an_older_reply(tree: Tree) -> None:
    tree.keep_node(node(7, size=2), Seq(12))
    tree.keep_node(node(7, size=1), Seq(11))
    kept = tree.node(FILE)
    assert kept is not None
    assert kept.size == 2


def test_a_reset_drops_everything_and_older_replies_are_not_kept(tree: Tree) -> None:
    tree.keep_listing(ROOT, [Entry(b"a", node(7))], Seq(10))
    assert tree.apply(Notices(Seq(50), reset=True), MINE).everything
    assert tree.applied == 50
    assert tree.node(FILE) is None
    tree.keep_node(node(7), Seq(49))
    assert tree.node(FILE) is None


def test_folders_used_least_recently_go_first() -> None:
    tree = Tree(Seq(0), nodes_max=2)
    for folder in (1, 2, 3):
        tree.keep_listing(NodeId(folder), [Entry(b"a", node(folder * 10))], Seq(0))
    assert tree.listing(NodeId(1)) is None
    assert tree.listing(NodeId(3)) == [(b"a", 30)]


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("change"), st.integers(5, 8), st.sampled_from([b"a", b"b"])),
            st.tuples(st.just("name"), st.integers(5, 8), st.sampled_from([b"a", b"b"]), st.integers(0, 3)),
            st.tuples(st.just("list"), st.integers(0, 3)),
        ),
        max_size=40,
    )
)
def test_what_is_kept_is_never_older_than_a_change_that_touched_it(steps: list[tuple[object, ...]]) -> None:
    """Against a model of the server's history: each cached name means what it meant after the last applied change."""
    tree, seq = Tree(Seq(0)), 0
    history: list[dict[bytes, int]] = [{}]
    for step in steps:
        match step:
            case ("change", int(identity), bytes(name)):
                seq += 1
                history.append({**history[-1], name: identity})
                tree.apply(touching(seq, {identity: False}, (name,)), MINE)
            case ("name", _, bytes(name), int(age)):
                at = max(0, seq - age)
                meaning = history[at].get(name)
                tree.keep_name(ROOT, name, ABSENT if meaning is None else NodeId(meaning), Seq(at))
            case ("list", int(age)):
                at = max(0, seq - age)
                entries = [Entry(name, node(identity)) for name, identity in sorted(history[at].items())]
                tree.keep_listing(ROOT, entries, Seq(at))
        tree.check()
        for name in (b"a", b"b", b"c"):
            known = tree.lookup(ROOT, name)
            assert known is None or known == history[-1].get(name, ABSENT)
