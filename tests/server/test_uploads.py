"""Content by path, written without a mount."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
import trio
import trio.testing

from protocol import manifest as manifests
from protocol.chunking import cut
from protocol.ids import ROOT_NODE, NodeId
from protocol.limits import MIB
from protocol.manifest import Manifest, Piece
from protocol.messages.accounts import Role
from protocol.messages.changes import Create, Rename, Unlink
from protocol.messages.nodes import Kind, State
from protocol.messages.tree import ManifestReply
from server.metadata import accounts
from server.metadata.invariants import check
from tests.server.plainly import (
    Exchange,
    ask,
    content,
    get,
    in_parts,
    listed,
    mount_writes,
    put,
)
from tests.server.world import NEARLY_FULL_BYTES, NOW_NS, PART_BYTES, Client, World, commit, create, happened, problem

LARGE = content(12 * MIB)
FILE = 100


@pytest.fixture
async def ada(world: World) -> AsyncIterator[Client]:
    """A user with an own workspace, and a mount's journal there that holds no lease. The tree is sound at the end."""
    ada = await (await (await world.user("ada")).join()).leave()
    yield ada
    await world.metadata.read(lambda tx: check(tx, ada.workspace))


Hook = Callable[[], Awaitable[object]]


async def _with(hook: Hook, plain: bytes = LARGE) -> AsyncIterator[bytes]:
    """A body in whose midst something else happens."""
    async for part in in_parts(plain[: len(plain) // 2]):
        yield part
    await hook()
    async for part in in_parts(plain[len(plain) // 2 :]):
        yield part


async def _rows(world: World, table: str) -> int:
    row = await world.metadata.read(lambda tx: tx.one(f"SELECT count(*) FROM {table}"))
    assert row is not None
    return int(row[0])


# ── what an upload makes ──


@pytest.mark.parametrize("plain", [b"", b"small", LARGE], ids=["empty", "small", "large"])
async def test_a_new_file_is_made(ada: Client, plain: bytes) -> None:
    item = await put(ada, "new", in_parts(plain), 201)
    assert (item.path, item.name, item.kind, item.size) == ("new", "new", Kind.FILE, len(plain))
    assert (item.version, item.state, item.mtime_ns) == (1, State.UPLOADED, NOW_NS)
    node = (await listed(ada))[b"new"]
    assert (str(node.id), node.size, node.version) == (item.node, len(plain), 1)


@pytest.mark.parametrize("plain", [b"", b"small", LARGE], ids=["empty", "small", "large"])
async def test_what_is_there_is_replaced(ada: Client, plain: bytes) -> None:
    before = await put(ada, "a", b"before", 201)
    item = await put(ada, "a", in_parts(plain), 200)
    assert (item.node, item.version, item.size) == (before.node, 2, len(plain))
    assert (await get(ada, "a")).content == plain


async def test_the_answer_names_the_version_that_was_made(ada: Client) -> None:
    answer = await ask(ada, "PUT", "files/a", b"x")
    assert answer.headers["etag"] == answer.json()["etag"] == (await get(ada, "a")).headers["etag"]


async def test_a_new_file_belongs_to_whom_its_folder_belongs_to(ada: Client) -> None:
    await ada.send(Create(NOW_NS, ROOT_NODE, b"theirs", NodeId(200), Kind.FOLDER, 0o755, 1000, 1001))
    await put(ada, "theirs/a", b"x")
    node = (await listed(ada, 200))[b"a"]
    assert (node.uid, node.gid, node.mode) == (1000, 1001, 0o644)


async def test_attributes_of_what_is_replaced_stay(ada: Client) -> None:
    await ada.send(Create(NOW_NS, ROOT_NODE, b"a", NodeId(FILE), Kind.FILE, 0o600, 1000, 1001))
    await put(ada, "a", b"x")
    node = (await listed(ada))[b"a"]
    assert (node.uid, node.gid, node.mode) == (1000, 1001, 0o600)


async def test_a_file_that_a_mount_has_begun_gets_the_content(ada: Client) -> None:
    await ada.send(create(b"a", FILE))
    item = await put(ada, "a", in_parts(LARGE), 201)
    assert (item.node, item.version) == (str(FILE), 1)


async def test_everybody_is_told_that_a_file_is_pending_and_then_uploaded(ada: Client) -> None:
    async def is_pending() -> None:
        node = (await listed(ada))[b"new"]
        assert (node.state, node.version, node.size) == (State.PENDING, 0, 0)

    await put(ada, "new", _with(is_pending), 201)
    told = (await ada.follow(0, 0)).notices
    assert [(notice.what, notice.state) for notice in told] == [
        ("create", State.PENDING),
        ("commit", State.UPLOADED),
    ]
    assert all(notice.origin == b"" for notice in told)


async def test_a_small_file_is_told_of_in_the_same_way(ada: Client) -> None:
    await put(ada, "new", b"small", 201)
    told = (await ada.follow(0, 0)).notices
    assert [(notice.what, notice.state) for notice in told] == [
        ("create", State.PENDING),
        ("commit", State.UPLOADED),
    ]


async def test_what_is_there_stays_until_all_of_the_new_content_has_come(ada: Client) -> None:
    await put(ada, "a", b"before")

    async def is_as_before() -> None:
        assert (await get(ada, "a")).content == b"before"

    await put(ada, "a", _with(is_as_before), 200)
    assert (await get(ada, "a")).content == LARGE


async def test_folders_on_the_way_are_made_on_request(ada: Client) -> None:
    assert problem(await ask(ada, "PUT", "files/one/two/a", b"x")) == (404, "not-found")
    assert await listed(ada) == {}
    assert (await put(ada, "one/two/a?parents=1", b"x", 201)).path == "one/two/a"
    await put(ada, "one/three/b?parents=1", in_parts(LARGE), 201)
    assert set(await listed(ada, (await listed(ada))[b"one"].id)) == {b"two", b"three"}


@pytest.mark.parametrize("body", [b"x", LARGE], ids=["small", "large"])
@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("folder", (409, "conflict")),
        ("link", (409, "conflict")),
        ("fifo", (409, "conflict")),
        ("", (409, "conflict")),
        ("file/below?parents=1", (409, "conflict")),
        ("link/below?parents=1", (409, "conflict")),
        ("file/below", (404, "not-found")),
        ("a%2Fb", (400, "bad-request")),
        ("..", (400, "bad-request")),
        ("new?parents=yes", (400, "bad-request")),
    ],
)
async def test_a_place_that_takes_no_content(ada: Client, path: str, expected: tuple[int, str], body: bytes) -> None:
    link = Create(NOW_NS, ROOT_NODE, b"link", NodeId(201), Kind.SYMLINK, 0o777, 0, 0, target=b"folder")
    await ada.send(create(b"folder", 200, Kind.FOLDER), link, create(b"fifo", 202, Kind.FIFO), create(b"file", 203))
    path = path if path != ".." else "%2e%2e"
    before = await listed(ada)
    assert problem(await ask(ada, "PUT", f"files/{path}", in_parts(body))) == expected
    assert await listed(ada) == before


# ── blocks ──


async def test_the_blocks_are_those_that_a_mount_cuts(ada: Client) -> None:
    item = await put(ada, "a", in_parts(LARGE, 77_777))
    reply = await ada.ask(ManifestReply, "GET", f"./nodes/{item.node}/manifest?version=1")
    pieces, at = [], 0
    for length in cut(LARGE, ada.keys.chunk_seed):
        pieces.append(Piece(ada.keys.block_id(LARGE[at : at + length]), length))
        at += length
    assert manifests.decode(reply.manifest) == Manifest.of(pieces)


async def test_what_a_mount_has_written_is_not_stored_again(world: World, ada: Client) -> None:
    await ada.send(create(b"mounts", FILE))
    await mount_writes(ada, FILE, LARGE)
    before = dict(world.store.objects)
    await put(ada, "copy", in_parts(LARGE))
    assert world.store.objects == before
    assert (await get(ada, "copy")).content == LARGE


async def test_of_a_changed_file_only_the_changed_blocks_are_stored(world: World, ada: Client) -> None:
    await put(ada, "a", in_parts(LARGE))
    before = set(world.store.objects)
    await put(ada, "a", in_parts(LARGE[: 6 * MIB] + b"!" + LARGE[6 * MIB :]))
    assert before <= set(world.store.objects)
    assert 0 < len(world.store.objects) - len(before) <= 3


async def test_content_is_stored_sealed_and_compressed(world: World, ada: Client) -> None:
    plain = b"the same line again\n" * 300_000
    await put(ada, "a", in_parts(plain))
    stored = b"".join(world.store.objects.values())
    assert b"the same line" not in stored
    assert len(stored) < len(plain) / 20


async def test_a_small_content_lies_in_the_database(world: World, ada: Client) -> None:
    for name, plain in [("a", b"small"), ("b", content(60_000)), ("c", bytes(900_000))]:
        await put(ada, name, in_parts(plain))
        assert (await get(ada, name)).content == plain
    assert world.store.objects == {}


def is_stored_once(world: World) -> bool:
    """Whether no block lies in the store twice; the last of a file may be small, and lie elsewhere."""
    blocks = [name.partition("-")[0] for name in world.store.objects]
    return len(blocks) == len(set(blocks))


async def test_two_uploads_of_one_content_at_once(world: World, ada: Client) -> None:
    async with trio.open_nursery() as nursery:
        for name in ("a", "b"):
            nursery.start_soon(put, ada, name, in_parts(LARGE), 201)
    assert is_stored_once(world)
    for name in ("a", "b"):
        assert (await get(ada, name)).content == LARGE


# ── conditions ──


@pytest.mark.parametrize("plain", [b"small", LARGE], ids=["small", "large"])
async def test_an_upload_on_the_version_that_is_there(ada: Client, plain: bytes) -> None:
    etag = (await put(ada, "a", b"before")).etag
    await put(ada, "a", in_parts(plain), 200, if_match=f'"other", {etag}')
    assert problem(await ask(ada, "PUT", "files/a", in_parts(plain), if_match=etag)) == (412, "precondition")
    assert problem(await ask(ada, "PUT", "files/b", in_parts(plain), if_match=etag)) == (412, "precondition")
    assert (await get(ada, "a")).content == plain
    assert set(await listed(ada)) == {b"a"}


@pytest.mark.parametrize("plain", [b"small", LARGE], ids=["small", "large"])
async def test_an_upload_where_anything_or_nothing_is(ada: Client, plain: bytes) -> None:
    assert problem(await ask(ada, "PUT", "files/a", in_parts(plain), if_match="*")) == (412, "precondition")
    assert await listed(ada) == {}
    await put(ada, "a", in_parts(plain), 201, if_none_match="*")
    assert problem(await ask(ada, "PUT", "files/a", b"second", if_none_match="*")) == (412, "precondition")
    await put(ada, "a", in_parts(plain), 200, if_match="*")


async def test_an_upload_whose_version_is_replaced_meanwhile_changes_nothing(ada: Client) -> None:
    etag = (await put(ada, "a", b"before")).etag
    body = _with(lambda: put(ada, "a", b"meanwhile"))
    assert problem(await ask(ada, "PUT", "files/a", body, if_match=etag)) == (412, "precondition")
    assert (await get(ada, "a")).content == b"meanwhile"
    assert set(await listed(ada)) == {b"a"}


async def test_an_upload_of_a_new_file_that_another_makes_meanwhile_changes_nothing(world: World, ada: Client) -> None:
    """The other writes into the file that is pending."""
    body = _with(lambda: put(ada, "a", b"meanwhile"))
    assert problem(await ask(ada, "PUT", "files/a", body, if_none_match="*")) == (412, "precondition")
    assert (await get(ada, "a")).content == b"meanwhile"
    assert await _rows(world, "uploads") == 0


async def test_without_conditions_the_head_is_replaced_whatever_it_is(ada: Client) -> None:
    await put(ada, "a", b"before")
    item = await put(ada, "a", _with(lambda: put(ada, "a", b"meanwhile")), 200)
    assert (item.version, set(await listed(ada))) == (3, {b"a"})
    assert (await get(ada, "a")).content == LARGE


async def test_a_mount_that_commits_meanwhile_is_replaced_too(ada: Client) -> None:
    await ada.send(create(b"a", FILE), commit(ada, FILE, b"before"))
    await put(ada, "a", _with(lambda: ada.send(commit(ada, FILE, b"meanwhile", 1))), 200)
    assert set(await listed(ada)) == {b"a"}
    assert (await get(ada, "a?version=2")).content == b"meanwhile"


async def test_a_mount_that_writes_on_an_older_version_gets_the_conflict_copy(ada: Client) -> None:
    await ada.send(create(b"a", FILE), commit(ada, FILE, b"before"))
    await put(ada, "a", b"uploaded")
    await ada.send(commit(ada, FILE, b"mine", 1))
    assert (await get(ada, "a")).content == b"uploaded"
    [copy] = set(await listed(ada)) - {b"a"}
    assert (await get(ada, copy.decode().replace(" ", "%20"))).content == b"mine"


# ── names that change during an upload ──


async def test_a_file_that_is_removed_meanwhile_is_there_again(ada: Client) -> None:
    await ada.send(create(b"a", FILE), commit(ada, FILE, b"before"))
    await put(ada, "a", _with(lambda: ada.send(Unlink(NOW_NS, ROOT_NODE, b"a", NodeId(FILE)))))
    assert (await get(ada, "a")).content == LARGE


async def test_a_folder_that_is_removed_meanwhile_is_there_again(ada: Client) -> None:
    async def remove() -> None:
        folder = (await listed(ada))[b"folder"]
        assert (await ask(ada, "GET", "files/folder/a")).status_code == 200
        pending = (await listed(ada, folder.id))[b"a"]
        await ada.send(Unlink(NOW_NS, folder.id, b"a", pending.id), Unlink(NOW_NS, ROOT_NODE, b"folder", folder.id))

    await put(ada, "folder/a?parents=1", _with(remove), 201)
    assert (await get(ada, "folder/a")).content == LARGE


async def test_a_file_that_another_is_renamed_over_meanwhile_is_not_revived(ada: Client) -> None:
    """So do editors save."""
    await ada.send(create(b"a", FILE), commit(ada, FILE, b"before"))
    other = NodeId(FILE + 1)

    async def save() -> None:
        rename = Rename(NOW_NS, other, ROOT_NODE, b"a.new", ROOT_NODE, b"a")
        await ada.send(create(b"a.new", other), commit(ada, other, b"meanwhile"), rename)

    item = await put(ada, "a", _with(save), 200)
    assert (item.node, item.version) == (str(other), 2)
    assert (await get(ada, "a")).content == LARGE


async def test_a_content_follows_its_pending_file(ada: Client) -> None:
    async def move() -> None:
        pending = (await listed(ada))[b"a"].id
        await ada.send(Rename(NOW_NS, pending, ROOT_NODE, b"a", ROOT_NODE, b"b"), create(b"a", FILE))

    assert (await put(ada, "a", _with(move), 201)).path == "b"
    assert (await get(ada, "b")).content == LARGE
    assert (await get(ada, "a")).content == b""


async def test_a_pending_file_that_another_is_renamed_over_leaves_nothing(world: World, ada: Client) -> None:
    async def save() -> None:
        rename = Rename(NOW_NS, NodeId(FILE), ROOT_NODE, b"a.new", ROOT_NODE, b"a")
        await ada.send(create(b"a.new", FILE), commit(ada, FILE, b"meanwhile"), rename)

    assert (await put(ada, "a", _with(save), 200)).node == str(FILE)
    assert set(await listed(ada)) == {b"a"}
    assert await _rows(world, "uploads") == 0


# ── what breaks off ──


async def test_a_body_that_breaks_off_leaves_nothing_of_a_new_file(world: World, ada: Client) -> None:
    upload = Exchange(world, ada, "PUT", "files/a")
    await upload.run([LARGE[:MIB], LARGE[: 9 * MIB], None])
    assert upload.status == 400
    assert await listed(ada) == {}
    assert await _rows(world, "uploads") == 0
    told = (await ada.follow(0, 0)).notices
    assert [notice.what for notice in told] == ["create", "unlink"]


async def test_a_body_that_breaks_off_leaves_no_folder_that_was_made_for_it(world: World, ada: Client) -> None:
    await put(ada, "there/file?parents=1", b"x")
    upload = Exchange(world, ada, "PUT", "files/there/one/two/a", "parents=1")
    await upload.run([LARGE[:MIB], None])
    assert set(await listed(ada, (await listed(ada))[b"there"].id)) == {b"file"}


async def test_a_folder_that_is_used_meanwhile_outlives_the_upload_that_made_it(world: World, ada: Client) -> None:
    async def use(part: int) -> None:
        if part == 1:
            await put(ada, "one/b", b"x")

    upload = Exchange(world, ada, "PUT", "files/one/two/a", "parents=1")
    await upload.run([LARGE[:MIB], None], before_part=use)
    assert set(await listed(ada, (await listed(ada))[b"one"].id)) == {b"b"}


async def test_a_small_body_that_breaks_off_is_never_told_of(world: World, ada: Client) -> None:
    await Exchange(world, ada, "PUT", "files/a").run([b"half", None])
    assert (await ada.follow(0, 0)).notices == []


async def test_a_body_that_breaks_off_leaves_what_was_there(world: World, ada: Client) -> None:
    before = await put(ada, "a", b"before")
    await Exchange(world, ada, "PUT", "files/a").run([LARGE[:MIB], None])
    answer = await get(ada, "a")
    assert (answer.content, answer.headers["etag"]) == (b"before", before.etag)


async def test_a_pending_file_that_a_mount_wrote_into_outlives_the_upload(world: World, ada: Client) -> None:
    async def write(part: int) -> None:
        if part == 1:
            await ada.send(commit(ada, (await listed(ada))[b"a"].id, b"a mount's"))

    await Exchange(world, ada, "PUT", "files/a").run([LARGE[:MIB], None], before_part=write)
    assert (await get(ada, "a")).content == b"a mount's"


async def test_a_mounts_pending_file_outlives_an_upload_to_it(world: World, ada: Client) -> None:
    await ada.send(create(b"a", FILE))
    await Exchange(world, ada, "PUT", "files/a").run([LARGE[:MIB], None])
    assert (await listed(ada))[b"a"].state is State.PENDING


async def test_what_a_broken_upload_has_stored_is_found_by_the_next(world: World, ada: Client) -> None:
    async def wait_until_stored(part: int) -> None:
        await trio.testing.wait_all_tasks_blocked()

    await Exchange(world, ada, "PUT", "files/a").run([LARGE, b"", None], before_part=wait_until_stored)
    stored = set(world.store.objects)
    assert stored
    await put(ada, "a", in_parts(LARGE))
    assert stored <= set(world.store.objects)
    assert is_stored_once(world)


async def test_an_upload_that_is_cancelled_leaves_nothing(world: World, ada: Client) -> None:
    with trio.CancelScope() as scope:

        async def cancel(part: int) -> None:
            if part == 2:
                scope.cancel()

        await Exchange(world, ada, "PUT", "files/a").run([LARGE[:MIB], LARGE, b"", None], before_part=cancel)
    assert scope.cancelled_caught
    assert await listed(ada) == {}
    assert await _rows(world, "uploads") == 0


async def test_a_body_that_hardly_comes_is_given_up(world: World, ada: Client, autojump_clock: object) -> None:
    upload = Exchange(world, ada, "PUT", "files/a")

    async def slowly(part: int) -> None:
        if part:
            await trio.sleep(20)

    await upload.run([LARGE[:MIB], b"x", b"x", b"x", b""], before_part=slowly)
    assert upload.status == 400
    assert await listed(ada) == {}


async def test_a_slow_body_that_comes_is_taken(world: World, ada: Client, autojump_clock: object) -> None:
    upload = Exchange(world, ada, "PUT", "files/a")

    async def slowly(part: int) -> None:
        if part:
            await trio.sleep(20)

    await upload.run([LARGE[:MIB], *[LARGE[at * 20_000 : at * 20_000 + 20_000] for at in range(10)], b""], slowly)
    assert upload.status == 201


# ── room ──


@pytest.mark.parametrize("plain", [content(50_000), LARGE], ids=["small", "large"])
async def test_a_full_quota_takes_nothing(world: World, plain: bytes) -> None:
    bob = await world.with_quota("bob", 40_000)
    assert problem(await ask(bob, "PUT", "files/a", in_parts(plain))) == (507, "quota")
    assert await listed(bob) == {}
    assert world.store.objects == {}


async def test_a_quota_that_is_used_up_takes_no_body(world: World) -> None:
    bob = await world.with_quota("bob", 100)
    await put(bob, "a", content(100 - 40))
    events = await happened(world, bob, "PUT", "./files/b", {"Transfer-Encoding": "chunked"})
    assert events == ["took a part", "answered 507"]


async def test_a_quota_that_is_reached_on_the_way_leaves_what_was_there(world: World) -> None:
    bob = await world.with_quota("bob", 10 * MIB)
    await put(bob, "a", b"before")
    assert problem(await ask(bob, "PUT", "files/a", in_parts(LARGE))) == (507, "quota")
    assert (await get(bob, "a")).content == b"before"


async def test_what_the_workspace_has_already_takes_no_quota(world: World) -> None:
    bob = await world.with_quota("bob", 13 * MIB)
    await put(bob, "a", in_parts(LARGE))
    await put(bob, "b", in_parts(LARGE))


async def test_a_full_disk_takes_no_body(world: World, ada: Client) -> None:
    world.free.data_bytes = 0
    events = await happened(world, ada, "PUT", "./files/b", {"Transfer-Encoding": "chunked"})
    assert events == ["took a part", "answered 507"]
    world.free.data_bytes = NEARLY_FULL_BYTES
    assert problem(await ask(ada, "PUT", "files/a", in_parts(LARGE))) == (507, "no-space")
    assert await listed(ada) == {}


async def test_a_block_store_that_gets_full_leaves_nothing(world: World, ada: Client) -> None:
    world.store.room_bytes = 70 * MIB
    assert problem(await ask(ada, "PUT", "files/a", in_parts(LARGE))) == (507, "no-space")
    assert await listed(ada) == {}


# ── who ──


async def test_a_viewer_may_not_upload(world: World, ada: Client) -> None:
    bob = await world.member(ada, "bob", Role.VIEWER)
    assert problem(await ask(bob, "PUT", "files/a", b"x")) == (403, "forbidden")


async def test_a_stranger_learns_nothing_and_its_body_is_not_taken(world: World, ada: Client) -> None:
    bob = await world.user("bob")
    bob.workspace = ada.workspace
    assert await happened(world, bob, "PUT", "./files/a", {"Content-Length": str(PART_BYTES)}) == ["answered 404"]
    bob.token = "none"
    assert await happened(world, bob, "PUT", "./files/a", {"Content-Length": str(PART_BYTES)}) == ["answered 401"]


async def test_who_may_no_longer_write_during_an_upload_changes_nothing(world: World, ada: Client) -> None:
    bob = await world.member(ada, "bob", Role.EDITOR)

    async def revoke() -> None:
        await world.metadata.write(lambda tx: accounts.share(tx, ada.workspace, "bob", Role.VIEWER))

    assert problem(await ask(bob, "PUT", "files/a", _with(revoke))) == (403, "forbidden")
    assert await listed(ada) == {}


async def test_so_many_folders_are_made_at_once_and_no_more(ada: Client) -> None:
    await put(ada, "d/" * 256 + "new?parents=1", b"x", 201)
    await put(ada, "d/" * 256 + "e/" * 256 + "new?parents=1", b"x", 201)
    answer = await ask(ada, "PUT", "files/" + "e/" * 257 + "new?parents=1", b"x")
    assert problem(answer) == (400, "bad-request")
    assert b"e" not in await listed(ada)
