"""Some of the random messages; `scripts/soak wire` sends more."""

from __future__ import annotations

import pytest

from tests.fuzz.wire import check


@pytest.mark.parametrize("seed", range(1, 4))
def test_every_message_is_answered_and_none_breaks_the_server(seed: int) -> None:
    statuses = check(seed)
    assert statuses[200] > 50, "much of what is sent is understood"
    assert statuses[400] > 50, "and much of it is refused"
