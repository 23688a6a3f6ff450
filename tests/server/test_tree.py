"""Nodes, names, listings and manifests, by HTTP."""

from __future__ import annotations

from urllib.parse import quote

import pytest

from protocol.messages.accounts import Role
from protocol.messages.nodes import Kind
from protocol.messages.tree import ListingReply, LookupReply, ManifestReply, NodeReply, SpaceReply, UsageReply
from server.space import RESERVE_BYTES
from tests.server.world import Client, World, commit, create, problem

ANY_BYTES = bytes(byte for byte in range(1, 256) if byte != ord("/"))
"""254 bytes: a name with everything that a name may have."""


def _quoted(name: bytes) -> str:
    return quote(name, safe="").replace(".", "%2E")


@pytest.mark.parametrize("name", [ANY_BYTES, b"%2F", b"a+b c?d#e", b"\xff\xfe", "ä".encode(), b"..."])
async def test_names_are_any_bytes(ada: Client, name: bytes) -> None:
    await ada.send(create(name, 100))
    found = await ada.ask(LookupReply, "GET", f"./nodes/1/entries/{_quoted(name)}")
    assert found.node is not None
    assert found.node.id == 100
    listed = await ada.ask(ListingReply, "GET", "./nodes/1/entries")
    assert [entry.name for entry in listed.entries] == [name]


@pytest.mark.parametrize("encoded", ["a%2Fb", "a%00b", "x" * 363])
async def test_what_cannot_be_a_name_is_malformed(ada: Client, encoded: str) -> None:
    assert problem(await ada.call("GET", f"./nodes/1/entries/{encoded}")) == (400, "bad-request")


async def test_a_name_that_means_nothing_is_an_answer(ada: Client) -> None:
    assert (await ada.ask(LookupReply, "GET", "./nodes/1/entries/nothing")).node is None


async def test_a_name_in_no_folder_is_not_found(ada: Client) -> None:
    ada.absorb((await ada.send(create(b"file", 100))).notices)
    for folder in (99, 100):
        assert problem(await ada.call("GET", f"./nodes/{folder}/entries/a")) == (404, "not-found")


async def test_a_listing_comes_in_pages_of_one_generation(ada: Client) -> None:
    await ada.send(*(create(name, 100 + name[0]) for name in (b"a", b"b", b"\xff")))
    first = await ada.ask(ListingReply, "GET", "./nodes/1/entries?limit=2")
    assert ([entry.name for entry in first.entries], first.more) == ([b"a", b"b"], True)
    rest = f"./nodes/1/entries?limit=2&after=b&generation={first.generation}"
    second = await ada.ask(ListingReply, "GET", rest)
    assert ([entry.name for entry in second.entries], second.more) == ([b"\xff"], False)
    ada.absorb((await ada.send(create(b"c", 300))).notices)
    assert problem(await ada.call("GET", rest)) == (409, "listing-changed")


async def test_a_version_has_a_manifest(ada: Client) -> None:
    await ada.send(create(b"f", 100), commit(ada, 100, b"hello"))
    found = await ada.ask(ManifestReply, "GET", "./nodes/100/manifest?version=1")
    assert found.size == 5
    assert problem(await ada.call("GET", "./nodes/100/manifest?version=2")) == (404, "not-found")
    assert problem(await ada.call("GET", "./nodes/100/manifest")) == (400, "bad-request")


@pytest.mark.parametrize("node", ["x", "-1", "1.0", "²", "9" * 19, "9" * 5000])
async def test_what_is_no_node_is_malformed(ada: Client, node: str) -> None:
    assert problem(await ada.call("GET", f"./nodes/{node}")) == (400, "bad-request")


async def test_a_node_that_never_was_is_not_found(ada: Client) -> None:
    assert problem(await ada.call("GET", "./nodes/77")) == (404, "not-found")


async def test_a_reply_says_at_which_change_it_is_true(ada: Client) -> None:
    await ada.send(create(b"a", 100), create(b"b", 101))
    assert (await ada.ask(NodeReply, "GET", "./nodes/1")).notices.seq == 2
    assert (await ada.ask(LookupReply, "GET", "./nodes/1/entries/a")).notices.seq == 2
    assert (await ada.ask(ListingReply, "GET", "./nodes/1/entries")).notices.seq == 2


async def test_a_viewer_reads(world: World, ada: Client) -> None:
    viewer = await world.member(ada, "vic", Role.VIEWER)
    assert (await viewer.ask(NodeReply, "GET", "./nodes/1")).node.kind is Kind.FOLDER


async def test_what_is_free_leaves_out_the_reserve(world: World, ada: Client) -> None:
    world.free.data_bytes = RESERVE_BYTES + 1000
    assert (await ada.ask(UsageReply, "GET", "./usage")).free_bytes == 1000
    world.free.data_bytes = 5
    assert (await ada.ask(UsageReply, "GET", "./usage")).free_bytes == 0


async def test_space_is_told_with_what_storing_each_block_once_saves(ada: Client) -> None:
    await ada.send(*(create(name, 100 + name[0]) for name in (b"a", b"b")))
    await ada.send(*(commit(ada, 100 + name[0], b"the same " * 100) for name in (b"a", b"b")))
    await ada.send(commit(ada, 100 + b"a"[0], b"short", base=1))
    space = await ada.ask(SpaceReply, "GET", "./space")
    assert (space.files, space.versions, space.quota_bytes) == (2, 3, None)
    assert (space.content_bytes, space.versions_bytes, space.blocks_bytes) == (905, 1805, 905)
    assert 0 < space.stored_bytes < space.blocks_bytes
