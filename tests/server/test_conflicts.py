"""The list of conflicts, by HTTP."""

from __future__ import annotations

import pytest

from protocol.messages.accounts import Role
from protocol.messages.conflicts import ConflictCopy, ConflictsReply, Keep, Resolution
from protocol.messages.tree import ListingReply
from server.metadata import sessions
from tests.server.world import Client, World, commit, create, problem


async def test_a_conflict_is_listed_to_every_member(world: World, ada: Client) -> None:
    [row] = await world.metadata.read(sessions.all_of)
    world.service.leases.leave(ada.workspace, row.session)  # Nobody waits for it.
    await ada.send(create(b"f", 100), commit(ada, 100, b"theirs"), commit(ada, 100, b"and more", base=1))
    await ada.send(commit(ada, 100, b"mine", base=1))
    viewer = await world.member(ada, "bob", Role.VIEWER)
    for client in (ada, viewer):
        reply = await client.ask(ConflictsReply, "GET", "./conflicts")
        [copy] = reply.conflicts
        assert (copy.device, copy.size, reply.more, reply.notices.seq) == ("adas laptop", 4, False, 4)
        assert copy.original is not None
        assert (copy.original.node, copy.original.path) == (100, [b"f"])
        assert (await client.ask(ConflictsReply, "GET", f"./conflicts?after={copy.node}&limit=1")).conflicts == []


async def test_strangers_are_told_of_no_conflicts(world: World, ada: Client) -> None:
    bob = await world.user("bob")
    bob.workspace = ada.workspace
    assert problem(await bob.call("GET", "./conflicts"))[0] == 404


async def _conflict(ada: Client) -> ConflictCopy:
    """Version 2 of /f is 8 bytes; the copy has 4."""
    await ada.leave()
    await ada.send(create(b"f", 100), commit(ada, 100, b"theirs"), commit(ada, 100, b"and more", base=1))
    await ada.send(commit(ada, 100, b"mine", base=1))
    return (await ada.ask(ConflictsReply, "GET", "./conflicts")).conflicts[0]


@pytest.mark.parametrize(("keep", "sizes"), [(Keep.MINE, {4}), (Keep.THEIRS, {8}), (Keep.BOTH, {4, 8})])
async def test_a_conflict_is_ended_without_a_mount(world: World, ada: Client, keep: Keep, sizes: set[int]) -> None:
    copy = await _conflict(ada)
    original = copy.original
    assert original is not None
    answer = await ada.call("POST", f"./conflicts/{copy.node}", Resolution(keep, copy.version, original.version))
    assert answer.status_code == 204
    listed = await ada.ask(ListingReply, "GET", "./nodes/1/entries")
    assert {entry.node.size for entry in listed.entries} == sizes
    assert (await ada.ask(ConflictsReply, "GET", "./conflicts")).conflicts == []


async def test_a_choice_between_other_versions_than_were_seen_is_refused(world: World, ada: Client) -> None:
    copy = await _conflict(ada)
    for seen in (Resolution(Keep.MINE, copy.version, 1), Resolution(Keep.MINE, 9, 2), Resolution(Keep.THEIRS, 1)):
        answer = await ada.call("POST", f"./conflicts/{copy.node}", seen)
        assert problem(answer) == (412, "precondition")


async def test_what_is_no_conflict_copy_has_no_conflict_to_end(world: World, ada: Client) -> None:
    await _conflict(ada)
    answer = await ada.call("POST", "./conflicts/100", Resolution(Keep.BOTH, 2))
    assert problem(answer) == (404, "not-found")


async def test_only_who_may_change_the_workspace_ends_a_conflict(world: World, ada: Client) -> None:
    copy = await _conflict(ada)
    viewer, stranger = await world.member(ada, "bob", Role.VIEWER), await world.user("eve")
    stranger.workspace = ada.workspace
    for client, status in ((viewer, 403), (stranger, 404)):
        answer = await client.call("POST", f"./conflicts/{copy.node}", Resolution(Keep.BOTH, copy.version))
        assert answer.status_code == status
