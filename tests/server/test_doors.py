"""Every request that the server answers, by whoever may not make it: the list is the application's own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final, NamedTuple, cast

import httpx
import pytest
from starlette.routing import Mount, Route

from protocol.ids import NodeId, Seq, VersionNumber, WorkspaceId
from protocol.messages.accounts import Member, NewEnvelope, NewKey, NewPassword, NewUser, NewWorkspace, Role, Workspace
from protocol.messages.blocks import BlockList
from protocol.messages.conflicts import Keep, Resolution
from protocol.messages.items import Copy, Move, Restore
from protocol.messages.links import NewLink
from protocol.messages.nodes import Kind
from protocol.messages.sessions import Join
from protocol.messages.tokens import MadeToken, NewToken, Scope
from protocol.messages.wire import Message
from server import tus
from server.app import create_app
from server.metadata import tree
from tests.server.plainly import put
from tests.server.world import NOW_NS, PASSWORD, Client, World, create, problem

FOLDER: Final = 101
SESSION: Final = b"s" * 16
JOURNAL: Final = b"j" * 16

PUBLIC: Final = frozenset({"/health", "/login", "/openapi.json"})
"""For anybody; and what begins with /links/ is for whoever has the secret."""


class Door(NamedTuple):
    """A method and a path below /v1, with its parameters' names."""

    method: str
    path: str

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


def doors() -> list[Door]:
    mount = next(each for each in create_app(cast(Any, None)).routes if isinstance(each, Mount))
    routes = [each for each in mount.routes if isinstance(each, Route)]
    return [Door(method, route.path) for route in routes for method in sorted(route.methods or ())]


GUARDED: Final = [
    each
    for each in doors()
    if each.path not in PUBLIC and not each.path.startswith("/links/") and each.method != "OPTIONS"
]
OF_A_WORKSPACE: Final = [each for each in GUARDED if "{workspace}" in each.path]
CHANGING: Final = [
    each
    for each in OF_A_WORKSPACE
    if each.method not in ("GET", "HEAD") and each.path != "/workspaces/{workspace}/blocks/read"
]

PARAMETERS: Final[Mapping[str, str]] = {
    "{path:path}": "box/file",
    "{node}": str(FOLDER),
    "{name}": "file",
    "{block}": "00" * 32,
    "{journal}": JOURNAL.hex(),
    "{user}": "bob",
    "{device}": "0" * 32,
    "{token}": "0" * 32,
    "{link}": "0" * 16,
    "{upload}": "0" * 32,
}
BODIES: Final[Mapping[str, Message | bytes]] = {
    "POST /users": NewUser("eve", PASSWORD),
    "PUT /users/{user}/password": NewPassword(PASSWORD),
    "POST /workspaces": NewWorkspace("more"),
    "POST /tokens": NewToken("more", Scope.WRITE),
    "POST /workspaces/{workspace}/members": Member("bob", Role.OWNER),
    "POST /workspaces/{workspace}/links": NewLink("box"),
    "POST /workspaces/{workspace}/keys": NewKey(1),
    "PUT /workspaces/{workspace}/envelope": NewEnvelope(b"new", b"old"),
    "POST /workspaces/{workspace}/join": Join(SESSION, JOURNAL),
    "POST /workspaces/{workspace}/blocks/missing": BlockList([bytes(32)]),
    "POST /workspaces/{workspace}/blocks/damaged": BlockList([bytes(32)]),
    "POST /workspaces/{workspace}/blocks/read": BlockList([bytes(32)]),
    "PUT /workspaces/{workspace}/blocks/{block}": b"x",
    "PUT /workspaces/{workspace}/files/{path:path}": b"x",
    "POST /workspaces/{workspace}/move": Move("box/file", "moved"),
    "POST /workspaces/{workspace}/copy": Copy("box/file", "copied"),
    "POST /workspaces/{workspace}/restore": Restore("box/file", 1),
    "POST /workspaces/{workspace}/conflicts/{node}": Resolution(Keep.BOTH, VersionNumber(1)),
}
QUERIES: Final[Mapping[str, str]] = {
    "/workspaces/{workspace}/search": "?q=f",
    "/workspaces/{workspace}/nodes/{node}/manifest": "?version=1",
}


TUS: Final[Mapping[str, str]] = {
    tus.RESUMABLE: tus.VERSION,
    tus.LENGTH: "1",
    tus.OFFSET: "0",
    tus.METADATA: "filename ZmlsZQ==",
    "Content-Type": tus.OFFSET_OCTETS,
    "X-HTTP-Method-Override": "PATCH",
}


