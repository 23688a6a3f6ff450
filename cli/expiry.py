"""When something ends, as people write it: ``12h``, ``30d``, ``8w``, or a day such as ``2027-01-31``."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime
from typing import Final

import click

_SECONDS: Final = {"m": 60, "h": 3_600, "d": 86_400, "w": 7 * 86_400}
_SPAN: Final = re.compile(r"(\d{1,5})\s*([mhdw])", re.IGNORECASE)


def expiry_ns(text: str, now_ns: int) -> int | None:
    """Nanoseconds since 1970: so long from now, or when that day begins (UTC). None for what is neither."""
    span = _SPAN.fullmatch(text.strip())
    if span is not None:
        return now_ns + int(span[1]) * _SECONDS[span[2].lower()] * 10**9
    try:
        day = datetime.strptime(text.strip(), "%Y-%m-%d").replace(tzinfo=UTC)
    except ValueError:
        return None
    return int(day.timestamp()) * 10**9


class Expiry(click.ParamType[int]):
    """An option's value in nanoseconds since 1970."""

    name = "when"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Read one; a wrong one ends the command with a message."""
        if isinstance(value, int):
            return value
        found = expiry_ns(str(value), time.time_ns())
        if found is None:
            self.fail(f"{value!r} is not a time: write it as 12h, 30d, 8w or 2027-01-31.", param, ctx)
        return found


EXPIRY: Final = Expiry()
