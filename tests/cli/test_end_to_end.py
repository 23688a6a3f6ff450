"""``samedrive workspace create --end-to-end``: the passphrase stays on this machine."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cli.localserver import LocalServer
from tests.cli.conftest import Person

PASSPHRASE = "correct horse battery staple"
WRONG = "that is not the passphrase of admin/diary"


def test_a_workspace_is_made_with_a_passphrase_and_listed_as_what_it_is(admin: Person) -> None:
    said = admin.does("workspace", "create", "diary", "--end-to-end", "--passphrase-file", "-", typed=PASSPHRASE)
    assert said.startswith("Made diary: samedrive mount http://")
    assert "Keep the passphrase" in said
    rows = [line.split() for line in admin.does("workspace", "list").splitlines()]
    assert {row[0]: row[-1] for row in rows[1:]} == {"home": "default", "diary": "end-to-end"}
    listed = json.loads(admin.does("workspace", "list", "--json"))
    assert [each["name"] for each in listed if each.get("end_to_end")] == ["diary"]


def test_the_server_never_gets_the_passphrase(admin: Person, server: LocalServer, tmp_path: Path) -> None:
    admin.does("workspace", "create", "diary", "--end-to-end", "--passphrase-file", "-", typed=PASSPHRASE)
    files = [file for file in (tmp_path / "data").rglob("*") if file.is_file()]
    assert files
    for file in files:
        assert PASSPHRASE.encode() not in file.read_bytes(), file


@pytest.mark.parametrize(
    ("typed", "said"),
    [("elevenchars", "a passphrase has at least 12 characters"), ("", "there is no passphrase in -")],
)
def test_a_passphrase_that_is_none_is_refused(admin: Person, typed: str, said: str) -> None:
    failed = admin.fails("workspace", "create", "diary", "--end-to-end", "--passphrase-file", "-", typed=typed)
    assert failed.startswith(said)
    assert "diary" not in admin.does("workspace", "list")


def test_a_passphrase_without_end_to_end_is_no_command(admin: Person) -> None:
    done = admin.run("workspace", "create", "diary", "--passphrase-file", "-", typed=PASSPHRASE)
    assert done.returncode == 2
    assert "--passphrase-file is for --end-to-end" in done.stderr


def test_where_nobody_can_be_asked_it_is_said_how_to_give_it(admin: Person) -> None:
    done = admin.run("workspace", "create", "diary", "--end-to-end")
    assert done.returncode == 2
    assert "give it with --passphrase-file" in done.stderr


def test_a_workspace_gets_another_passphrase_from_who_has_the_present_one(admin: Person, tmp_path: Path) -> None:
    admin.does("workspace", "create", "diary", "--end-to-end", "--passphrase-file", "-", typed=PASSPHRASE)
    new = tmp_path / "new"
    new.write_text("another horse and another battery\n")
    change = ("workspace", "passphrase", "diary", "--passphrase-file", "-", "--new-passphrase-file", str(new))
    assert admin.fails(*change, typed="not the passphrase") == WRONG
    assert admin.does(*change, typed=PASSPHRASE).startswith("diary has another passphrase.")
    assert admin.fails(*change, typed=PASSPHRASE) == WRONG
    assert admin.does(*change, typed=new.read_text()).startswith("diary has another passphrase.")


def test_a_workspace_that_the_server_opens_has_no_passphrase(admin: Person) -> None:
    said = admin.fails("workspace", "passphrase", "home", "--passphrase-file", "-", typed=PASSPHRASE)
    assert said == "home has no passphrase: it isn't end-to-end encrypted"


def test_a_new_passphrase_that_is_too_short_is_refused(admin: Person, tmp_path: Path) -> None:
    admin.does("workspace", "create", "diary", "--end-to-end", "--passphrase-file", "-", typed=PASSPHRASE)
    (tmp_path / "new").write_text("elevenchars")
    change = ("workspace", "passphrase", "diary", "--passphrase-file", "-", "--new-passphrase-file")
    failed = admin.fails(*change, str(tmp_path / "new"), typed=PASSPHRASE)
    assert failed.startswith("a passphrase has at least 12 characters")


NEW = "another horse and another battery"


@pytest.fixture
def rotate(admin: Person, tmp_path: Path) -> tuple[str, ...]:
    """The command that gives ``diary``, which is made, another key and passphrase; the present one is typed."""
    admin.does("workspace", "create", "diary", "--end-to-end", "--passphrase-file", "-", typed=PASSPHRASE)
    (tmp_path / "new").write_text(f"{NEW}\n")
    given = ("--passphrase-file", "-", "--new-passphrase-file", str(tmp_path / "new"))
    return ("workspace", "rotate-key", "diary", *given)


def key_of(person: Person) -> int:
    """The id of the last key of ``diary``."""
    [found] = [each for each in json.loads(person.does("workspace", "list", "--json")) if each["name"] == "diary"]
    return int(found.get("key_id", 1))


def test_an_owner_rotates_the_key_and_the_passphrase(admin: Person, rotate: tuple[str, ...]) -> None:
    assert admin.does(*rotate, typed=PASSPHRASE).splitlines() == [
        "Key 2 seals what diary gets from now on from devices that are unlocked.",
        "On each other device: samedrive workspace unlock diary",
        "0 blocks sealed anew under key 2.",
    ]
    assert key_of(admin) == 2
    unlock = ("workspace", "unlock", "diary", "--passphrase-file", "-")
    assert admin.fails(*unlock, typed=PASSPHRASE) == WRONG
    assert admin.does(*unlock, typed=NEW) == "diary is unlocked on this machine.\n"


def test_a_key_is_rotated_under_the_same_passphrase_where_that_is_asked_for(
    admin: Person, rotate: tuple[str, ...]
) -> None:
    keep = (*rotate[:5], "--keep-passphrase")
    assert "Key 2 seals" in admin.does(*keep, typed=PASSPHRASE)
    assert "Key 3 seals" in admin.does(*keep, typed=PASSPHRASE)
    assert "exclude each other" in admin.run(*rotate, "--keep-passphrase", typed=PASSPHRASE).stderr
    assert "Key 4 seals" in admin.does(*rotate, typed=PASSPHRASE)


@pytest.mark.parametrize("typed", ["not the passphrase", NEW])
def test_who_does_not_know_the_passphrase_rotates_nothing(admin: Person, rotate: tuple[str, ...], typed: str) -> None:
    assert admin.fails(*rotate, typed=typed) == WRONG
    assert key_of(admin) == 1


def test_a_key_is_not_rotated_to_a_passphrase_that_is_too_short(
    admin: Person, rotate: tuple[str, ...], tmp_path: Path
) -> None:
    (tmp_path / "new").write_text("elevenchars")
    assert admin.fails(*rotate, typed=PASSPHRASE).startswith("a passphrase has at least 12 characters")
    assert key_of(admin) == 1


def test_an_editor_rotates_nothing(admin: Person, ann: Person, rotate: tuple[str, ...]) -> None:
    admin.does("workspace", "share", "diary", "ann", "--role", "editor")
    assert "only an owner" in ann.fails(*rotate, typed=PASSPHRASE)
    assert "only an owner" in ann.fails("workspace", "reseal", "diary", "--passphrase-file", "-", typed=PASSPHRASE)
    assert ann.does("workspace", "unlock", "diary", "--passphrase-file", "-", typed=PASSPHRASE)
    assert key_of(admin) == 1


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("unlock", "home needs no unlocking: it isn't end-to-end encrypted"),
        ("reseal", "home is sealed anew by the server itself"),
    ],
)
def test_a_workspace_that_the_server_opens_has_no_use_for_it(admin: Person, command: str, said: str) -> None:
    assert admin.fails("workspace", command, "home", "--passphrase-file", "-", typed=PASSPHRASE) == said


def test_a_passphrase_for_a_key_that_the_server_makes_is_no_command(admin: Person) -> None:
    done = admin.run("workspace", "rotate-key", "home", "--passphrase-file", "-", typed=PASSPHRASE)
    assert done.returncode == 2
    assert "home has no passphrase" in done.stderr
