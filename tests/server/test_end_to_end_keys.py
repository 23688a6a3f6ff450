"""An end-to-end workspace's next key, and its blocks sealed anew under it: what the server takes, and from whom."""

from __future__ import annotations

import secrets
from dataclasses import replace
from functools import partial
from typing import TypeVar

import httpx
import pytest

from protocol.ids import BlockId
from protocol.keys import derive_end_to_end
from protocol.limits import ENVELOPE_MAX_BYTES, INLINE_SEALED_BYTES, KEYS_MAX
from protocol.messages.accounts import NewKey, Role, Workspace
from protocol.messages.audit import Audit, What
from protocol.messages.blocks import OldBlocks
from protocol.messages.tokens import MadeToken, NewToken, Scope
from protocol.sealing import seal, unseal
from server import resealing
from server.metadata import accounts, invariants, spares
from server.metadata.store import Work
from server.routes.resealing import PAGE_BLOCKS
from tests.server.test_keys import key_of
from tests.server.test_resealing import Hooked
from tests.server.world import Client, World, problem

T = TypeVar("T")

NEXT = NewKey(1, b"both keys", b"an envelope")
LARGE = [secrets.token_bytes(INLINE_SEALED_BYTES + size) for size in (1_000, 2_000)]
SMALL = [b"%d" % number for number in range(3)]
ALL = [*LARGE, *SMALL]


@pytest.fixture
async def ada(world: World) -> Client:
    """A device of an end-to-end workspace with a few blocks under its first key."""
    client = await world.end_to_end("ada")
    for plain in ALL:
        await put(client, plain)
    return client


async def put(client: Client, plain: bytes) -> BlockId:
    block, sealed = client.sealed(plain)
    assert (await client.call("PUT", f"./blocks/{block.hex()}", sealed)).status_code == 204
    return block


@pytest.fixture
async def rotated(ada: Client) -> Client:
    """The same once its workspace has got another key."""
    await ada.ask(Workspace, "POST", "./keys", NEXT)
    ada.keys = derive_end_to_end(bytes(range(32)), {2: bytes(32)})
    return ada


async def old(client: Client, after: str = "") -> list[BlockId]:
    found = await client.ask(OldBlocks, "GET", f"./resealing?after={after}")
    assert not found.more
    return found.blocks


async def put_anew(client: Client, plain: bytes, sealed: bytes | None = None) -> httpx.Response:
    block, right = client.sealed(plain)
    return await client.call("PUT", f"./resealing/{block.hex()}", right if sealed is None else sealed)


async def check_whole(world: World, client: Client) -> None:
    """Everything opens, and the store has what the rows name and no more."""
    for plain in ALL:
        block = client.keys.block_id(plain)
        assert unseal(client.keys, block, (await client.call("GET", f"./blocks/{block.hex()}")).content) == plain
    await world.metadata.read(lambda tx: invariants.check(tx, client.workspace))
    assert len(world.store.objects) == len(LARGE)
    assert await world.metadata.read(spares.workspaces) == []


# ── the key ──


async def test_the_next_key_comes_in_the_envelope(world: World, ada: Client) -> None:
    changed = await ada.ask(Workspace, "POST", "./keys", NEXT)
    assert (changed.key_id, changed.old_blocks) == (2, len(ALL))
    found = await ada.ask(Workspace, "GET", ".")
    assert (found.key_id, found.envelope, found.key, found.later_keys) == (2, b"both keys", b"", {})
    [event] = [one for one in (await ada.ask(Audit, "GET", "/audit")).events if one.what is What.KEY_ADDED]
    assert event.subject == "key 2"
    await world.metadata.read(lambda tx: invariants.check(tx, ada.workspace))


@pytest.mark.parametrize(
    ("wanted", "refused"),
    [
        (NewKey(1), (409, "end-to-end")),
        (NewKey(2, b"both keys", b"an envelope"), (409, "conflict")),
        (NewKey(0, b"both keys", b"an envelope"), (409, "conflict")),
        (NewKey(1, b"both keys", b"another envelope"), (409, "conflict")),
        (NewKey(1, b"x" * (ENVELOPE_MAX_BYTES + 1), b"an envelope"), (400, "bad-request")),
    ],
    ids=["no envelope", "after a later key", "after none", "another envelope", "a long one"],
)
async def test_a_key_that_does_not_follow_is_refused(ada: Client, wanted: NewKey, refused: tuple[int, str]) -> None:
    assert problem(await ada.call("POST", "./keys", wanted)) == refused
    found = await ada.ask(Workspace, "GET", ".")
    assert (found.key_id, found.envelope, found.old_blocks) == (1, b"an envelope", 0)


async def test_a_request_that_comes_twice_adds_one_key(ada: Client) -> None:
    await ada.ask(Workspace, "POST", "./keys", NEXT)
    assert problem(await ada.call("POST", "./keys", NEXT)) == (409, "conflict")
    assert (await ada.ask(Workspace, "GET", ".")).key_id == 2


async def test_an_envelope_is_none_of_a_workspace_that_the_server_opens(world: World) -> None:
    bob = await world.user("bob")
    assert problem(await bob.call("POST", "./keys", NewKey(1, b"keys"))) == (409, "conflict")
    assert (await bob.ask(Workspace, "GET", ".")).key_id == 1


async def test_there_is_a_bound_on_keys(ada: Client) -> None:
    for after in range(1, KEYS_MAX):
        await ada.ask(Workspace, "POST", "./keys", NewKey(after, b"an envelope", b"an envelope"))
    over = NewKey(KEYS_MAX, b"an envelope", b"an envelope")
    assert problem(await ada.call("POST", "./keys", over)) == (409, "conflict")


