"""What ``samedrive status`` says, for people."""

from __future__ import annotations

from typing import Any

import pytest

from cli.mount import described


def status(**changes: Any) -> dict[str, Any]:
    return {
        "folder": "/drive",
        "workspace": "home",
        "url": "https://server",
        "state": "online",
        "trouble": "",
        "seq": 7,
        "queued_changes": 0,
        "sending": [],
        "requests": 1,
        "bytes_up": 0,
        "bytes_down": 0,
        "blocks_up": 0,
        "blocks_down": 0,
        "cache_bytes": 0,
        "cache_hits": 0,
        "cache_trouble": "",
        "key_trouble": "",
    } | changes


def test_a_mount_with_its_server_says_no_more_than_that() -> None:
    lines = described(status(queued_changes=3)).splitlines()
    assert lines[0] == "/drive: home at https://server, online"
    assert len(lines) == 3


def test_a_mount_whose_server_did_not_answer_is_not_called_offline() -> None:
    text = described(status(state="waiting", trouble="no answer", queued_changes=3))
    assert text.startswith("/drive: home at https://server, waiting\n")
    assert "  the server did not answer last: what needs it waits\n  trouble: no answer" in text
    assert "offline" not in text


@pytest.mark.parametrize(
    ("kept", "line"),
    [
        (1, "  1 change kept here, to be sent when the server takes it"),
        (2, "  2 changes kept here, to be sent when the server takes them"),
    ],
)
@pytest.mark.parametrize("state", ["offline", "refused"])
def test_what_is_kept_is_counted_where_it_can_not_be_sent(state: str, kept: int, line: str) -> None:
    assert line in described(status(state=state, queued_changes=kept)).splitlines()
