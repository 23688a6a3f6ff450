from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from server.metadata.invariants import check
from tests.server.world import Client, World


@pytest.fixture
async def ada(world: World) -> AsyncIterator[Client]:
    """A user with an own workspace and no mount. The tree is sound at the end."""
    ada = await world.user("ada")
    yield ada
    await world.metadata.read(lambda tx: check(tx, ada.workspace))
