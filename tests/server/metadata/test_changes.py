from __future__ import annotations

import pytest

from protocol.ids import BatchId, Seq, origin_of
from protocol.messages.batches import Applied, Batch, JournalReply
from protocol.messages.nodes import Kind
from server.metadata import feed
from server.metadata.changes import OutOfOrder
from tests.server.metadata.world import NOW_NS, SPACE, World, commit, errnos, rename, unlink


def test_a_batch_is_applied_in_order_and_each_change_numbered(world: World) -> None:
    folder = world.creation(b"d", Kind.FOLDER)
    file = world.creation(b"f", parent=folder.node)
    reply = world.laptop.send(folder, file, commit(file.node, b"x"), rename(folder.node, b"d", b"e"))
    assert [answer.seq for answer in reply.answers if isinstance(answer, Applied)] == [1, 2, 3, 4]
    assert (world.names(), world.names(folder.node)) == ([b"e"], [b"f"])
    assert [notice.what for notice in reply.notices.notices] == ["create", "create", "commit", "rename"]


def test_refused_changes_leave_no_gap_and_do_not_stop_the_batch(world: World) -> None:
    reply = world.laptop.send(world.creation(b"a"), world.creation(b"a"), world.creation(b"b"))
    assert errnos(reply.answers) == ["", "EEXIST", ""]
    assert [answer.seq for answer in reply.answers if isinstance(answer, Applied)] == [1, 2]
    assert world.names() == [b"a", b"b"]


def test_a_change_refused_half_way_is_undone(world: World) -> None:
    folder, node = world.laptop.create(b"d", Kind.FOLDER), world.laptop.create(b"a")
    world.laptop.create(b"x", parent=folder)
    before = world.node(folder)
    assert world.laptop.refused(rename(folder, b"d", b"a")) == "ENOTDIR"
    assert (world.node(folder), world.head()) == (before, 3)
    assert world.named(b"a") == node


def test_a_batch_that_comes_again_is_answered_again_and_not_applied(world: World) -> None:
    changes = [world.creation(b"a"), world.creation(b"a"), world.creation(b"b")]
    batch = Batch(world.laptop.journal, 1, list(changes))
    first = world.apply(world.laptop, batch)
    assert world.apply(world.laptop, batch) == first
    assert world.head() == 2


def test_a_repeated_answer_comes_with_the_nodes_and_notices_of_now(world: World) -> None:
    change = world.creation(b"a")
    batch = Batch(world.laptop.journal, 1, [change])
    world.apply(world.laptop, batch)
    world.desk.write(change.node, b"meanwhile")
    reply = world.apply(world.laptop, batch)
    [answer] = reply.answers
    assert isinstance(answer, Applied)
    assert (answer.seq, reply.notices.seq) == (1, 2)
    assert world.node(change.node) in answer.nodes


def test_missing_blocks_and_conflicts_are_repeated_too(world: World) -> None:
    node = world.laptop.create(b"a")
    world.laptop.write(node, b"first")
    lacking = commit(node, b"absent", base=1)
    changes = [commit(node, b"second"), type(lacking)(**{**_fields(lacking), "blocks": []})]
    batch = Batch(world.desk.journal, 1, changes)
    first = world.apply(world.desk, batch)
    assert isinstance(first.answers[0], Applied)
    assert first.answers[0].conflict is not None
    assert world.apply(world.desk, batch) == first


def _fields(change: object) -> dict[str, object]:
    return {name: getattr(change, name) for name in change.__struct_fields__}  # type: ignore[attr-defined]


@pytest.mark.parametrize("first", [0, 1, 3, 5, 1 << 70])
def test_numbers_that_do_not_follow_are_out_of_order(world: World, first: int) -> None:
    world.laptop.create(b"a")
    world.laptop.send(world.creation(b"b"), world.creation(b"c"))
    with pytest.raises(OutOfOrder) as caught:
        world.apply(world.laptop, Batch(world.laptop.journal, first, [world.creation(b"x")]))
    assert caught.value.last_number == 3
    assert world.names() == [b"a", b"b", b"c"]


def test_a_batch_under_the_numbers_of_another_is_not_answered_with_what_that_got(world: World) -> None:
    world.apply(world.laptop, Batch(world.laptop.journal, 1, [world.creation(b"a")], id=BatchId(b"a killed mount's")))
    with pytest.raises(OutOfOrder):
        world.apply(
            world.laptop, Batch(world.laptop.journal, 1, [world.creation(b"b")], id=BatchId(b"its successor's "))
        )
    assert feed.last_batch(world.tx, SPACE, world.laptop.caller.device, world.laptop.journal) == JournalReply(
        1, 1, BatchId(b"a killed mount's")
    )


def test_a_journal_that_has_not_joined_sends_nothing(world: World) -> None:
    with pytest.raises(OutOfOrder):
        world.apply(world.laptop, Batch(world.desk.journal, 1, [world.creation(b"x")]))


def test_each_journal_has_its_own_numbers(world: World) -> None:
    world.laptop.create(b"a")
    world.desk.create(b"b")
    assert (world.laptop.last_number, world.desk.last_number) == (1, 1)


def test_the_reply_carries_the_changes_of_others_since(world: World) -> None:
    node = world.desk.create(b"theirs")
    world.desk.do(unlink(b"theirs", node))
    reply = world.laptop.send(world.creation(b"mine"))
    desk, laptop = origin_of(world.desk.session), origin_of(world.laptop.session)
    assert [notice.origin for notice in reply.notices.notices] == [desk, desk, laptop]
    assert reply.notices.seq == 3


def test_joining_again_goes_on_from_the_last_number(world: World) -> None:
    world.laptop.send(world.creation(b"a"), world.creation(b"b"))
    joined = feed.join(world.tx, SPACE, world.laptop.caller.device, world.laptop.journal, Seq(2), NOW_NS)
    assert joined == JournalReply(first_number=1, last_number=2)


def test_joining_again_tells_the_batch_whose_answers_are_kept(world: World) -> None:
    world.laptop.create(b"a")
    world.laptop.send(world.creation(b"b"), world.creation(b"c"))
    joined = feed.join(world.tx, SPACE, world.laptop.caller.device, world.laptop.journal, Seq(3), NOW_NS)
    assert joined == JournalReply(first_number=2, last_number=3)
