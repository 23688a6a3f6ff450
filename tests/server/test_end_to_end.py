"""Workspaces whose key the server does not have: what it takes, what it refuses, and the names that it makes."""

from __future__ import annotations

import secrets
from dataclasses import replace
from urllib.parse import quote

import pytest
from msgspec.structs import replace as changed

from protocol.ids import ROOT_NODE, WorkspaceId
from protocol.keys import derive, derive_end_to_end
from protocol.limits import ENVELOPE_MAX_BYTES, INLINE_SEALED_BYTES, NAME_MAX_BYTES, SYMLINK_MAX_BYTES, XATTRS_MAX_BYTES
from protocol.messages.accounts import NewEnvelope, NewKey, NewWorkspace, Role, Workspace, Workspaces
from protocol.messages.audit import Audit, What
from protocol.messages.batches import Applied, MissingBlocks, Refused
from protocol.messages.blocks import BlockList
from protocol.messages.changes import Create, SetXattr
from protocol.messages.items import Copy, FolderPage, Item, Move, Trash
from protocol.messages.links import NewLink
from protocol.messages.nodes import Kind, xattr_name_to_wire
from protocol.messages.tokens import MadeToken, NewToken, Scope
from protocol.sealednames import BadName, NameSealer
from protocol.sealing import seal, unseal
from server import resealing, tus
from server.metadata import accounts, invariants, workspacekeys
from tests.server.plainly import ask, listed
from tests.server.world import NOW_NS, Client, World, commit, create, problem

SEALER = NameSealer(derive_end_to_end(bytes(range(32))).names_key)
LARGE = INLINE_SEALED_BYTES + 1000
FILE = 100
MARK = " (conflict from adas laptop 2026-01-02 03.04.05)"


@pytest.fixture
async def ada(world: World) -> Client:
    """A device that has joined an end-to-end workspace of its user."""
    return await (await world.end_to_end("ada")).join()


def sealed(name: bytes) -> bytes:
    return SEALER.seal_name(name)


async def names(client: Client) -> set[bytes]:
    return {SEALER.open_name(name) for name in await listed(client)}


async def refused(client: Client, change: Create | SetXattr) -> str:
    [answer] = (await client.send(change)).answers
    assert isinstance(answer, Refused)
    return answer.errno


# ── the workspace ──


async def test_its_members_are_given_the_envelope_and_no_key(world: World, ada: Client) -> None:
    bob = await world.user("bob")
    await world.metadata.write(lambda tx: accounts.share(tx, ada.workspace, "bob", Role.VIEWER))
    for client in (ada, replace(bob, workspace=ada.workspace)):
        found = await client.ask(Workspace, "GET", ".")
        assert (found.end_to_end, found.envelope, found.key) == (True, b"an envelope", b"")


async def test_lists_say_which_workspaces_are_end_to_end(ada: Client) -> None:
    found = (await ada.ask(Workspaces, "GET", "/workspaces")).workspaces
    assert {each.name: each.end_to_end for each in found} == {"home": False, "secret": True}


async def test_a_script_gets_neither_key_nor_envelope(ada: Client) -> None:
    made = await ada.ask(MadeToken, "POST", "/tokens", NewToken("script", Scope.WRITE))
    found = await replace(ada, token=made.secret).ask(Workspace, "GET", ".")
    assert (found.end_to_end, found.envelope, found.key) == (True, b"", b"")


@pytest.mark.parametrize(
    "wanted",
    [
        NewWorkspace("w", None, WorkspaceId("1" * 32)),
        NewWorkspace("w", None, None, b"an envelope"),
        NewWorkspace("w", None, WorkspaceId("1" * 31), b"an envelope"),
        NewWorkspace("w", None, WorkspaceId("../" + "1" * 29), b"an envelope"),
        NewWorkspace("w", None, WorkspaceId("1" * 32), b"x" * (ENVELOPE_MAX_BYTES + 1)),
    ],
    ids=["no envelope", "no id", "a short id", "another id", "a long envelope"],
)
async def test_one_is_made_with_an_id_and_an_envelope(ada: Client, wanted: NewWorkspace) -> None:
    assert problem(await ada.call("POST", "/workspaces", wanted)) == (400, "bad-request")


