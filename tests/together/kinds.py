"""Tests of what holds in an end-to-end workspace as in any other."""

from __future__ import annotations

from typing import Final

import pytest

in_both_kinds: Final = pytest.mark.parametrize("world", ["plain", "end-to-end"], indirect=True)
"""The test's fixture ``world`` has the one and then the other."""
