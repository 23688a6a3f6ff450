"""What whoever has a link does with it, by HTTP: without an account, and without a way to anything else."""

from __future__ import annotations

import io
import zipfile
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace

import httpx
import pytest
import trio

from protocol.messages.accounts import Member, Role
from protocol.messages.audit import Audit, What
from protocol.messages.links import Link, LinkKind, Links, MadeLink, NewLink
from protocol.messages.nodes import Kind
from tests.server.plainly import content, listed, put
from tests.server.world import LEASE_S, PASSWORD, Client, World, create, problem

LARGE = content(3_000_000)


@dataclass
class Anybody:
    """Somebody without an account, who has a link."""

    http: httpx.AsyncClient
    secret: str

    async def ask(
        self, method: str, path: str, body: bytes | AsyncIterator[bytes] | None = None, **headers: str
    ) -> httpx.Response:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return await self.http.request(method, f"/v1/links/{self.secret}{path}", headers=named, content=body)


@pytest.fixture
async def ada(world: World) -> Client:
    """A user with a folder ``box`` that holds two files and a folder, and a file beside it."""
    client = await (await world.user("ada")).join()
    await client.send(create(b"box", 101, Kind.FOLDER))
    await client.leave()
    await put(client, "box/a.txt", b"a")
    await put(client, "box/large.bin", LARGE)
    await put(client, "secret.txt", b"secret")
    assert (await client.call("PUT", "./folders/box/deep")).status_code == 201
    await put(client, "box/deep/b.txt", b"b")
    return client


async def linked(client: Client, path: str, kind: LinkKind = LinkKind.READ, **options: int | str) -> Anybody:
    made = await client.ask(MadeLink, "POST", "./links", NewLink(path, kind, **options))  # type: ignore[arg-type]
    return Anybody(client.http, made.secret)


async def the_link(client: Client) -> Link:
    [link] = (await client.ask(Links, "GET", "./links")).links
    return link


# ── to read ──


async def test_a_linked_file_is_fetched_with_its_name_and_by_ranges(ada: Client) -> None:
    anybody = await linked(ada, "box/large.bin")
    answer = await anybody.ask("GET", "/files/")
    assert answer.content == LARGE
    assert "large.bin" in answer.headers["content-disposition"]
    part = await anybody.ask("GET", "/files/", range="bytes=1000000-1000009")
    assert (part.status_code, part.content) == (206, LARGE[1_000_000:1_000_010])


async def test_a_linked_folder_is_listed_by_paths_of_its_own(ada: Client) -> None:
    anybody = await linked(ada, "box")
    top = (await anybody.ask("GET", "/folders/")).json()
    assert (top["item"]["path"], [item["path"] for item in top["items"]]) == ("", ["a.txt", "deep", "large.bin"])
    deep = (await anybody.ask("GET", "/folders/deep")).json()
    assert [item["path"] for item in deep["items"]] == ["deep/b.txt"]
    assert (await anybody.ask("GET", "/files/deep/b.txt")).content == b"b"


async def test_a_linked_folder_is_fetched_as_a_zip_of_its_name(ada: Client) -> None:
    anybody = await linked(ada, "box", transfers_max=1)
    assert (await anybody.ask("HEAD", "/archive/")).status_code == 200
    answer = await anybody.ask("GET", "/archive/")
    assert "box.zip" in answer.headers["content-disposition"]
    with zipfile.ZipFile(io.BytesIO(answer.content)) as found:
        assert found.read("box/deep/b.txt") == b"b"
        assert not any("secret" in name for name in found.namelist())
    assert problem(await anybody.ask("GET", "/archive/deep")) == (404, "not-found")


@pytest.mark.parametrize(
    ("path", "answer"),
    [
        ("/files/%2e%2e/secret.txt", (400, "bad-request")),
        ("/files/deep%2Fb.txt", (400, "bad-request")),
        ("/files/..%2Fsecret.txt", (400, "bad-request")),
        ("/files//secret.txt", (400, "bad-request")),
        ("/files/secret.txt", (404, "not-found")),
        ("/files/box/a.txt", (404, "not-found")),
        ("/folders/%2e%2e", (400, "bad-request")),
        ("/folders/a.txt", (409, "conflict")),
        ("/files/deep", (409, "conflict")),
        ("/files/a.txt?version=1", (403, "forbidden")),
    ],
)
async def test_there_is_no_way_out_of_a_linked_folder(ada: Client, path: str, answer: tuple[int, str]) -> None:
    anybody = await linked(ada, "box")
    assert problem(await anybody.ask("GET", path)) == answer


