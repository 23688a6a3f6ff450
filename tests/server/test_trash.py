"""What was removed, listed and brought back without a mount."""

from __future__ import annotations

import pytest

from protocol.ids import NodeId
from protocol.messages.accounts import Role
from server.metadata import invariants, pruning
from server.metadata.trash import STEP_RETURNS, TOGETHER_NS, trash
from tests.server.tree import Tree, ok, paths
from tests.server.world import NOW_NS, Client, World, problem


@pytest.fixture
async def tree(ada: Client) -> Tree:
    return Tree(await ada.leave())


async def removed(tree: Tree) -> list[str]:
    return paths((await tree.ask("trash"))["items"])


async def bring_back(tree: Tree, node: int) -> str:
    """Where it is."""
    return str(ok(await tree.call("POST", f"trash/{node}"))["path"])


async def test_what_was_removed_is_listed_newest_first_in_pages(tree: Tree) -> None:
    for name in ("a", "b", "c"):
        await tree.file(name, b"content")
    for name in ("b", "c", "a"):
        await tree.unlink(name)
    page = await tree.ask("trash", limit=2)
    assert paths(page["items"]) == ["a", "c"]
    rest = await tree.ask("trash", limit=2, after=page["next"])
    assert (paths(rest["items"]), rest["next"]) == (["b"], None)


async def test_a_page_goes_on_where_what_it_goes_on_from_is_back(tree: Tree) -> None:
    nodes = [await tree.file(name, b"content") for name in ("a", "b")]
    for name in ("a", "b"):
        await tree.unlink(name)
    await bring_back(tree, nodes[1])
    assert paths((await tree.ask("trash", after=nodes[1]))["items"]) == ["a"]


async def test_what_was_removed_by_an_earlier_version_of_the_program_is_listed_last(world: World, tree: Tree) -> None:
    nodes = [await tree.file(name, b"content") for name in ("a", "b", "c")]
    for name in ("a", "b", "c"):
        await tree.unlink(name)
    old = "UPDATE nodes SET removed_seq = 0 WHERE id IN (?, ?)"
    await world.metadata.write(lambda tx: tx.execute(old, nodes[1:]))
    page = await tree.ask("trash", limit=2)
    rest = await tree.ask("trash", limit=2, after=page["next"])
    assert (paths(page["items"]), paths(rest["items"])) == (["a", "c"], ["b"])
    assert await bring_back(tree, nodes[2]) == "c"


async def test_one_request_looks_through_so_much_at_most(world: World, tree: Tree) -> None:
    await tree.folder("a")
    for number in range(4):
        await tree.file(f"a/{number}", b"content")
    old = await tree.file("old", b"content")
    await tree.unlink("old")
    await tree.call("DELETE", "folders/a?recursive=1")
    space = tree.client.workspace
    page = await world.metadata.read(lambda tx: trash(tx, space, None, 10, scan=3))
    assert [item.path for item in page.items] == ["a"]
    rest = await world.metadata.read(lambda tx: trash(tx, space, NodeId(int(page.next or 0)), 10, scan=3))
    assert ([item.node for item in rest.items], rest.next) == ([str(old)], str(old))
    last = await world.metadata.read(lambda tx: trash(tx, space, old, 10, scan=3))
    assert (last.items, last.next) == ([], None)


async def test_it_says_who_removed_it_and_when(world: World, tree: Tree) -> None:
    bob = Tree(await world.member(tree.client, "bob", Role.EDITOR))
    await tree.file("file", b"content")
    ok_response = await bob.call("DELETE", "files/file")
    assert ok_response.status_code == 204
    [item] = (await tree.ask("trash"))["items"]
    assert (item["user"], item["device"], item["removed_ns"]) == ("bob", "bobs laptop", NOW_NS)


async def test_nobody_knows_who_once_the_log_is_shortened(world: World, tree: Tree) -> None:
    await tree.file("file", b"content")
    await tree.unlink("file", time_ns=NOW_NS - 5)
    await tree.file("other", b"content")
    await world.metadata.write(lambda tx: pruning.prune(tx, tree.client.workspace, NOW_NS + 1, keep=1))
    [item] = (await tree.ask("trash"))["items"]
    assert (item["user"], item["device"], item["removed_ns"]) == ("", "", NOW_NS - 5)


async def test_a_file_that_nothing_was_uploaded_to_is_not_kept(tree: Tree) -> None:
    node = await tree.file("file")
    await tree.unlink("file")
    assert await removed(tree) == []
    assert problem(await tree.call("POST", f"trash/{node}")) == (404, "not-found")


