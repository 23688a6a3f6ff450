"""What is asked of the server, and how much is sent to it."""

from __future__ import annotations

import os
from random import Random

from protocol.ids import ROOT_NODE
from tests.together.programs import read, write
from tests.together.world import World


async def test_a_small_file_costs_one_request(world: World) -> None:
    place = world.place("desk")
    async with place.drive() as drive:
        await drive.entries(ROOT_NODE)
        place.http.requests.clear()
        await write(drive, b"file", b"content")
        assert place.http.requests == [f"POST /v1/workspaces/{world.workspace.id}/changes"]
        assert await read(drive, b"file") == b"content"


async def test_what_was_seen_is_answered_without_a_request(world: World) -> None:
    place = world.place("desk")
    async with place.drive() as drive:
        await write(drive, b"file", b"content")
        await drive.entries(ROOT_NODE)
        place.http.requests.clear()
        assert await drive.lookup(ROOT_NODE, b"file") is not None
        assert await drive.lookup(ROOT_NODE, b"other") is None
        await drive.entries(ROOT_NODE)
        await read(drive, b"file")
        file = await drive.open((await drive.entries(ROOT_NODE))[0].node.id)
        await drive.flush(file)
        await drive.release(file)
        assert [request for request in place.http.requests if "blocks" not in request] == []


async def test_a_patch_inside_a_large_file_sends_little(world: World) -> None:
    place = world.place("desk")
    content = bytearray(Random(1).randbytes(24 << 20))
    async with place.drive() as drive:
        node = await write(drive, b"large", bytes(content))
        sent = drive.status().blocks_up
        file = await drive.open(node)
        await file.write(11 << 20, b"x" * 4096)
        content[11 << 20 : (11 << 20) + 4096] = b"x" * 4096
        await drive.flush(file)
        await drive.release(file)
        assert drive.status().blocks_up - sent <= 3
        assert await read(drive, b"large") == bytes(content)
        sent = drive.status().blocks_up
        await write(drive, b"copy", bytes(content))
        assert drive.status().blocks_up == sent
        await write(drive, b"shifted", b"1" + bytes(content))
        assert drive.status().blocks_up - sent <= 3


async def test_a_patch_asks_nothing_before_it_sends(world: World) -> None:
    place = world.place("desk")
    async with place.drive() as drive:
        node = await write(drive, b"large", os.urandom(6 << 20))
        file = await drive.open(node)
        place.http.requests.clear()
        await file.write(3 << 20, b"x" * 4096)
        await drive.flush(file)
        await drive.release(file)
        puts = [request for request in place.http.requests if request.startswith("PUT")]
        assert 1 <= len(puts) <= 2
        assert len(place.http.requests) == len(puts) + 1


async def test_a_copy_over_another_file_sends_no_block(world: World) -> None:
    place = world.place("desk")
    content = os.urandom(500_000)
    async with place.drive() as drive:
        await write(drive, b"original", content)
        await write(drive, b"target", os.urandom(400_000))
    async with place.drive() as drive:
        await write(drive, b"target", content)
        assert drive.status().blocks_up == 0
        assert await read(drive, b"target") == content
