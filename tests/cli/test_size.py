"""Sizes as people write them."""

import click
import pytest

from cli.size import SIZE, written


@pytest.mark.parametrize(
    ("text", "size_bytes"),
    [("0", 0), ("4096", 4096), ("64K", 65536), ("1.5k", 1536), ("20G", 20 << 30), ("1 MiB", 1 << 20), ("3GB", 3 << 30)],
)
def test_units_are_powers_of_1024(text: str, size_bytes: int) -> None:
    assert SIZE.convert(text, None, None) == size_bytes


@pytest.mark.parametrize("text", ["", "G", "-1", "1X", "1,5G", "ten"])
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(click.BadParameter, match="is not a size"):
        SIZE.convert(text, None, None)


def test_people_read_three_digits() -> None:
    assert [written(size) for size in (0, 1023, 1536, 5 << 30)] == ["0 bytes", "1023 bytes", "1.5 KiB", "5.0 GiB"]
