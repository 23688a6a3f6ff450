from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.ranges import RANGES_MAX, ByteRange, Unsatisfiable, ranges


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("bytes=0-0", [(0, 1)]),
        ("bytes=0-9", [(0, 10)]),
        ("bytes=2-", [(2, 10)]),
        ("bytes=-3", [(7, 10)]),
        ("bytes=-30", [(0, 10)]),
        ("bytes=8-99999999999", [(8, 10)]),
        ("BYTES = 1-2 , 4-5", [(1, 3), (4, 6)]),
        ("bytes=8-9,0-1", [(8, 10), (0, 2)]),
        ("bytes=1-2,,10-11", [(1, 3)]),
    ],
)
def test_what_is_asked_for(header: str, expected: list[tuple[int, int]]) -> None:
    assert ranges(header, 10) == expected


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "bytes",
        "bytes=",
        "bytes=,",
        "bytes=-",
        "bytes=1",
        "bytes=2-1",
        "bytes=1-2-3",
        "bytes=+1-2",
        "bytes=²-",
    ],
)
def test_what_makes_no_sense_asks_for_everything(header: str | None) -> None:
    assert ranges(header, 10) is None


def test_more_than_there_is_asks_for_everything() -> None:
    assert ranges("bytes=0-5,5-9", 10) is None
    assert ranges("bytes=" + "0-0," * RANGES_MAX, 1000) is not None
    assert ranges("bytes=" + "0-0," * (RANGES_MAX + 1), 1000) is None


@pytest.mark.parametrize(("header", "size"), [("bytes=10-", 10), ("bytes=-0", 10), ("bytes=0-", 0), ("bytes=-5", 0)])
def test_what_has_no_byte_is_told(header: str, size: int) -> None:
    with pytest.raises(Unsatisfiable):
        ranges(header, size)


@given(st.text(alphabet="bytes=0123456789-, ", max_size=30), st.integers(0, 1000))
def test_any_header_asks_for_what_is_there(header: str, size: int) -> None:
    try:
        found = ranges(f"bytes={header}", size)
    except Unsatisfiable:
        return
    assert found is None or all(0 <= one.start < one.stop <= size for one in found)


def test_a_range_says_where_it_is() -> None:
    assert ByteRange(2, 5).content_range(10) == "bytes 2-4/10"
