"""Uploads that expire or are ended."""

from __future__ import annotations

from collections.abc import AsyncIterator

from protocol.limits import MIB
from server import worker
from server.metadata import transfers
from server.worker import Retention
from tests.server.plainly import get
from tests.server.tus.client import (
    LARGE,
    create,
    pass_time,
    read,
    rows,
    tus,
)
from tests.server.world import Client, World, problem

RETENTION = Retention(1.0)


async def test_answers_say_when_an_upload_expires(ada: Client) -> None:
    upload = await create(ada, 10)
    answers = [await upload.head(), await upload.patch(0, b"1")]
    assert [answer.headers["upload-expires"] for answer in answers] == ["Fri, 09 Jan 2026 03:04:05 GMT"] * 2


async def test_an_upload_that_nobody_goes_on_with_expires(world: World, ada: Client) -> None:
    upload = await create(ada, len(LARGE))
    await upload.patch(0, LARGE[: 10 * MIB])
    await pass_time(world, transfers.EXPIRE_AFTER_NS)
    assert (await upload.head()).status_code == 404
    assert problem(await upload.patch(10 * MIB, b"x")) == (404, "not-found")
    await worker.work_once(world.service, RETENTION)
    assert [await rows(world, f"transfer{kind}") for kind in ("s", "_blocks", "_tails")] == [0, 0, 0]


async def test_each_request_gives_an_upload_more_time(world: World, ada: Client) -> None:
    upload = await create(ada, 10)
    await pass_time(world, transfers.EXPIRE_AFTER_NS - 1)
    await upload.patch(0, b"1")
    await pass_time(world, transfers.EXPIRE_AFTER_NS - 1)
    await worker.work_once(world.service, RETENTION)
    assert await upload.offset() == 1


async def test_that_an_upload_is_complete_is_remembered_for_a_day(world: World, ada: Client) -> None:
    upload = await create(ada, 1)
    await upload.patch(0, b"1")
    await pass_time(world, transfers.REMEMBER_NS - 1)
    await worker.work_once(world.service, RETENTION)
    assert await upload.offset() == 1
    await pass_time(world, 1)
    await worker.work_once(world.service, RETENTION)
    assert (await upload.head()).status_code == 404
    assert await read(ada, "new") == b"1"


async def test_an_upload_is_ended(world: World, ada: Client) -> None:
    upload = await create(ada, len(LARGE))
    await upload.patch(0, LARGE[: 10 * MIB])
    assert (await tus(ada, "DELETE", upload.url)).status_code == 204
    assert (await upload.head()).status_code == 404
    assert problem(await upload.patch(10 * MIB, b"x")) == (404, "not-found")
    assert problem(await tus(ada, "DELETE", upload.url)) == (404, "not-found")
    assert [await rows(world, f"transfer{kind}") for kind in ("s", "_blocks", "_tails")] == [0, 0, 0]


async def test_a_request_under_way_ends_with_its_upload(ada: Client) -> None:
    upload = await create(ada, 10)

    async def ending() -> AsyncIterator[bytes]:
        yield b"12345"
        await tus(ada, "DELETE", upload.url)
        yield b"67890"

    assert problem(await upload.patch(0, ending())) == (404, "not-found")
    assert (await get(ada, "new")).status_code == 404
