"""Blocks, by HTTP: verified before they are acknowledged, replaced where they were lost."""

from __future__ import annotations

import secrets

import pytest

from protocol.ids import BlockId
from protocol.limits import INLINE_SEALED_BYTES, MISSING_QUERY_BLOCKS, READ_MANY_BYTES, SEALED_MAX_BYTES
from protocol.messages.accounts import Role, Workspace
from protocol.messages.blocks import BlockList
from server.metadata import blocks
from tests.server.world import NEARLY_FULL_BYTES, PART_BYTES, Client, World, happened, problem

LARGE = INLINE_SEALED_BYTES + 1000


async def _put(client: Client, plain: bytes) -> BlockId:
    block, sealed = client.sealed(plain)
    answer = await client.call("PUT", f"./blocks/{block.hex()}", sealed)
    assert answer.status_code == 204, answer.content
    return block


async def _get(client: Client, block: BlockId) -> bytes:
    return (await client.call("GET", f"./blocks/{block.hex()}")).content


@pytest.mark.parametrize("size", [0, 1, 1000, LARGE, 4 << 20])
async def test_a_block_comes_back_as_it_was_sent(ada: Client, size: int) -> None:
    block, sealed = ada.sealed(secrets.token_bytes(size))
    assert (await ada.call("PUT", f"./blocks/{block.hex()}", sealed)).status_code == 204
    assert await _get(ada, block) == sealed


async def test_small_blocks_lie_in_the_database_and_large_ones_in_the_store(world: World, ada: Client) -> None:
    await _put(ada, b"small")
    assert world.store.objects == {}
    large = await _put(ada, secrets.token_bytes(LARGE))
    [name] = world.store.objects
    assert name.startswith(f"{large.hex()}-")


async def test_a_block_that_is_there_is_not_stored_again(world: World, ada: Client) -> None:
    plain = secrets.token_bytes(LARGE)
    await _put(ada, plain)
    before = dict(world.store.objects)
    await _put(ada, plain)
    assert world.store.objects == before


async def test_what_is_not_the_block_is_refused_and_not_stored(world: World, ada: Client) -> None:
    block, sealed = ada.sealed(secrets.token_bytes(LARGE))
    other, _ = ada.sealed(b"other")
    damaged = sealed[:-1] + bytes([sealed[-1] ^ 1])
    for name, content in [(other, sealed), (block, damaged), (block, sealed[:100]), (block, b""), (block, b"x" * 5000)]:
        assert problem(await ada.call("PUT", f"./blocks/{name.hex()}", content)) == (422, "bad-block")
    assert world.store.objects == {}
    assert (await ada.ask(BlockList, "POST", "./blocks/missing", BlockList([block, other]))).blocks == [block, other]


async def test_a_block_of_another_workspaces_key_is_refused(world: World, ada: Client) -> None:
    bob = await world.user("bob")
    block, sealed = bob.sealed(b"bob's")
    assert problem(await ada.call("PUT", f"./blocks/{block.hex()}", sealed)) == (422, "bad-block")


async def test_too_large_a_block_is_not_read(world: World, ada: Client) -> None:
    path = f"./blocks/{'00' * 32}"
    declared = {"Content-Length": str(SEALED_MAX_BYTES + 1)}
    assert await happened(world, ada, "PUT", path, declared) == ["answered 413"]
    undeclared = {"Transfer-Encoding": "chunked"}
    taken = SEALED_MAX_BYTES // PART_BYTES + 1
    assert await happened(world, ada, "PUT", path, undeclared) == ["took a part"] * taken + ["answered 413"]


async def test_a_strangers_block_is_not_read(world: World, ada: Client) -> None:
    ada.token = "made up"
    headers = {"Content-Length": "1000"}
    assert await happened(world, ada, "PUT", f"./blocks/{'00' * 32}", headers) == ["answered 401"]


async def test_viewers_and_strangers_put_nothing(world: World, ada: Client) -> None:
    viewer = await world.member(ada, "vic", Role.VIEWER)
    stranger = await world.user("eve")
    block, sealed = ada.sealed(b"x")
    assert problem(await viewer.call("PUT", f"./blocks/{block.hex()}", sealed)) == (403, "forbidden")
    assert problem(await viewer.call("POST", "./blocks/missing", BlockList([block]))) == (403, "forbidden")
    there = f"/workspaces/{ada.workspace}/blocks"
    assert problem(await stranger.call("PUT", f"{there}/{block.hex()}", sealed)) == (404, "not-found")
    assert problem(await stranger.call("POST", f"{there}/missing", BlockList([block]))) == (404, "not-found")


async def test_a_viewer_gets_and_a_stranger_does_not(world: World, ada: Client) -> None:
    block = await _put(ada, b"x")
    viewer = await world.member(ada, "vic", Role.VIEWER)
    assert await _get(viewer, block) == await _get(ada, block)
    stranger = await world.user("eve")
    path = f"/workspaces/{ada.workspace}/blocks/{block.hex()}"
    assert problem(await stranger.call("GET", path)) == (404, "not-found")


async def test_over_quota_nothing_is_stored(world: World) -> None:
    small = await world.with_quota("sam", LARGE)
    block, sealed = small.sealed(secrets.token_bytes(LARGE))
    assert problem(await small.call("PUT", f"./blocks/{block.hex()}", sealed)) == (507, "quota")
    assert world.store.objects == {}


