"""The versions of a file without a mount, and an earlier one made the newest again."""

from __future__ import annotations

import pytest

from protocol.messages.nodes import Kind
from protocol.messages.wire import INTEGER_MAX
from tests.server.test_copies import manifests
from tests.server.tree import Tree, ok
from tests.server.world import NOW_NS, Client, World, problem


@pytest.fixture
async def tree(ada: Client) -> Tree:
    return Tree(await ada.leave())


async def test_versions_come_newest_first_in_pages(tree: Tree) -> None:
    node = await tree.file("file", b"1", b"22", b"333")
    page = await tree.ask("history/file", limit=2)
    assert [(version["number"], version["size"]) for version in page["versions"]] == [(3, 3), (2, 2)]
    assert (page["more"], page["item"]["path"]) == (True, "file")
    rest = await tree.ask("history/file", limit=2, before=2)
    assert rest["more"] is False
    assert rest["versions"] == [
        {
            "number": 1,
            "size": 1,
            "committed_ns": NOW_NS,
            "device": "adas laptop",
            "user": "ada",
            "etag": f'"{node:x}-1"',
        }
    ]


async def test_a_folder_has_no_history(tree: Tree) -> None:
    await tree.folder("folder")
    assert problem(await tree.get("history/folder")) == (409, "conflict")


async def test_what_is_restored_is_a_new_version(world: World, tree: Tree) -> None:
    await tree.file("file", b"first", b"second")
    item = ok(await tree.call("POST", "restore", {"path": "file", "version": 1}))
    assert (item["version"], item["size"]) == (3, 5)
    first, _, third = await manifests(world, tree, "file")
    assert first == third


async def test_what_is_restored_can_be_undone(world: World, tree: Tree) -> None:
    await tree.file("file", b"first", b"second")
    ok(await tree.call("POST", "restore", {"path": "file", "version": 1}))
    ok(await tree.call("POST", "restore", {"path": "file", "version": 2}))
    _, second, _, fourth = await manifests(world, tree, "file")
    assert second == fourth


async def test_the_newest_version_is_not_restored_again(tree: Tree) -> None:
    await tree.file("file", b"first", b"second")
    assert ok(await tree.call("POST", "restore", {"path": "file", "version": 2}))["version"] == 2
    assert (await tree.ask("feed", limit=1))["changes"][0]["what"] == "commit"


async def test_a_version_that_never_was_is_not_restored(tree: Tree) -> None:
    await tree.file("file", b"first")
    for number in (-1, 0, 2, INTEGER_MAX):
        assert problem(await tree.call("POST", "restore", {"path": "file", "version": number})) == (404, "not-found")


async def test_only_files_have_versions(tree: Tree) -> None:
    await tree.symlink("link", b"file")
    await tree.folder(str(Kind.FOLDER))
    for path in ("link", "folder"):
        assert problem(await tree.call("POST", "restore", {"path": path, "version": 1})) == (409, "conflict")
