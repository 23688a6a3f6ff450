"""Ends as people write them."""

import pytest

from cli.expiry import expiry_ns

NOW_NS = 1_767_323_045 * 10**9
"""2026-01-02 03:04:05 UTC."""


@pytest.mark.parametrize(
    ("text", "left_s"), [("30m", 1800), ("12h", 43_200), ("1D", 86_400), ("8 w", 8 * 604_800), ("2026-01-03", 75_355)]
)
def test_spans_count_from_now_and_days_begin_at_midnight(text: str, left_s: int) -> None:
    assert expiry_ns(text, NOW_NS) == NOW_NS + left_s * 10**9


@pytest.mark.parametrize("text", ["", "30", "d", "-1d", "soon", "2026-13-01"])
def test_anything_else_is_no_end(text: str) -> None:
    assert expiry_ns(text, NOW_NS) is None