# ── the blocks ──


async def test_blocks_are_sealed_anew_by_their_owner(world: World, rotated: Client) -> None:
    ids = sorted(rotated.keys.block_id(plain) for plain in ALL)
    assert await old(rotated) == ids
    assert await old(rotated, ids[1].hex()) == ids[2:]
    for plain in ALL:
        assert (await put_anew(rotated, plain)).status_code == 204
        assert await key_of(world, rotated, plain) == 2
    assert await old(rotated) == []
    assert (await rotated.ask(Workspace, "GET", ".")).old_blocks == 0
    await check_whole(world, rotated)


async def test_a_block_that_comes_twice_is_exchanged_once(world: World, rotated: Client) -> None:
    assert (await put_anew(rotated, LARGE[0])).status_code == 204
    before = dict(world.store.objects)
    assert (await put_anew(rotated, LARGE[0])).status_code == 204
    assert world.store.objects == before


async def test_many_are_told_in_pages(world: World, ada: Client) -> None:
    plains = [b"%d of many" % number for number in range(PAGE_BLOCKS + 1)]
    for plain in plains:
        await put(ada, plain)
    await ada.ask(Workspace, "POST", "./keys", NEXT)
    first = await ada.ask(OldBlocks, "GET", "./resealing")
    assert (len(first.blocks), first.more) == (PAGE_BLOCKS, True)
    rest = await old(ada, first.blocks[-1].hex())
    assert [*first.blocks, *rest] == sorted(ada.keys.block_id(plain) for plain in [*plains, *ALL])


async def test_what_is_not_that_block_under_the_last_key_is_refused(world: World, rotated: Client) -> None:
    first = derive_end_to_end(bytes(range(32)))
    third = derive_end_to_end(bytes(range(32)), {3: bytes(32)})
    block = rotated.keys.block_id(LARGE[0])
    before = dict(world.store.objects)
    for wrong in (
        bytes(seal(first, block, LARGE[0])),
        bytes(seal(third, block, LARGE[0])),
        bytes(seal(rotated.keys, block, LARGE[0][:-1])),
        b"",
        b"x" * 1_000,
    ):
        assert problem(await put_anew(rotated, LARGE[0], wrong)) == (422, "bad-block")
    assert world.store.objects == before
    await check_whole(world, rotated)


async def test_a_block_that_is_not_there_is_not_made(world: World, rotated: Client) -> None:
    assert problem(await put_anew(rotated, b"never stored")) == (404, "not-found")
    await check_whole(world, rotated)


@pytest.mark.parametrize("call", ["GET ./resealing", "PUT ./resealing/" + "00" * 32])
async def test_only_owners_of_end_to_end_workspaces_do_it(world: World, rotated: Client, call: str) -> None:
    method, path = call.split()
    body = None if method == "GET" else b"x"
    for role in (Role.VIEWER, Role.EDITOR):
        member = replace(await world.user(role.value), workspace=rotated.workspace)
        await world.metadata.write(
            partial(accounts.share, workspace=rotated.workspace, user_name=role.value, role=role)
        )
        assert problem(await member.call(method, path, body)) == (403, "forbidden")
    made = await rotated.ask(MadeToken, "POST", "/tokens", NewToken("script", Scope.WRITE))
    assert problem(await replace(rotated, token=made.secret).call(method, path, body)) == (403, "forbidden")
    stranger = replace(await world.user("eve"), workspace=rotated.workspace)
    assert problem(await stranger.call(method, path, body)) == (404, "not-found")
    plain = await world.user("bob")
    assert problem(await plain.call(method, path, body)) == (409, "conflict")


async def test_a_workspace_that_is_full_is_sealed_anew(world: World, rotated: Client) -> None:
    await world.metadata.write(lambda tx: tx.execute("UPDATE workspaces SET quota_bytes = used_bytes"))
    for plain in ALL:
        assert (await put_anew(rotated, plain)).status_code == 204
    await check_whole(world, rotated)


async def test_no_quota_is_got_around_by_it(world: World, ada: Client) -> None:
    """Who seals doesn't have to compress."""
    text = b"text " * 40_000
    block = await put(ada, text)
    await ada.ask(Workspace, "POST", "./keys", NEXT)
    await world.metadata.write(lambda tx: tx.execute("UPDATE workspaces SET quota_bytes = used_bytes + 100"))
    header = bytes(seal(derive_end_to_end(bytes(range(32)), {2: bytes(32)}), block, text))
    assert problem(await put_anew(ada, text, header + bytes(100_000))) == (507, "quota")


async def test_the_server_s_own_rounds_leave_it_alone(world: World, rotated: Client) -> None:
    assert await resealing.work_once(world.metadata, world.service.blocks) == 0
    assert len(await old(rotated)) == len(ALL)
    await check_whole(world, rotated)


async def test_a_round_that_begins_meanwhile_takes_nothing_away(world: World, rotated: Client) -> None:
    """It deletes what a crash may have left, which looks like what is being stored."""
    rounds: list[int] = []

    class Between(Hooked):
        """Where a round runs before the row is changed."""

        async def write(self, work: Work[T]) -> T:
            if len(world.store.objects) > len(LARGE) and not rounds:
                rounds.append(await resealing.work_once(world.metadata, world.service.blocks))
            return await super().write(work)

    world.app.state.service = replace(world.service, metadata=Between(world.metadata))
    assert (await put_anew(rotated, LARGE[0])).status_code == 204
    assert rounds == [0]
    assert await key_of(world, rotated, LARGE[0]) == 2
    await check_whole(world, rotated)
