"""Items by a part of their name."""

from __future__ import annotations

import pytest

from protocol.ids import NodeId
from server.metadata.search import Key, search
from tests.server.tree import Tree, paths
from tests.server.world import Client, World, problem


@pytest.fixture
async def tree(ada: Client) -> Tree:
    return Tree(await ada.leave())


async def found(tree: Tree, part: str) -> list[str]:
    return sorted(item["name"] for item in (await tree.ask("search", q=part))["items"])


async def test_a_part_of_a_name_is_enough_in_any_case(tree: Tree) -> None:
    await tree.folder("Reports")
    await tree.file("Reports/annual REPORT.txt", b"content")
    await tree.file("Reports/other", b"content")
    assert await found(tree, "report") == ["Reports", "annual REPORT.txt"]
    assert "Reports/annual%20REPORT.txt" in paths((await tree.ask("search", q="annual+rep"))["items"])


async def test_case_and_composition_are_unicodes(tree: Tree) -> None:
    for name in ("STRASSE", "Übung", "U\u0308bung"):
        await tree.file(name)
    assert await found(tree, "stra%C3%9Fe") == ["STRASSE"]
    assert len(await found(tree, "%C3%BC")) == 2


async def test_a_wildcard_is_a_character(tree: Tree) -> None:
    await tree.file("100%")
    await tree.file("100")
    assert await found(tree, "0%25") == ["100%"]


async def test_what_was_removed_is_not_found(tree: Tree) -> None:
    await tree.file("file", b"content")
    await tree.unlink("file")
    assert await found(tree, "file") == []


async def test_items_come_in_pages(tree: Tree) -> None:
    for number in range(5):
        await tree.file(f"file {number}")
    page, seen = await tree.ask("search", q="file", limit=2), []
    while page["next"] is not None:
        seen += paths(page["items"])
        page = await tree.ask("search", q="file", limit=2, after=page["next"])
    assert sorted(seen + paths(page["items"])) == [f"file%20{number}" for number in range(5)]


async def test_one_request_looks_through_so_many_names_at_most(world: World, tree: Tree) -> None:
    for number in range(5):
        await tree.file(f"file {number}")
    space, start = tree.client.workspace, Key(NodeId(0), b"")
    hits, key = await world.metadata.read(lambda tx: search(tx, space, "file 3", start, 10, scan=3))
    assert (hits, key) == ([], Key(NodeId(1), b"file 2"))
    hits, key = await world.metadata.read(lambda tx: search(tx, space, "file 3", key or start, 10, scan=3))
    assert ([hit.name for hit in hits], key) == ([b"file 3"], None)


@pytest.mark.parametrize("query", ["", "q=", "q=%ff", "q=" + "x" * 256, "q=x&after=1-zz", "q=x&after=x-61"])
async def test_what_is_no_search_is_a_bad_request(tree: Tree, query: str) -> None:
    assert problem(await tree.get(f"search?{query}")) == (400, "bad-request")