async def test_what_has_another_name_is_not_removed(tree: Tree) -> None:
    node = await tree.file("file", b"content")
    assert problem(await tree.call("POST", f"trash/{node}")) == (404, "not-found")
    assert problem(await tree.call("POST", "trash/77")) == (404, "not-found")


async def test_a_file_comes_back_where_it_was_with_its_versions(tree: Tree) -> None:
    await tree.folder("a b")
    node = await tree.file("a b/file", b"first", b"second")
    await tree.unlink("a b/file")
    assert await bring_back(tree, node) == "a%20b/file"
    assert len((await tree.ask("history/a%20b/file"))["versions"]) == 2
    assert await removed(tree) == []


async def test_a_file_comes_back_beside_what_has_its_name(tree: Tree) -> None:
    node = await tree.file("file.txt", b"content")
    await tree.unlink("file.txt")
    await tree.file("file.txt", b"other")
    assert await bring_back(tree, node) == "file%20%28restored%202026-01-02%2003.04.05%29.txt"
    assert (await tree.item("file.txt")).size == 5


async def test_the_folder_of_a_file_comes_back_with_it(tree: Tree) -> None:
    await tree.folder("a")
    node = await tree.file("a/file", b"content")
    await tree.unlink("a/file", time_ns=NOW_NS - TOGETHER_NS - 1)
    await tree.rmdir("a")
    assert await bring_back(tree, node) == "a/file"


async def a_removed_tree(tree: Tree) -> int:
    """A folder that is removed with all that is in it."""
    for path in ("a", "a/b", "a/b/c"):
        await tree.folder(path)
    await tree.file("a/file", b"content")
    await tree.file("a/b/file", b"content")
    await tree.file("a/b/pending")
    await tree.symlink("a/b/c/link", b"target")
    node = int((await tree.item("a")).node)
    assert (await tree.call("DELETE", "folders/a?recursive=1")).status_code == 204
    return node


async def test_what_went_with_a_folder_is_not_listed(tree: Tree) -> None:
    await a_removed_tree(tree)
    assert await removed(tree) == ["a"]


async def test_a_folder_comes_back_with_what_went_with_it(world: World, tree: Tree) -> None:
    assert await bring_back(tree, await a_removed_tree(tree)) == "a"
    assert (await tree.names("a"), await tree.names("a/b")) == (["b", "file"], ["c", "file"])
    assert (await tree.item("a/b/c/link")).target == "target"
    assert await removed(tree) == []
    await world.metadata.read(lambda tx: invariants.check(tx, tree.client.workspace))


async def test_a_folder_that_a_mount_emptied_first_comes_back_full(tree: Tree) -> None:
    node = await tree.folder("a")
    await tree.file("a/file", b"content")
    await tree.unlink("a/file", time_ns=NOW_NS - TOGETHER_NS)
    await tree.rmdir("a")
    assert await removed(tree) == ["a"]
    await bring_back(tree, node)
    assert await tree.names("a") == ["file"]


async def test_what_was_removed_long_before_its_folder_stays_removed(tree: Tree) -> None:
    node = await tree.folder("a")
    await tree.file("a/file", b"content")
    await tree.unlink("a/file", time_ns=NOW_NS - TOGETHER_NS - 1)
    await tree.rmdir("a")
    assert await removed(tree) == ["a", "a/file"]
    await bring_back(tree, node)
    assert await tree.names("a") == []
    assert await removed(tree) == ["a/file"]


async def test_of_several_with_one_name_the_last_comes_back(tree: Tree) -> None:
    node = await tree.folder("a")
    await tree.file("a/file", b"first")
    await tree.unlink("a/file")
    await tree.file("a/file", b"the second")
    await tree.unlink("a/file")
    await tree.rmdir("a")
    await bring_back(tree, node)
    assert (await tree.item("a/file")).size == len(b"the second")
    assert await removed(tree) == ["a/file"]


async def test_a_folder_is_filled_in_steps_that_are_bounded(world: World, tree: Tree) -> None:
    node = await tree.folder("a")
    for number in range(STEP_RETURNS + 10):
        await tree.file(f"a/{number}", b"content")
    await tree.call("DELETE", "folders/a?recursive=1")
    await bring_back(tree, node)
    assert len((await tree.ask("folders/a", limit=1000))["items"]) == STEP_RETURNS + 10
    await world.metadata.read(lambda tx: invariants.check(tx, tree.client.workspace))


async def test_what_a_move_replaced_is_in_the_trash(tree: Tree) -> None:
    await tree.file("a", b"a")
    node = await tree.file("b", b"was b")
    ok(await tree.call("POST", "move", {"from": "a", "to": "b", "replace": True}))
    assert [item["node"] for item in (await tree.ask("trash"))["items"]] == [str(node)]
