"""Batches and the long poll, by HTTP."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
import trio
import trio.testing

from protocol.ids import JournalId, NodeId, Seq, SessionId, origin_of
from protocol.limits import BATCH_MAX_CHANGES, CHANGES_BODY_MAX_BYTES, CHANGES_PAGE, INLINE_SEALED_BYTES
from protocol.messages.accounts import Member, Role
from protocol.messages.batches import Applied, Batch, BatchReply, JournalReply, MissingBlocks, Refused
from protocol.messages.blocks import SealedBlock
from protocol.messages.changes import SetAttributes
from protocol.messages.notices import Notices
from protocol.messages.sessions import SESSION_HEADER, Join, JoinReply
from server.app import create_app
from tests.server.world import NEARLY_FULL_BYTES, PART_BYTES, Client, World, commit, create, happened, problem

JOURNAL = JournalId(b"j" * 16)


@pytest.fixture
async def writer(ada: Client) -> Client:
    """Ada's device when it holds no lease: nobody waits for it."""
    return await ada.leave()


async def test_a_small_file_travels_in_its_commit(ada: Client) -> None:
    reply = await ada.send(create(b"f", 100), commit(ada, 100, b"hello"))
    assert all(isinstance(answer, Applied) for answer in reply.answers)
    block, sealed = ada.sealed(b"hello")
    assert len((await ada.call("GET", f"./blocks/{block.hex()}")).content) == len(sealed)


async def test_a_batch_sent_again_is_answered_as_before(ada: Client) -> None:
    batch = ada.batch(create(b"f", 100))
    first = await ada.ask(BatchReply, "POST", "./changes", batch)
    again = await ada.ask(BatchReply, "POST", "./changes", batch)
    assert first.answers == again.answers
    assert again.notices.seq == 1


async def test_a_batch_sent_again_is_answered_as_before_though_its_user_may_not_change_anything_any_more(
    world: World, writer: Client
) -> None:
    bob = await (await world.member(writer, "bob", Role.EDITOR)).join()
    batch = bob.batch(create(b"f", 100))
    first = await bob.ask(BatchReply, "POST", "./changes", batch)
    await writer.call("POST", "./members", Member("bob", Role.VIEWER))
    again = await bob.ask(BatchReply, "POST", "./changes", batch)
    assert first.answers == again.answers


async def test_a_batch_sent_again_is_answered_as_before_though_the_disk_is_full(world: World, ada: Client) -> None:
    batch = ada.batch(create(b"f", 100), commit(ada, 100, bytes(range(256))))
    first = await ada.ask(BatchReply, "POST", "./changes", batch)
    world.free.data_bytes = NEARLY_FULL_BYTES
    again = await ada.ask(BatchReply, "POST", "./changes", batch)
    assert first.answers == again.answers


async def test_a_batch_out_of_order_is_refused(ada: Client) -> None:
    ada.next_number = 5
    assert problem(await ada.call("POST", "./changes", ada.batch(create(b"f", 100)))) == (409, "out-of-order")


async def test_a_change_that_a_rule_refuses_is_an_answer(ada: Client) -> None:
    reply = await ada.send(create(b"f", 100), create(b"f", 101))
    assert [type(answer) for answer in reply.answers] == [Applied, Refused]


async def test_a_manifest_of_unknown_blocks_is_answered_with_them(ada: Client) -> None:
    change = msgspec.structs.replace(commit(ada, 100, b"hello"), blocks=[])
    reply = await ada.send(create(b"f", 100), change)
    assert isinstance(reply.answers[1], MissingBlocks)


async def test_a_manifest_of_wrong_lengths_is_refused(ada: Client) -> None:
    change = commit(ada, 100, b"hello")
    for wrong in (
        msgspec.structs.replace(change, size=4),
        msgspec.structs.replace(change, manifest=b"\x01not pieces"),
        msgspec.structs.replace(change, manifest=change.manifest[:-1] + b"\x06", size=6),
    ):
        answer = await ada.call("POST", "./changes", ada.batch(create(b"f", 100), wrong))
        assert problem(answer) == (422, "bad-manifest")


async def test_an_inline_block_that_is_not_what_it_claims_is_refused(ada: Client) -> None:
    _, other = ada.sealed(b"other bytes")
    for sealed in (b"", b"garbage" * 10, other):
        answer = await ada.call(
            "POST", "./changes", ada.batch(create(b"f", 100), commit(ada, 100, b"x", sealed=sealed))
        )
        assert problem(answer) == (422, "bad-block")


