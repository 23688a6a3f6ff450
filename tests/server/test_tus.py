"""Resumable uploads."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import TypeVar, cast

import httpx
import pytest
import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol import manifest as manifests
from protocol.limits import BLOCK_MAX_BYTES, BLOCK_MIN_BYTES, KIB, MIB
from protocol.manifest import Manifest
from protocol.messages.accounts import Role
from protocol.messages.nodes import State
from protocol.messages.tree import ManifestReply
from server import worker
from server.app import create_app
from server.blockcare import BlockCare
from server.content.transfers import RECORD_EVERY_S, TAIL_PARTS_MAX
from server.keyring import Keyring
from server.leases import Leases
from server.metadata import accounts, blocks, transfers
from server.metadata.invariants import check
from server.metadata.store import MetadataStore, StoreUnavailable, Work
from server.notifier import Notifier
from server.service import Places
from server.shares import Shares
from server.threads import in_place
from server.worker import Retention
from tests.server.content.test_writing import cut_at_once
from tests.server.plainly import ask, content, get, in_parts, listed, put
from tests.server.tusclient import OFFSET_OCTETS, Upload, create, metadata, tus
from tests.server.world import Client, World, a_world, problem

T = TypeVar("T")
LARGE = content(20 * MIB)
RETENTION = Retention(1.0)


@pytest.fixture
async def ada(world: World) -> AsyncIterator[Client]:
    """A user with an own workspace and no mount. The tree is sound at the end."""
    ada = await world.user("ada")
    yield ada
    await world.metadata.read(lambda tx: check(tx, ada.workspace))


async def rows(world: World, table: str) -> int:
    row = await world.metadata.read(lambda tx: tx.one(f"SELECT count(*) FROM {table}"))
    assert row is not None
    return int(row[0])


async def pass_time(world: World, more_ns: int) -> None:
    """From now on it is so much later."""
    now_ns = world.service.now_ns() + more_ns
    world.service = world.app.state.service = replace(world.service, now_ns=lambda: now_ns)


def split(plain: bytes) -> list[bytes]:
    """As it comes over a connection."""
    return [plain[at : at + 64 * KIB] for at in range(0, len(plain), 64 * KIB)]


def checksum(algorithm: str, plain: bytes) -> str:
    return f"{algorithm} {base64.b64encode(hashlib.new(algorithm, plain).digest()).decode()}"


async def read(client: Client, path: str) -> bytes:
    answer = await get(client, path)
    assert answer.status_code == 200, answer.content
    return answer.content


async def manifest_of(client: Client) -> Manifest:
    """Of the only file."""
    [node] = (await listed(client)).values()
    reply = await client.ask(ManifestReply, "GET", f"./nodes/{node.id}/manifest?version=1")
    return manifests.decode(reply.manifest)


# ── one upload from its beginning to its end ──


@pytest.mark.parametrize("size_bytes", [1, 1000, 100 * KIB, 5 * MIB, 20 * MIB])
async def test_a_content_that_comes_in_one_request(ada: Client, size_bytes: int) -> None:
    upload = await create(ada, size_bytes)
    assert await upload.offset() == 0
    answer = await upload.patch(0, LARGE[:size_bytes])
    assert (answer.status_code, answer.headers["upload-offset"]) == (204, str(size_bytes))
    assert await upload.offset() == size_bytes
    assert await read(ada, "new") == LARGE[:size_bytes]


async def test_nothing_is_there_before_all_has_come(ada: Client) -> None:
    upload = await create(ada, 10)
    await upload.patch(0, b"12345")
    assert (await get(ada, "new")).status_code == 404
    await upload.patch(5, b"67890")
    assert await read(ada, "new") == b"1234567890"


async def test_an_empty_content_is_there_at_once(ada: Client) -> None:
    upload = await create(ada, 0)
    assert await upload.offset() == 0
    assert await read(ada, "new") == b""


@pytest.mark.parametrize("request_bytes", [100 * KIB, BLOCK_MIN_BYTES, MIB, 5 * MIB, 9 * MIB])
async def test_a_content_in_many_requests_is_cut_as_at_once(ada: Client, request_bytes: int) -> None:
    upload = await create(ada, len(LARGE))
    for at in range(0, len(LARGE), request_bytes):
        answer = await upload.patch(at, LARGE[at : at + request_bytes])
        assert answer.headers["upload-offset"] == str(min(at + request_bytes, len(LARGE)))
    assert await read(ada, "new") == LARGE
    assert await manifest_of(ada) == cut_at_once(ada, LARGE)


async def test_requests_of_one_byte(ada: Client, world: World) -> None:
    plain = LARGE[: 3 * TAIL_PARTS_MAX + 1]
    upload = await create(ada, len(plain))
    for at in range(len(plain)):
        assert (await upload.patch(at, plain[at : at + 1])).status_code == 204
        assert await rows(world, "transfer_tails") <= TAIL_PARTS_MAX + 1
    assert await read(ada, "new") == plain


async def test_the_last_answer_and_later_ones_name_the_version(ada: Client) -> None:
    upload = await create(ada, 3)
    answer = await upload.patch(0, b"abc")
    assert answer.headers["etag"] == (await get(ada, "new")).headers["etag"] == (await upload.head()).headers["etag"]


async def test_everybody_is_told_as_of_any_upload(ada: Client) -> None:
    upload = await create(ada, 3)
    assert (await ada.follow(0, 0)).notices == []
    await upload.patch(0, b"abc")
    told = (await ada.follow(0, 0)).notices
    assert [(notice.what, notice.state) for notice in told] == [("create", State.PENDING), ("commit", State.UPLOADED)]


async def test_what_is_kept_of_an_upload_goes_when_it_is_a_file(ada: Client, world: World) -> None:
    upload = await create(ada, len(LARGE))
    await upload.patch(0, LARGE[: 10 * MIB + 100])
    assert await rows(world, "transfer_blocks") > 0
    await upload.patch(10 * MIB + 100, LARGE[10 * MIB + 100 :])
    assert (await rows(world, "transfer_blocks"), await rows(world, "transfer_tails")) == (0, 0)


async def test_an_upload_that_is_complete_takes_no_more(ada: Client) -> None:
    upload = await create(ada, 3)
    await upload.patch(0, b"abc")
    assert problem(await upload.patch(3, b"d")) == (409, "conflict")
    again = await tus(ada, "PATCH", upload.url, b"", upload_offset="3")
    assert (again.status_code, again.headers["upload-offset"]) == (204, "3")


# ── where it goes ──


@pytest.mark.parametrize(
    ("pairs", "path"),
    [
        ({"path": "a/b/c.txt"}, "a/b/c.txt"),
        ({"path": "50% ü"}, "50%25%20%C3%BC"),
        ({"path": b"\xff"}, "%FF"),
        ({"filename": "c.txt", "filetype": "text/plain"}, "c.txt"),
        ({"filename": "c.txt", "name": "c.txt", "relativePath": "null", "type": "text/plain"}, "c.txt"),
        ({"filename": "c.txt", "folder": "/a/b/"}, "a/b/c.txt"),
        ({"name": "c.txt", "relativePath": "b/c.txt", "folder": "a"}, "a/b/c.txt"),
        ({"name": "c.txt", "relativePath": "/b/c.txt"}, "b/c.txt"),
    ],
)
async def test_the_path_is_in_the_metadata(ada: Client, pairs: dict[str, str | bytes], path: str) -> None:
    upload = await create(ada, 1, upload_metadata=metadata(**pairs))
    assert (await upload.patch(0, b"x")).status_code == 204
    assert await read(ada, path) == b"x"


@pytest.mark.parametrize("path", ["", "/a", "a//b", "a/", "..", "a/../b", "a\0", "n" * 256])
async def test_what_is_no_path_is_refused(ada: Client, path: str) -> None:
    answer = await tus(ada, "POST", f"/v1/tus/{ada.workspace}", upload_length="1", upload_metadata=metadata(path=path))
    assert problem(answer) == (400, "bad-request")


@pytest.mark.parametrize(("path", "code"), [("file/new", "conflict"), ("d/" * 257 + "new", "bad-request")])
async def test_folders_that_can_not_be_made_are_told_of_before_the_content_comes(
    ada: Client, path: str, code: str
) -> None:
    await put(ada, "file", b"x", 201)
    answer = await tus(ada, "POST", f"/v1/tus/{ada.workspace}", upload_length="1", upload_metadata=metadata(path=path))
    assert problem(answer)[1] == code


@pytest.mark.parametrize("text", ["path", "path Zm9v,path Zm9v", "path !!", " Zm9v", ","])
async def test_metadata_that_is_none_is_refused(ada: Client, text: str) -> None:
    answer = await tus(ada, "POST", f"/v1/tus/{ada.workspace}", upload_length="1", upload_metadata=text)
    assert problem(answer) == (400, "bad-request")


@pytest.mark.parametrize("mtime", ["9223372036.9", "-9999999999", "soon"])
async def test_a_time_that_a_file_can_not_have_is_refused_before_the_content_comes(ada: Client, mtime: str) -> None:
    where = metadata(path="a", mtime=mtime)
    answer = await tus(ada, "POST", f"/v1/tus/{ada.workspace}", upload_length="1", upload_metadata=where)
    assert problem(answer) == (400, "bad-request")


@pytest.mark.parametrize("slash", ["", "/"])
async def test_the_workspace_is_the_callers_own_where_none_is_named(ada: Client, slash: str) -> None:
    answer = await tus(ada, "POST", f"/v1/tus{slash}", b"x", upload_length="1", upload_metadata=metadata(path="a"))
    assert answer.status_code == 201
    assert await read(ada, "a") == b"x"


async def test_the_workspace_can_be_in_the_metadata(world: World, ada: Client) -> None:
    bob = await world.member(ada, "bob", Role.EDITOR)
    where = metadata(workspace=ada.workspace, path="from bob")
    answer = await tus(bob, "POST", "/v1/tus", b"x", upload_length="1", upload_metadata=where)
    assert answer.status_code == 201
    assert await read(ada, "from%20bob") == b"x"


async def test_the_time_of_change_can_be_in_the_metadata(ada: Client) -> None:
    upload = await create(ada, 1, upload_metadata=metadata(path="a", mtime="1700000000.25"))
    await upload.patch(0, b"x")
    assert (await listed(ada))[b"a"].mtime_ns == 1_700_000_000_250_000_000


@pytest.mark.parametrize("mtime", ["yesterday", "NaN", "1e9", "Infinity", "-", "1.", "12345678901"])
async def test_a_time_of_change_that_is_none_is_refused(ada: Client, mtime: str) -> None:
    where = metadata(path="a", mtime=mtime)
    answer = await tus(ada, "POST", f"/v1/tus/{ada.workspace}", upload_length="1", upload_metadata=where)
    assert problem(answer) == (400, "bad-request")


async def test_what_is_there_is_replaced(ada: Client) -> None:
    before = await put(ada, "a", b"before")
    upload = await create(ada, 5, "a")
    answer = await upload.patch(0, b"after")
    assert answer.headers["etag"] == f'"{int(before.node):x}-2"'
    assert await read(ada, "a") == b"after"


async def test_conditions_that_do_not_hold_are_told_before_anything_is_sent(ada: Client) -> None:
    await put(ada, "a", b"before")
    for key, value in (("ifNoneMatch", "*"), ("ifMatch", '"1f-9"')):
        where = metadata(path="a", **{key: value})
        answer = await tus(ada, "POST", f"/v1/tus/{ada.workspace}", upload_length="1", upload_metadata=where)
        assert problem(answer) == (412, "precondition")


async def test_conditions_decide_when_all_has_come(ada: Client) -> None:
    before = await put(ada, "a", b"before")
    upload = await create(ada, 2, upload_metadata=metadata(path="a", ifMatch=before.etag))
    await put(ada, "a", b"between")
    assert problem(await upload.patch(0, b"xy")) == (412, "precondition")
    assert await read(ada, "a") == b"between"
    assert await upload.offset() == 0


async def test_a_folder_is_not_replaced(ada: Client) -> None:
    await ask(ada, "PUT", "files/folder/x?parents=1", b"x")
    answer = await tus(
        ada, "POST", f"/v1/tus/{ada.workspace}", upload_length="1", upload_metadata=metadata(path="folder")
    )
    assert problem(answer) == (409, "conflict")


# ── broken off and gone on with ──


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(1, 6 * MIB), min_size=1, max_size=8), st.data())
def test_an_upload_goes_on_wherever_it_breaks_off(lengths: list[int], data: st.DataObject) -> None:
    """Requests of any length, each of which ends or breaks off; the server restarts between some."""
    plain = LARGE[: min(len(LARGE), sum(lengths))]

    async def run() -> None:
        async with a_world() as world:
            ada = await world.user("ada")
            upload = await create(ada, len(plain))
            at = 0
            for length in lengths:
                stop = min(at + length, len(plain))
                how = data.draw(st.sampled_from(["ends", "breaks", "restarts"]))
                if how == "ends" or stop == len(plain):
                    assert (await upload.patch(at, plain[at:stop])).status_code == 204
                else:
                    await upload.patch_over(world.app, at, [*split(plain[at:stop]), None])
                if how == "restarts":
                    await world.restart()
                at = await upload.offset()
                assert at == stop
                await world.metadata.read(lambda tx: check(tx, ada.workspace))
            if at < len(plain):
                assert (await upload.patch(at, plain[at:])).status_code == 204
            assert await read(ada, "new") == plain
            await world.metadata.read(lambda tx: check(tx, ada.workspace))

    trio.run(run)


async def test_a_body_that_stalls_is_kept(ada: Client, autojump_clock: trio.testing.MockClock) -> None:
    upload = await create(ada, 10)

    async def stalling() -> AsyncIterator[bytes]:
        yield b"12345"
        await trio.sleep_forever()

    assert problem(await upload.patch(0, stalling())) == (400, "bad-request")
    assert await upload.offset() == 5
    assert (await upload.patch(5, b"67890")).status_code == 204


async def test_what_comes_slowly_is_kept_meanwhile(ada: Client, autojump_clock: trio.testing.MockClock) -> None:
    plain = LARGE[: 400 * KIB]
    upload = await create(ada, len(plain))
    seen: list[int] = []

    async def slowly() -> AsyncIterator[bytes]:
        for part in split(plain):
            yield part
            await trio.sleep(RECORD_EVERY_S / 2)
            seen.append(await upload.offset())

    assert (await upload.patch(0, slowly())).status_code == 204
    assert [at // (64 * KIB) for at in seen] == [0, 0, 3, 3, 5, 5, 5]  # The rest is recorded when it is committed.
    assert await read(ada, "new") == plain


@pytest.mark.parametrize("part_bytes", [300 * KIB, 3 * MIB])
async def test_what_comes_slowly_is_cut_as_at_once(
    world: World, ada: Client, autojump_clock: trio.testing.MockClock, part_bytes: int
) -> None:
    upload = await create(ada, len(LARGE))

    async def slowly() -> AsyncIterator[bytes]:
        for at in range(0, len(LARGE), part_bytes):
            yield LARGE[at : at + part_bytes]
            await trio.sleep(RECORD_EVERY_S / 3)
            await world.metadata.read(lambda tx: check(tx, ada.workspace))

    assert (await upload.patch(0, slowly())).status_code == 204
    assert await manifest_of(ada) == cut_at_once(ada, LARGE)
    assert await read(ada, "new") == LARGE


async def test_of_a_request_that_the_server_drops_full_windows_are_kept(ada: Client) -> None:
    upload = await create(ada, len(LARGE))

    async def endless() -> AsyncIterator[bytes]:
        async for part in in_parts(LARGE[: 18 * MIB]):
            yield part
        await trio.testing.wait_all_tasks_blocked()
        request.cancel()
        await trio.sleep_forever()

    with trio.CancelScope() as request:
        await upload.patch(0, endless())
    at = await upload.offset()
    assert at >= 18 * MIB - BLOCK_MAX_BYTES
    assert (await upload.patch(at, LARGE[at:])).status_code == 204
    assert await read(ada, "new") == LARGE


class Ends:
    """A metadata store that ends before or after a write: it is unavailable then, or the whole server is gone."""

    def __init__(self, store: MetadataStore, at_write: int, how: str) -> None:
        self._store = store
        self._left = at_write
        self._how = how
        self.server = trio.CancelScope()

    async def read(self, work: Work[T]) -> T:
        return await self._store.read(work)

    async def write(self, work: Work[T]) -> T:
        self._left -= 1
        if self._left != 0:
            return await self._store.write(work)
        if self._how == "unavailable":
            raise StoreUnavailable
        if self._how == "gone after it":
            await self._store.write(work)
        self.server.cancel()
        await trio.lowlevel.checkpoint()
        raise AssertionError


@pytest.mark.parametrize("how", ["unavailable", "gone before it", "gone after it"])
@pytest.mark.parametrize("begins", [[], [5 * MIB, 5 * MIB + 10]])
async def test_an_upload_goes_on_from_any_write_at_which_the_server_ended(
    world: World, ada: Client, begins: list[int], how: str
) -> None:
    at_write, is_complete = 0, False
    while not is_complete:
        at_write += 1
        upload = await create(ada, len(LARGE), f"{at_write}")
        at = 0
        for stop in begins:
            await upload.patch(at, LARGE[at:stop])
            at = stop
        ends = Ends(world.metadata, at_write, how)
        care = BlockCare(world.store, cast(MetadataStore, ends), world.service.keyring, trio.CapacityLimiter(1))
        app = create_app(replace(world.service, metadata=cast(MetadataStore, ends), blocks=care))
        with ends.server:
            is_complete = await upload.patch_over(app, at, split(LARGE[at:])) == 204
        await world.metadata.read(lambda tx: check(tx, ada.workspace))
        now = await upload.offset()
        assert at <= now
        if now < len(LARGE):
            assert (await get(ada, f"{at_write}")).status_code == 404
            assert (await upload.patch(now, LARGE[now:])).status_code == 204
        assert await read(ada, f"{at_write}") == LARGE
    assert at_write > 3


async def test_who_begins_elsewhere_is_told(ada: Client) -> None:
    upload = await create(ada, 10)
    await upload.patch(0, b"123")
    for offset in (0, 2, 4, 10):
        assert problem(await upload.patch(offset, b"x")) == (409, "conflict")
    assert await upload.offset() == 3


@pytest.mark.parametrize("size_bytes", [100, 18 * MIB])
async def test_of_two_requests_at_once_the_later_one_goes_on(ada: Client, size_bytes: int) -> None:
    first, second = content(size_bytes, 1), content(size_bytes, 2)
    upload = await create(ada, size_bytes)
    is_held, go_on = trio.Event(), trio.Event()
    statuses: list[int] = []

    async def held() -> AsyncIterator[bytes]:
        yield first[:50]
        is_held.set()
        await go_on.wait()
        async for part in in_parts(first[50:]):
            yield part

    async def earlier() -> None:
        statuses.append((await upload.patch(0, held())).status_code)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(earlier)
        await is_held.wait()
        assert (await upload.patch(0, second[:60])).status_code == 204
        go_on.set()
    assert statuses == [409]
    assert (await upload.patch(60, second[60:])).status_code == 204
    assert await read(ada, "new") == second


@pytest.fixture
async def elsewhere(world: World, ada: Client) -> AsyncIterator[Client]:
    """The same user at another server on the same engines, which shares no memory with the first."""
    notifier, keyring = Notifier(), Keyring(bytes(range(32)))
    care = BlockCare(world.store, world.metadata, keyring, trio.CapacityLimiter(1), run_sync=in_place)
    leases = Leases(10.0, trio.current_time, notifier.nudge)
    service = replace(world.service, blocks=care, keyring=keyring, notifier=notifier, leases=leases, places=Places())
    app = create_app(service)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://elsewhere") as http:
        yield replace(ada, http=http)


async def test_any_server_goes_on(ada: Client, elsewhere: Client) -> None:
    upload = await create(ada, len(LARGE))
    at = 0
    for number, stop in enumerate((10, 3 * MIB, 3 * MIB + 5, 15 * MIB, len(LARGE))):
        client = (elsewhere, ada)[number % 2]
        assert (await Upload(client, upload.url).patch(at, LARGE[at:stop])).status_code == 204
        at = stop
    assert await read(ada, "new") == LARGE


async def test_the_later_request_goes_on_at_another_server_too(ada: Client, elsewhere: Client) -> None:
    upload = await create(ada, len(LARGE))
    overtaking: list[int] = []

    async def overtaken() -> AsyncIterator[bytes]:
        yield LARGE[:100]
        overtaking.append((await Upload(elsewhere, upload.url).patch(0, LARGE[:200])).status_code)
        yield LARGE[100:]

    assert problem(await upload.patch(0, overtaken())) == (409, "conflict")
    assert overtaking == [204]
    assert (await upload.patch(200, LARGE[200:])).status_code == 204
    assert await read(ada, "new") == LARGE


async def test_more_than_was_announced_is_refused(ada: Client) -> None:
    upload = await create(ada, 10)
    assert problem(await upload.patch(0, in_parts(bytes(11)))) == (413, "body-too-large")
    assert problem(await tus(ada, "PATCH", upload.url, bytes(11), upload_offset="0")) == (413, "body-too-large")
    assert await upload.offset() == 0


async def test_that_all_has_come_is_told_when_every_mount_may_know(
    world: World, ada: Client, autojump_clock: trio.testing.MockClock
) -> None:
    upload = await create(ada, 1)
    mount = await (await world.member(ada, "bob", Role.EDITOR)).join()
    told: list[float] = []

    async def ask_of_it() -> None:
        await trio.testing.wait_all_tasks_blocked()  # The content is committed, and its answer waits.
        assert await upload.offset() == 1
        told.append(trio.current_time())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(upload.patch, 0, b"x")
        nursery.start_soon(ask_of_it)
        await trio.sleep(1)
        assert told == []
        mount.absorb((await mount.poll()).notices)
        await mount.poll()
    assert len(told) == 1


# ── creation-with-upload, creation-defer-length ──


async def test_a_content_that_comes_with_the_creation(ada: Client) -> None:
    answer = await tus(
        ada,
        "POST",
        f"/v1/tus/{ada.workspace}",
        b"123",
        upload_length="5",
        upload_metadata=metadata(path="new"),
    )
    assert (answer.status_code, answer.headers["upload-offset"]) == (201, "3")
    upload = Upload(ada, answer.headers["location"])
    assert (await upload.patch(3, b"45")).status_code == 204
    assert await read(ada, "new") == b"12345"


async def test_a_length_that_is_told_later(ada: Client) -> None:
    upload = await create(ada, None, upload_defer_length="1")
    await upload.patch(0, b"123")
    told = (await upload.head()).headers
    assert (told.get("upload-length"), told["upload-defer-length"]) == (None, "1")
    assert (await upload.patch(3, b"4", upload_length="5")).status_code == 204
    assert (await upload.head()).headers["upload-length"] == "5"
    assert problem(await upload.patch(4, b"5", upload_length="6")) == (400, "bad-request")
    assert (await upload.patch(4, b"5", upload_length="5")).status_code == 204
    assert await read(ada, "new") == b"12345"


async def test_a_length_that_is_told_when_all_has_come(ada: Client) -> None:
    upload = await create(ada, None, upload_defer_length="1")
    await upload.patch(0, b"123")
    assert problem(await upload.patch(3, b"", upload_length="2")) == (400, "bad-request")
    assert (await upload.patch(3, b"", upload_length="3")).status_code == 204
    assert await read(ada, "new") == b"123"


# ── checksum ──


@pytest.mark.parametrize("algorithm", ["sha1", "sha256", "sha512", "md5"])
async def test_a_checksum_that_fits(ada: Client, algorithm: str) -> None:
    upload = await create(ada, len(LARGE))
    answer = await upload.patch(0, LARGE[: 10 * MIB], upload_checksum=checksum(algorithm, LARGE[: 10 * MIB]))
    assert answer.status_code == 204
    rest = LARGE[10 * MIB :]
    assert (await upload.patch(10 * MIB, rest, upload_checksum=checksum(algorithm, rest))).status_code == 204
    assert await read(ada, "new") == LARGE


@pytest.mark.parametrize("size_bytes", [10, 20 * MIB])
async def test_of_a_request_whose_checksum_does_not_fit_nothing_is_kept(ada: Client, size_bytes: int) -> None:
    plain = LARGE[:size_bytes]
    upload = await create(ada, size_bytes)
    await upload.patch(0, plain[:5])
    answer = await upload.patch(5, plain[5:], upload_checksum=checksum("sha1", plain))
    assert problem(answer) == (460, "checksum")
    assert await upload.offset() == 5
    assert (await upload.patch(5, plain[5:], upload_checksum=checksum("sha1", plain[5:]))).status_code == 204
    assert await read(ada, "new") == plain


async def test_of_a_request_with_a_checksum_that_breaks_off_nothing_is_kept(ada: Client) -> None:
    upload = await create(ada, len(LARGE))

    async def breaking() -> AsyncIterator[bytes]:
        async for part in in_parts(LARGE[: 18 * MIB]):
            yield part
        await trio.testing.wait_all_tasks_blocked()
        request.cancel()
        await trio.sleep_forever()

    with trio.CancelScope() as request:
        await upload.patch(0, breaking(), upload_checksum=checksum("sha1", LARGE))
    assert await upload.offset() == 0
    assert (await upload.patch(0, LARGE)).status_code == 204
    assert await read(ada, "new") == LARGE


@pytest.mark.parametrize("text", ["crc7 AAAA", "sha1", "sha1 !", "sha1 AAAA"])
async def test_a_checksum_that_is_none_is_refused(ada: Client, text: str) -> None:
    upload = await create(ada, 10)
    answer = await upload.patch(0, b"123", upload_checksum=text)
    assert answer.status_code == (460 if text in ("sha1", "sha1 AAAA") else 400)
    assert await upload.offset() == 0


# ── concatenation ──


async def part_of(client: Client, plain: bytes) -> Upload:
    upload = await create(client, len(plain), upload_metadata="", upload_concat="partial")
    if plain:
        assert (await upload.patch(0, plain)).status_code == 204
    return upload


async def joined(client: Client, *parts: Upload, path: str = "new") -> Upload:
    urls = " ".join(part.url for part in parts)
    return await create(client, None, path, upload_concat=f"final;{urls}")


async def test_parts_are_joined_in_their_order(ada: Client) -> None:
    parts = [LARGE[: 9 * MIB], LARGE[9 * MIB : 9 * MIB + 10], b"", LARGE[9 * MIB + 10 :]]
    uploads = [await part_of(ada, plain) for plain in parts]
    assert (await get(ada, "new")).status_code == 404
    whole = await joined(ada, *uploads)
    assert await read(ada, "new") == LARGE
    told = (await whole.head()).headers
    assert told["upload-offset"] == told["upload-length"] == str(len(LARGE))
    assert told["upload-concat"].startswith("final;")
    assert (await uploads[0].head()).headers["upload-concat"] == "partial"


async def test_parts_that_come_at_the_same_time(ada: Client) -> None:
    plains = [content(3 * MIB + number, number) for number in range(4)]
    uploads = [await create(ada, len(plain), upload_metadata="", upload_concat="partial") for plain in plains]
    async with trio.open_nursery() as nursery:
        for upload, plain in zip(uploads, plains, strict=True):
            nursery.start_soon(upload.patch, 0, plain)
    await joined(ada, *uploads)
    assert await read(ada, "new") == b"".join(plains)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(st.sampled_from([LARGE, bytes(9 * MIB)]), st.integers(0, 9 * MIB)), min_size=1, max_size=5))
def test_joined_parts_are_cut_as_at_once(lengths: list[tuple[bytes, int]]) -> None:
    plains = [source[:length] for source, length in lengths]

    async def run() -> None:
        async with a_world() as world:
            ada = await world.user("ada")
            await joined(ada, *[await part_of(ada, plain) for plain in plains])
            plain = b"".join(plains)
            assert await manifest_of(ada) == cut_at_once(ada, plain)
            assert await read(ada, "new") == plain

    trio.run(run)


async def test_urls_of_parts_may_be_absolute(ada: Client) -> None:
    part = await part_of(ada, b"abc")
    await create(ada, None, upload_concat=f"final;http://server{part.url}")
    assert await read(ada, "new") == b"abc"


async def test_a_part_that_has_not_come_is_waited_for(ada: Client) -> None:
    part = await create(ada, 3, upload_metadata="", upload_concat="partial")
    await part.patch(0, b"ab")
    answer = await tus(
        ada,
        "POST",
        f"/v1/tus/{ada.workspace}",
        upload_concat=f"final;{part.url}",
        upload_metadata=metadata(path="new"),
    )
    assert problem(answer) == (409, "conflict")
    await part.patch(2, b"c")
    await joined(ada, part)
    assert await read(ada, "new") == b"abc"


async def test_what_is_no_part_is_not_joined(ada: Client) -> None:
    whole = await create(ada, 3)
    await whole.patch(0, b"abc")
    nothing = f"/v1/tus/{ada.workspace}/{'0' * 32}"
    for concat, expected in (
        (f"final;{whole.url}", (400, "bad-request")),
        (f"final;{nothing}", (404, "not-found")),
        ("final;/elsewhere", (404, "not-found")),
        ("final;", (400, "bad-request")),
        ("half", (400, "bad-request")),
    ):
        answer = await tus(
            ada, "POST", f"/v1/tus/{ada.workspace}", upload_concat=concat, upload_metadata=metadata(path="b")
        )
        assert problem(answer) == expected


async def test_parts_that_are_ended_while_their_whole_waits_for_a_place_are_not_joined(
    world: World, ada: Client
) -> None:
    """Nothing is left of them: the file would be shorter than its parts were."""
    part, other = await part_of(ada, b"abc"), await part_of(ada, b"def")
    concat = f"final;{part.url} {other.url}"
    answers: list[httpx.Response] = []

    async def join() -> None:
        url, path = f"/v1/tus/{ada.workspace}", metadata(path="new")
        answers.append(await tus(ada, "POST", url, upload_concat=concat, upload_metadata=path))

    places = Places(uploads=Shares(1, 1))
    world.app.state.service = replace(world.service, places=places)
    async with trio.open_nursery() as nursery, places.uploads.place("somebody"):
        nursery.start_soon(join)
        await trio.testing.wait_all_tasks_blocked()
        assert (await tus(ada, "DELETE", other.url)).status_code == 204
    assert problem(answers[0]) == (404, "not-found")
    assert (await get(ada, "new")).status_code == 404


async def test_a_joined_upload_takes_no_content(ada: Client) -> None:
    whole = await joined(ada, await part_of(ada, b"abc"))
    assert problem(await whole.patch(3, b"d")) == (403, "forbidden")


async def test_parts_of_another_workspace_are_not_joined(world: World, ada: Client) -> None:
    bob = await world.member(ada, "bob", Role.EDITOR)
    answer = await tus(bob, "POST", "/v1/tus", upload_length="0", upload_concat="partial")
    where = metadata(path="new", workspace=ada.workspace)
    final = f"final;{answer.headers['location']}"
    answer = await tus(bob, "POST", "/v1/tus", upload_concat=final, upload_metadata=where)
    assert problem(answer) == (409, "conflict")


# ── expiration, termination ──


async def test_answers_say_when_an_upload_expires(ada: Client) -> None:
    upload = await create(ada, 10)
    answers = [await upload.head(), await upload.patch(0, b"1")]
    assert [answer.headers["upload-expires"] for answer in answers] == ["Fri, 09 Jan 2026 03:04:05 GMT"] * 2


async def test_an_upload_that_nobody_goes_on_with_expires(world: World, ada: Client) -> None:
    upload = await create(ada, len(LARGE))
    await upload.patch(0, LARGE[: 10 * MIB])
    await pass_time(world, transfers.EXPIRE_AFTER_NS)
    assert (await upload.head()).status_code == 404
    assert problem(await upload.patch(10 * MIB, b"x")) == (404, "not-found")
    await worker.work_once(world.service, RETENTION)
    assert [await rows(world, f"transfer{kind}") for kind in ("s", "_blocks", "_tails")] == [0, 0, 0]


async def test_each_request_gives_an_upload_more_time(world: World, ada: Client) -> None:
    upload = await create(ada, 10)
    await pass_time(world, transfers.EXPIRE_AFTER_NS - 1)
    await upload.patch(0, b"1")
    await pass_time(world, transfers.EXPIRE_AFTER_NS - 1)
    await worker.work_once(world.service, RETENTION)
    assert await upload.offset() == 1


async def test_that_an_upload_is_complete_is_remembered_for_a_day(world: World, ada: Client) -> None:
    upload = await create(ada, 1)
    await upload.patch(0, b"1")
    await pass_time(world, transfers.REMEMBER_NS - 1)
    await worker.work_once(world.service, RETENTION)
    assert await upload.offset() == 1
    await pass_time(world, 1)
    await worker.work_once(world.service, RETENTION)
    assert (await upload.head()).status_code == 404
    assert await read(ada, "new") == b"1"


async def test_an_upload_is_ended(world: World, ada: Client) -> None:
    upload = await create(ada, len(LARGE))
    await upload.patch(0, LARGE[: 10 * MIB])
    assert (await tus(ada, "DELETE", upload.url)).status_code == 204
    assert (await upload.head()).status_code == 404
    assert problem(await upload.patch(10 * MIB, b"x")) == (404, "not-found")
    assert problem(await tus(ada, "DELETE", upload.url)) == (404, "not-found")
    assert [await rows(world, f"transfer{kind}") for kind in ("s", "_blocks", "_tails")] == [0, 0, 0]


async def test_a_request_under_way_ends_with_its_upload(ada: Client) -> None:
    upload = await create(ada, 10)

    async def ending() -> AsyncIterator[bytes]:
        yield b"12345"
        await tus(ada, "DELETE", upload.url)
        yield b"67890"

    assert problem(await upload.patch(0, ending())) == (404, "not-found")
    assert (await get(ada, "new")).status_code == 404


# ── who may ──


async def test_an_upload_of_somebody_else_is_not_there(world: World, ada: Client) -> None:
    bob = await world.member(ada, "bob", Role.EDITOR)
    eve = await world.user("eve")
    upload = await create(ada, 3)
    part = await part_of(ada, b"abc")
    for other in (bob, eve):
        theirs = Upload(other, upload.url)
        assert (await theirs.head()).status_code == 404
        assert problem(await theirs.patch(0, b"abc")) == (404, "not-found")
        assert problem(await tus(other, "DELETE", upload.url)) == (404, "not-found")
    where = metadata(path="stolen")
    answer = await tus(
        bob, "POST", f"/v1/tus/{ada.workspace}", upload_concat=f"final;{part.url}", upload_metadata=where
    )
    assert problem(answer) == (404, "not-found")


async def test_a_viewer_uploads_nothing(world: World, ada: Client) -> None:
    bob = await world.member(ada, "bob", Role.VIEWER)
    answer = await tus(bob, "POST", f"/v1/tus/{ada.workspace}", upload_length="1", upload_metadata=metadata(path="a"))
    assert problem(answer) == (403, "forbidden")


async def test_a_stranger_learns_nothing(world: World, ada: Client) -> None:
    eve = await world.user("eve")
    answer = await tus(eve, "POST", f"/v1/tus/{ada.workspace}", upload_length="1", upload_metadata=metadata(path="a"))
    assert problem(answer) == (404, "not-found")
    eve.token = "none"
    upload = await create(ada, 3)
    assert (await Upload(eve, upload.url).head()).status_code == 401


@pytest.mark.parametrize("size_bytes", [10, 20 * MIB])
async def test_a_role_that_is_lost_stops_an_upload(world: World, ada: Client, size_bytes: int) -> None:
    bob = await world.member(ada, "bob", Role.EDITOR)
    upload = await create(bob, size_bytes)

    async def losing() -> AsyncIterator[bytes]:
        yield LARGE[:5]
        await world.metadata.write(lambda tx: accounts.share(tx, ada.workspace, "bob", Role.VIEWER))
        async for part in in_parts(LARGE[5:size_bytes]):
            yield part

    assert problem(await upload.patch(0, losing())) == (403, "forbidden")
    assert (await get(ada, "new")).status_code == 404


# ── bounds ──


async def test_what_is_not_cut_yet_counts_for_the_quota(world: World) -> None:
    ada = await world.with_quota("ada", 600 * KIB)
    for number in range(2):
        upload = await create(ada, MIB, f"{number}")
        assert (await upload.patch(0, LARGE[: 200 * KIB])).status_code == 204
    upload = await create(ada, MIB, "too much")
    assert problem(await upload.patch(0, LARGE[: 200 * KIB])) == (507, "quota")
    assert await upload.offset() == 0


async def test_blocks_of_unfinished_uploads_count_for_the_quota(world: World) -> None:
    ada = await world.with_quota("ada", 9 * MIB)
    upload = await create(ada, len(LARGE))
    assert problem(await upload.patch(0, LARGE)) == (507, "quota")
    assert await upload.offset() <= 9 * MIB

    def is_full(tx: blocks.Transaction) -> None:
        with pytest.raises(blocks.OverQuota):
            blocks.check_quota(tx, ada.workspace, 9 * MIB)

    await world.metadata.read(is_full)


async def test_one_user_begins_so_many_uploads(world: World, ada: Client) -> None:
    await create(ada, 1)

    def fill(tx: transfers.Transaction) -> None:
        tx.execute(
            "WITH RECURSIVE number (n) AS (SELECT 2 UNION ALL SELECT n + 1 FROM number WHERE n < ?)"
            " INSERT INTO transfers SELECT workspace, printf('%032d', n), user_id, length, received, cut_bytes,"
            " cut_pieces, turn, metadata, concat, etag, expires_ns FROM transfers, number",
            (transfers.UNFINISHED_MAX,),
        )

    await world.metadata.write(fill)
    answer = await tus(ada, "POST", f"/v1/tus/{ada.workspace}", upload_length="1", upload_metadata=metadata(path="a"))
    assert problem(answer) == (507, "quota")


# ── the protocol ──


async def test_what_the_server_can_do(ada: Client) -> None:
    answer = await ada.http.request("OPTIONS", "/v1/tus")
    assert answer.status_code == 204
    assert answer.headers["tus-version"] == answer.headers["tus-resumable"] == "1.0.0"
    assert set(answer.headers["tus-extension"].split(",")) == {
        "creation",
        "creation-defer-length",
        "creation-with-upload",
        "expiration",
        "checksum",
        "termination",
        "concatenation",
    }
    assert int(answer.headers["tus-max-size"]) > 10**11
    assert "sha1" in answer.headers["tus-checksum-algorithm"].split(",")


@pytest.mark.parametrize("method", ["HEAD", "PATCH", "DELETE", "POST"])
async def test_another_version_of_the_protocol_is_refused(ada: Client, method: str) -> None:
    upload = await create(ada, 10)
    path = "/v1/tus" if method == "POST" else upload.url
    for version in ({"Tus-Resumable": "0.2.2"}, {}):
        answer = await ada.http.request(
            method, path, headers={"Authorization": f"Bearer {ada.token}", "Content-Type": OFFSET_OCTETS, **version}
        )
        assert answer.status_code == 412
        assert answer.headers["tus-version"] == "1.0.0"


async def test_every_answer_names_the_version(ada: Client) -> None:
    upload = await create(ada, 10)
    answers = [await upload.head(), await upload.patch(0, b"1"), await upload.patch(0, b"1")]
    assert [answer.headers["tus-resumable"] for answer in answers] == ["1.0.0"] * 3
    assert (await upload.head()).headers["cache-control"] == "no-store"


async def test_the_metadata_is_told_as_it_came(ada: Client) -> None:
    where = metadata(path="a", anything="else")
    upload = await create(ada, 10, upload_metadata=where)
    assert (await upload.head()).headers["upload-metadata"] == where


async def test_a_content_of_another_type_is_refused(ada: Client) -> None:
    upload = await create(ada, 10)
    assert problem(await upload.patch(0, b"1", content_type="text/plain")) == (415, "unsupported-media")
    answer = await tus(
        ada,
        "POST",
        f"/v1/tus/{ada.workspace}",
        b"1",
        content_type="text/plain",
        upload_length="1",
        upload_metadata=metadata(path="a"),
    )
    assert problem(answer) == (415, "unsupported-media")


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"upload_length": "-1"},
        {"upload_length": "1", "upload_defer_length": "1"},
        {"upload_defer_length": "2"},
        {"upload_length": "many"},
    ],
)
async def test_an_upload_needs_a_length(ada: Client, headers: dict[str, str]) -> None:
    answer = await tus(ada, "POST", f"/v1/tus/{ada.workspace}", upload_metadata=metadata(path="a"), **headers)
    assert problem(answer) == (400, "bad-request")


async def test_an_upload_that_no_file_can_hold_is_refused(ada: Client) -> None:
    answer = await tus(
        ada, "POST", f"/v1/tus/{ada.workspace}", upload_length="9" * 17, upload_metadata=metadata(path="a")
    )
    assert problem(answer) == (413, "body-too-large")


async def test_an_offset_is_needed(ada: Client) -> None:
    upload = await create(ada, 10)
    assert problem(await tus(ada, "PATCH", upload.url, b"1")) == (400, "bad-request")


async def test_who_can_send_posts_alone_can_upload(ada: Client) -> None:
    upload = await create(ada, 3)
    answer = await tus(ada, "POST", upload.url, b"abc", upload_offset="0", x_http_method_override="PATCH")
    assert answer.status_code == 204
    assert await read(ada, "new") == b"abc"
    assert problem(await tus(ada, "POST", upload.url)) == (405, "method-not-allowed")
    assert (await tus(ada, "POST", upload.url, x_http_method_override="DELETE")).status_code == 204
