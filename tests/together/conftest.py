from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.together.world import World, serving


@pytest.fixture
async def world() -> AsyncIterator[World]:
    """A server with the user admin, in memory."""
    async with serving() as world:
        yield world
