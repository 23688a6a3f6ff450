"""The tree by paths, without a mount: items, folders, and changes of names."""

from __future__ import annotations

import pytest

from protocol.messages.accounts import Role
from tests.server.tree import Tree, ok, paths
from tests.server.world import NOW_NS, Client, World, problem


@pytest.fixture
async def tree(ada: Client) -> Tree:
    """Ada's, whose mount is gone, so that nobody is waited for."""
    return Tree(await ada.leave())


async def test_an_item_says_all_of_a_file(tree: Tree) -> None:
    node = await tree.file("a file", b"first", b"content")
    assert ok(await tree.get("items/a%20file")) == {
        "path": "a%20file",
        "name": "a file",
        "kind": "file",
        "size": 7,
        "mtime_ns": NOW_NS,
        "version": 2,
        "etag": f'"{node:x}-2"',
        "node": str(node),
        "mode": 0o640,
        "state": "uploaded",
        "target": None,
        "conflict_of": None,
    }


async def test_an_empty_path_is_the_root(tree: Tree) -> None:
    root = await tree.item("")
    assert (root.path, root.name, root.kind, root.node) == ("", "", "folder", "1")


async def test_a_symbolic_link_is_shown_and_not_followed(tree: Tree) -> None:
    await tree.folder("folder")
    await tree.symlink("link", b"folder")
    assert (await tree.item("link")).target == "folder"
    assert problem(await tree.get("items/link/inside")) == (404, "not-found")


async def test_a_name_that_is_no_text_is_exact_in_the_path_and_shown_in_the_name(tree: Tree) -> None:
    ok(await tree.call("PUT", "folders/%ff%25"))
    item = await tree.item("%ff%25")
    assert (item.path, item.name) == ("%FF%25", "\ufffd%")


@pytest.mark.parametrize("path", ["a%2fb", "a//b", "%2e", "a/%2e%2e", "/a", "a/", "%00", "x" * 363])
async def test_what_is_no_path_is_a_bad_request(tree: Tree, path: str) -> None:
    assert problem(await tree.get(f"items/{path}")) == (400, "bad-request")


async def test_a_name_that_only_a_sealed_one_could_be_is_not_there_and_not_made(tree: Tree) -> None:
    assert problem(await tree.get(f"items/{'x' * 256}")) == (404, "not-found")
    for path in ("folders", "files"):
        assert problem(await tree.call("PUT", f"{path}/{'x' * 256}")) == (400, "bad-request")


async def test_a_folder_comes_in_pages_in_order_of_bytes(tree: Tree) -> None:
    for name in ("b", "a", "B", "ä"):
        await tree.file(name)
    page = await tree.ask("folders/", limit=3)
    assert (paths(page["items"]), page["more"], page["item"]["node"]) == (["B", "a", "b"], True, "1")
    rest = await tree.ask("folders/", limit=3, after=page["items"][-1]["path"])
    assert (paths(rest["items"]), rest["more"]) == (["%C3%A4"], False)


@pytest.mark.parametrize("query", ["limit=", "limit=0", "limit=x", "limit=1&limit=2", "after=a&after=b"])
async def test_a_query_that_is_none_is_a_bad_request(tree: Tree, query: str) -> None:
    assert problem(await tree.get(f"folders/?{query}")) == (400, "bad-request")


async def test_what_is_in_a_folder_has_the_folders_path(tree: Tree) -> None:
    await tree.folder("a b")
    await tree.file("a b/c")
    assert paths((await tree.ask("folders/a%20b"))["items"]) == ["a%20b/c"]


async def test_a_file_has_no_items(tree: Tree) -> None:
    await tree.file("file")
    assert problem(await tree.get("folders/file")) == (409, "conflict")


async def test_a_conflict_copy_says_of_what(tree: Tree) -> None:
    node = await tree.file("file", b"one")
    await tree.write(node, b"another", base=0)
    copy = next(name for name in await tree.names() if name != "file")
    page = await tree.ask("folders/")
    assert {item["name"]: item["conflict_of"] for item in page["items"]} == {"file": None, copy: "file"}


# ── folders made ──


async def test_a_folder_is_made(tree: Tree) -> None:
    made = await tree.call("PUT", "folders/new")
    assert (made.status_code, made.json()["path"]) == (201, "new")
    assert (await tree.item("new")).kind == "folder"


async def test_a_name_that_is_taken_is_a_conflict(tree: Tree) -> None:
    await tree.file("file")
    assert problem(await tree.call("PUT", "folders/file")) == (409, "conflict")
    assert problem(await tree.call("PUT", "folders/")) == (409, "conflict")


async def test_folders_above_are_made_where_that_is_asked_for(tree: Tree) -> None:
    assert problem(await tree.call("PUT", "folders/a/b/c")) == (404, "not-found")
    ok(await tree.call("PUT", "folders/a/b/c?parents=1"))
    ok(await tree.call("PUT", "folders/a/b/d?parents=1"))
    assert await tree.names("a/b") == ["c", "d"]


async def test_a_file_on_the_way_is_a_conflict(tree: Tree) -> None:
    await tree.file("a")
    assert problem(await tree.call("PUT", "folders/a/b/c?parents=1")) == (409, "conflict")
    assert problem(await tree.call("PUT", "folders/a/b")) == (409, "conflict")


async def test_folders_that_are_made_at_once_are_bounded(tree: Tree) -> None:
    path = "/".join("a" * 258)
    assert problem(await tree.call("PUT", f"folders/{path}?parents=1")) == (400, "bad-request")
    assert await tree.names() == []


# ── removed ──


