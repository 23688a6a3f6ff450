"""Mounts, and somebody who reads and writes files by HTTP beside them."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

import pytest

from backend.http import Response
from protocol.ids import ROOT_NODE
from protocol.limits import MIB
from tests.asgi import call
from tests.together.programs import names, read, write
from tests.together.world import World

LARGE = Random(1).randbytes(9 * MIB)


@dataclass
class Script:
    """Speaks of the workspace's files."""

    world: World
    token: str

    async def ask(self, method: str, path: str, body: bytes = b"") -> Response:
        """One request."""
        return await call(
            self.world.app,
            method,
            f"/v1/workspaces/{self.world.workspace.id}/files/{path}",
            {"Authorization": f"Bearer {self.token}"},
            body,
        )


@pytest.fixture
async def script(world: World) -> Script:
    return Script(world, await world.issue_token("script"))


@pytest.mark.parametrize("plain", [b"small", LARGE], ids=["small", "large"])
async def test_a_mount_sees_what_was_uploaded(world: World, script: Script, plain: bytes) -> None:
    async with world.place("desk").drive() as drive:
        assert await drive.lookup(ROOT_NODE, b"file") is None
        assert (await script.ask("PUT", "file", plain)).status == 201
        assert await read(drive, b"file") == plain
        assert (await script.ask("PUT", "file", b"another")).status == 200
        assert await read(drive, b"file") == b"another"
        assert await names(drive) == [b"file"]


@pytest.mark.parametrize("plain", [b"", b"small", LARGE], ids=["empty", "small", "large"])
async def test_what_a_mount_has_written_is_downloaded(world: World, script: Script, plain: bytes) -> None:
    async with world.place("desk").drive() as drive:
        await write(drive, b"file", plain)
        answer = await script.ask("GET", "file")
        assert (answer.status, answer.body) == (200, plain)


async def test_a_file_that_is_open_on_a_mount_stays_on_its_version(world: World, script: Script) -> None:
    async with world.place("desk").drive() as drive:
        file = await drive.open(await write(drive, b"file", b"before"))
        await script.ask("PUT", "file", b"uploaded")
        assert await file.read(0, 100) == b"before"
        await drive.release(file)


async def test_what_a_mount_writes_on_the_version_before_is_kept_beside(world: World, script: Script) -> None:
    async with world.place("desk").drive() as drive:
        file = await drive.open(await write(drive, b"file", b"before"))
        await file.write(0, b"edited")
        await script.ask("PUT", "file", b"uploaded")
        await drive.flush(file)
        await drive.release(file)
        assert await read(drive, b"file") == b"uploaded"
        [copy] = set(await names(drive)) - {b"file"}
        assert await read(drive, copy) == b"edited"


async def test_a_mount_sends_no_block_of_what_was_uploaded(world: World, script: Script) -> None:
    place = world.place("desk")
    async with place.drive() as drive:
        await script.ask("PUT", "file", LARGE)
        place.http.requests.clear()
        await write(drive, b"copy", LARGE)
        assert [request for request in place.http.requests if request.startswith("PUT")] == []
