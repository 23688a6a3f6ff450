"""Content by path, read without a mount."""

from __future__ import annotations

import httpx
import pytest
import trio
import trio.testing

from protocol.chunking import cut
from protocol.ids import ROOT_NODE, NodeId
from protocol.limits import MIB
from protocol.manifest import HOLE, Piece
from protocol.messages.accounts import Role
from protocol.messages.changes import Create
from protocol.messages.nodes import Kind
from server.metadata import accounts
from tests.server.plainly import Exchange, Watched, ask, commit_pieces, content, get, in_parts, put
from tests.server.world import NOW_NS, Client, World, create, problem

LARGE = content(12 * MIB)
FILE = 100


@pytest.fixture
async def ada(world: World) -> Client:
    """A user with an own workspace, and a mount's journal there that holds no lease."""
    return await (await (await world.user("ada")).join()).leave()


async def _sparse(client: Client, hole_bytes: int) -> tuple[bytes, bytes]:
    """A file of data, a hole, and data."""
    head, tail = content(1000, 2), content(700, 3)
    await client.send(create(b"sparse", FILE))
    pieces = []
    for plain in (head, tail):
        block, sealed = client.sealed(plain)
        await client.call("PUT", f"./blocks/{block.hex()}", sealed)
        pieces.append(Piece(block, len(plain)))
    await commit_pieces(client, FILE, [pieces[0], Piece(HOLE, hole_bytes), pieces[1]])
    return head, tail


# ── what is there ──


async def test_a_file_is_read_as_it_was_written(ada: Client) -> None:
    item = await put(ada, "a.txt", b"hello")
    answer = await get(ada, "a.txt")
    assert (answer.status_code, answer.content) == (200, b"hello")
    assert answer.headers["content-length"] == "5"
    assert answer.headers["etag"] == item.etag
    assert answer.headers["accept-ranges"] == "bytes"


async def test_a_long_file_is_read_as_it_was_written(ada: Client) -> None:
    await put(ada, "long", in_parts(LARGE))
    assert (await get(ada, "long")).content == LARGE


async def test_an_empty_file(ada: Client) -> None:
    await put(ada, "empty", b"")
    answer = await get(ada, "empty")
    assert (answer.status_code, answer.content, answer.headers["content-length"]) == (200, b"", "0")


async def test_a_pending_file_is_empty_as_on_a_mount(ada: Client) -> None:
    await ada.send(create(b"pending", FILE))
    answer = await get(ada, "pending")
    assert (answer.status_code, answer.content) == (200, b"")
    assert answer.headers["etag"] == f'"{FILE:x}-0"'
    assert "last-modified" not in answer.headers


async def test_a_hole_is_zeros(ada: Client) -> None:
    head, tail = await _sparse(ada, 5 * MIB)
    assert (await get(ada, "sparse")).content == head + bytes(5 * MIB) + tail


async def test_a_range_at_the_end_of_an_enormous_hole(ada: Client) -> None:
    _, tail = await _sparse(ada, 1 << 50)
    assert (await get(ada, "sparse", range="bytes=-703")).content == bytes(3) + tail


async def test_a_head_has_everything_but_the_content(ada: Client) -> None:
    await put(ada, "a.txt", b"hello")
    whole, head = await get(ada, "a.txt"), await ask(ada, "HEAD", "files/a.txt", range="bytes=1-2")
    assert (head.status_code, head.content, head.headers) == (200, b"", whole.headers)


async def test_a_name_of_any_bytes(ada: Client) -> None:
    await put(ada, "%ff%20%25?parents=0", b"odd")
    assert (await get(ada, "%FF%20%25")).content == b"odd"


