"""Links: made, listed, revoked, and what leads to what, by HTTP."""

from __future__ import annotations

import base64
from dataclasses import replace

import httpx
import msgspec
import pytest
from structlog.testing import capture_logs

from protocol.ids import ROOT_NODE, NodeId
from protocol.messages.accounts import Devices, Member, Role
from protocol.messages.changes import Rename, Replaced, Rmdir, Unlink
from protocol.messages.links import Link, LinkKind, Links, MadeLink, NewLink, Shared
from protocol.messages.nodes import Kind
from protocol.messages.tokens import MadeToken, NewToken, Scope
from server.passwords import ATTEMPTS
from tests.server.world import NOW_NS, PASSWORD, Client, World, commit, create, problem

HOUR_NS = 3600 * 10**9
FILE, FOLDER = 101, 102


@pytest.fixture
async def ada(world: World) -> Client:
    """A user with a file of seven bytes and a folder, and no mount that anybody would have to wait for."""
    client = await (await world.user("ada")).join()
    await client.send(create(b"report \xff.txt", FILE), create(b"box", FOLDER, Kind.FOLDER))
    await client.send(commit(client, FILE, b"content"))
    return await client.leave()


async def linked(
    client: Client,
    path: str = "report%20%FF.txt",
    kind: LinkKind = LinkKind.READ,
    password: str | None = None,
    expires_ns: int | None = None,
    transfers_max: int | None = None,
) -> MadeLink:
    wanted = NewLink(path, kind, password, expires_ns, transfers_max)
    return await client.ask(MadeLink, "POST", "./links", wanted)


async def use(world: World, secret: str, password: str | None = None, end: str = "") -> httpx.Response:
    """Somebody without an account."""
    auth = None if password is None else httpx.BasicAuth("anybody", password)
    return await world.http.get(f"/v1/links/{secret}{end}", auth=auth)


async def listed(client: Client) -> list[Link]:
    return (await client.ask(Links, "GET", "./links")).links


# ── what it leads to ──


async def test_a_link_tells_what_it_leads_to_and_not_where_that_is(world: World, ada: Client) -> None:
    made = await linked(ada)
    answer = await use(world, made.secret)
    assert msgspec.json.decode(answer.content, type=Shared) == Shared(
        LinkKind.READ, "report \ufffd.txt", Kind.FILE, 7, NOW_NS, f'"{FILE:x}-1"', None, None
    )


async def test_of_a_folder_for_uploads_only_its_name_is_told(world: World, ada: Client) -> None:
    made = await linked(ada, "box", LinkKind.UPLOAD)
    found = msgspec.json.decode((await use(world, made.secret)).content, type=Shared)
    assert found == Shared(LinkKind.UPLOAD, "box", Kind.FOLDER, 0, 0, "", None, None)


async def test_a_link_follows_its_file_by_whatever_name(world: World, ada: Client) -> None:
    made = await linked(ada)
    await ada.send(Rename(NOW_NS, NodeId(FILE), ROOT_NODE, b"report \xff.txt", NodeId(FOLDER), b"final.txt"))
    assert (await use(world, made.secret)).json()["name"] == "final.txt"
    assert [link.path for link in await listed(ada)] == ["box/final.txt"]


async def test_a_link_follows_a_name_when_a_file_is_renamed_over_it(world: World, ada: Client) -> None:
    """As programs do that write a new file and let it take the old one's name."""
    made = await linked(ada)
    await ada.send(create(b"report.tmp", 103))
    await ada.send(commit(ada, 103, b"new content"))
    seen = Replaced(NodeId(FILE), 1)
    rename = Rename(NOW_NS, NodeId(103), ROOT_NODE, b"report.tmp", ROOT_NODE, b"report \xff.txt", replaced=seen)
    await ada.send(rename)
    found = (await use(world, made.secret)).json()
    assert (found["name"], found["size"]) == ("report \ufffd.txt", 11)


async def test_a_link_to_what_was_removed_leads_nowhere_and_is_still_listed(world: World, ada: Client) -> None:
    made = await linked(ada)
    await ada.send(Unlink(NOW_NS, ROOT_NODE, b"report \xff.txt", NodeId(FILE)))
    assert problem(await use(world, made.secret)) == (404, "not-found")
    assert [link.path for link in await listed(ada)] == [None]


async def test_the_whole_workspace_can_be_linked_to(world: World, ada: Client) -> None:
    made = await linked(ada, "")
    assert (await use(world, made.secret)).json()["kind"] == "folder"


# ── at its address, in a browser ──

BROWSER = {"Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8"}


