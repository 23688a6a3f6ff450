"""A folder as a zip, without a mount."""

from __future__ import annotations

import io
import zipfile

import httpx
import pytest

from protocol.ids import ROOT_NODE, NodeId
from protocol.limits import MIB
from protocol.manifest import HOLE, Piece
from protocol.messages.accounts import Role
from protocol.messages.changes import Create, Unlink
from protocol.messages.nodes import Kind
from server.content.reading import AHEAD_BYTES
from server.routes.archives import ENTRIES_MAX
from tests.server.plainly import Exchange, ask, commit_pieces, content, in_parts, put
from tests.server.world import NOW_NS, Client, World, create, problem

LARGE = content(9 * MIB)


@pytest.fixture
async def ada(world: World) -> Client:
    """A user with an own workspace, and a mount's journal there that holds no lease."""
    return await (await (await world.user("ada")).join()).leave()


async def archive(client: Client, path: str = "") -> httpx.Response:
    """A folder."""
    return await ask(client, "GET", f"archive/{path}")


async def zipped(client: Client, path: str = "") -> dict[str, bytes]:
    """What is in a folder's zip, which must be sound; folders have a name with a slash at its end."""
    answer = await archive(client, path)
    assert answer.status_code == 200, answer.content
    with zipfile.ZipFile(io.BytesIO(answer.content)) as found:
        assert found.testzip() is None
        names = [info.filename for info in found.infolist()]
        assert len(set(names)) == len(names)
        return {name: found.read(name) for name in names}


async def test_everything_below_a_folder(ada: Client) -> None:
    await put(ada, "photos/a.txt?parents=1", b"one")
    await put(ada, "photos/2026/b?parents=1", in_parts(LARGE))
    await put(ada, "photos/empty", b"")
    await put(ada, "elsewhere", b"not this")
    assert await zipped(ada, "photos") == {
        "photos/2026/": b"",
        "photos/2026/b": LARGE,
        "photos/a.txt": b"one",
        "photos/empty": b"",
    }


async def test_the_whole_workspace(ada: Client) -> None:
    await put(ada, "one/a?parents=1", b"x")
    assert await zipped(ada) == {"one/": b"", "one/a": b"x"}
    assert "home.zip" in (await archive(ada)).headers["content-disposition"]


async def test_an_empty_folder(ada: Client) -> None:
    await ada.send(create(b"empty", 200, Kind.FOLDER))
    assert await zipped(ada, "empty") == {}
    assert await zipped(ada) == {"empty/": b""}


async def test_the_zips_name_is_the_folders(ada: Client) -> None:
    await ada.send(create(b'a"\r\nb', 200, Kind.FOLDER))
    answer = await archive(ada, "a%22%0d%0ab")
    assert answer.headers["content-type"] == "application/zip"
    expected = "attachment; filename=\"a___b.zip\"; filename*=UTF-8''a%22%0D%0Ab.zip"
    assert answer.headers["content-disposition"] == expected


async def test_times_and_modes_are_kept(ada: Client) -> None:
    await ada.send(Create(NOW_NS, ROOT_NODE, b"run", NodeId(200), Kind.FILE, 0o4755, 0, 0))
    answer = await archive(ada)
    with zipfile.ZipFile(io.BytesIO(answer.content)) as found:
        [info] = found.infolist()
    assert info.external_attr >> 16 == 0o100755
    assert info.date_time == (2026, 1, 2, 3, 4, 4)


async def test_links_and_devices_stay_out(ada: Client) -> None:
    link = Create(NOW_NS, ROOT_NODE, b"link", NodeId(201), Kind.SYMLINK, 0o777, 0, 0, target=b"/etc/passwd")
    await ada.send(link, create(b"fifo", 202, Kind.FIFO), create(b"pending", 203))
    assert await zipped(ada) == {"pending": b""}


async def test_a_sparse_file(ada: Client) -> None:
    await ada.send(create(b"sparse", 200))
    await commit_pieces(ada, 200, [Piece(HOLE, 3 * MIB)])
    assert await zipped(ada) == {"sparse": bytes(3 * MIB)}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (b"\xc3\xa4 \xe2\x82\xac", "ä €"),
        (b"\xff.txt", "_ (c8).txt"),
        (b"..\\..\\evil", ".._.._evil (c8)"),
        (b"C:evil.exe", "C_evil (c8).exe"),
        (b".. ", "_ (c8)"),
        (b"...", "_ (c8)"),
        (b"a\nb", "a_b (c8)"),
        (b".hidden", ".hidden"),
    ],
)
async def test_no_name_leads_anywhere_else(ada: Client, name: bytes, expected: str) -> None:
    await ada.send(create(name, 200))
    [found] = await zipped(ada)
    assert found == expected