async def test_an_earlier_version(ada: Client) -> None:
    for plain in (b"one", b"two"):
        await put(ada, "a", plain)
    answer = await get(ada, "a?version=1")
    assert answer.content == b"one"
    assert answer.headers["etag"].endswith('-1"')
    assert problem(await get(ada, "a?version=3")) == (404, "not-found")
    assert problem(await get(ada, "a?version=x")) == (400, "bad-request")


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("nothing", (404, "not-found")),
        ("folder/nothing", (404, "not-found")),
        ("nothing/below", (404, "not-found")),
        ("folder", (409, "conflict")),
        ("link", (409, "conflict")),
        ("fifo", (409, "conflict")),
        ("", (409, "conflict")),
        ("a%2Fb", (400, "bad-request")),
        ("folder/../a", (404, "not-found")),
        ("folder/%2e%2e/a", (400, "bad-request")),
        ("folder//a", (400, "bad-request")),
        ("folder/", (400, "bad-request")),
        ("%00", (400, "bad-request")),
        ("x" * 363, (400, "bad-request")),
    ],
)
async def test_what_is_no_file_is_a_problem(ada: Client, path: str, expected: tuple[int, str]) -> None:
    link = Create(NOW_NS, ROOT_NODE, b"link", NodeId(201), Kind.SYMLINK, 0o777, 0, 0, target=b"folder")
    await ada.send(create(b"folder", 200, Kind.FOLDER), link, create(b"fifo", 202, Kind.FIFO))
    assert problem(await get(ada, path)) == expected


# ── ranges ──


@pytest.mark.parametrize(
    ("header", "expected"),
    [("bytes=0-3", b"0123"), ("bytes=7-", b"789"), ("bytes=-2", b"89"), ("bytes=5-100", b"56789"), ("Bytes=4-4", b"4")],
)
async def test_a_range(ada: Client, header: str, expected: bytes) -> None:
    await put(ada, "a", b"0123456789")
    answer = await get(ada, "a", range=header)
    assert (answer.status_code, answer.content) == (206, expected)
    start = b"0123456789".index(expected)
    assert answer.headers["content-range"] == f"bytes {start}-{start + len(expected) - 1}/10"


async def test_several_ranges_come_as_parts(ada: Client) -> None:
    await put(ada, "a.txt", b"0123456789")
    answer = await get(ada, "a.txt", range="bytes=0-1, 99-100, -3")
    assert answer.status_code == 206
    kind, _, boundary = answer.headers["content-type"].partition("; boundary=")
    assert kind == "multipart/byteranges"
    assert int(answer.headers["content-length"]) == len(answer.content)
    nothing, first, second, end = answer.content.split(f"\r\n--{boundary}".encode())
    assert (nothing, end) == (b"", b"--\r\n")
    head = b"\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Range: bytes "
    assert first == head + b"0-1/10\r\n\r\n01"
    assert second == head + b"7-9/10\r\n\r\n789"


@pytest.mark.parametrize("header", ["bytes=10-", "bytes=-0", "bytes=99-100, 200-"])
async def test_a_range_past_the_end_is_told_the_size(ada: Client, header: str) -> None:
    await put(ada, "a", b"0123456789")
    answer = await get(ada, "a", range=header)
    assert problem(answer) == (416, "range")
    assert answer.headers["content-range"] == "bytes */10"


@pytest.mark.parametrize(
    "header",
    ["", "bytes", "bytes=", "bytes=-", "bytes=3-2", "bytes=a-b", "lines=1-2", "bytes=0-8, 0-8", "bytes=" + "1-1," * 33],
)
async def test_a_range_that_makes_no_sense_is_passed_over(ada: Client, header: str) -> None:
    await put(ada, "a", b"0123456789")
    answer = await get(ada, "a", range=header)
    assert (answer.status_code, answer.content) == (200, b"0123456789")


async def test_only_the_blocks_of_a_range_are_read(world: World, ada: Client) -> None:
    await put(ada, "long", in_parts(LARGE))
    world.store.objects = watched = Watched(world.store.objects)
    lengths = cut(LARGE, ada.keys.chunk_seed)
    second, third = lengths[0], lengths[0] + lengths[1]
    answer = await get(ada, "long", range=f"bytes={third - 5}-{third + 4}, {second}-{second}")
    assert LARGE[third - 5 : third + 5] in answer.content
    names = [
        ada.keys.block_id(LARGE[at : at + length]).hex() for at, length in ((second, lengths[1]), (third, lengths[2]))
    ]
    assert {name.partition("-")[0] for name in watched.read} == set(names)


# ── conditions ──