async def test_a_browser_gets_the_page_the_same_whether_there_is_such_a_link_or_not(world: World, ada: Client) -> None:
    made, protected = await linked(ada), await linked(ada, password="sesame")
    answers = [
        await world.http.get(f"/v1/links/{secret}", headers=BROWSER)
        for secret in (made.secret, protected.secret, "made-up")
    ]
    assert {answer.status_code for answer in answers} == {200}
    assert {answer.content for answer in answers} == {(await world.http.get("/")).content}
    assert answers[0].headers == answers[1].headers == answers[2].headers
    assert [link.uses for link in await listed(ada)] == [0, 0]


async def test_nobody_may_keep_the_page_at_a_secret_or_pass_its_address_on(world: World, ada: Client) -> None:
    headers = (await world.http.get("/v1/links/made-up", headers=BROWSER)).headers
    assert (headers["cache-control"], headers["referrer-policy"]) == ("private, no-store", "no-referrer")
    assert headers["vary"] == "Accept"
    assert "etag" not in headers
    assert headers["content-security-policy"] == (await world.http.get("/")).headers["content-security-policy"]


@pytest.mark.parametrize("accept", ["*/*", "application/json", "text/plain", ""])
async def test_programs_get_the_message(world: World, ada: Client, accept: str) -> None:
    made = await linked(ada)
    answer = await world.http.get(f"/v1/links/{made.secret}", headers={"Accept": accept})
    assert (answer.json()["size"], answer.headers["vary"]) == (7, "Accept")


# ── who makes them ──


async def test_editors_make_links_and_viewers_and_scripts_do_not(world: World, ada: Client) -> None:
    bob = await world.member(ada, "bob", Role.EDITOR)
    assert (await linked(bob)).link.made_by == "bob"
    eve = await world.member(ada, "eve", Role.VIEWER)
    script = replace(ada, token=(await ada.ask(MadeToken, "POST", "/tokens", NewToken("script", Scope.WRITE))).secret)
    for client in (eve, script):
        for method, path, body in (
            ("POST", "./links", NewLink("box")),
            ("GET", "./links", None),
            ("DELETE", f"./links/{'0' * 16}", None),
        ):
            assert problem(await client.call(method, path, body)) == (403, "forbidden")


async def test_a_link_ends_with_its_makers_right_to_make_it(world: World, ada: Client) -> None:
    bob = await world.member(ada, "bob", Role.EDITOR)
    made = await linked(bob)
    await ada.call("POST", "./members", Member("bob", Role.VIEWER))
    assert problem(await use(world, made.secret)) == (404, "not-found")
    await ada.call("POST", "./members", Member("bob", Role.EDITOR))
    assert (await use(world, made.secret)).status_code == 200


async def test_strangers_learn_nothing_of_links(world: World, ada: Client) -> None:
    made = await linked(ada)
    eve = replace(await world.user("eve"), workspace=ada.workspace)
    for method, path, body in (
        ("GET", "./links", None),
        ("POST", "./links", NewLink("box")),
        ("DELETE", f"./links/{made.link.id}", None),
    ):
        assert problem(await eve.call(method, path, body)) == (404, "not-found")


@pytest.mark.parametrize(
    ("wanted", "answer"),
    [
        (NewLink("nothing"), (404, "not-found")),
        (NewLink("report%20%FF.txt", LinkKind.UPLOAD), (409, "conflict")),
        (NewLink("../box"), (400, "bad-request")),
        (NewLink("box%2Fx"), (400, "bad-request")),
        (NewLink("box", expires_ns=NOW_NS), (400, "bad-request")),
        (NewLink("box", transfers_max=0), (400, "bad-request")),
        (NewLink("box", password=""), (400, "bad-request")),
        (NewLink("box", password="ä" * 600), (400, "bad-request")),
    ],
)
async def test_what_can_not_be_linked_to_is_refused(ada: Client, wanted: NewLink, answer: tuple[int, str]) -> None:
    assert problem(await ada.call("POST", "./links", wanted)) == answer


# ── their end ──


async def test_a_link_is_good_until_its_end(world: World, ada: Client) -> None:
    made = await linked(ada, expires_ns=NOW_NS + HOUR_NS)
    assert (await use(world, made.secret)).status_code == 200
    world.app.state.service = replace(world.service, now_ns=lambda: NOW_NS + HOUR_NS)
    assert problem(await use(world, made.secret)) == (404, "not-found")


