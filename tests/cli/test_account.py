"""The account commands against a real server."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cli.localserver import LocalServer
from tests.cli.conftest import Person


@pytest.fixture
def ann(admin: Person, server: LocalServer, tmp_path: Path) -> Person:
    """A user whom admin has added, logged in on her laptop."""
    admin.does("user", "add", "ann", "--password-file", "-", typed="ann's\n")
    person = Person(tmp_path / "ann")
    person.does("login", server.url, "--user", "ann", "--password-file", "-", "--device", "laptop", typed="ann's")
    return person


def names(person: Person, *arguments: str) -> set[str]:
    return {each["name"] for each in json.loads(person.does(*arguments, "--json"))}


def test_a_login_is_saved_for_its_owner_alone(admin: Person) -> None:
    (saved,) = (admin.home / ".config" / "samedrive" / "logins").iterdir()
    assert saved.stat().st_mode & 0o777 == 0o600
    assert json.loads(saved.read_bytes())["device"] == "desk"


def test_a_wrong_password_is_told(server: LocalServer, tmp_path: Path) -> None:
    said = Person(tmp_path / "x").fails("login", server.url, "--user", "admin", "--password-file", "-", typed="wrong")
    assert said == f"{server.url} did not let admin in: wrong user name or password"


def test_without_a_login_the_way_out_is_told(tmp_path: Path) -> None:
    said = Person(tmp_path / "x").fails("workspace", "list")
    assert said == "not logged in: samedrive login URL --user NAME"


def test_users_are_added_listed_and_removed(admin: Person, ann: Person) -> None:
    assert names(admin, "user", "list") == {"admin", "ann"}
    admin.does("user", "remove", "ann")
    assert names(admin, "user", "list") == {"admin"}
    assert "does not accept this login" in ann.fails("workspace", "list")


def test_a_name_that_is_taken_is_refused(admin: Person, ann: Person) -> None:
    assert "ann" in admin.fails("user", "add", "ann", "--password-file", "-", typed="x")


def test_only_admins_manage_users(ann: Person) -> None:
    assert "admin" in ann.fails("user", "list")


def test_a_password_can_be_changed_by_its_owner(ann: Person, server: LocalServer) -> None:
    ann.does("user", "password", "--password-file", "-", typed="new")
    ann.fails("login", server.url, "--user", "ann", "--password-file", "-", typed="ann's")
    ann.does("login", server.url, "--user", "ann", "--password-file", "-", typed="new")


def test_an_empty_password_is_refused_before_the_server_is_asked(admin: Person) -> None:
    assert admin.fails("user", "add", "bob", "--password-file", "-", typed="\n") == "there is no password in -"


def test_a_shared_workspace_is_seen_with_its_role_until_it_is_taken_back(admin: Person, ann: Person) -> None:
    admin.does("workspace", "create", "team", "--quota", "2G")
    admin.does("workspace", "share", "team", "ann", "--role", "viewer")
    listed = {each["name"]: each for each in json.loads(ann.does("workspace", "list", "--json"))}
    assert listed["team"]["role"] == "viewer"
    assert listed["team"]["quota_bytes"] == 2 << 30
    assert "2.0 GiB" in ann.does("workspace", "list")
    admin.does("workspace", "share", "team", "ann", "--role", "none")
    assert "team" not in names(ann, "workspace", "list")


def test_two_workspaces_of_one_name_are_told_apart_by_owner(admin: Person, ann: Person) -> None:
    for each in (admin, ann):
        each.does("workspace", "create", "team")
    admin.does("workspace", "share", "team", "ann")
    assert "no workspace called 'bob/team'" in ann.fails("workspace", "share", "bob/team", "admin")
    ann.does("workspace", "share", "team", "admin", "--role", "viewer")
    roles = {
        (each["owner"], each["name"]): each["role"] for each in json.loads(admin.does("workspace", "list", "--json"))
    }
    assert roles["ann", "team"] == "viewer"


def test_a_revoked_device_is_refused_and_told_how_to_come_back(admin: Person, ann: Person, server: LocalServer) -> None:
    assert names(ann, "device", "list") == {"laptop"}
    assert names(admin, "device", "list", "--all") == {"desk", "laptop"}
    ann.does("device", "revoke", "laptop")
    assert ann.fails("workspace", "list").endswith(f": samedrive login {server.url} --user ann")


def test_an_unknown_device_is_named(admin: Person) -> None:
    assert "toaster" in admin.fails("device", "revoke", "toaster")


def test_logging_out_revokes_and_forgets(admin: Person, ann: Person) -> None:
    ann.does("logout")
    assert "not logged in" in ann.fails("workspace", "list")
    (device,) = (each for each in json.loads(admin.does("device", "list", "--all", "--json")) if each["user"] == "ann")
    assert device["revoked"]


def test_logging_out_works_with_a_token_that_was_revoked_already(ann: Person) -> None:
    ann.does("device", "revoke", "laptop")
    ann.does("logout")
    assert "not logged in" in ann.fails("logout")
