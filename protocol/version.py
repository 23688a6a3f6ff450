"""The version of the program, for ``--version``, the server's health answer and the wheel."""

from __future__ import annotations

from typing import Final

VERSION: Final = "0.1.0"