async def test_used_bytes_count_what_is_stored_once(ada: Client) -> None:
    plain = secrets.token_bytes(1000)
    for _ in range(2):
        await _put(ada, plain)
    assert (await ada.ask(Workspace, "GET", ".")).used_bytes == len(ada.sealed(plain)[1])


async def test_a_full_disk_stores_nothing(world: World, ada: Client) -> None:
    block, sealed = ada.sealed(secrets.token_bytes(LARGE))
    world.free.data_bytes = NEARLY_FULL_BYTES
    assert problem(await ada.call("PUT", f"./blocks/{block.hex()}", sealed)) == (507, "no-space")
    assert world.store.objects == {}


async def test_several_blocks_come_in_one_answer_up_to_its_bound(ada: Client) -> None:
    asked = [await _put(ada, secrets.token_bytes(3 << 20)) for _ in range(3)]
    content = (await ada.call("POST", "./blocks/read", BlockList(asked))).content
    assert len(content) <= READ_MANY_BYTES + 3 * 36
    found, at = [], 0
    while at < len(content):
        found.append(content[at : at + 32])
        at += 36 + int.from_bytes(content[at + 32 : at + 36], "big")
    assert found == asked[:2]


async def test_an_answer_of_several_ends_before_one_that_is_not_there(ada: Client) -> None:
    there, nowhere = await _put(ada, b"x"), BlockId(bytes(32))
    content = (await ada.call("POST", "./blocks/read", BlockList([there, nowhere, there]))).content
    assert content == there + len(content[36:]).to_bytes(4, "big") + content[36:]
    assert content.count(there) == 1
    answer = await ada.call("POST", "./blocks/read", BlockList([nowhere, there]))
    assert problem(answer) == (404, "not-found")


async def test_which_blocks_are_missing(ada: Client) -> None:
    there, nowhere = await _put(ada, b"x"), BlockId(bytes(32))
    asked = BlockList([nowhere, there, nowhere])
    assert (await ada.ask(BlockList, "POST", "./blocks/missing", asked)).blocks == [nowhere]


async def test_questions_for_odd_blocks_are_malformed(ada: Client) -> None:
    for path, asked in [
        ("./blocks/missing", []),
        ("./blocks/missing", [BlockId(b"short")]),
        ("./blocks/missing", [BlockId(bytes(32))] * (MISSING_QUERY_BLOCKS + 1)),
        ("./blocks/read", []),
        ("./blocks/read", [BlockId(bytes(32))] * 65),
    ]:
        assert problem(await ada.call("POST", path, BlockList(asked))) == (400, "bad-request")
    for name in ("x", "00" * 31, "0g" * 32, "AB" * 32):
        assert problem(await ada.call("GET", f"./blocks/{name}")) == (400, "bad-request")


async def test_the_longest_question_fits(ada: Client) -> None:
    asked = [BlockId(number.to_bytes(32, "big")) for number in range(MISSING_QUERY_BLOCKS)]
    assert len((await ada.ask(BlockList, "POST", "./blocks/missing", BlockList(asked))).blocks) == len(asked)


async def test_a_lost_block_is_missing_and_the_next_put_brings_it_back(world: World, ada: Client) -> None:
    plain = secrets.token_bytes(LARGE)
    block = await _put(ada, plain)
    world.store.objects.clear()
    assert problem(await ada.call("GET", f"./blocks/{block.hex()}")) == (404, "not-found")
    assert (await ada.ask(BlockList, "POST", "./blocks/missing", BlockList([block]))).blocks == [block]
    await _put(ada, plain)
    assert ada.keys.block_id(plain) == block
    assert (await ada.call("GET", f"./blocks/{block.hex()}")).status_code == 200
    assert (await ada.ask(BlockList, "POST", "./blocks/missing", BlockList([block]))).blocks == []


async def test_a_put_replaces_a_damaged_copy_and_leaves_no_object_behind(world: World, ada: Client) -> None:
    plain = secrets.token_bytes(LARGE)
    block = await _put(ada, plain)
    [name] = world.store.objects
    world.store.objects[name] = b"rotten"
    await _put(ada, plain)
    assert name not in world.store.objects
    assert len(world.store.objects) == 1
    assert len(await _get(ada, block)) > LARGE


async def test_the_loser_of_two_puts_at_once_deletes_its_object(world: World, ada: Client) -> None:
    """Both were told that the block is wanted, before either was recorded."""
    plain = secrets.token_bytes(LARGE)
    block, sealed = ada.sealed(plain)
    care = world.service.blocks

    def allow(tx: object) -> None:
        pass

    first = await care.wanted(ada.workspace, block, len(sealed), allow)
    second = await care.wanted(ada.workspace, block, len(sealed), allow)
    assert first is not None
    assert second is not None
    await care.put(first, sealed, allow)
    [name] = world.store.objects
    await care.put(second, sealed, allow)
    assert list(world.store.objects) == [name]
    [row] = await world.metadata.read(lambda tx: blocks.stored(tx, ada.workspace, [block]))
    assert row is not None
    assert row.object == name


async def test_an_object_whose_record_was_refused_is_deleted(world: World, ada: Client) -> None:
    block, sealed = ada.sealed(secrets.token_bytes(LARGE))
    care = world.service.blocks
    wanted = await care.wanted(ada.workspace, block, len(sealed), lambda tx: None)
    assert wanted is not None

    def refuse(tx: object) -> None:
        raise PermissionError

    with pytest.raises(PermissionError):
        await care.put(wanted, sealed, refuse)
    assert world.store.objects == {}
