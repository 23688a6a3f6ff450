"""Tokens for scripts, by HTTP."""

from __future__ import annotations

from dataclasses import replace

import httpx
import pytest
from structlog.testing import capture_logs

from protocol.ids import WorkspaceId
from protocol.messages.accounts import (
    Devices,
    Login,
    Member,
    NewPassword,
    NewUser,
    NewWorkspace,
    Role,
    Workspace,
    Workspaces,
)
from protocol.messages.sessions import Join
from protocol.messages.tokens import MadeToken, NewToken, Scope, Token, Tokens
from protocol.messages.wire import Message
from tests.server.world import NOW_NS, PASSWORD, Client, World, problem

HOUR_NS = 3600 * 10**9


@pytest.fixture
async def ada(world: World) -> Client:
    """A user who has joined, and may manage users too."""
    return await (await world.user("ada", is_admin=True)).join()


async def made(
    client: Client,
    scope: Scope = Scope.READ,
    workspaces: list[WorkspaceId] | None = None,
    expires_ns: int | None = None,
    name: str = "report",
) -> Client:
    """A script with a token of its own, that speaks of its maker's workspace without a mount."""
    answer = await client.ask(MadeToken, "POST", "/tokens", NewToken(name, scope, workspaces, expires_ns))
    return replace(client, token=answer.secret, standing=None)


async def write(script: Client) -> httpx.Response:
    """The least that changes something."""
    block, sealed = script.sealed(b"content")
    return await script.call("PUT", f"./blocks/{block.hex()}", sealed)


async def tokens(client: Client) -> list[Token]:
    return (await client.ask(Tokens, "GET", "/tokens")).tokens


async def test_a_token_to_read_reads_and_changes_nothing(ada: Client) -> None:
    script = await made(ada)
    assert (await script.call("GET", "./nodes/1")).status_code == 200
    assert problem(await write(script)) == (403, "forbidden")


async def test_a_token_to_write_writes(ada: Client) -> None:
    assert (await write(await made(ada, Scope.WRITE))).status_code == 204


async def test_a_token_to_write_goes_no_further_than_its_user_s_role(world: World, ada: Client) -> None:
    bob = await world.member(ada, "bob", Role.VIEWER)
    assert problem(await write(await made(bob, Scope.WRITE))) == (403, "forbidden")


async def test_a_token_goes_when_its_user_loses_the_workspace(world: World, ada: Client) -> None:
    bob = await world.member(ada, "bob", Role.VIEWER)
    script = await made(bob)
    await ada.call("DELETE", "./members/bob")
    assert problem(await script.call("GET", "./nodes/1")) == (404, "not-found")


async def test_of_other_workspaces_than_its_own_a_token_sees_nothing(ada: Client) -> None:
    other = await ada.ask(Workspace, "POST", "/workspaces", NewWorkspace("other"))
    script = await made(ada, workspaces=[other.id])
    listed = (await script.ask(Workspaces, "GET", "/workspaces")).workspaces
    assert [(each.name, each.role) for each in listed] == [("other", Role.VIEWER)]
    hidden, unreal = await script.call("GET", "./nodes/1"), await script.call("GET", f"/workspaces/{'0' * 32}/nodes/1")
    assert problem(hidden) == (404, "not-found")
    assert hidden.content == unreal.content
    assert (await script.call("GET", f"/workspaces/{other.id}/nodes/1")).status_code == 200


async def test_a_token_is_for_workspaces_of_its_maker_alone(world: World, ada: Client) -> None:
    eve = await world.user("eve")
    wanted = NewToken("report", Scope.READ, [ada.workspace])
    assert problem(await eve.call("POST", "/tokens", wanted)) == (404, "not-found")


async def test_a_token_is_refused_from_its_end_on(world: World, ada: Client) -> None:
    script = await made(ada, expires_ns=NOW_NS + HOUR_NS)
    assert (await script.call("GET", "./nodes/1")).status_code == 200
    world.app.state.service = replace(world.service, now_ns=lambda: NOW_NS + HOUR_NS)
    assert problem(await script.call("GET", "./nodes/1")) == (401, "unauthorized")
    assert await tokens(ada) == []


