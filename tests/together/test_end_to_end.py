"""Drives of a workspace whose server can't open it, and what becomes of blocks that it can't judge.

What holds there as in other workspaces is in the files that run ``in_both_kinds``.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator

import pytest
from trio.testing import wait_all_tasks_blocked

from backend.errors import Corrupt, Refused
from protocol.ids import ROOT_NODE
from protocol.messages.changes import XattrMode
from protocol.messages.nodes import Kind
from tests.together.programs import names, read, write
from tests.together.world import World, serving


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with serving(end_to_end=True) as made:
        yield made


async def test_what_is_sealed_is_the_same_on_every_device(world: World) -> None:
    desk, laptop = world.place("desk"), world.place("laptop")
    async with desk.drive() as one, laptop.drive() as two:
        folder = await one.make(ROOT_NODE, b"a folder", Kind.FOLDER, 0o755, 0, 0)
        await one.make(folder.id, b"link", Kind.SYMLINK, 0o777, 0, 0, target=b"../a/target")
        await write(one, b"\xff\xfe.txt", b"content", folder.id)
        await one.set_xattr(folder.id, b"user.\xff", b"", XattrMode.CREATE)
        await one.set_xattr(folder.id, b"user.more", bytes(1000), XattrMode.SET)
        seen = await two.lookup(ROOT_NODE, b"a folder")
        assert seen is not None
        assert seen.xattrs == {"user.\xff": b"", "user.more": bytes(1000)}
        link = await two.lookup(seen.id, b"link")
        assert link is not None
        assert (link.target, link.size) == (b"../a/target", 11)
        assert await names(two, seen.id) == [b"link", b"\xff\xfe.txt"]
        assert await read(two, b"\xff\xfe.txt", seen.id) == b"content"


async def test_limits_are_those_of_any_other_workspace(world: World) -> None:
    async with world.place("desk").drive() as drive:
        node = await write(drive, b"x" * 255, b"")
        with pytest.raises(Refused, match="255"):
            await write(drive, b"x" * 256, b"")
        for value, fits in ((bytes(64 * 1024 - 6), True), (bytes(64 * 1024 - 5), False)):
            if fits:
                await drive.set_xattr(node, b"user.a", value, XattrMode.SET)
                continue
            with pytest.raises(Refused, match="bounded"):
                await drive.set_xattr(node, b"user.a", value, XattrMode.SET)


async def test_a_name_with_a_mark_that_a_person_gave_is_the_conflict_copy_s_name(world: World) -> None:
    """One name is one entry, whoever made it."""
    async with world.place("desk").drive() as one, world.place("laptop").drive() as two:
        taken = b"file (conflict from laptop 2023-11-14 22.13.20).txt"
        await write(one, taken, b"by hand")
        node = await write(one, b"file.txt", b"base")
        file = await two.open(node)
        await file.write(0, b"mine")
        await write(one, b"file.txt", b"theirs")
        await two.flush(file)
        await two.release(file)
        copy = b"file (conflict from laptop 2023-11-14 22.13.20 2).txt"
        for drive in (one, two):
            assert {name: await read(drive, name) for name in await names(drive)} == {
                taken: b"by hand",
                copy: b"mine",
                b"file.txt": b"theirs",
            }


async def test_a_block_that_a_reader_found_damaged_is_sent_again_by_who_has_it(world: World) -> None:
    desk, laptop = world.place("desk"), world.place("laptop")
    content = os.urandom(300_000)
    async with desk.drive() as one, laptop.drive() as two:
        await write(one, b"file", content)
        world.damage_blocks()
        with pytest.raises(Corrupt):
            await read(two, b"file")
        await wait_all_tasks_blocked()
        assert any(request.endswith("/blocks/damaged") for request in laptop.http.requests)
        async with world.place("tower").drive() as three:
            await write(three, b"once more", content)
        assert await read(two, b"file") == content