async def test_what_has_not_changed_is_not_sent_again(ada: Client) -> None:
    item = await put(ada, "a", b"one")
    for tags in (item.etag, f'"x", {item.etag}', f"W/{item.etag}", "*"):
        answer = await get(ada, "a", if_none_match=tags)
        assert (answer.status_code, answer.content, answer.headers["etag"]) == (304, b"", item.etag)
    await put(ada, "a", b"two")
    assert (await get(ada, "a", if_none_match=item.etag)).content == b"two"


async def test_what_has_not_changed_since_a_date_is_not_sent_again(ada: Client) -> None:
    await put(ada, "a", b"one")
    date = (await get(ada, "a")).headers["last-modified"]
    assert (await get(ada, "a", if_modified_since=date)).status_code == 304
    assert (await get(ada, "a", if_modified_since="Thu, 01 Jan 2026 00:00:00 GMT")).status_code == 200
    assert (await get(ada, "a", if_modified_since="yesterday")).status_code == 200
    assert (await get(ada, "a", if_modified_since=date, if_none_match='"other"')).status_code == 200


async def test_a_read_of_a_version_that_is_no_more_fails(ada: Client) -> None:
    item = await put(ada, "a", b"one")
    assert (await get(ada, "a", if_match=item.etag)).content == b"one"
    assert problem(await get(ada, "a", if_match='"other"')) == (412, "precondition")
    assert problem(await get(ada, "a", if_match=f"W/{item.etag}")) == (412, "precondition")
    old = "Thu, 01 Jan 2026 00:00:00 GMT"
    assert problem(await get(ada, "a", if_unmodified_since=old)) == (412, "precondition")
    assert (await get(ada, "a", if_unmodified_since=old, if_match="*")).status_code == 200


async def test_a_download_goes_on_only_in_the_same_version(ada: Client) -> None:
    item = await put(ada, "a", b"0123456789")
    assert (await get(ada, "a", range="bytes=5-", if_range=item.etag)).content == b"56789"
    await put(ada, "a", b"9876543210")
    answer = await get(ada, "a", range="bytes=5-", if_range=item.etag)
    assert (answer.status_code, answer.content) == (200, b"9876543210")
    date = answer.headers["last-modified"]
    assert (await get(ada, "a", range="bytes=5-", if_range=date)).status_code == 200


@pytest.mark.parametrize("tags", ["x", '"a" "b"', '"a', '*, "a"'])
async def test_a_list_of_tags_that_is_none_is_malformed(ada: Client, tags: str) -> None:
    await put(ada, "a", b"")
    assert problem(await get(ada, "a", if_none_match=tags)) == (400, "bad-request")


# ── harmless ──


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a.txt", "text/plain; charset=utf-8"),
        ("a.HTML", "text/html; charset=utf-8"),
        ("a.svg", "image/svg+xml"),
        ("a.png", "image/png"),
        ("a.webp", "image/webp"),
        ("a.pdf", "application/pdf"),
        ("a.mp4", "video/mp4"),
        ("a.flac", "audio/flac"),
        ("a.zip", "application/zip"),
        ("a.tar.gz", "application/gzip"),
        ("a.js", "text/plain; charset=utf-8"),
        ("a.css", "text/plain; charset=utf-8"),
        ("a.%ff", "application/octet-stream"),
        ("data:text%2chtml", "application/octet-stream"),
        ("a", "application/octet-stream"),
    ],
)
async def test_the_type_follows_from_the_name(ada: Client, name: str, expected: str) -> None:
    await put(ada, name, b"")
    assert (await get(ada, name)).headers["content-type"] == expected


async def test_no_content_can_act_on_a_session(ada: Client) -> None:
    await put(ada, "a.html", b"<script>")
    headers = (await get(ada, "a.html")).headers
    assert headers["content-security-policy"] == "default-src 'none'; sandbox"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["cross-origin-resource-policy"] == "same-origin"
    assert headers["cache-control"] == "private, no-cache"


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("a.txt", "inline; filename=\"a.txt\"; filename*=UTF-8''a.txt"),
        ("a.txt?download=1", "attachment; filename=\"a.txt\"; filename*=UTF-8''a.txt"),
        ("%C3%A4%20b", "inline; filename=\"_ b\"; filename*=UTF-8''%C3%A4%20b"),
        ("%ff", "inline; filename=\"_\"; filename*=UTF-8''%EF%BF%BD"),
        (
            "a%22%0d%0aSet-Cookie:%20x=%5c%27",
            "inline; filename=\"a___Set-Cookie_ x___\"; filename*=UTF-8''a%22%0D%0ASet-Cookie%3A%20x%3D%5C%27",
        ),
    ],
)
async def test_the_name_of_a_download_is_told_and_can_be_nothing_else(ada: Client, path: str, expected: str) -> None:
    await put(ada, path.partition("?")[0], b"")
    answer = await get(ada, path)
    assert answer.headers["content-disposition"] == expected
    assert "set-cookie" not in answer.headers