async def knock(client: Client, door: Door) -> httpx.Response:
    """A request that somebody who may make it would be answered."""
    path = door.path
    for name, value in PARAMETERS.items():
        path = path.replace(name, value)
    body = BODIES.get(str(door))
    if str(door) == "POST /workspaces/{workspace}/changes":
        body = client.batch(create(b"new", 200))
    path = path.replace("{workspace}", client.workspace) + QUERIES.get(door.path, "")
    if door.path.startswith("/tus"):
        headers = {**TUS, "Authorization": f"Bearer {client.token}"}
        return await client.http.request(door.method, f"/v1{path}", headers=headers)
    return await client.call(door.method, path, body)


@pytest.fixture
async def ada(world: World) -> Client:
    """A user with a file in a folder, and a member ``bob``."""
    client = await (await world.user("ada")).join()
    await client.send(create(b"box", FOLDER, Kind.FOLDER))
    await client.leave()
    await put(client, "box/file", b"content")
    await world.member(client, "bob", Role.VIEWER)
    client.standing = Seq(0), Seq(0)
    return client


async def head(world: World, workspace: WorkspaceId) -> Seq:
    return await world.metadata.read(lambda tx: tree.head(tx, workspace))


async def script_of(client: Client, wanted: NewToken) -> Client:
    return replace(client, token=(await client.ask(MadeToken, "POST", "/tokens", wanted)).secret)


def test_every_body_and_query_belongs_to_a_door() -> None:
    assert set(BODIES) <= {str(each) for each in GUARDED}
    assert set(QUERIES) <= {each.path for each in GUARDED}


@pytest.mark.parametrize("door", GUARDED, ids=str)
async def test_nothing_is_answered_without_a_good_token(world: World, ada: Client, door: Door) -> None:
    over = await script_of(ada, NewToken("over", Scope.WRITE, expires_ns=NOW_NS + 1))
    world.app.state.service = replace(world.service, now_ns=lambda: NOW_NS + 1)
    before = await head(world, ada.workspace)
    for token in ("", "made up", over.token):
        answer = await knock(replace(ada, token=token), door)
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"] == "Bearer"
    assert await head(world, ada.workspace) == before


@pytest.mark.parametrize("door", OF_A_WORKSPACE, ids=str)
async def test_a_workspace_of_others_looks_like_none(world: World, ada: Client, door: Door) -> None:
    eve = await world.user("eve", is_admin=True)
    eve.standing = ada.standing
    other = await eve.ask(Workspace, "POST", "/workspaces", NewWorkspace("other"))
    limited = await script_of(eve, NewToken("limited", Scope.WRITE, [other.id]))
    for stranger in (eve, limited):
        real = await knock(replace(stranger, workspace=ada.workspace), door)
        unreal = await knock(replace(stranger, workspace=WorkspaceId("0" * 32)), door)
        assert real.status_code == unreal.status_code
        assert real.content == unreal.content
        assert real.status_code == 404 or (stranger is limited and real.status_code == 403)


@pytest.mark.parametrize("door", CHANGING, ids=str)
async def test_a_token_to_read_changes_nothing(world: World, ada: Client, door: Door) -> None:
    script = await script_of(ada, NewToken("script", Scope.READ))
    before = await head(world, ada.workspace)
    answer = await knock(script, door)
    # A batch may be a repeated one, which is looked for first: there is none.
    expected = (409, "out-of-order") if door.path.endswith("/changes") else (403, "forbidden")
    assert problem(answer) == expected
    assert await head(world, ada.workspace) == before


@pytest.mark.parametrize("door", CHANGING, ids=str)
async def test_a_viewer_changes_nothing(world: World, ada: Client, door: Door) -> None:
    viewer = await world.member(ada, "vera", Role.VIEWER)
    viewer.standing = ada.standing
    before = await head(world, ada.workspace)
    answer = await knock(viewer, door)
    if not door.path.endswith(("/join", "/leave", "/journals/{journal}")):  # Viewers mount, too.
        assert answer.status_code in (403, 409), answer.content
    assert await head(world, ada.workspace) == before


async def test_another_s_node_is_not_there(world: World, ada: Client) -> None:
    eve = await world.user("eve")
    for path in (f"./nodes/{FOLDER}", f"./nodes/{FOLDER}/entries", f"./nodes/{FOLDER}/manifest?version=1"):
        real = await eve.call("GET", path)
        unreal = await eve.call("GET", path.replace(str(FOLDER), str(NodeId(999))))
        assert problem(real) == (404, "not-found")
        assert real.content == unreal.content
