"""The account commands against a real server."""

from __future__ import annotations

import json
from pathlib import Path

from cli.localserver import LocalServer
from tests.cli.conftest import Person


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
    admin.does("workspace", "unshare", "team", "ann")
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


# ── sharing ──


def test_members_are_listed_changed_and_removed(admin: Person, ann: Person) -> None:
    admin.does("workspace", "create", "team")
    assert admin.does("workspace", "share", "team", "ann", "--role", "viewer") == "ann is viewer of team.\n"
    assert admin.does("workspace", "share", "team", "ann") == "ann is editor of team.\n"
    members = json.loads(ann.does("workspace", "members", "admin/team", "--json"))
    assert members == [{"user": "admin", "role": "owner"}, {"user": "ann", "role": "editor"}]
    assert admin.does("workspace", "unshare", "team", "ann") == "ann is no longer a member of team.\n"
    assert admin.fails("workspace", "unshare", "team", "ann") == "'ann' is no member of this workspace"


def test_a_member_leaves_and_the_owner_stays(admin: Person, ann: Person) -> None:
    admin.does("workspace", "create", "team")
    admin.does("workspace", "share", "team", "ann")
    assert ann.does("workspace", "leave", "team") == "You are no longer a member of team.\n"
    assert "team" not in names(ann, "workspace", "list")
    assert admin.fails("workspace", "leave", "team") == "the owner of a workspace stays its owner"


def test_an_owner_rotates_a_workspace_s_key(admin: Person, ann: Person) -> None:
    admin.does("workspace", "create", "team")
    assert admin.does("workspace", "rotate-key", "team") == "Key 2 seals what team gets from now on.\n"
    assert admin.does("workspace", "rotate-key", "team") == "Key 3 seals what team gets from now on.\n"
    admin.does("workspace", "share", "team", "ann")
    assert "only an owner" in ann.fails("workspace", "rotate-key", "team")


def test_who_does_not_own_a_workspace_is_told_that_its_owner_shares_it(admin: Person, ann: Person) -> None:
    admin.does("workspace", "create", "team")
    admin.does("workspace", "share", "team", "ann")
    assert (
        ann.fails("workspace", "share", "team", "ann", "--role", "owner")
        == "only an owner of a workspace shares it and changes its key"
    )


def test_a_token_is_shown_once_listed_and_revoked(admin: Person) -> None:
    made = json.loads(admin.does("token", "create", "backup", "--scope", "write", "--expires", "30d", "--json"))
    listed = admin.does("token", "list", "--json")
    assert [each["name"] for each in json.loads(listed)] == ["backup"]
    assert made["secret"] not in listed
    assert admin.does("token", "revoke", "backup") == "backup is refused from now on.\n"
    assert admin.fails("token", "revoke", "backup") == "no token 'backup': see samedrive token list"


def test_a_token_for_people_comes_with_a_line_to_try(admin: Person, server: LocalServer) -> None:
    said = admin.does("token", "create", "report", "--workspace", "home")
    assert f"{server.url}/v1/workspaces" in said
    row = admin.does("token", "list").splitlines()[1].split()
    assert row[:3] == ["report", "read", "admin/home"]