async def test_an_id_is_not_taken_twice(ada: Client) -> None:
    wanted = NewWorkspace("another", None, ada.workspace, b"another envelope")
    assert problem(await ada.call("POST", "/workspaces", wanted)) == (409, "conflict")
    assert (await ada.ask(Workspace, "GET", ".")).envelope == b"an envelope"


# ── what would take its key ──


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "files/{file}", None),
        ("PUT", "files/{file}", b"plain"),
        ("PUT", "files/{file}", b"plain" * 100_000),
        ("PUT", "files/new", b"plain"),
        ("GET", "archive/", None),
    ],
)
async def test_plain_content_is_refused_in_words(ada: Client, method: str, path: str, body: bytes | None) -> None:
    name = sealed(b"file")
    await ada.send(create(name, FILE), commit(ada, FILE, b"content"))
    await ada.leave()
    answer = await ask(ada, method, path.format(file=quote(name)), body)
    assert problem(answer) == (409, "end-to-end")
    assert "end-to-end encrypted" in answer.json()["detail"]
    assert set(await listed(ada)) == {name}


async def test_headers_of_content_are_refused(ada: Client) -> None:
    await ada.send(create(sealed(b"file"), FILE), commit(ada, FILE, b"content"))
    await ada.leave()
    assert (await ask(ada, "HEAD", f"files/{quote(sealed(b'file'))}")).status_code == 409


async def test_resumable_uploads_are_refused(ada: Client) -> None:
    headers = {
        "Authorization": f"Bearer {ada.token}",
        tus.RESUMABLE: tus.VERSION,
        tus.LENGTH: "1",
        tus.METADATA: "filename ZmlsZQ==",
    }
    answer = await ada.http.post(f"/v1/tus/{ada.workspace}", headers=headers)
    assert problem(answer) == (409, "end-to-end")


async def test_links_are_refused(ada: Client) -> None:
    assert problem(await ada.call("POST", "./links", NewLink(""))) == (409, "end-to-end")


async def test_strangers_are_told_nothing_of_it(world: World, ada: Client) -> None:
    eve = replace(await world.user("eve"), workspace=ada.workspace)
    for answer in (await ask(eve, "GET", "files/x"), await ask(eve, "PUT", "files/x", b"")):
        assert problem(answer) == (404, "not-found")


# ── names and what else is sealed ──


async def test_names_that_are_not_sealed_are_refused(ada: Client) -> None:
    for name in (b"report.odt", b"AAAA", b".", sealed(b"a") + b" (2)", sealed(b"a") + b"=", sealed(b"")):
        assert await refused(ada, create(name, FILE)) == "EINVAL"
    await ada.leave()
    assert problem(await ada.call("PUT", "./folders/plain")) == (400, "bad-request")
    assert await listed(ada) == {}


async def test_limits_are_those_of_the_plain_texts(ada: Client) -> None:
    def symlink(target: bytes, node: int) -> Create:
        name = sealed(b"l%d" % node)
        return changed(create(name, node, Kind.SYMLINK), target=SEALER.seal_target(target))

    def xattr(name: bytes, value: bytes) -> SetXattr:
        wire = xattr_name_to_wire(SEALER.seal_xattr_name(name))
        return SetXattr(NOW_NS, ROOT_NODE, wire, SEALER.seal_xattr_value(value))

    fit = [
        create(sealed(b"x" * NAME_MAX_BYTES), FILE),
        symlink(b"t" * SYMLINK_MAX_BYTES, 101),
        xattr(b"a" * 255, b"v" * (XATTRS_MAX_BYTES - 255)),
    ]
    assert all(isinstance(answer, Applied) for answer in (await ada.send(*fit)).answers)
    assert await refused(ada, create(sealed(b"x" * 256), 102)) == "ENAMETOOLONG"
    assert await refused(ada, symlink(b"t" * (SYMLINK_MAX_BYTES + 1), 103)) == "ENAMETOOLONG"
    assert await refused(ada, xattr(b"b", b"")) == "ENOSPC"
    assert await refused(ada, xattr(b"b" * 256, b"")) == "ERANGE"
    assert await refused(ada, xattr(b"", b"")) == "ERANGE"


