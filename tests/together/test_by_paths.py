"""What is changed without a mount, as the kernels of mounts see it: at once, and nothing of before is left."""

from __future__ import annotations

import os

import msgspec
import trio

from protocol.messages.items import Item
from tests.asgi import call
from tests.differential.kernel import FullKernel
from tests.together.mounted import Machine
from tests.together.world import World


async def ask(world: World, method: str, path: str, body: object = None) -> bytes:
    """The answer to a script's request."""
    token = await world.issue_token("script")
    content = b"" if body is None else msgspec.json.encode(body)
    url = f"/v1/workspaces/{world.workspace.id}/{path}"
    answer = await call(world.app, method, url, {"Authorization": f"Bearer {token}"}, content)
    assert answer.status in (200, 201, 204), answer
    return answer.body


async def write(kernel: FullKernel, path: str, content: bytes) -> None:
    file = await kernel.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    assert file is not None
    await kernel.write(file, 0, content)
    await kernel.close(file)


async def read(kernel: FullKernel, path: str) -> bytes:
    file = await kernel.open(path, os.O_RDONLY)
    assert file is not None
    try:
        return await kernel.read(file, 0, 1000)
    finally:
        await kernel.close(file)


async def is_there(kernel: FullKernel, path: str) -> bool:
    try:
        await kernel.lstat(path)
    except FileNotFoundError:
        return False
    return True


async def test_a_move_is_seen_at_once(world: World, autojump_clock: object) -> None:
    async with Machine(world, "desk").mounted() as desk, Machine(world, "laptop").mounted() as laptop:
        await write(desk, "/old", b"content")
        for kernel in (desk, laptop):
            assert (await is_there(kernel, "/old"), await is_there(kernel, "/new")) == (True, False)
        began_s = trio.current_time()
        await ask(world, "POST", "move", {"from": "old", "to": "new"})
        for kernel in (desk, laptop):
            assert (await is_there(kernel, "/old"), await is_there(kernel, "/new")) == (False, True)
            assert await read(kernel, "/new") == b"content"
        assert trio.current_time() - began_s < 1, "no lease was waited for"


async def test_a_restored_version_is_read_at_once(world: World, autojump_clock: object) -> None:
    async with Machine(world, "desk").mounted() as kernel:
        await write(kernel, "/file", b"first")
        await write(kernel, "/file", b"second")
        assert await read(kernel, "/file") == b"second"
        await ask(world, "POST", "restore", {"path": "file", "version": 1})
        assert await read(kernel, "/file") == b"first"


async def test_a_copy_is_read_at_once(world: World, autojump_clock: object) -> None:
    async with Machine(world, "desk").mounted() as kernel:
        await write(kernel, "/file", b"content")
        assert not await is_there(kernel, "/copy")
        await ask(world, "POST", "copy", {"from": "file", "to": "copy"})
        assert await read(kernel, "/copy") == b"content"


async def test_what_comes_back_is_there_at_once(world: World, autojump_clock: object) -> None:
    async with Machine(world, "desk").mounted() as kernel:
        await kernel.mkdir("/folder")
        await write(kernel, "/folder/file", b"content")
        folder = msgspec.json.decode(await ask(world, "GET", "items/folder"), type=Item)
        await ask(world, "DELETE", "folders/folder?recursive=1")
        assert not await is_there(kernel, "/folder")
        await ask(world, "POST", f"trash/{folder.node}")
        assert await read(kernel, "/folder/file") == b"content"
