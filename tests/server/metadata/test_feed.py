from __future__ import annotations

from protocol.ids import JournalId, Seq
from protocol.messages.batches import JournalReply
from protocol.messages.notices import Notices
from server.metadata import accounts, feed
from tests.server.metadata.world import NOW_NS, SPACE, World


def cursor(world: World) -> int:
    row = world.tx.one("SELECT acknowledged FROM journals WHERE journal = ?", (world.laptop.journal,))
    assert row is not None
    return int(row[0])


def test_an_empty_log_has_no_notices(world: World) -> None:
    found = feed.notices(world.tx, SPACE, Seq(0))
    assert (found.seq, found.notices, found.reset) == (0, [], False)


def test_notices_come_in_pages_that_say_where_to_go_on(world: World) -> None:
    for name in (b"a", b"b", b"c"):
        world.laptop.create(name)
    first = feed.notices(world.tx, SPACE, Seq(0), limit=2)
    assert ([notice.seq for notice in first.notices], first.seq) == ([1, 2], 2)
    second = feed.notices(world.tx, SPACE, first.seq, limit=2)
    assert ([notice.seq for notice in second.notices], second.seq) == ([3], 3)
    assert feed.notices(world.tx, SPACE, second.seq, limit=2).notices == []


def test_a_log_that_does_not_reach_back_resets(world: World) -> None:
    for name in (b"a", b"b", b"c"):
        world.laptop.create(name)
    world.tx.execute("DELETE FROM changes WHERE seq < 3")
    assert feed.notices(world.tx, SPACE, Seq(1)) == Notices(Seq(3), reset=True)
    assert [notice.seq for notice in feed.notices(world.tx, SPACE, Seq(2)).notices] == [3]
    world.tx.execute("INSERT INTO changes SELECT workspace, 1, 0, '', notice FROM changes")
    world.tx.execute("INSERT INTO changes SELECT workspace, 2, 0, '', notice FROM changes WHERE seq = 3")


def test_a_mount_that_is_ahead_of_the_log_is_reset(world: World) -> None:
    world.laptop.create(b"a")
    assert feed.notices(world.tx, SPACE, Seq(1 << 80)) == Notices(Seq(1), reset=True)


def test_news_go_up_to_the_head_in_one_piece(world: World) -> None:
    for name in (b"a", b"b", b"c"):
        world.laptop.create(name)
    found = feed.news(world.tx, SPACE, Seq(1))
    assert ([notice.seq for notice in found.notices], found.seq, found.reset) == ([2, 3], 3, False)


def test_news_for_who_applies_none_say_where_the_log_stands(world: World) -> None:
    world.laptop.create(b"a")
    assert feed.news(world.tx, SPACE, None) == Notices(Seq(1))


def test_more_news_than_a_reply_may_carry_are_a_reset(world: World) -> None:
    for name in (b"a", b"b", b"c"):
        world.laptop.create(name)
    assert feed.news(world.tx, SPACE, Seq(0), most=2) == Notices(Seq(3), reset=True)
    assert [notice.seq for notice in feed.news(world.tx, SPACE, Seq(1), most=2).notices] == [2, 3]


def test_news_for_who_is_ahead_of_the_log_are_a_reset(world: World) -> None:
    world.laptop.create(b"a")
    assert feed.news(world.tx, SPACE, Seq(2)) == Notices(Seq(1), reset=True)


def test_a_journal_begins_with_number_one(world: World) -> None:
    device = world.laptop.caller.device
    joined = feed.join(world.tx, SPACE, device, JournalId(b"new journal 0000"), Seq(0), NOW_NS)
    assert joined == JournalReply(first_number=1, last_number=0)


def test_a_mount_that_joins_has_what_it_says(world: World) -> None:
    for name in (b"a", b"b"):
        world.desk.create(name)
    feed.join(world.tx, SPACE, world.laptop.caller.device, world.laptop.journal, Seq(2), NOW_NS)
    assert cursor(world) == 2
    feed.join(world.tx, SPACE, world.laptop.caller.device, world.laptop.journal, Seq(1), NOW_NS)
    assert cursor(world) == 1


def test_the_cursor_moves_forward_alone_and_not_past_the_head(world: World) -> None:
    for name in (b"a", b"b", b"c"):
        world.desk.create(name)
    device, journal = world.laptop.caller.device, world.laptop.journal
    feed.acknowledge(world.tx, SPACE, device, journal, Seq(2))
    assert cursor(world) == 2
    feed.acknowledge(world.tx, SPACE, device, journal, Seq(1))
    assert cursor(world) == 2
    feed.acknowledge(world.tx, SPACE, device, journal, Seq(1 << 80))
    assert cursor(world) == 3


def test_a_journal_goes_to_another_device_of_the_same_user(world: World) -> None:
    world.laptop.create(b"a")
    joined = feed.join(world.tx, SPACE, world.desk.caller.device, world.laptop.journal, Seq(1), NOW_NS)
    assert joined == JournalReply(1, 1)
    back = feed.join(world.tx, SPACE, world.laptop.caller.device, world.laptop.journal, Seq(1), NOW_NS)
    assert back == JournalReply(1, 1)


def test_a_journal_does_not_go_to_another_user(world: World) -> None:
    world.laptop.create(b"a")
    user = accounts.add_user(world.tx, "bob", "hash", admin=False, now_ns=NOW_NS)
    device = accounts.login_device(world.tx, user.id, "laptop", b"of bob", NOW_NS)
    assert feed.join(world.tx, SPACE, device, world.laptop.journal, Seq(1), NOW_NS) == JournalReply(1, 0)
    assert feed.last_batch(world.tx, SPACE, world.laptop.caller.device, world.laptop.journal) == JournalReply(1, 1)
