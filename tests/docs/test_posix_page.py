from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_each_test_that_the_page_names_is_there() -> None:
    named = set(re.findall(r"`(test_\w+)`", (ROOT / "docs" / "posix.md").read_text()))
    there = {
        name
        for path in (ROOT / "tests" / "real").rglob("test_*.py")
        for name in re.findall(r"^def (test_\w+)", path.read_text(), re.MULTILINE)
    }
    assert named
    assert named <= there


def test_each_difference_that_is_tested_is_on_the_page() -> None:
    page = (ROOT / "docs" / "posix.md").read_text()
    tests = (ROOT / "tests" / "real" / "test_differences.py").read_text()
    assert all(f"`{name}`" in page for name in re.findall(r"^def (test_\w+)", tests, re.MULTILINE))
