"""What is read and changed without a mount is revealed when every mount has dropped what it outdated.

Bob's mount has yet to drop what a change outdated; Carol has no session.
"""

from __future__ import annotations

import pytest
import trio
import trio.testing

from protocol.messages.accounts import Role
from protocol.messages.sessions import PollReply
from tests.server.test_settling import waits_for
from tests.server.tree import Tree
from tests.server.world import Client, World, create, good, problem

READS = ["items/file", "folders/", "history/file", "trash", "search?q=file", "feed", "feed?after=0&wait_s=50"]
REFUSALS = ["items/nothing", "folders/nothing", "folders/file", "history/folder"]
CHANGES = [
    ("PUT", "folders/made", None),
    ("DELETE", "files/file", None),
    ("DELETE", "folders/folder?recursive=1", None),
    ("POST", "move", {"from": "file", "to": "other"}),
    ("POST", "copy", {"from": "file", "to": "other"}),
    ("POST", "restore", {"path": "file", "version": 1}),
    ("POST", "trash/103", None),
]
REFUSED = [
    ("PUT", "folders/file", None),
    ("DELETE", "files/nothing", None),
    ("DELETE", "folders/file?recursive=1", None),
    ("POST", "move", {"from": "file", "to": "folder"}),
    ("POST", "copy", {"from": "nothing", "to": "other"}),
    ("POST", "restore", {"path": "file", "version": 7}),
    ("POST", "trash/77", None),
]


@pytest.fixture
async def tree(world: World, ada: Client) -> Tree:
    """Carol's. Ada's mount is gone."""
    tree = Tree(await ada.leave())
    await tree.file("file", b"first", b"second")
    await tree.folder("folder")
    await tree.file("folder/file", b"content")
    await tree.file("removed", b"content")
    await tree.unlink("removed")
    tree.client = await world.member(ada, "carol", Role.EDITOR)
    return tree


@pytest.fixture
async def bob(world: World, ada: Client, tree: Tree) -> Client:
    """His mount has a lease, and then Ada changed something."""
    bob = await (await world.member(ada, "bob", Role.EDITOR)).join()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(ada.call, "POST", "./changes", ada.batch(create(b"new", 700)))
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    return bob


@pytest.mark.parametrize("path", READS)
async def test_a_read_waits_for_every_mount(
    world: World, tree: Tree, bob: Client, autojump_clock: object, path: str
) -> None:
    assert (await waits_for(world, bob, lambda: tree.get(path))).status_code == 200


@pytest.mark.parametrize("path", REFUSALS)
async def test_a_problem_that_depends_on_the_tree_waits_for_every_mount(
    world: World, tree: Tree, bob: Client, autojump_clock: object, path: str
) -> None:
    problem(await waits_for(world, bob, lambda: tree.get(path)))


@pytest.mark.parametrize(("method", "path", "body"), REFUSED)
async def test_a_change_that_is_refused_waits_for_every_mount(
    world: World, tree: Tree, bob: Client, autojump_clock: object, method: str, path: str, body: object
) -> None:
    problem(await waits_for(world, bob, lambda: tree.call(method, path, body)))


@pytest.mark.parametrize(("method", "path", "body"), CHANGES)
async def test_a_change_waits_for_every_mount_which_is_told_at_once(
    world: World, tree: Tree, bob: Client, autojump_clock: object, method: str, path: str, body: object
) -> None:
    began_s = trio.current_time()
    statuses: list[int] = []

    async def change() -> None:
        statuses.append((await tree.call(method, path, body)).status_code)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(change)
        while not statuses:
            await trio.testing.wait_all_tasks_blocked()
            reply = good(PollReply, await bob.call("GET", "./changes?wait_s=0"))
            bob.absorb(reply.notices)
            assert reply.notices.notices or statuses
            await bob.poll()
            await trio.testing.wait_all_tasks_blocked()
    assert statuses[0] in (200, 201, 204)
    assert trio.current_time() == began_s
