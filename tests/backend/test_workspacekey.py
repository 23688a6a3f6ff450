from __future__ import annotations

import pytest
from msgspec.structs import replace

from backend.errors import NoKey, Unusable
from backend.workspacekey import with_key
from protocol.ids import WorkspaceId
from protocol.messages.accounts import Role, Workspace
from protocol.passphrase import enclose

KEY = bytes(range(32))
HERE = WorkspaceId("0" * 32)
PASSPHRASE = "correct horse battery staple"
ENVELOPE = enclose({1: KEY}, PASSPHRASE, HERE)
PLAIN = Workspace(HERE, "docs", "ada", Role.OWNER, key=b"k" * 32)
SEALED = Workspace(HERE, "docs", "ada", Role.OWNER, end_to_end=True, envelope=ENVELOPE)
OPENED = replace(SEALED, key=KEY)


def test_a_plain_workspace_s_key_is_in_the_answer() -> None:
    assert with_key(PLAIN, None, None) == PLAIN
    assert with_key(PLAIN, PLAIN, None) == PLAIN


def test_keys_that_a_server_has_lost_are_still_known() -> None:
    known = replace(PLAIN, key_id=3, later_keys={2: b"2" * 32, 3: b"3" * 32})
    asked = replace(PLAIN, key_id=2, later_keys={2: b"new" + bytes(29)})
    assert with_key(asked, known, None) == replace(asked, later_keys={2: b"new" + bytes(29), 3: b"3" * 32})


@pytest.mark.parametrize("changed", [{"key": bytes(32)}, {"id": WorkspaceId("1" * 32)}])
def test_another_workspace_s_keys_are_not_taken(changed: dict[str, object]) -> None:
    known = replace(PLAIN, key_id=2, later_keys={2: b"2" * 32}, **changed)
    assert with_key(PLAIN, known, None) == PLAIN


def test_an_end_to_end_workspace_opens_with_its_passphrase() -> None:
    assert with_key(SEALED, None, PASSPHRASE) == OPENED


def test_what_was_opened_once_needs_no_passphrase() -> None:
    asked = replace(SEALED, used_bytes=5)
    assert with_key(asked, OPENED, None) == replace(asked, key=KEY)


@pytest.mark.parametrize(
    "known",
    [
        None,
        SEALED,
        PLAIN,
        replace(OPENED, id=WorkspaceId("1" * 32)),
        replace(OPENED, envelope=b"another"),
    ],
    ids=["nothing", "no key", "a plain one", "another workspace's", "another key's"],
)
def test_without_a_passphrase_nothing_else_that_is_known_opens_it(known: Workspace | None) -> None:
    with pytest.raises(NoKey, match=r"ada/docs is end-to-end encrypted.*--passphrase-file"):
        with_key(SEALED, known, None)


@pytest.mark.parametrize("known", [None, OPENED])
def test_a_wrong_passphrase_is_said_to_be_wrong(known: Workspace | None) -> None:
    with pytest.raises(NoKey, match="that is not the passphrase of ada/docs"):
        with_key(SEALED, known, "another passphrase")


def test_an_envelope_that_is_none_is_said_to_be_unusable() -> None:
    with pytest.raises(Unusable, match="ada/docs can't be opened"):
        with_key(replace(SEALED, envelope=b"{}"), None, PASSPHRASE)


def test_what_was_end_to_end_encrypted_is_not_opened_as_a_plain_one() -> None:
    for known in (OPENED, replace(OPENED, id=WorkspaceId("1" * 32))):
        with pytest.raises(Unusable, match="not to be trusted"):
            with_key(PLAIN, known, None)


def test_a_passphrase_for_a_plain_workspace_is_refused() -> None:
    with pytest.raises(NoKey, match="not end-to-end encrypted"):
        with_key(PLAIN, None, PASSPHRASE)


LATER = {2: b"2" * 32}
ROTATED = replace(SEALED, key_id=2, envelope=enclose({1: KEY, **LATER}, PASSPHRASE, HERE))


def test_all_keys_are_in_the_envelope() -> None:
    assert with_key(ROTATED, None, PASSPHRASE) == replace(ROTATED, key=KEY, later_keys=LATER)


def test_later_keys_are_remembered_like_the_first() -> None:
    known = replace(ROTATED, key=KEY, later_keys=LATER)
    assert with_key(ROTATED, known, None) == known


def test_later_keys_that_a_server_tells_are_not_taken() -> None:
    """It would have them itself."""
    told = {2: b"the server's own" * 2}
    assert with_key(replace(SEALED, later_keys=told), OPENED, None) == OPENED
    assert with_key(replace(SEALED, later_keys=told), None, PASSPHRASE) == OPENED
    known = replace(ROTATED, key=KEY, later_keys=LATER)
    assert with_key(replace(ROTATED, later_keys=told), known, None).later_keys == LATER


def test_keys_that_a_restored_server_has_no_envelope_with_stay_known() -> None:
    known = replace(ROTATED, key=KEY, later_keys=LATER)
    assert with_key(SEALED, known, PASSPHRASE).later_keys == LATER
