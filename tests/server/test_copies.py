"""Copies without a mount: by manifest, of files, versions and folders."""

from __future__ import annotations

import pytest

from protocol.ids import WorkspaceId
from server.metadata import invariants
from server.metadata.copying import STEP_COPIES
from tests.server.tree import Tree, ok
from tests.server.world import Client, World, problem


@pytest.fixture
async def tree(ada: Client) -> Tree:
    return Tree(await ada.leave())


async def used_bytes(world: World, workspace: WorkspaceId) -> int:
    row = await world.metadata.read(lambda tx: tx.one("SELECT used_bytes FROM workspaces WHERE id = ?", (workspace,)))
    assert row is not None
    return int(row[0])


async def manifests(world: World, tree: Tree, path: str) -> list[bytes]:
    """Those of a file's versions."""
    node = int((await tree.item(path)).node)
    rows = await world.metadata.read(
        lambda tx: tx.all("SELECT manifest FROM versions WHERE node = ? ORDER BY number", (node,))
    )
    return [row[0] for row in rows]


async def test_a_copy_is_another_file_with_the_same_manifest(world: World, tree: Tree) -> None:
    await tree.file("file", b"first", b"content")
    before = await used_bytes(world, tree.client.workspace)
    copy = ok(await tree.call("POST", "copy", {"from": "file", "to": "copy"}))
    file = await tree.item("file")
    assert (copy["path"], copy["version"], copy["size"]) == ("copy", 1, 7)
    assert (copy["mode"], copy["mtime_ns"]) == (file.mode, file.mtime_ns)
    assert copy["node"] != file.node
    assert await manifests(world, tree, "copy") == (await manifests(world, tree, "file"))[1:]
    assert await used_bytes(world, tree.client.workspace) == before


async def test_a_copy_is_one_change(tree: Tree) -> None:
    await tree.file("file", b"content")
    ok(await tree.call("POST", "copy", {"from": "file", "to": "copy"}))
    assert (await tree.ask("feed", limit=1))["changes"][0]["what"] == "copy"


async def test_an_earlier_version_is_copied(world: World, tree: Tree) -> None:
    await tree.file("file", b"first", b"content")
    ok(await tree.call("POST", "copy", {"from": "file", "to": "copy", "version": 1}))
    assert await manifests(world, tree, "copy") == (await manifests(world, tree, "file"))[:1]


async def test_a_version_that_never_was_is_not_copied(tree: Tree) -> None:
    await tree.file("file", b"content")
    ask = {"from": "file", "to": "copy", "version": 2}
    assert problem(await tree.call("POST", "copy", ask)) == (404, "not-found")
    assert await tree.names() == ["file"]


async def test_a_file_that_nothing_was_uploaded_to_is_not_copied(tree: Tree) -> None:
    await tree.file("file")
    assert problem(await tree.call("POST", "copy", {"from": "file", "to": "copy"})) == (409, "conflict")


async def test_a_copy_over_a_file_is_its_next_version(world: World, tree: Tree) -> None:
    await tree.file("file", b"content")
    await tree.file("other", b"other")
    assert problem(await tree.call("POST", "copy", {"from": "file", "to": "other"})) == (409, "conflict")
    other = await tree.item("other")
    copy = ok(await tree.call("POST", "copy", {"from": "file", "to": "other", "replace": True}))
    assert (copy["node"], copy["version"]) == (other.node, 2)
    assert (await manifests(world, tree, "other"))[1:] == await manifests(world, tree, "file")


async def test_a_folder_is_never_copied_over(tree: Tree) -> None:
    await tree.file("file", b"content")
    await tree.folder("folder")
    for ask in ({"from": "file", "to": "folder"}, {"from": "folder", "to": "file"}):
        assert problem(await tree.call("POST", "copy", ask | {"replace": True})) == (409, "conflict")


async def test_a_folder_is_copied_with_all_that_is_in_it(tree: Tree) -> None:
    for path in ("a", "a/b", "a/b/c"):
        await tree.folder(path)
    await tree.file("a/b/file", b"content")
    await tree.file("a/pending")
    await tree.symlink("a/link", b"b/file")
    ok(await tree.call("POST", "copy", {"from": "a", "to": "z"}))
    assert (await tree.names("z"), await tree.names("z/b")) == (["b", "link"], ["c", "file"])
    assert (await tree.item("z/b/file")).size == 7
    assert (await tree.item("z/link")).target == "b/file"


async def test_a_folder_is_copied_in_steps_that_are_bounded(world: World, tree: Tree) -> None:
    await tree.folder("a")
    await tree.folder("a/b")
    for number in range(STEP_COPIES + 10):
        await tree.file(f"a/{number}", b"content")
    await tree.file("a/b/last", b"content")
    ok(await tree.call("POST", "copy", {"from": "a", "to": "z"}))
    names = (await tree.ask("folders/z", limit=1000))["items"]
    assert len(names) == STEP_COPIES + 11
    assert await tree.names("z/b") == ["last"]
    await world.metadata.read(lambda tx: invariants.check(tx, tree.client.workspace))


async def test_a_folder_is_not_copied_into_itself(tree: Tree) -> None:
    await tree.folder("a")
    await tree.folder("a/b")
    assert problem(await tree.call("POST", "copy", {"from": "a", "to": "a/b/c"})) == (400, "bad-request")


async def test_a_folder_is_removed_in_steps_that_are_bounded(world: World, tree: Tree) -> None:
    await tree.folder("a")
    await tree.folder("a/b")
    for number in range(STEP_COPIES + 10):
        await tree.file(f"a/b/{number}", b"content")
    assert (await tree.call("DELETE", "folders/a?recursive=1")).status_code == 204
    assert await tree.names() == []
    await world.metadata.read(lambda tx: invariants.check(tx, tree.client.workspace))