async def test_a_file_is_removed(tree: Tree) -> None:
    await tree.file("file", b"content")
    assert (await tree.call("DELETE", "files/file")).status_code == 204
    assert await tree.names() == []


async def test_a_file_of_another_version_is_not_removed(tree: Tree) -> None:
    node = await tree.file("file", b"content", b"newer")
    seen = await tree.call("DELETE", "files/file", If_Match=f'"{node:x}-1"')
    assert problem(seen) == (412, "precondition")
    assert await tree.names() == ["file"]
    right = await tree.call("DELETE", "files/file", If_Match=f'"x", "{node:x}-2"')
    assert right.status_code == 204


async def test_a_folder_is_not_removed_as_a_file(tree: Tree) -> None:
    await tree.folder("folder")
    assert problem(await tree.call("DELETE", "files/folder")) == (409, "conflict")


async def test_an_empty_folder_is_removed(tree: Tree) -> None:
    await tree.folder("folder")
    assert (await tree.call("DELETE", "folders/folder")).status_code == 204
    assert await tree.names() == []


async def test_a_full_folder_is_removed_where_that_is_asked_for(tree: Tree) -> None:
    for path in ("a", "a/b", "a/b/c", "a/z"):
        await tree.folder(path)
    await tree.file("a/b/file", b"content")
    assert problem(await tree.call("DELETE", "folders/a")) == (409, "conflict")
    assert (await tree.call("DELETE", "folders/a?recursive=1")).status_code == 204
    assert await tree.names() == []


async def test_the_root_and_a_file_are_no_folder_to_remove(tree: Tree) -> None:
    await tree.file("file")
    for path in ("", "?recursive=1", "file", "file?recursive=1"):
        assert problem(await tree.call("DELETE", f"folders/{path}")) == (409, "conflict")


async def test_what_is_not_there_is_not_removed(tree: Tree) -> None:
    for path in ("files/nothing", "folders/nothing", "folders/nothing?recursive=1"):
        assert problem(await tree.call("DELETE", path)) == (404, "not-found")


# ── moved ──


async def test_an_item_is_moved(tree: Tree) -> None:
    node = await tree.file("file", b"content")
    await tree.folder("folder")
    moved = ok(await tree.call("POST", "move", {"from": "file", "to": "folder/new%20name"}))
    assert (moved["path"], moved["node"], moved["version"]) == ("folder/new%20name", str(node), 1)
    assert await tree.names() == ["folder"]


async def test_a_move_replaces_only_where_that_is_asked_for(tree: Tree) -> None:
    await tree.file("a", b"a")
    await tree.file("b", b"b")
    assert problem(await tree.call("POST", "move", {"from": "a", "to": "b"})) == (409, "conflict")
    ok(await tree.call("POST", "move", {"from": "a", "to": "b", "replace": True}))
    assert await tree.names() == ["b"]


async def test_a_move_replaces_what_was_seen(tree: Tree) -> None:
    await tree.file("a", b"a")
    node = await tree.file("b", b"b", b"newer")
    ask = {"from": "a", "to": "b", "replace": True}
    for seen in (f'"{node:x}-1"', '"0-0"'):
        assert problem(await tree.call("POST", "move", ask | {"replaces": seen})) == (412, "precondition")
    ok(await tree.call("POST", "move", ask | {"replaces": f'"{node:x}-2"'}))


async def test_a_folder_is_not_moved_into_itself_nor_the_root_anywhere(tree: Tree) -> None:
    await tree.folder("a")
    assert problem(await tree.call("POST", "move", {"from": "a", "to": "a/b"})) == (400, "bad-request")
    assert problem(await tree.call("POST", "move", {"from": "", "to": "a/b"})) == (409, "conflict")
    assert problem(await tree.call("POST", "move", {"from": "a", "to": ""})) == (409, "conflict")


# ── who may ──


CHANGES = [
    ("PUT", "folders/new", None),
    ("DELETE", "files/file", None),
    ("DELETE", "folders/folder", None),
    ("DELETE", "folders/folder?recursive=1", None),
    ("POST", "move", {"from": "file", "to": "other"}),
    ("POST", "copy", {"from": "file", "to": "other"}),
    ("POST", "restore", {"path": "file", "version": 1}),
    ("POST", "trash/103", None),
]
READS = ["items/file", "folders/", "history/file", "trash", "search?q=f", "feed"]


@pytest.fixture
async def full(tree: Tree) -> Tree:
    await tree.file("file", b"content")
    await tree.folder("folder")
    await tree.file("folder/file", b"content")
    await tree.file("removed", b"content")
    await tree.unlink("removed")
    return tree


@pytest.mark.parametrize(("method", "path", "body"), CHANGES)
async def test_a_viewer_changes_nothing(world: World, full: Tree, method: str, path: str, body: object) -> None:
    viewer = Tree(await world.member(full.client, "victor", Role.VIEWER))
    assert problem(await viewer.call(method, path, body)) == (403, "forbidden")


@pytest.mark.parametrize("path", READS)
async def test_a_viewer_reads(world: World, full: Tree, path: str) -> None:
    viewer = Tree(await world.member(full.client, "victor", Role.VIEWER))
    assert (await viewer.get(path)).status_code == 200


@pytest.mark.parametrize(("method", "path", "body"), [*CHANGES, *(("GET", path, None) for path in READS)])
async def test_a_stranger_learns_nothing(world: World, full: Tree, method: str, path: str, body: object) -> None:
    eve = await world.user("eve")
    eve.workspace = full.client.workspace
    assert problem(await Tree(eve).call(method, path, body)) == (404, "not-found")