async def test_a_large_inline_block_is_refused(ada: Client) -> None:
    change = commit(ada, 100, b"x", sealed=bytes(INLINE_SEALED_BYTES + 1))
    assert problem(await ada.call("POST", "./changes", ada.batch(change))) == (422, "bad-block")


async def test_many_inline_blocks_are_too_much(ada: Client) -> None:
    block = SealedBlock(ada.sealed(b"x")[0], bytes(INLINE_SEALED_BYTES))
    change = msgspec.structs.replace(commit(ada, 100, b"x"), blocks=[block] * 65)
    assert problem(await ada.call("POST", "./changes", ada.batch(change))) == (413, "body-too-large")


async def test_a_stranger_learns_nothing_from_how_bad_its_blocks_are(world: World, ada: Client) -> None:
    await ada.send(create(b"f", 100), commit(ada, 100, b"hello"))
    eve = await world.user("eve")
    bad = ada.batch(commit(ada, 100, b"x", sealed=b"garbage"))
    for workspace in (ada.workspace, "0" * 32):
        answer = await eve.call("POST", f"/workspaces/{workspace}/changes", bad)
        assert problem(answer) == (404, "not-found")


async def test_a_viewer_changes_nothing(world: World, ada: Client) -> None:
    viewer = await world.member(ada, "vic", Role.VIEWER)
    await viewer.join()
    assert problem(await viewer.call("POST", "./changes", viewer.batch(create(b"f", 100)))) == (403, "forbidden")
    bad = viewer.batch(commit(viewer, 100, b"x"))
    assert problem(await viewer.call("POST", "./changes", bad)) == (403, "forbidden")


async def test_over_quota_nothing_is_changed(world: World) -> None:
    small = await (await world.with_quota("sam", 100)).join()
    batch = small.batch(create(b"f", 100), commit(small, 100, bytes(range(256)) * 4))
    assert problem(await small.call("POST", "./changes", batch)) == (507, "quota")
    assert (await small.poll()).notices.seq == 0


async def test_a_full_disk_refuses_content_but_not_a_delete(world: World, ada: Client) -> None:
    await ada.send(create(b"f", 100))
    world.free.data_bytes = NEARLY_FULL_BYTES
    batch = ada.batch(commit(ada, 100, bytes(range(256))))
    assert problem(await ada.call("POST", "./changes", batch)) == (507, "no-space")
    await ada.send(create(b"g", 101))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xc1",
        b"not a message",
        msgspec.msgpack.encode({"journal": JOURNAL, "first": "one", "changes": []}),
        msgspec.msgpack.encode({"journal": JOURNAL, "first": 1, "changes": [{"change": "explode"}]}),
        msgspec.msgpack.encode(Batch(JOURNAL, 1, [])),
        msgspec.msgpack.encode(Batch(JournalId(b"short"), 1, [create(b"f", 100)])),
        msgspec.msgpack.encode(Batch(JOURNAL, 1, [create(b"f", 100)] * (BATCH_MAX_CHANGES + 1))),
    ],
)
async def test_malformed_batches(ada: Client, body: bytes) -> None:
    headers = {"Authorization": f"Bearer {ada.token}", "Content-Type": "application/msgpack"}
    answer = await ada.http.post(f"/v1/workspaces/{ada.workspace}/changes", headers=headers, content=body)
    assert problem(answer) == (400, "bad-request")


async def test_json_works_as_well(writer: Client) -> None:
    headers = {"Authorization": f"Bearer {writer.token}", "Content-Type": "application/json"}
    path = f"/v1/workspaces/{writer.workspace}/changes"
    good = await writer.http.post(path, headers=headers, content=msgspec.json.encode(writer.batch(create(b"f", 100))))
    assert good.json()["answers"][0]["answer"] == "applied"
    assert problem(await writer.http.post(path, headers=headers, content=b"{")) == (400, "bad-request")


async def test_too_large_a_batch_is_not_read(world: World, ada: Client) -> None:
    declared = {"Content-Length": str(CHANGES_BODY_MAX_BYTES + 1)}
    assert await happened(world, ada, "POST", "./changes", declared) == ["answered 413"]
    undeclared = {"Transfer-Encoding": "chunked"}
    taken = CHANGES_BODY_MAX_BYTES // PART_BYTES + 1
    assert await happened(world, ada, "POST", "./changes", undeclared) == ["took a part"] * taken + ["answered 413"]


async def test_a_strangers_large_batch_is_not_read(world: World, ada: Client) -> None:
    ada.token = "made up"
    for headers in ({"Content-Length": "1000000"}, {"Transfer-Encoding": "chunked"}):
        assert await happened(world, ada, "POST", "./changes", headers) == ["answered 401"]