async def test_a_linked_file_has_nothing_below_it(ada: Client) -> None:
    anybody = await linked(ada, "secret.txt")
    assert problem(await anybody.ask("GET", "/files/x")) == (404, "not-found")
    assert problem(await anybody.ask("GET", "/folders/")) == (409, "conflict")


@pytest.mark.parametrize("method", ["PUT", "DELETE", "POST", "PATCH"])
async def test_a_link_to_read_changes_nothing(ada: Client, method: str) -> None:
    anybody = await linked(ada, "box")
    for path in ("/files/a.txt", "/files/new", "/folders/new", ""):
        answer = await anybody.ask(method, path, b"x")
        assert answer.status_code in (404, 405), path
    assert (await anybody.ask("GET", "/files/a.txt")).content == b"a"
    assert sorted(await listed(ada, 101)) == [b"a.txt", b"deep", b"large.bin"]


async def test_a_link_opens_nothing_of_the_workspace(ada: Client) -> None:
    anybody = await linked(ada, "box")
    for header in (f"Bearer {anybody.secret}", f"Basic {anybody.secret}"):
        for path in ("", "/files/secret.txt", "/folders/", "/links", "/members", "/changes?after=0"):
            url = f"/v1/workspaces/{ada.workspace}{path}"
            assert problem(await ada.http.get(url, headers={"Authorization": header})) == (401, "unauthorized")


async def test_downloads_are_counted_and_end_at_their_limit(ada: Client) -> None:
    anybody = await linked(ada, "box", transfers_max=2)
    assert (await anybody.ask("HEAD", "/files/a.txt")).status_code == 200
    assert (await anybody.ask("GET", "/folders/")).status_code == 200
    assert (await anybody.ask("GET", "/files/large.bin")).content == LARGE
    assert (await anybody.ask("GET", "/files/large.bin", range="bytes=1-")).status_code == 206
    assert problem(await anybody.ask("GET", "/files/large.bin", range="bytes=0-0")) == (404, "not-found")
    for path in ("", "/folders/"):
        assert problem(await anybody.ask("GET", path)) == (404, "not-found"), "it looks as if it had never been"
    link = await the_link(ada)
    assert (link.uses, link.transfers) == (4, 2)


async def test_each_download_is_in_the_audit_log(ada: Client) -> None:
    anybody = await linked(ada, "box")
    await anybody.ask("GET", "/files/deep/b.txt")
    link = await the_link(ada)
    last = (await ada.ask(Audit, "GET", "/audit")).events[-1]
    assert (last.what, last.subject) == (What.LINK_USED, f"{link.id}, read: /deep/b.txt")
    assert (last.device, last.address) == (f"link {link.id}", "127.0.0.1")


async def test_a_password_is_asked_for_at_every_door(ada: Client) -> None:
    anybody = await linked(ada, "box", password=PASSWORD)
    for method, path in (("GET", ""), ("GET", "/folders/"), ("GET", "/files/a.txt"), ("HEAD", "/files/a.txt")):
        assert (await anybody.ask(method, path)).status_code == 401
    auth = httpx.BasicAuth("", PASSWORD)
    assert (await ada.http.get(f"/v1/links/{anybody.secret}/files/a.txt", auth=auth)).content == b"a"


async def test_each_block_of_a_download_is_asked_for_anew(world: World, ada: Client) -> None:
    """So a link that is revoked ends those that are under way."""
    anybody = await linked(ada, "box/large.bin")
    link, blocks = await the_link(ada), world.service.blocks

    class Revoking:
        """Blocks that are opened after the link has been revoked."""

        def __getattr__(self, name: str) -> object:
            return getattr(blocks, name)

        async def opened(self, *arguments: object) -> object:
            await ada.call("DELETE", f"./links/{link.id}")
            return await blocks.opened(*arguments)  # type: ignore[arg-type]

    world.app.state.service = replace(world.service, blocks=Revoking())  # type: ignore[arg-type]
    assert problem(await anybody.ask("GET", "/files/")) == (404, "not-found")


# ── to bring something ──


async def test_files_are_brought_to_a_folder_and_not_seen(ada: Client) -> None:
    anybody = await linked(ada, "box", LinkKind.UPLOAD)
    for name, body in (("new.txt", b"new"), ("large", LARGE)):
        answer = await anybody.ask("PUT", f"/files/{name}", body)
        assert (answer.status_code, answer.content) == (201, b"")
    for method, path in (("GET", "/files/new.txt"), ("HEAD", "/files/a.txt"), ("GET", "/folders/")):
        assert (await anybody.ask(method, path)).status_code == 404
    assert (await ada.call("GET", "./files/box/large")).content == LARGE


