from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.server.metadata.world import World


@pytest.fixture
def world() -> Iterator[World]:
    """Checked when the test ends: no test may leave a broken tree."""
    made = World()
    yield made
    made.check()
    made.connection.close()
