"""Who has a workspace, by HTTP."""

from __future__ import annotations

from dataclasses import replace

from protocol.messages.accounts import Member, Members, Role
from tests.server.world import Client, World, create, problem


async def members(client: Client) -> list[tuple[str, Role]]:
    return [(each.user, each.role) for each in (await client.ask(Members, "GET", "./members")).members]


async def test_every_member_sees_who_has_the_workspace(world: World, ada: Client) -> None:
    bob = await world.member(ada, "bob", Role.VIEWER)
    assert await members(bob) == await members(ada) == [("ada", Role.OWNER), ("bob", Role.VIEWER)]


async def test_only_owners_share(world: World, ada: Client) -> None:
    bob = await world.member(ada, "bob", Role.EDITOR)
    await world.user("eve")
    assert problem(await bob.call("POST", "./members", Member("eve", Role.VIEWER))) == (403, "forbidden")
    assert problem(await bob.call("DELETE", "./members/ada")) == (403, "forbidden")
    assert (await ada.call("POST", "./members", Member("eve", Role.VIEWER))).status_code == 204
    assert ("eve", Role.VIEWER) in await members(ada)


async def test_a_member_who_is_made_an_owner_shares_too(world: World, ada: Client) -> None:
    bob = await world.member(ada, "bob", Role.OWNER)
    await world.user("eve")
    assert (await bob.call("POST", "./members", Member("eve", Role.VIEWER))).status_code == 204


async def test_a_role_changes_at_once(world: World, ada: Client) -> None:
    bob = await (await world.member(ada, "bob", Role.EDITOR)).join()
    await bob.send(create(b"one", 101))
    await ada.call("POST", "./members", Member("bob", Role.VIEWER))
    assert problem(await bob.call("POST", "./changes", bob.batch(create(b"two", 102)))) == (403, "forbidden")
    assert (await bob.call("GET", "./nodes/101")).status_code == 200


async def test_who_is_removed_is_a_stranger(world: World, ada: Client) -> None:
    bob = await world.member(ada, "bob", Role.EDITOR)
    assert (await ada.call("DELETE", "./members/bob")).status_code == 204
    assert problem(await bob.call("GET", "./nodes/1")) == (404, "not-found")
    assert problem(await ada.call("DELETE", "./members/bob")) == (404, "not-found")


async def test_anybody_may_leave_but_whose_workspace_it_is(world: World, ada: Client) -> None:
    bob = await world.member(ada, "bob", Role.VIEWER)
    assert (await bob.call("DELETE", "./members/bob")).status_code == 204
    assert problem(await bob.call("GET", "./members")) == (404, "not-found")
    assert problem(await ada.call("DELETE", "./members/ada")) == (409, "conflict")
    assert problem(await ada.call("POST", "./members", Member("ada", Role.VIEWER))) == (409, "conflict")


async def test_a_name_with_odd_letters_is_found(world: World, ada: Client) -> None:
    await world.member(ada, "Zoë %2F", Role.VIEWER)
    assert (await ada.call("DELETE", "./members/Zo%C3%AB%20%252F")).status_code == 204


async def test_a_stranger_learns_nothing(world: World, ada: Client) -> None:
    eve = await world.user("eve")
    unreal = replace(eve, workspace="0" * 32)
    eve = replace(eve, workspace=ada.workspace)
    for method, path, body in (
        ("GET", "./members", None),
        ("POST", "./members", Member("eve", Role.OWNER)),
        ("DELETE", "./members/ada", None),
        ("DELETE", "./members/eve", None),
    ):
        real = await eve.call(method, path, body)
        assert problem(real) == (404, "not-found")
        assert real.content == (await unreal.call(method, path, body)).content
