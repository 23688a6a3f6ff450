"""Listings that are read in several parts, while other devices change what is in them."""

from __future__ import annotations

import os

import pytest

from protocol.ids import ROOT_NODE
from protocol.messages.changes import RenameMode
from tests.simulation.device import Listing
from tests.simulation.kernel import USER
from tests.together.kinds import in_both_kinds
from tests.together.mounted import Machine
from tests.together.programs import write
from tests.together.world import World

pytestmark = in_both_kinds


async def test_a_later_part_of_a_listing_has_the_size_of_what_was_written_since(
    world: World, autojump_clock: object
) -> None:
    """The kernel takes it for the file's, however short it is told to keep it."""
    async with world.place("laptop").drive() as other, Machine(world, "desk").mounted() as kernel:
        for name in (b"a", b"b", b"c"):
            await write(other, name, b"x")
        handle = await kernel.device.ask("opendir", ROOT_NODE, USER)
        first, rest = Listing(room=3), Listing(room=10)
        await kernel.device.ask("readdir", handle, 0, first)
        await write(other, b"b", b"longer")
        await kernel.device.ask("readdir", handle, first.entries[-1][2], rest)
        assert [(name, attributes.st_size) for name, attributes, _ in first.entries[2:]] == [(b"a", 1)]
        assert [(name, attributes.st_size) for name, attributes, _ in rest.entries] == [(b"b", 6), (b"c", 1)]
        await kernel.device.ask("releasedir", handle)


async def test_a_later_part_of_a_listing_has_what_was_removed_since(world: World, autojump_clock: object) -> None:
    async with world.place("laptop").drive() as other, Machine(world, "desk").mounted() as kernel:
        for name in (b"a", b"b"):
            await write(other, name, b"x")
        handle = await kernel.device.ask("opendir", ROOT_NODE, USER)
        first, rest = Listing(room=3), Listing(room=10)
        await kernel.device.ask("readdir", handle, 0, first)
        await other.unlink(ROOT_NODE, b"b")
        await kernel.device.ask("readdir", handle, first.entries[-1][2], rest)
        assert [name for name, _, _ in rest.entries] == [b"b"]
        await kernel.device.ask("releasedir", handle)


async def test_a_new_file_that_another_device_renamed_is_not_kept_under_its_old_name(
    world: World, autojump_clock: object
) -> None:
    """It is listed under that until the server has answered the create, which the renaming overtakes."""
    desk = Machine(world, "desk")
    async with world.place("laptop").drive() as other, desk.mounted() as kernel:

        async def rename_and_list() -> None:
            await other.lookup(ROOT_NODE, b"new")
            await other.rename(ROOT_NODE, b"new", ROOT_NODE, b"moved", RenameMode.REPLACE)
            listed.extend(name for name, _ in await kernel.listdir(""))

        listed: list[str] = []
        desk.http.before_answer = rename_and_list
        file = await kernel.open("new", os.O_RDWR | os.O_CREAT)
        assert file is not None
        await kernel.close(file)
        assert "new" in listed
        assert (await kernel.lstat("moved")).st_size == 0
        with pytest.raises(FileNotFoundError):
            await kernel.lstat("new")
