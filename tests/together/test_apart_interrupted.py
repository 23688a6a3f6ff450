"""Programs that are killed while their drive works without its server."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable
from functools import partial

import pytest
import trio
import trio.testing

from backend.errors import DriveError
from protocol.ids import ROOT_NODE
from tests.together.parting import back, cut_off
from tests.together.programs import copies, names, read, write
from tests.together.world import World


async def interrupted(call: Callable[[], Awaitable[object]], checkpoints: int) -> None:
    """A call that is cancelled after so many turns of the event loop."""
    with trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery:

            async def cancel() -> None:
                for _ in range(checkpoints):
                    await trio.lowlevel.checkpoint()
                scope.cancel()

            nursery.start_soon(cancel)
            with contextlib.suppress(DriveError):
                await call()


async def test_a_program_that_is_killed_at_any_moment_apart_leaves_nothing_halfway(
    world: World, autojump_clock: object
) -> None:
    desk, laptop = world.place("desk"), world.place("laptop")
    async with desk.drive() as one, laptop.drive() as two:
        await write(one, b"edited", b"before")
        await one.entries(ROOT_NODE)
        await cut_off(desk, one)
        for moment in range(30):
            await interrupted(partial(write, one, b"%03d" % moment, b"content"), moment)
            await interrupted(partial(write, one, b"edited", b"after %d" % moment), moment)
        await back(desk, one)
        assert [name for name in await names(two) if b"conflict" in name] == []
        for name in await names(two):
            if name != b"edited":
                assert await read(two, name) in (b"", b"content")
        assert await names(one) == await names(two)
        assert await read(one, b"edited") == await read(two, b"edited") == b"after 29"


@pytest.mark.parametrize("moment", range(0, 24, 2))
async def test_a_program_that_is_killed_while_the_mount_parts_leaves_nothing_halfway(
    world: World, autojump_clock: object, moment: int
) -> None:
    desk, laptop = world.place("desk"), world.place("laptop")
    async with desk.drive() as one, laptop.drive() as two:
        await write(one, b"edited", b"before")
        await one.entries(ROOT_NODE)
        desk.http.cut_after_next = True
        await interrupted(partial(write, one, b"edited", b"after"), moment)
        desk.http.cut = True
        await one.reach.wait_parted()
        await interrupted(partial(write, one, b"edited", b"and after that"), moment)
        await write(one, b"edited", b"last")
        await back(desk, one)
        assert await names(one) == await names(two) == [b"edited"]
        assert await read(one, b"edited") == await read(two, b"edited") == b"last"


@pytest.mark.parametrize("moment", range(12))
async def test_what_a_killed_program_closed_apart_does_not_pass_for_another_device_s_version(
    world: World, autojump_clock: object, moment: int
) -> None:
    desk, laptop = world.place("desk"), world.place("laptop")
    async with desk.drive() as one, laptop.drive() as two:
        file = await one.open(await write(one, b"file", b"base"))
        await cut_off(desk, one)
        await write(two, b"file", b"theirs")
        await file.write(0, b"mine")
        await interrupted(partial(one.flush, file), moment)
        await file.write(4, b" more")  # So nobody but its close looks for an answer.
        desk.http.cut = False
        await one.reach.wait_joined()
        await one.flush(file)
        await file.write(9, b" and later")
        await one.flush(file)
        await one.release(file)
        assert await read(one, b"file") == await read(two, b"file") == b"theirs"
        assert b"mine more and later" in [await read(two, copy) for copy in await copies(two)]
