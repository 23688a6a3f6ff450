from __future__ import annotations

import pytest

from protocol.ids import Seq
from server.metadata import feed, pruning
from tests.server.metadata.world import NOW_NS, SPACE, World

OLD_NS, LIMIT_NS = NOW_NS, NOW_NS + 1


def kept(world: World) -> list[int]:
    world.check()
    return [row[0] for row in world.tx.all("SELECT seq FROM changes ORDER BY seq")]


@pytest.fixture
def ten(world: World) -> World:
    """Changes 1 to 10; the last three are young."""
    for number in range(10):
        world.now_ns = OLD_NS if number < 7 else LIMIT_NS
        world.laptop.create(b"%d" % number)
    return world


def test_old_changes_go_and_young_ones_stay(ten: World) -> None:
    assert pruning.prune(ten.tx, SPACE, LIMIT_NS, keep=0) == 7
    assert kept(ten) == [8, 9, 10]
    assert pruning.prune(ten.tx, SPACE, LIMIT_NS, keep=0) == 0


def test_the_last_changes_stay_whatever_their_age(ten: World) -> None:
    assert pruning.prune(ten.tx, SPACE, LIMIT_NS, keep=5) == 5
    assert kept(ten) == [6, 7, 8, 9, 10]
    assert pruning.prune(ten.tx, SPACE, LIMIT_NS) == 0


def test_few_go_at_once(ten: World) -> None:
    assert [pruning.prune(ten.tx, SPACE, LIMIT_NS, keep=0, most=4) for _ in range(3)] == [4, 3, 0]


def test_an_old_change_after_a_young_one_leaves_no_gap(world: World) -> None:
    """The server's clock was set back."""
    for at_ns in (OLD_NS, LIMIT_NS, OLD_NS):
        world.now_ns = at_ns
        world.laptop.create(b"%d at %d" % (world.head(), at_ns))
    assert pruning.prune(world.tx, SPACE, LIMIT_NS, keep=0) == 1
    assert kept(world) == [2, 3]


def test_an_empty_log_stays_one(world: World) -> None:
    assert pruning.prune(world.tx, SPACE, LIMIT_NS, keep=0) == 0


def test_a_log_of_which_nothing_is_left_goes_on(world: World) -> None:
    world.laptop.create(b"a")
    pruning.prune(world.tx, SPACE, LIMIT_NS, keep=0)
    assert feed.notices(world.tx, SPACE, Seq(0)) == feed.Notices(Seq(1), reset=True)
    assert feed.notices(world.tx, SPACE, Seq(1)) == feed.Notices(Seq(1))
    world.laptop.create(b"b")
    assert [notice.seq for notice in feed.notices(world.tx, SPACE, Seq(1)).notices] == [2]


def test_who_was_away_for_longer_is_told_to_begin_anew(ten: World) -> None:
    pruning.prune(ten.tx, SPACE, LIMIT_NS, keep=0)
    for ask in (feed.notices, feed.news):
        assert ask(ten.tx, SPACE, Seq(6)) == feed.Notices(Seq(10), reset=True)
        assert [notice.seq for notice in ask(ten.tx, SPACE, Seq(7)).notices] == [8, 9, 10]


def test_every_workspace_is_named(world: World) -> None:
    assert pruning.workspaces(world.tx) == [SPACE]