async def test_nothing_that_is_there_is_replaced_or_told_of(ada: Client) -> None:
    anybody = await linked(ada, "box", LinkKind.UPLOAD)
    taken = [await anybody.ask("PUT", f"/files/{name}", b"x", if_match="*") for name in ("a.txt", "a.txt", "deep")]
    free = await anybody.ask("PUT", "/files/free", b"x")
    assert {(each.status_code, each.content, str(each.headers)) for each in taken} == {(201, b"", str(free.headers))}
    assert (await ada.call("GET", "./files/box/a.txt")).content == b"a"
    names = sorted(await listed(ada, 101))
    assert names == [b"a (2).txt", b"a (3).txt", b"a.txt", b"deep", b"deep (2)", b"free", b"large.bin"]


@pytest.mark.parametrize("plain", [b"mine", LARGE], ids=["small", "large"])
async def test_names_that_are_taken_while_a_file_comes_are_not_told_of_either(ada: Client, plain: bytes) -> None:
    anybody = await linked(ada, "box", LinkKind.UPLOAD)

    async def slowly() -> AsyncIterator[bytes]:
        yield plain[:2]
        assert (await anybody.ask("PUT", "/files/new.txt", b"theirs")).status_code == 201
        yield plain[2:]

    answer = await anybody.ask("PUT", "/files/new.txt", slowly())
    assert (answer.status_code, answer.content) == (201, b"")
    assert (await ada.call("GET", "./files/box/new.txt")).content == b"theirs"
    assert (await ada.call("GET", "./files/box/new%20(2).txt")).content == plain


@pytest.mark.parametrize("path", ["", "deep/new", "new/file?parents=1", "%2e%2e", "%2e%2e%2Fx"])
async def test_uploads_go_into_the_folder_itself(ada: Client, path: str) -> None:
    anybody = await linked(ada, "box", LinkKind.UPLOAD)
    assert problem(await anybody.ask("PUT", f"/files/{path}", b"x")) == (400, "bad-request")


async def test_uploads_are_the_links_own_in_the_history(ada: Client) -> None:
    anybody = await linked(ada, "box", LinkKind.UPLOAD)
    await anybody.ask("PUT", "/files/new", b"x")
    found = (
        await ada.http.get(
            f"/v1/workspaces/{ada.workspace}/history/box/new", headers={"Authorization": f"Bearer {ada.token}"}
        )
    ).json()
    assert [(each["device"], each["user"]) for each in found["versions"]] == [
        (f"link {(await the_link(ada)).id}", "ada")
    ]


async def test_uploads_end_at_their_limit(ada: Client) -> None:
    anybody = await linked(ada, "box", LinkKind.UPLOAD, transfers_max=1)
    assert (await anybody.ask("PUT", "/files/one", b"x")).status_code == 201
    assert problem(await anybody.ask("PUT", "/files/two", b"x")) == (404, "not-found")


async def test_uploads_end_with_their_makers_role_and_their_folder(world: World, ada: Client) -> None:
    bob = await world.member(ada, "bob", Role.EDITOR)
    anybody = await linked(bob, "box/deep", LinkKind.UPLOAD)
    await ada.call("POST", "./members", Member("bob", Role.VIEWER))
    assert problem(await anybody.ask("PUT", "/files/one", b"x")) == (404, "not-found")
    await ada.call("POST", "./members", Member("bob", Role.EDITOR))
    assert (await ada.call("DELETE", "./folders/box/deep?recursive=1")).status_code == 204
    assert problem(await anybody.ask("PUT", "/files/one", b"x")) == (404, "not-found")


# ── with mounts ──


async def test_what_a_mount_has_yet_to_drop_is_not_revealed_through_a_link(
    world: World, ada: Client, autojump_clock: object
) -> None:
    anybody = await linked(ada, "box")
    bob = await (await world.member(ada, "bob", Role.VIEWER)).join()
    await bob.poll()
    began_s = trio.current_time()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(ada.call, "PUT", "./folders/box/new")
        await trio.testing.wait_all_tasks_blocked()
        assert len((await anybody.ask("GET", "/folders/")).json()["items"]) == 4
        assert trio.current_time() - began_s >= LEASE_S
