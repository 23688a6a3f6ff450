"""The feed of changes for people and scripts, and its long poll."""

from __future__ import annotations

from typing import Any

import pytest
import trio
import trio.testing

from server.metadata import pruning
from tests.server.tree import Tree, paths
from tests.server.world import NOW_NS, Client, World


@pytest.fixture
async def tree(ada: Client) -> Tree:
    return Tree(await ada.leave())


async def last(tree: Tree) -> dict[str, Any]:
    """The last change, without its items."""
    change = (await tree.ask("feed", limit=1))["changes"][0]
    return {"what": change["what"], "paths": change["paths"], "items": paths(change["items"])}


async def test_a_change_says_who_did_what_and_when(tree: Tree) -> None:
    await tree.file("file")
    [change] = (await tree.ask("feed", after=0))["changes"]
    item = change.pop("items")[0]
    assert item["path"] == "file"
    assert change == {
        "seq": 1,
        "at_ns": NOW_NS,
        "user": "ada",
        "device": "adas laptop",
        "what": "create",
        "paths": ["file"],
    }


async def test_a_commit_names_the_file(tree: Tree) -> None:
    await tree.folder("a b")
    await tree.file("a b/file", b"content")
    assert await last(tree) == {"what": "commit", "paths": ["a%20b/file"], "items": ["a%20b/file"]}


async def test_a_move_names_both_names(tree: Tree) -> None:
    await tree.folder("folder")
    await tree.file("old")
    await tree.call("POST", "move", {"from": "old", "to": "folder/new"})
    assert await last(tree) == {"what": "rename", "paths": ["old", "folder/new"], "items": ["folder/new"]}


async def test_what_is_gone_is_a_path_alone(tree: Tree) -> None:
    await tree.file("file")
    await tree.call("DELETE", "files/file")
    assert await last(tree) == {"what": "unlink", "paths": ["file"], "items": []}


async def test_a_path_in_a_folder_that_is_gone_is_its_last_one(tree: Tree) -> None:
    await tree.folder("folder")
    await tree.file("folder/file", b"content")
    await tree.call("DELETE", "folders/folder?recursive=1")
    changes = (await tree.ask("feed", limit=2))["changes"]
    assert [change["paths"] for change in changes] == [["folder/file"], ["folder"]]


async def test_changes_come_in_pages(tree: Tree) -> None:
    for name in ("a", "b", "c"):
        await tree.file(name)
    page = await tree.ask("feed", after=0, limit=2)
    assert (page["seq"], [change["seq"] for change in page["changes"]]) == (2, [1, 2])
    assert [change["seq"] for change in (await tree.ask("feed", after=2, limit=2))["changes"]] == [3]


async def test_without_a_number_the_last_changes_come(tree: Tree) -> None:
    assert await tree.ask("feed") == {"seq": 0, "changes": [], "reset": False}
    for name in ("a", "b", "c"):
        await tree.file(name)
    page = await tree.ask("feed", limit=2)
    assert (page["seq"], [change["seq"] for change in page["changes"]]) == (3, [2, 3])


async def test_a_number_that_the_log_does_not_reach_back_to_is_a_reset(world: World, tree: Tree) -> None:
    for name in ("a", "b", "c"):
        await tree.file(name)
    await world.metadata.write(lambda tx: pruning.prune(tx, tree.client.workspace, NOW_NS + 1, keep=1))
    for after in (1, 4):
        assert await tree.ask("feed", after=after) == {"seq": 3, "changes": [], "reset": True}
    assert [change["seq"] for change in (await tree.ask("feed"))["changes"]] == [3]


async def test_it_waits_for_a_change(tree: Tree) -> None:
    answers: list[Any] = []

    async def wait() -> None:
        answers.append(await tree.ask("feed", after=0, wait_s=50))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait)
        await trio.testing.wait_all_tasks_blocked()
        assert answers == []
        await tree.file("file")
    assert [change["what"] for change in answers[0]["changes"]] == ["create"]


async def test_it_waits_no_longer_than_is_asked_for(tree: Tree, autojump_clock: trio.testing.MockClock) -> None:
    began_s = trio.current_time()
    assert (await tree.ask("feed", after=0, wait_s=5))["changes"] == []
    assert trio.current_time() - began_s == pytest.approx(5)


async def test_a_server_that_stops_answers(world: World, tree: Tree) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(tree.get, "feed?after=0&wait_s=50")
        await trio.testing.wait_all_tasks_blocked()
        world.service.notifier.stop()