async def test_names_that_look_alike_stay_apart(ada: Client) -> None:
    await ada.send(create(b"\xfe", 200), create(b"\xff", 201), create(b"_", 202))
    assert len(await zipped(ada)) == 3


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("file", (409, "conflict")),
        ("link", (409, "conflict")),
        ("nothing", (404, "not-found")),
        ("a%2fb", (400, "bad-request")),
    ],
)
async def test_what_is_no_folder_is_a_problem(ada: Client, path: str, expected: tuple[int, str]) -> None:
    link = Create(NOW_NS, ROOT_NODE, b"link", NodeId(201), Kind.SYMLINK, 0o777, 0, 0, target=b"folder")
    await ada.send(create(b"file", 200), link)
    assert problem(await archive(ada, path)) == expected


async def test_a_folder_with_too_much_in_it_is_refused_at_once(world: World, ada: Client) -> None:
    await ada.send(create(b"folder", 200, Kind.FOLDER), create(b"file", 201))
    await world.metadata.write(
        lambda tx: tx.execute(
            "WITH RECURSIVE n (i) AS (SELECT 1000 UNION ALL SELECT i + 1 FROM n WHERE i < ?)"
            " INSERT INTO entries (workspace, parent, name, node) SELECT ?, 200, CAST(i AS BLOB), 201 FROM n",
            (1000 + ENTRIES_MAX, ada.workspace),
        )
    )
    assert problem(await archive(ada, "folder")) == (409, "conflict")


async def test_a_head_tells_the_name_alone(ada: Client) -> None:
    await ada.send(create(b"folder", 200, Kind.FOLDER))
    answer = await ask(ada, "HEAD", "archive/folder")
    assert (answer.status_code, answer.content) == (200, b"")
    assert answer.headers["content-disposition"].startswith('attachment; filename="folder.zip"')


async def test_it_is_as_it_was_in_one_moment(world: World, ada: Client) -> None:
    """Files are replaced, removed and made while it is sent."""
    await put(ada, "a", in_parts(LARGE))
    before = await put(ada, "b", b"before")
    download = Exchange(world, ada, "GET", "archive/")

    async def change(part: int) -> None:
        if part == 0:
            await put(ada, "b", b"after")
            await ada.send(Unlink(NOW_NS, ROOT_NODE, b"b", NodeId(int(before.node))))
            await put(ada, "c", b"new")

    await download.run(when_sent=change)
    with zipfile.ZipFile(io.BytesIO(download.came)) as found:
        assert {name: found.read(name) for name in found.namelist()} == {"a": LARGE, "b": b"before"}


async def test_little_of_it_is_in_memory(world: World, ada: Client) -> None:
    await put(ada, "a", in_parts(LARGE * 3))
    longest = 0

    class Longest(Exchange):
        async def run_it(self) -> None:
            await self.run(when_sent=self.note)

        async def note(self, part: int) -> None:
            nonlocal longest
            longest = max(longest, len(self.came) // (part + 1))

    await Longest(world, ada, "GET", "archive/").run_it()
    assert 0 < longest < AHEAD_BYTES


async def test_a_damaged_block_breaks_it_off(world: World, ada: Client) -> None:
    await put(ada, "a", in_parts(LARGE))
    for name in world.store.objects:
        world.store.objects[name] = b"rotten"
    download = Exchange(world, ada, "GET", "archive/")
    with pytest.raises(RuntimeError):  # The connection is cut: the answer's end is missing.
        await download.run()
    assert not zipfile.is_zipfile(io.BytesIO(download.came))


async def test_a_stranger_learns_nothing(world: World, ada: Client) -> None:
    await put(ada, "a", b"secret")
    bob = await world.user("bob")
    bob.workspace = ada.workspace
    assert problem(await archive(bob)) == (404, "not-found")
    bob.token = "none"
    assert problem(await archive(bob)) == (401, "unauthorized")


async def test_a_viewer_takes_it(world: World, ada: Client) -> None:
    await put(ada, "a", b"shared")
    bob = await world.member(ada, "bob", Role.VIEWER)
    assert await zipped(bob) == {"a": b"shared"}