async def test_a_revoked_link_looks_like_none(world: World, ada: Client) -> None:
    made = await linked(ada)
    assert (await ada.call("DELETE", f"./links/{made.link.id}")).status_code == 204
    revoked, unreal = await use(world, made.secret), await use(world, "made-up")
    assert problem(revoked) == (404, "not-found")
    assert revoked.content == unreal.content
    assert await listed(ada) == []
    assert problem(await ada.call("DELETE", f"./links/{made.link.id}")) == (404, "not-found")


async def test_a_link_of_another_workspace_can_not_be_revoked(world: World, ada: Client) -> None:
    made = await linked(ada)
    eve = await world.user("eve")
    assert problem(await eve.call("DELETE", f"./links/{made.link.id}")) == (404, "not-found")
    assert (await use(world, made.secret)).status_code == 200


async def test_every_use_is_counted(world: World, ada: Client) -> None:
    made = await linked(ada)
    assert [(link.uses, link.used_ns) for link in await listed(ada)] == [(0, 0)]
    await use(world, made.secret)
    await use(world, made.secret)
    assert [(link.uses, link.transfers, link.used_ns) for link in await listed(ada)] == [(2, 0, NOW_NS)]


async def test_links_are_not_among_the_devices(ada: Client) -> None:
    await linked(ada)
    assert [each.name for each in (await ada.ask(Devices, "GET", "/devices")).devices] == ["adas laptop"]


# ── passwords ──


async def test_a_password_opens_a_link_that_has_one(world: World, ada: Client) -> None:
    made = await linked(ada, password=PASSWORD)
    assert made.link.has_password
    assert (await use(world, made.secret, PASSWORD)).json()["size"] == 7


@pytest.mark.parametrize("password", [None, "", "guess"])
async def test_without_it_a_browser_is_told_to_ask(world: World, ada: Client, password: str | None) -> None:
    made = await linked(ada, password=PASSWORD)
    answer = await use(world, made.secret, password)
    assert problem(answer) == (401, "password")
    assert answer.headers["www-authenticate"].startswith("Basic ")
    assert [link.uses for link in await listed(ada)] == [0]


@pytest.mark.parametrize("header", ["Basic", "Basic !", "Basic " + "A" * 10_000, "Bearer x", "Basic /w=="])
async def test_odd_credentials_are_none(world: World, ada: Client, header: str) -> None:
    made = await linked(ada, password=PASSWORD)
    answer = await world.http.get(f"/v1/links/{made.secret}", headers={"Authorization": header})
    assert problem(answer) == (401, "password")


async def test_guessing_ends_and_who_knows_the_password_goes_on(world: World, ada: Client) -> None:
    made = await linked(ada, password=PASSWORD)
    assert (await use(world, made.secret, PASSWORD)).status_code == 200
    for _ in range(ATTEMPTS):
        assert problem(await use(world, made.secret, "guess")) == (401, "password")
    assert problem(await use(world, made.secret, "another")) == (429, "too-many-attempts")
    assert (await use(world, made.secret, PASSWORD)).status_code == 200


async def test_a_member_s_token_does_not_open_a_link(world: World, ada: Client) -> None:
    made = await linked(ada, password=PASSWORD)
    assert problem(await ada.call("GET", f"/links/{made.secret}")) == (401, "password")


# ── secrets ──


async def test_neither_secret_nor_password_is_kept(world: World, ada: Client) -> None:
    made = await linked(ada, password=PASSWORD)
    rows = await world.metadata.read(lambda tx: tx.all("SELECT * FROM links"))
    for secret in (made.secret, PASSWORD):
        assert not any(secret in str(row) or base64.b64encode(secret.encode()).decode() in str(row) for row in rows)
    assert len(made.secret) == 43  # 256 bits.


async def test_the_secret_of_a_request_that_fails_is_not_logged(world: World, ada: Client) -> None:
    class Broken:
        async def read(self, work: object) -> object:
            raise ZeroDivisionError

    made = await linked(ada)
    world.app.state.service = replace(world.service, metadata=Broken())  # type: ignore[arg-type]
    with capture_logs() as logs:
        assert problem(await use(world, made.secret)) == (500, "internal")
    assert [line["path"] for line in logs] == ["/v1/links/…"]
    assert made.secret not in str(logs)


async def test_no_page_and_no_cache_is_told_of_a_link(world: World, ada: Client) -> None:
    answer = await use(world, (await linked(ada)).secret)
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert answer.headers["cache-control"] == "private, no-store"


async def test_a_folder_that_is_removed_ends_its_link(world: World, ada: Client) -> None:
    made = await linked(ada, "box", LinkKind.UPLOAD)
    await ada.send(Rmdir(NOW_NS, ROOT_NODE, b"box", NodeId(FOLDER)))
    assert problem(await use(world, made.secret)) == (404, "not-found")