# ── one version, and the newest ──


async def test_a_download_stays_on_one_version(world: World, ada: Client) -> None:
    await put(ada, "long", in_parts(LARGE))
    download = Exchange(world, ada, "GET", "files/long")

    async def replace(part: int) -> None:
        if part == 1:
            await put(ada, "long", b"another")

    await download.run(when_sent=replace)
    assert download.came == LARGE
    assert (await get(ada, "long")).content == b"another"


async def test_a_content_is_revealed_when_every_mount_has_dropped_the_one_before(world: World, ada: Client) -> None:
    mount = await (await world.member(ada, "bob", Role.EDITOR)).join()
    await mount.poll()  # Its lease.
    answers: list[httpx.Response] = []

    async def read() -> None:
        answers.append(await get(ada, "a"))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(put, ada, "a", b"new")
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(read)
        await trio.testing.wait_all_tasks_blocked()
        assert answers == []
        mount.absorb((await mount.poll()).notices)
        await mount.poll()
    assert [answer.content for answer in answers] == [b"new"]


# ── what is wrong ──


async def test_a_damaged_block_is_a_problem_and_the_next_upload_brings_it_back(world: World, ada: Client) -> None:
    plain = content(300_000)
    await put(ada, "a", plain)
    [name] = world.store.objects
    world.store.objects[name] = b"rotten"
    assert problem(await get(ada, "a")) == (500, "internal")
    await put(ada, "b", plain)
    assert (await get(ada, "a")).content == plain


async def test_a_damaged_block_in_several_ranges_is_a_problem(world: World, ada: Client) -> None:
    await put(ada, "a", content(300_000))
    [name] = world.store.objects
    world.store.objects[name] = b"rotten"
    assert problem(await get(ada, "a", range="bytes=0-1, 5-6")) == (500, "internal")


async def test_a_lost_block_is_a_problem_and_the_next_upload_brings_it_back(world: World, ada: Client) -> None:
    plain = content(300_000)
    await put(ada, "a", plain)
    world.store.objects.clear()
    assert problem(await get(ada, "a")) == (500, "internal")
    await put(ada, "b", plain)
    assert (await get(ada, "a")).content == plain


# ── who ──


async def test_a_stranger_learns_nothing(world: World, ada: Client) -> None:
    await put(ada, "a", b"secret")
    bob = await world.user("bob")
    bob.workspace = ada.workspace
    assert problem(await get(bob, "a")) == (404, "not-found")
    assert (await get(bob, "a")).content == (await get(bob, "nothing")).content.replace(b"nothing", b"a")
    bob.token = "none"
    assert problem(await get(bob, "a")) == (401, "unauthorized")


async def test_a_viewer_reads(world: World, ada: Client) -> None:
    await put(ada, "a", b"shared")
    bob = await world.member(ada, "bob", Role.VIEWER)
    assert (await get(bob, "a")).content == b"shared"


async def test_who_may_no_longer_read_gets_no_more_blocks(world: World, ada: Client) -> None:
    await put(ada, "long", in_parts(LARGE))
    bob = await world.member(ada, "bob", Role.VIEWER)
    download = Exchange(world, bob, "GET", "files/long")

    async def revoke(part: int) -> None:
        if part == 0:
            await world.metadata.write(lambda tx: accounts.share(tx, ada.workspace, "bob", None))

    with pytest.raises(RuntimeError):  # The connection is cut: the answer's end is missing.
        await download.run(when_sent=revoke)
    assert download.came != b""
    assert len(download.came) < len(LARGE)