async def test_texts_that_are_not_sealed_are_refused(ada: Client) -> None:
    link = changed(create(sealed(b"l"), 101, Kind.SYMLINK), target=b"plain/target")
    assert await refused(ada, link) == "EINVAL"
    name, value = xattr_name_to_wire(SEALER.seal_xattr_name(b"user.a")), SEALER.seal_xattr_value(b"")
    assert await refused(ada, SetXattr(NOW_NS, ROOT_NODE, "user.a", value)) == "EINVAL"
    assert await refused(ada, SetXattr(NOW_NS, ROOT_NODE, name, b"plain")) == "EINVAL"


async def test_a_symlink_has_the_size_of_its_plain_target(ada: Client) -> None:
    link = changed(create(sealed(b"l"), 101, Kind.SYMLINK), target=SEALER.seal_target(b"a/target"))
    await ada.send(link)
    assert (await listed(ada))[sealed(b"l")].size == len(b"a/target")


async def test_a_conflict_copy_s_mark_stands_before_the_extension_once_it_is_opened(ada: Client) -> None:
    await ada.send(create(sealed(b"report.odt"), FILE), commit(ada, FILE, b"theirs"))
    await ada.send(commit(ada, FILE, b"mine"), commit(ada, FILE, b"also mine"))
    assert await names(ada) == {
        b"report.odt",
        f"report{MARK}.odt".encode(),
        f"report{MARK[:-1]} 2).odt".encode(),
    }


async def test_a_long_name_s_conflict_copy_has_a_name_that_says_nothing(ada: Client) -> None:
    long = b"n" * 250 + b".odt"
    await ada.send(create(sealed(long), FILE), commit(ada, FILE, b"theirs"))
    await ada.send(commit(ada, FILE, b"mine"))
    [copy] = await names(ada) - {long}
    assert copy[:1] == b"~"
    assert copy[17:] == MARK.encode()
    assert sealed(copy) == copy


async def test_what_comes_back_from_the_trash_has_a_mark_where_its_name_is_taken(ada: Client) -> None:
    name = quote(sealed(b"report.odt"))
    await ada.send(create(sealed(b"report.odt"), FILE), commit(ada, FILE, b"first"))
    await ada.leave()
    assert (await ask(ada, "DELETE", f"files/{name}")).status_code == 204
    await ada.join()
    await ada.send(create(sealed(b"report.odt"), 101), commit(ada, 101, b"second"))
    await ada.leave()
    [item] = (await ada.ask(Trash, "GET", "./trash")).items
    await ada.ask(Item, "POST", f"./trash/{item.node}")
    assert await names(ada) == {b"report.odt", b"report (restored 2026-01-02 03.04.05).odt"}


async def test_an_editor_without_the_passphrase_can_make_a_name_that_is_told_to_others(
    world: World, ada: Client
) -> None:
    name, theirs = sealed(b"f"), "A" * 40
    await ada.send(create(name, FILE), commit(ada, FILE, b"content"))
    await ada.leave()
    bob = replace(await world.user("bob"), workspace=ada.workspace)
    await world.metadata.write(lambda tx: accounts.share(tx, ada.workspace, "bob", Role.EDITOR))
    await bob.ask(Item, "POST", "./move", Move(quote(name), theirs))
    assert (await ask(bob, "DELETE", f"files/{theirs}")).status_code == 204
    assert (await ask(bob, "PUT", f"folders/{theirs}")).status_code == 201
    [answer] = (await ada.send(commit(ada, FILE, b"another", base=1))).answers
    assert isinstance(answer, Applied)
    assert answer.conflict is not None
    with pytest.raises(BadName):
        SEALER.open_name(answer.conflict.name)


