"""What a system call is refused with."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager

import pytest


@contextmanager
def refused(number: int) -> Iterator[None]:
    with pytest.raises(OSError) as told:
        yield
    assert told.value.errno == number, (
        f"{errno.errorcode[told.value.errno or 0]} instead of {errno.errorcode[number]}: {told.value}"
    )
