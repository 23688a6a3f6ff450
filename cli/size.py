"""Sizes as people write them: ``500M``, ``20G``, ``1.5 TiB``. Units are powers of 1024."""

from __future__ import annotations

import re
from typing import Final

import click

_UNITS: Final = "KMGTP"
_WRITTEN: Final = re.compile(r"(\d+(?:\.\d+)?)\s*(?:([KMGTP])?(?:i?B)?)", re.IGNORECASE)


class Size(click.ParamType[int]):
    """An option's value in bytes."""

    name = "size"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Read one; a wrong one ends the command with a message."""
        if isinstance(value, int):
            return value
        match = _WRITTEN.fullmatch(str(value).strip())
        if match is None:
            self.fail(f"{value!r} is not a size: write it as 500M or 20G.", param, ctx)
        number, unit = match.groups()
        return int(float(number) * 1024 ** (_UNITS.index(unit.upper()) + 1 if unit else 0))


SIZE: Final = Size()


def written(size_bytes: int) -> str:
    """For people: ``3.2 GiB``."""
    size = float(size_bytes)
    for unit in ("bytes", "KiB", "MiB", "GiB", "TiB"):
        if size < 1024 or unit == "TiB":
            break
        size /= 1024
    return f"{size_bytes} bytes" if unit == "bytes" else f"{size:.1f} {unit}"