async def test_numbers_past_what_the_database_holds_are_no_bug_of_ours(ada: Client) -> None:
    [answer] = (await ada.send(SetAttributes((1 << 64) - 1, NodeId(1), uid=(1 << 64) - 1))).answers
    assert isinstance(answer, Refused)


# ── the long poll ──


async def test_a_poll_returns_at_once_where_there_is_something(writer: Client, autojump_clock: object) -> None:
    await writer.send(create(b"f", 100))
    began = trio.current_time()
    found = await writer.follow(0, 50)
    assert (found.seq, [notice.what for notice in found.notices]) == (1, ["create"])
    assert trio.current_time() == began


async def test_a_poll_waits_its_time(writer: Client, autojump_clock: object) -> None:
    began = trio.current_time()
    assert (await writer.follow(0, 50)) == Notices(Seq(0))
    assert trio.current_time() - began == pytest.approx(50)


async def test_no_poll_waits_longer_than_a_minute(writer: Client, autojump_clock: object) -> None:
    began = trio.current_time()
    await writer.follow(0, 1e9)
    assert trio.current_time() - began == pytest.approx(60)


async def test_a_poll_is_woken_by_a_change(writer: Client, autojump_clock: object) -> None:
    began, found = trio.current_time(), Notices(Seq(0))

    async def poll() -> None:
        nonlocal found
        found = await writer.follow(0, 50)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(poll)
        await trio.sleep(1)
        await writer.send(create(b"f", 100))
    assert found.seq == 1
    assert trio.current_time() - began == pytest.approx(1)


async def test_no_change_is_missed_between_two_polls(writer: Client, autojump_clock: object) -> None:
    seen: list[int] = []

    async def follow() -> None:
        while len(seen) < 30:
            found = await writer.follow(seen[-1] if seen else 0, 50)
            seen.extend(notice.seq for notice in found.notices)

    began = trio.current_time()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(follow)
        for number in range(30):
            await writer.send(create(b"%d" % number, 100 + number))
    assert seen == list(range(1, 31))
    assert trio.current_time() == began


async def test_a_mounts_own_changes_do_not_end_its_poll(ada: Client, autojump_clock: object) -> None:
    began = trio.current_time()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(ada.poll, 50)
        await trio.sleep(1)
        await ada.send(create(b"f", 100))
    assert trio.current_time() - began == pytest.approx(50)


async def test_own_changes_that_it_has_not_applied_do_not_end_its_poll(ada: Client, autojump_clock: object) -> None:
    await ada.send(create(b"f", 100))
    began = trio.current_time()
    assert (await ada.poll(50)).notices.seq == 1
    assert trio.current_time() - began == pytest.approx(50)