async def test_items_are_listed_moved_and_copied_by_their_sealed_names(ada: Client) -> None:
    await ada.send(create(sealed(b"a"), FILE), commit(ada, FILE, b"content"))
    await ada.leave()
    await ada.ask(Item, "PUT", f"./folders/{quote(sealed(b'box'))}")
    target = f"{sealed(b'box').decode()}/{sealed(b'b').decode()}"
    moved = await ada.ask(Item, "POST", "./move", Move(sealed(b"a").decode(), target))
    await ada.ask(Item, "POST", "./copy", Copy(target, sealed(b"copy").decode()))
    assert await names(ada) == {b"box", b"copy"}
    page = await ada.ask(FolderPage, "GET", f"./folders/{quote(sealed(b'box'))}")
    assert [item.path for item in page.items] == [moved.path]


# ── keys ──


async def test_the_server_adds_no_key(world: World, ada: Client) -> None:
    assert problem(await ada.call("POST", f"/workspaces/{ada.workspace}/keys", NewKey(1))) == (409, "end-to-end")
    found = await ada.ask(Workspace, "GET", f"/workspaces/{ada.workspace}")
    assert (found.key_id, found.key, found.later_keys) == (1, b"", {})
    await world.metadata.read(lambda tx: invariants.check(tx, ada.workspace))


async def test_another_passphrase_takes_the_place_of_the_one_that_was_opened(world: World, ada: Client) -> None:
    assert (await ada.call("PUT", "./envelope", NewEnvelope(b"another", b"an envelope"))).status_code == 204
    assert (await ada.ask(Workspace, "GET", ".")).envelope == b"another"
    late = NewEnvelope(b"a third", b"an envelope")
    assert problem(await ada.call("PUT", "./envelope", late)) == (409, "conflict")
    assert (await ada.ask(Workspace, "GET", ".")).envelope == b"another"
    [event] = [one for one in (await ada.ask(Audit, "GET", "/audit")).events if one.what is What.PASSPHRASE_SET]
    assert event.workspace == ada.workspace


@pytest.mark.parametrize("envelope", [b"", bytes(ENVELOPE_MAX_BYTES + 1)])
async def test_what_can_be_no_envelope_is_refused(ada: Client, envelope: bytes) -> None:
    given = NewEnvelope(envelope, b"an envelope")
    assert problem(await ada.call("PUT", "./envelope", given)) == (400, "bad-request")


async def test_an_editor_sets_no_passphrase(world: World, ada: Client) -> None:
    eva = await world.user("eva")
    await world.metadata.write(lambda tx: accounts.share(tx, ada.workspace, "eva", Role.EDITOR))
    given = NewEnvelope(b"another", b"an envelope")
    assert problem(await eva.call("PUT", f"/workspaces/{ada.workspace}/envelope", given)) == (403, "forbidden")


async def test_a_workspace_that_the_server_opens_gets_no_envelope(world: World) -> None:
    bob = await world.user("bob")
    assert problem(await bob.call("PUT", "./envelope", NewEnvelope(b"another", b""))) == (409, "conflict")
    assert (await bob.ask(Workspace, "GET", ".")).envelope == b""


async def test_nothing_is_sealed_anew(world: World, ada: Client) -> None:
    block, box = ada.sealed(secrets.token_bytes(LARGE))
    await ada.call("PUT", f"./blocks/{block.hex()}", box)
    sql = "UPDATE workspaces SET key_id = 2, old_blocks = block_count WHERE id = ?"
    await world.metadata.write(lambda tx: tx.execute(sql, (ada.workspace,)))
    assert await resealing.work_once(world.metadata, world.service.blocks) == 0
    assert (await ada.call("GET", f"./blocks/{block.hex()}")).content == box


async def test_another_master_key_leaves_the_envelope_as_it_is(world: World, ada: Client) -> None:
    await world.metadata.write(lambda tx: workspacekeys.rewrap(tx, lambda space, wrapped: b"anew"))
    found = await ada.ask(Workspace, "GET", f"/workspaces/{ada.workspace}")
    assert found.envelope == b"an envelope"


# ── blocks ──


async def test_blocks_come_back_as_they_were_sent(ada: Client) -> None:
    for size in (0, 1000, LARGE):
        plain = secrets.token_bytes(size)
        block, box = ada.sealed(plain)
        assert (await ada.call("PUT", f"./blocks/{block.hex()}", box)).status_code == 204
        found = (await ada.call("GET", f"./blocks/{block.hex()}")).content
        assert unseal(ada.keys, block, found) == plain


