"""Keys that are added to a workspace, by HTTP."""

from __future__ import annotations

from dataclasses import replace

import pytest
import trio

from protocol.keys import derive
from protocol.limits import KEYS_MAX
from protocol.messages.accounts import NewKey, Role, Workspace
from protocol.messages.audit import Audit, What
from protocol.messages.tokens import MadeToken, NewToken, Scope
from server.app import create_app
from server.blockcare import BlockCare
from server.keyring import Keyring
from server.metadata import blocks, invariants
from tests.server.plainly import content, get, put
from tests.server.world import Client, World, commit, create, problem


@pytest.fixture
async def ada(ada: Client) -> Client:
    """Whose device has no lease that others would wait for."""
    return await ada.leave()


async def rotated(client: Client) -> Client:
    """The client's workspace gets a key, which the client knows."""
    before = await client.ask(Workspace, "GET", ".")
    await client.ask(Workspace, "POST", "./keys", NewKey(before.key_id))
    now = await client.ask(Workspace, "GET", ".")
    client.keys = derive(now.key, now.later_keys)
    return client


async def key_of(world: World, client: Client, plain: bytes) -> int:
    """What a block is sealed under in storage."""
    [at] = await world.metadata.read(lambda tx: blocks.stored(tx, client.workspace, [client.keys.block_id(plain)]))
    assert at is not None
    return at.key_id


async def test_an_added_key_seals_and_the_others_are_told(ada: Client) -> None:
    before = await ada.ask(Workspace, "GET", ".")
    changed = await ada.ask(Workspace, "POST", "./keys", NewKey(1))
    assert (changed.key_id, changed.key, changed.later_keys) == (2, b"", {})
    now = await ada.ask(Workspace, "GET", ".")
    assert (now.key, now.key_id, list(now.later_keys)) == (before.key, 2, [2])
    assert len(now.later_keys[2]) == 32
    assert now.later_keys[2] != now.key


async def test_a_request_that_comes_twice_adds_one_key(ada: Client) -> None:
    assert (await ada.call("POST", "./keys", NewKey(1))).status_code == 201
    assert problem(await ada.call("POST", "./keys", NewKey(1))) == (409, "conflict")
    assert (await ada.ask(Workspace, "GET", ".")).key_id == 2


async def test_there_is_a_bound_on_keys(ada: Client) -> None:
    for after in range(1, KEYS_MAX):
        await ada.ask(Workspace, "POST", "./keys", NewKey(after))
    assert problem(await ada.call("POST", "./keys", NewKey(KEYS_MAX))) == (409, "conflict")


async def test_only_owners_add_keys(world: World, ada: Client) -> None:
    eva = await world.member(ada, "eva", Role.EDITOR)
    assert problem(await eva.call("POST", "./keys", NewKey(1))) == (403, "forbidden")
    script = replace(ada, token=(await ada.ask(MadeToken, "POST", "/tokens", NewToken("s", Scope.WRITE))).secret)
    assert problem(await script.call("POST", "./keys", NewKey(1))) == (403, "forbidden")


async def test_a_script_gets_no_key(ada: Client) -> None:
    await rotated(ada)
    script = replace(ada, token=(await ada.ask(MadeToken, "POST", "/tokens", NewToken("s", Scope.WRITE))).secret)
    told = await script.ask(Workspace, "GET", ".")
    assert (told.key, told.later_keys) == (b"", {})


async def test_it_is_written_down_who_added_a_key(ada: Client) -> None:
    await rotated(ada)
    [event] = [each for each in (await ada.ask(Audit, "GET", "/audit")).events if each.what is What.KEY_ADDED]
    assert (event.user, event.workspace, event.subject) == ("ada", ada.workspace, "key 2")


async def test_what_is_stored_counts_as_old_until_it_is_sealed_anew(world: World, ada: Client) -> None:
    await put(ada, "before", b"before")
    assert (await ada.ask(Workspace, "GET", ".")).old_blocks == 0
    await rotated(ada)
    await put(ada, "after", b"after")
    assert (await ada.ask(Workspace, "GET", ".")).old_blocks == 1
    await world.metadata.read(lambda tx: invariants.check(tx, ada.workspace))


async def test_the_server_seals_what_is_uploaded_under_the_last_key(world: World, ada: Client) -> None:
    await put(ada, "before", b"before")
    await rotated(ada)
    await put(ada, "after", b"after")
    assert (await key_of(world, ada, b"before"), await key_of(world, ada, b"after")) == (1, 2)
    assert (await get(ada, "before")).content == b"before"
    assert (await get(ada, "after")).content == b"after"


async def test_a_mount_that_does_not_know_the_last_key_is_not_refused(world: World, ada: Client) -> None:
    away = replace(ada)
    await rotated(ada)
    await away.send(create(b"small", 100), commit(away, 100, b"small"))
    large = content(100_000)
    block, sealed = away.sealed(large)
    assert (await away.call("PUT", f"./blocks/{block.hex()}", sealed)).status_code == 204
    assert (await key_of(world, ada, b"small"), await key_of(world, ada, large)) == (1, 1)
    assert (await ada.ask(Workspace, "GET", ".")).old_blocks == 2
    await world.metadata.read(lambda tx: invariants.check(tx, ada.workspace))


async def test_blocks_under_a_key_that_another_server_added_are_taken(world: World, ada: Client) -> None:
    await put(ada, "before", b"before")  # This server knows the keys as they are now.
    care = BlockCare(world.store, world.metadata, Keyring(bytes(range(32))), trio.CapacityLimiter(1))
    world.app.state.service = replace(world.service, blocks=care)
    await rotated(ada)
    world.app.state.service = world.service
    assert world.service.keyring.remembered(ada.workspace) != ada.keys
    await ada.send(create(b"small", 100), commit(ada, 100, b"small"))
    assert await key_of(world, ada, b"small") == 2
    await put(ada, "after", b"after")
    assert await key_of(world, ada, b"after") == 2


async def test_a_block_under_a_key_that_nobody_added_is_refused(ada: Client) -> None:
    known = await ada.ask(Workspace, "GET", ".")
    ada.keys = derive(known.key, {2: bytes(32)})
    block, sealed = ada.sealed(b"content")
    assert problem(await ada.call("PUT", f"./blocks/{block.hex()}", sealed)) == (422, "bad-block")
    answer = await ada.call("POST", "./changes", ada.batch(create(b"a", 100), commit(ada, 100, b"content")))
    assert problem(answer) == (422, "bad-block")


async def test_a_server_that_knows_nothing_yet_opens_what_any_key_sealed(world: World, ada: Client) -> None:
    await put(ada, "before", content(100_000))
    await rotated(ada)
    await put(ada, "after", content(100_000, 2))
    keyring = Keyring(bytes(range(32)))
    care = BlockCare(world.store, world.metadata, keyring, trio.CapacityLimiter(1))
    world.app = create_app(replace(world.service, keyring=keyring, blocks=care))
    assert (await get(ada, "before")).content == content(100_000)
    assert (await get(ada, "after")).content == content(100_000, 2)