async def test_a_foreign_change_behind_a_page_of_own_ones_ends_the_poll(
    world: World, ada: Client, autojump_clock: object
) -> None:
    bob = await (await (await world.member(ada, "bob", Role.EDITOR)).join()).leave()
    for batch in range(CHANGES_PAGE // 200):
        await ada.send(*(create(b"%d" % n, 1000 + n) for n in range(200 * batch, 200 * batch + 200)))
    began = trio.current_time()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(bob.send, create(b"theirs", 10))
        await trio.sleep(1)
        found = (await ada.poll(50)).notices
        assert found.seq == CHANGES_PAGE + 1
        assert found.notices[-1].origin == origin_of(bob.session)
        ada.absorb(found)
        await ada.poll()
    assert trio.current_time() - began == pytest.approx(1)


async def test_changes_of_another_workspace_wake_nobody(world: World, writer: Client, autojump_clock: object) -> None:
    bob = await (await world.user("bob")).join()
    began = trio.current_time()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(writer.follow, 0, 50)
        await trio.sleep(1)
        await bob.send(create(b"f", 100))
    assert trio.current_time() - began == pytest.approx(50)


async def test_polls_return_when_the_server_stops(world: World, writer: Client, autojump_clock: object) -> None:
    began = trio.current_time()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(writer.follow, 0, 50)
        await trio.sleep(1)
        world.service.notifier.stop()
    await writer.follow(0, 50)
    assert trio.current_time() - began == pytest.approx(1)


async def test_a_poll_of_one_who_is_no_longer_a_member_ends_with_the_next_change(
    world: World, writer: Client, autojump_clock: object
) -> None:
    bob = await world.member(writer, "bob", Role.VIEWER)
    answers = []

    async def poll() -> None:
        answers.append(await bob.call("GET", "./changes?after=0&wait_s=50"))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(poll)
        await trio.sleep(1)
        await writer.call("DELETE", "./members/bob")
        await writer.send(create(b"f", 100))
    assert problem(answers[0]) == (404, "not-found")


async def test_a_poll_ends_when_its_client_goes_away(world: World, writer: Client, autojump_clock: object) -> None:
    came, gone = trio.open_memory_channel[dict[str, Any]](2)
    came.send_nowait({"type": "http.request", "body": b"", "more_body": False})
    path = f"/v1/workspaces/{writer.workspace}/changes".encode()
    scope = {
        "type": "http",
        "method": "GET",
        "path": path.decode(),
        "raw_path": path,
        "query_string": b"after=0&wait_s=50",
        "headers": [(b"authorization", f"Bearer {writer.token}".encode())],
        "client": ("127.0.0.1", 1),
    }

    async def send(message: Any) -> None:
        pass

    began = trio.current_time()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(create_app(world.service), scope, gone.receive, send)
        await trio.testing.wait_all_tasks_blocked()
        assert world.service.notifier.waiting(writer.workspace) == 1
        came.send_nowait({"type": "http.disconnect"})
    assert world.service.notifier.waiting(writer.workspace) == 0
    assert trio.current_time() == began


@pytest.mark.parametrize("query", ["after=x", "after=-1", "wait_s=x", "wait_s=-1", "wait_s=nan", "wait_s=inf"])
async def test_malformed_polls(writer: Client, query: str) -> None:
    assert problem(await writer.call("GET", f"./changes?{query}")) == (400, "bad-request")


@pytest.mark.parametrize(
    "header", ["", "xyz 0 0", "ab 0 0", f"{'A' * 32} 0 0", f"{'a' * 32}", f"{'a' * 32} 0", f"{'a' * 32} -1 0",
               f"{'a' * 32} 0 0 0", f"{'a' * 32} 0 {1 << 63}"],
)  # fmt: skip
async def test_malformed_sessions(ada: Client, header: str) -> None:
    headers = {"Authorization": f"Bearer {ada.token}", SESSION_HEADER: header}
    for path in ("changes", "nodes/1"):
        answer = await ada.http.get(f"/v1/workspaces/{ada.workspace}/{path}", headers=headers)
        assert problem(answer) == (400, "bad-request")


async def test_a_batch_of_a_mount_that_was_killed_is_refused_once_its_successor_has_the_journal(
    world: World, ada: Client
) -> None:
    late = msgspec.structs.replace(ada.batch(create(b"late", 100)), session=SessionId(b"killed before  !"))
    successor = SessionId(b"joined since   !")
    await ada.ask(JoinReply, "POST", "./join", Join(successor, ada.journal))
    assert problem(await ada.call("POST", "./changes", late)) == (409, "out-of-order")
    mine = msgspec.structs.replace(ada.batch(create(b"mine", 101)), session=successor)
    reply = await ada.ask(BatchReply, "POST", "./changes", mine)
    assert [type(answer) for answer in reply.answers] == [Applied]


async def test_who_begins_to_send_what_it_did_while_away_takes_its_journal(world: World, ada: Client) -> None:
    await ada.join()
    late = msgspec.structs.replace(ada.batch(create(b"late", 100)), session=ada.session)
    ada.session = SessionId(b"away until now !")
    reply = await ada.ask(JournalReply, "POST", f"./journals/{ada.journal.hex()}")
    assert (reply.first_number, reply.last_number) == (1, 0)
    assert problem(await ada.call("POST", "./changes", late)) == (409, "out-of-order")


async def test_who_leaves_has_its_cursor_written_down(world: World, ada: Client) -> None:
    await ada.join()
    reply = await ada.send(create(b"f", 100))
    ada.absorb(reply.notices)
    await ada.leave()
    rows = await world.metadata.read(lambda tx: tx.all("SELECT DISTINCT acknowledged FROM journals"))
    assert rows == [(reply.notices.seq,)]


async def test_a_leave_says_of_which_session(writer: Client) -> None:
    assert problem(await writer.call("POST", "./leave")) == (400, "bad-request")


async def test_a_join_of_an_odd_journal_or_session_is_malformed(ada: Client) -> None:
    for join in (Join(ada.session, JournalId(b"short")), Join(SessionId(b"short"), ada.journal)):
        assert problem(await ada.call("POST", "./join", join)) == (400, "bad-request")


async def test_others_are_told_of_a_change_and_not_of_the_session_that_sent_it(ada: Client) -> None:
    """Who knows a session can acknowledge for it, and have a mount go on showing what is outdated."""
    await ada.send(create(b"f", 100))
    answer = await ada.call("GET", "./changes?after=0&wait_s=0")
    assert origin_of(ada.session) in answer.content
    assert ada.session not in answer.content