async def test_a_revoked_token_is_refused(ada: Client) -> None:
    script = await made(ada)
    [token] = await tokens(ada)
    assert (await ada.call("DELETE", f"/tokens/{token.id}")).status_code == 204
    assert problem(await script.call("GET", "./nodes/1")) == (401, "unauthorized")
    assert problem(await ada.call("DELETE", f"/tokens/{token.id}")) == (404, "not-found")


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "/users", None),
        ("POST", "/users", NewUser("eve", PASSWORD)),
        ("DELETE", "/users/bob", None),
        ("PUT", "/users/ada/password", NewPassword("mine now")),
        ("GET", "/devices", None),
        ("GET", "/devices?all=1", None),
        ("DELETE", f"/devices/{'0' * 32}", None),
        ("POST", "/logout", None),
        ("POST", "/workspaces", NewWorkspace("more")),
        ("POST", "./members", Member("bob", Role.OWNER)),
        ("DELETE", "./members/bob", None),
        ("DELETE", "./members/ada", None),
        ("GET", "/tokens", None),
        ("POST", "/tokens", NewToken("another", Scope.WRITE)),
        ("DELETE", f"/tokens/{'0' * 32}", None),
        ("POST", "./join", Join(b"s" * 16, b"j" * 16)),
        ("POST", f"./journals/{'00' * 16}", None),
    ],
)
async def test_scripts_manage_nothing_and_mount_nothing(
    world: World, ada: Client, method: str, path: str, body: Message | None
) -> None:
    await world.member(ada, "bob", Role.VIEWER)
    script = await made(ada, Scope.WRITE)
    script.standing = ada.standing
    assert problem(await script.call(method, path, body)) == (403, "forbidden")


async def test_a_script_gets_no_key(ada: Client) -> None:
    assert len(await ada.key()) == 32
    assert await (await made(ada, Scope.WRITE)).key() == b""


async def test_the_secret_is_shown_once_and_not_kept(world: World, ada: Client) -> None:
    secret = (await made(ada)).token
    assert secret.encode() not in (await ada.call("GET", "/tokens")).content
    rows = await world.metadata.read(lambda tx: tx.all("SELECT * FROM devices"))
    assert not any(secret in str(row) or secret.encode() in row for row in rows)


async def test_tokens_are_not_among_the_devices(ada: Client) -> None:
    await made(ada)
    assert [each.name for each in (await ada.ask(Devices, "GET", "/devices")).devices] == ["adas laptop"]
    [token] = await tokens(ada)
    assert problem(await ada.call("DELETE", f"/devices/{token.id}")) == (404, "not-found")


async def test_a_name_is_taken_once_by_tokens_and_devices_alike(world: World, ada: Client) -> None:
    await made(ada)
    for name in ("report", "adas laptop"):
        assert problem(await ada.call("POST", "/tokens", NewToken(name, Scope.READ))) == (409, "conflict")
    kept = await world.service.passwords.hash(PASSWORD)
    await world.metadata.write(lambda tx: tx.execute("UPDATE users SET password_hash = ?", (kept,)))
    assert problem(await ada.call("POST", "/login", Login("ada", PASSWORD, "report"))) == (409, "conflict")


async def test_the_name_of_a_revoked_token_is_free_and_the_old_secret_is_not_good_again(ada: Client) -> None:
    old = await made(ada)
    [token] = await tokens(ada)
    await ada.call("DELETE", f"/tokens/{token.id}")
    new = await made(ada, Scope.WRITE)
    assert [(each.id, each.scope) for each in await tokens(ada)] == [(token.id, Scope.WRITE)]
    assert problem(await old.call("GET", "./nodes/1")) == (401, "unauthorized")
    assert (await new.call("GET", "./nodes/1")).status_code == 200


async def test_one_sees_and_revokes_ones_own_tokens_alone(world: World, ada: Client) -> None:
    await made(ada)
    [token] = await tokens(ada)
    eve = await world.user("eve", is_admin=True)
    assert await tokens(eve) == []
    assert problem(await eve.call("DELETE", f"/tokens/{token.id}")) == (404, "not-found")


@pytest.mark.parametrize(
    "wanted",
    [
        NewToken("", Scope.READ),
        NewToken("a/b", Scope.READ),
        NewToken("x" * 65, Scope.READ),
        NewToken("x", Scope.READ, expires_ns=NOW_NS),
        NewToken("x", Scope.READ, expires_ns=1 << 63),
        NewToken("x", Scope.READ, []),
    ],
)
async def test_a_token_of_odd_wishes_is_malformed(ada: Client, wanted: NewToken) -> None:
    assert problem(await ada.call("POST", "/tokens", wanted)) == (400, "bad-request")


async def test_a_token_in_the_address_of_a_request_that_fails_is_not_logged(world: World, ada: Client) -> None:
    class Broken:
        async def read(self, work: object) -> object:
            raise ZeroDivisionError

    world.app.state.service = replace(world.service, metadata=Broken())  # type: ignore[arg-type]
    with capture_logs() as logs:
        assert problem(await world.http.get(f"/v1/workspaces?token={ada.token}")) == (500, "internal")
    assert [line["path"] for line in logs] == ["/v1/workspaces"]
    assert ada.token not in str(logs)


@pytest.mark.parametrize("query", ["token={}", "access_token={}", "authorization=Bearer%20{}"])
async def test_a_token_in_the_address_is_not_looked_at(world: World, ada: Client, query: str) -> None:
    answer = await world.http.get(f"/v1/workspaces?{query.format(ada.token)}")
    assert problem(answer) == (401, "unauthorized")
