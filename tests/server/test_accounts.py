"""Log-in, users, devices and workspaces, by HTTP."""

from __future__ import annotations

from dataclasses import replace

import httpx
import pytest

from protocol.messages.accounts import (
    Devices,
    Health,
    Login,
    LoginReply,
    Member,
    Members,
    NewPassword,
    NewUser,
    NewWorkspace,
    Role,
    Share,
    User,
    Users,
    Workspace,
    Workspaces,
)
from server.passwords import ATTEMPTS
from tests.server.world import PASSWORD, Client, World, good, problem


async def _login(client: Client, user: str, password: str, device: str = "laptop") -> httpx.Response:
    return await client.call("POST", "/login", Login(user, password, device))


@pytest.fixture
async def root(world: World) -> Client:
    return await world.user("root", is_admin=True)


async def test_anybody_may_ask_for_health(world: World) -> None:
    answer = (await world.http.get("/v1/health")).json()
    assert (answer["program"], answer["api"]) == ("samedrive", "v1")


async def test_answers_are_messagepack_where_that_is_accepted(ada: Client) -> None:
    assert (await ada.ask(Health, "GET", "/health")).program == "samedrive"


async def test_a_password_gets_a_token_that_works(world: World, root: Client) -> None:
    await root.ask(User, "POST", "/users", NewUser("bob", PASSWORD))
    reply = good(LoginReply, await _login(root, "bob", PASSWORD))
    bob = replace(root, token=reply.token)
    assert [found.name for found in (await bob.ask(Workspaces, "GET", "/workspaces")).workspaces] == ["home"]


async def test_the_same_device_name_again_is_the_same_device_with_a_new_token(world: World, root: Client) -> None:
    await root.ask(User, "POST", "/users", NewUser("bob", PASSWORD))
    first = good(LoginReply, await _login(root, "bob", PASSWORD))
    second = good(LoginReply, await _login(root, "bob", PASSWORD))
    assert first.device == second.device
    stale = replace(root, token=first.token)
    assert problem(await stale.call("GET", "/workspaces")) == (401, "unauthorized")


async def test_a_wrong_password_and_an_unknown_user_look_the_same(root: Client) -> None:
    await root.ask(User, "POST", "/users", NewUser("bob", PASSWORD))
    wrong, unknown = await _login(root, "bob", "guess"), await _login(root, "nobody", "guess")
    assert problem(wrong) == problem(unknown) == (401, "unauthorized")
    assert wrong.content == unknown.content


async def test_too_many_failed_logins_are_refused(ada: Client) -> None:
    for _ in range(ATTEMPTS):
        assert problem(await _login(ada, "ada", "guess")) == (401, "unauthorized")
    assert problem(await _login(ada, "ada", "guess")) == (429, "too-many-attempts")


@pytest.mark.parametrize(
    ("user", "password", "device"),
    [("", "x", "d"), ("u" * 65, "x", "d"), ("u", "", "d"), ("u", "ä" * 600, "d"), ("u", "x", ""), ("u", "x", "a/b")],
)
async def test_a_login_of_odd_names_is_malformed(ada: Client, user: str, password: str, device: str) -> None:
    assert problem(await _login(ada, user, password, device)) == (400, "bad-request")


async def test_a_strangers_login_of_enormous_size_is_not_read(ada: Client) -> None:
    assert problem(await _login(ada, "u" * 100_000, "x")) == (413, "body-too-large")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/workspaces"),
        ("POST", "/workspaces"),
        ("GET", "/users"),
        ("GET", "/devices"),
        ("POST", "/logout"),
        ("GET", "."),
        ("GET", "./nodes/1"),
        ("GET", "./nodes/1/entries"),
        ("GET", "./nodes/1/entries/a"),
        ("GET", "./nodes/1/manifest?version=1"),
        ("GET", "./usage"),
        ("GET", "./space"),
        ("GET", "./members"),
        ("GET", "./changes?after=0"),
        ("GET", f"./blocks/{'00' * 32}"),
        ("PUT", f"./blocks/{'00' * 32}"),
    ],
)
async def test_nothing_answers_without_a_token(ada: Client, method: str, path: str) -> None:
    ada.token = "made up"
    body = NewWorkspace("x") if (method, path) == ("POST", "/workspaces") else None
    answer = await ada.call(method, path, body)
    assert problem(answer) == (401, "unauthorized")
    assert answer.headers["www-authenticate"] == "Bearer"


async def test_a_user_with_a_workspace_of_content_stays(root: Client, world: World) -> None:
    from tests.server.world import create

    bob = await (await world.user("bob")).join()
    await bob.send(create(b"f", 100))
    assert problem(await root.call("DELETE", "/users/bob")) == (409, "conflict")