async def test_a_block_s_header_is_checked(ada: Client) -> None:
    text = b"text " * 20_000
    block = ada.keys.block_id(text)
    zstd = bytes(seal(derive(bytes(range(32))), block, text))
    no_key = bytearray(seal(ada.keys, block, text))
    no_key[5:8] = bytes(3)
    for box in (zstd, bytes(no_key), b"", b"SDB1", b"x" * 1000, zstd[:4] + b"\x04" + zstd[5:]):
        assert problem(await ada.call("PUT", f"./blocks/{block.hex()}", box)) == (422, "bad-block")
    wrong = commit(ada, FILE, text, sealed=zstd)
    assert problem(await ada.call("POST", "./changes", ada.batch(create(sealed(b"f"), FILE), wrong))) == (
        422,
        "bad-block",
    )


async def test_lengths_of_a_manifest_are_checked_by_the_headers_of_its_blocks(ada: Client) -> None:
    await ada.send(create(sealed(b"f"), FILE))
    block, box = ada.sealed(b"four")
    lying = commit(ada, FILE, b"seven..", sealed=box)
    assert problem(await ada.call("POST", "./changes", ada.batch(lying))) == (422, "bad-manifest")
    assert (await ada.ask(BlockList, "POST", "./blocks/missing", BlockList([block]))).blocks == [block]


async def test_a_block_is_not_replaced_by_whoever_puts_it_again(world: World, ada: Client) -> None:
    block, box = ada.sealed(secrets.token_bytes(LARGE))
    await ada.call("PUT", f"./blocks/{block.hex()}", box)
    before = dict(world.store.objects)
    forged = box[:-1] + bytes([box[-1] ^ 1])
    assert (await ada.call("PUT", f"./blocks/{block.hex()}", forged)).status_code == 204
    assert world.store.objects == before


async def test_a_block_that_a_member_could_not_open_is_wanted_again_and_replaced(world: World, ada: Client) -> None:
    plain = secrets.token_bytes(LARGE)
    block, box = ada.sealed(plain)
    forged = box[:-1] + bytes([box[-1] ^ 1])
    await ada.call("PUT", f"./blocks/{block.hex()}", forged)
    assert (await ada.ask(BlockList, "POST", "./blocks/missing", BlockList([block]))).blocks == []
    assert (await ada.call("POST", "./blocks/damaged", BlockList([block]))).status_code == 204
    assert (await ada.call("GET", f"./blocks/{block.hex()}")).content == forged
    assert (await ada.ask(BlockList, "POST", "./blocks/missing", BlockList([block]))).blocks == [block]
    assert (await ada.call("PUT", f"./blocks/{block.hex()}", box)).status_code == 204
    assert (await ada.call("GET", f"./blocks/{block.hex()}")).content == box
    assert len(world.store.objects) == 1
    assert (await ada.ask(BlockList, "POST", "./blocks/missing", BlockList([block]))).blocks == []


async def test_a_small_block_that_a_member_could_not_open_is_replaced_by_the_next_commit_with_it(ada: Client) -> None:
    right = commit(ada, FILE, b"content", base=1)
    [small] = right.blocks
    forged = small.sealed[:-1] + bytes([small.sealed[-1] ^ 1])
    await ada.send(create(sealed(b"f"), FILE), commit(ada, FILE, b"content", sealed=forged))
    await ada.call("POST", "./blocks/damaged", BlockList([small.id]))
    await ada.send(right)
    assert (await ada.call("GET", f"./blocks/{small.id.hex()}")).content == small.sealed
    assert (await ada.ask(BlockList, "POST", "./blocks/missing", BlockList([small.id]))).blocks == []


async def test_a_commit_of_blocks_that_are_not_there_is_told_which(ada: Client) -> None:
    change = commit(ada, FILE, b"content")
    reply = await ada.send(create(sealed(b"f"), FILE), changed(change, blocks=[]))
    assert reply.answers[1] == MissingBlocks([ada.keys.block_id(b"content")])
