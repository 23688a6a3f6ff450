from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.together.world import World, serving


@pytest.fixture
async def world(request: pytest.FixtureRequest) -> AsyncIterator[World]:
    """A server with the user admin, in memory; of the kind that ``in_both_kinds`` asks for."""
    async with serving(end_to_end=getattr(request, "param", "plain") == "end-to-end") as world:
        yield world