async def test_a_removed_user_is_a_stranger(root: Client, world: World) -> None:
    bob = await world.user("bob")
    assert (await root.call("DELETE", "/users/bob")).status_code == 204
    assert problem(await bob.call("GET", "/workspaces")) == (401, "unauthorized")
    assert problem(await root.call("DELETE", "/users/bob")) == (404, "not-found")


async def test_nobody_removes_themselves(root: Client) -> None:
    assert problem(await root.call("DELETE", "/users/root")) == (409, "conflict")


async def test_a_name_is_taken_once(root: Client) -> None:
    await root.ask(User, "POST", "/users", NewUser("bob", PASSWORD))
    assert problem(await root.call("POST", "/users", NewUser("bob", PASSWORD))) == (409, "conflict")
    assert [user.name for user in (await root.ask(Users, "GET", "/users")).users] == ["bob", "root"]


async def test_only_admins_manage_users(ada: Client) -> None:
    for method, path, body in [
        ("GET", "/users", None),
        ("POST", "/users", NewUser("eve", PASSWORD)),
        ("DELETE", "/users/ada", None),
        ("GET", "/devices?all=1", None),
        ("PUT", "/users/bob/password", NewPassword("x")),
    ]:
        assert problem(await ada.call(method, path, body)) == (403, "forbidden")


async def test_one_sets_ones_own_password_and_an_admin_anybodys(root: Client, ada: Client) -> None:
    assert (await ada.call("PUT", "/users/ada/password", NewPassword("by ada"))).status_code == 204
    good(LoginReply, await _login(ada, "ada", "by ada", "other"))
    assert (await root.call("PUT", "/users/ada/password", NewPassword("by root"))).status_code == 204
    good(LoginReply, await _login(ada, "ada", "by root", "other"))
    assert problem(await root.call("PUT", "/users/nobody/password", NewPassword("x"))) == (404, "not-found")


async def test_a_revoked_device_is_a_stranger(ada: Client) -> None:
    [device] = (await ada.ask(Devices, "GET", "/devices")).devices
    assert (await ada.call("DELETE", f"/devices/{device.id}")).status_code == 204
    assert problem(await ada.call("GET", "/workspaces")) == (401, "unauthorized")


async def test_a_logged_out_device_is_a_stranger(ada: Client) -> None:
    assert (await ada.call("POST", "/logout")).status_code == 204
    assert problem(await ada.call("GET", "/workspaces")) == (401, "unauthorized")


async def test_one_revokes_only_ones_own_devices(world: World, ada: Client) -> None:
    bob = await world.user("bob")
    [device] = (await ada.ask(Devices, "GET", "/devices")).devices
    assert problem(await bob.call("DELETE", f"/devices/{device.id}")) == (404, "not-found")


async def test_a_workspace_comes_with_its_key_for_members_alone(world: World, ada: Client) -> None:
    assert len(await ada.key()) == 32
    assert all(not found.key for found in (await ada.ask(Workspaces, "GET", "/workspaces")).workspaces)
    stranger = await world.user("eve")
    assert problem(await stranger.call("GET", f"/workspaces/{ada.workspace}")) == (404, "not-found")


async def test_a_strangers_workspace_looks_like_none(world: World, ada: Client) -> None:
    eve = await world.user("eve")
    real = await eve.call("GET", f"/workspaces/{ada.workspace}/nodes/1")
    unreal = await eve.call("GET", f"/workspaces/{'0' * 32}/nodes/1")
    assert problem(real) == (404, "not-found")
    assert real.content == unreal.content


async def test_a_new_workspace_is_its_makers(ada: Client) -> None:
    made = await ada.ask(Workspace, "POST", "/workspaces", NewWorkspace("photos", 1000))
    assert (made.role, made.quota_bytes, made.default) == (Role.OWNER, 1000, False)
    assert problem(await ada.call("POST", "/workspaces", NewWorkspace("photos"))) == (409, "conflict")
    assert problem(await ada.call("POST", "/workspaces", NewWorkspace("x", -1))) == (400, "bad-request")


async def test_sharing_is_the_owners(world: World, ada: Client) -> None:
    bob = await world.member(ada, "bob", Role.EDITOR)
    await world.user("eve")
    assert problem(await bob.call("POST", "./members", Share("eve", Role.VIEWER))) == (403, "forbidden")
    assert (await ada.call("POST", "./members", Share("eve", Role.VIEWER))).status_code == 204
    assert (await ada.call("POST", "./members", Share("bob", None))).status_code == 204
    assert problem(await bob.call("GET", "./nodes/1")) == (404, "not-found")
    assert problem(await ada.call("POST", "./members", Share("ada", None))) == (409, "conflict")
    members = (await ada.ask(Members, "GET", "./members")).members
    assert members == [Member("ada", Role.OWNER), Member("eve", Role.VIEWER)]
