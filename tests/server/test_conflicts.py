"""The list of conflicts, by HTTP."""

from __future__ import annotations

from protocol.messages.accounts import Role
from protocol.messages.conflicts import ConflictsReply
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
