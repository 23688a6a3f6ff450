from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_each_case_names_a_test_and_each_test_of_a_case_is_named() -> None:
    page = (ROOT / "docs" / "conflicts.md").read_text()
    tests = (ROOT / "tests" / "server" / "metadata" / "test_two_journals.py").read_text()
    named = re.findall(r"\| `(test_\w+)` \|$", page, re.MULTILINE)
    there = set(re.findall(r"^def (test_\w+)", tests, re.MULTILINE))
    assert len(named) == len(set(named))
    assert set(named) <= there
    rules_of_calls = {
        "test_a_merge_with_nobody_makes_the_folder",
        "test_only_folders_are_merged",
        "test_a_very_deep_removed_folder_comes_back",
    }
    assert there - set(named) == rules_of_calls
