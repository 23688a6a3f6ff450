from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.server.world import Client, World, a_world


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with a_world() as made:
        yield made


@pytest.fixture
async def ada(world: World) -> Client:
    """A user with an own workspace, whose device has joined it."""
    return await (await world.user("ada")).join()
