"""What commands show."""

from __future__ import annotations

import pytest

from cli.asking import show


def test_names_of_others_do_not_reach_the_terminal_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    show(("ID", "WHAT"), [("1", "/a\x1b]0;b\x07\n2   \u202ec é")], None)
    assert capsys.readouterr().out == "ID  WHAT\n1   /a\\x1b]0;b\\x07\\n2   \\u202ec é\n"
