"""A folder of unsent changes whose user logs in again under another device's name."""

from __future__ import annotations

import os

import pytest

from protocol.ids import ROOT_NODE
from protocol.messages.nodes import Kind
from tests.together.parting import cut_off
from tests.together.programs import names, read, write
from tests.together.world import World


@pytest.mark.parametrize("arrives", [False, True])
async def test_what_may_have_been_sent_by_the_old_device_is_sent_once(
    world: World, autojump_clock: object, arrives: bool
) -> None:
    desk, laptop = world.place("desk"), world.place("laptop")
    large = os.urandom(600_000)
    async with laptop.drive() as two:
        await write(two, b"edited", b"before")
        async with desk.crashing_drive() as one:
            await write(one, b"of before", b"x")
            await read(one, b"edited")
            await one.entries(ROOT_NODE)
            await cut_off(desk, one)
            await one.make(ROOT_NODE, b"folder", Kind.FOLDER, 0o755, 0, 0)
            await write(one, b"edited", b"after")
            await write(one, b"large", large)
            if arrives:
                desk.http.lose_changes, desk.http.cut = True, False
                await desk.http.lost.wait()
        desk.disk = desk.disk.power_loss()
        desk.http.lose_changes = desk.http.cut = False
        desk.token = await world.issue_token("desk under another name")
        async with desk.drive() as one:
            await one.synced()
            for drive in (one, two):
                assert await names(drive) == [b"edited", b"folder", b"large", b"of before"]
                assert await read(drive, b"edited") == b"after"
                assert await read(drive, b"large") == large


async def test_what_another_wrote_over_what_had_arrived_is_no_conflict(world: World, autojump_clock: object) -> None:
    desk, laptop = world.place("desk"), world.place("laptop")
    async with laptop.drive() as two:
        await write(two, b"edited", b"before")
        async with desk.crashing_drive() as one:
            await read(one, b"edited")
            await one.entries(ROOT_NODE)
            await cut_off(desk, one)
            await write(one, b"edited", b"after")
            desk.http.lose_changes, desk.http.cut = True, False
            await desk.http.lost.wait()
        assert await read(two, b"edited") == b"after"
        await write(two, b"edited", b"after all")
        desk.disk = desk.disk.power_loss()
        desk.http.lose_changes = False
        desk.token = await world.issue_token("desk under another name")
        async with desk.drive() as one:
            await one.synced()
            for drive in (one, two):
                assert await names(drive) == [b"edited"]
                assert await read(drive, b"edited") == b"after all"


async def test_a_folder_that_one_user_leaves_to_another_sends_for_that_one(
    world: World, autojump_clock: object
) -> None:
    desk, laptop = world.place("desk"), world.place("laptop")
    await world.place_of_member("the member's")
    async with desk.crashing_drive() as one:
        await write(one, b"of before", b"x")
        await one.entries(ROOT_NODE)
        await cut_off(desk, one)
        await write(one, b"mine", b"mine")
    desk.disk = desk.disk.power_loss()
    desk.http.cut = False
    desk.token = await world.issue_token("desk", is_owner=False)
    async with desk.drive() as one, laptop.drive() as two:
        await one.synced()
        assert await names(two) == [b"mine", b"of before"]
        assert await read(two, b"mine") == b"mine"
