"""Uploads from their beginning to their end."""

from __future__ import annotations

import pytest

from protocol.limits import BLOCK_MIN_BYTES, KIB, MIB
from protocol.messages.nodes import State
from server.content.transfers import TAIL_PARTS_MAX
from tests.server.content.test_writing import cut_at_once
from tests.server.plainly import get
from tests.server.tus.client import (
    LARGE,
    Upload,
    create,
    manifest_of,
    metadata,
    read,
    rows,
    tus,
)
from tests.server.world import Client, World, problem

# ── one upload from its beginning to its end ──


@pytest.mark.parametrize("size_bytes", [1, 1000, 100 * KIB, 5 * MIB, 20 * MIB])
async def test_a_content_that_comes_in_one_request(ada: Client, size_bytes: int) -> None:
    upload = await create(ada, size_bytes)
    assert await upload.offset() == 0
    answer = await upload.patch(0, LARGE[:size_bytes])
    assert (answer.status_code, answer.headers["upload-offset"]) == (204, str(size_bytes))
    assert await upload.offset() == size_bytes
    assert await read(ada, "new") == LARGE[:size_bytes]


async def test_nothing_is_there_before_all_has_come(ada: Client) -> None:
    upload = await create(ada, 10)
    await upload.patch(0, b"12345")
    assert (await get(ada, "new")).status_code == 404
    await upload.patch(5, b"67890")
    assert await read(ada, "new") == b"1234567890"


async def test_an_empty_content_is_there_at_once(ada: Client) -> None:
    upload = await create(ada, 0)
    assert await upload.offset() == 0
    assert await read(ada, "new") == b""


@pytest.mark.parametrize("request_bytes", [100 * KIB, BLOCK_MIN_BYTES, MIB, 5 * MIB, 9 * MIB])
async def test_a_content_in_many_requests_is_cut_as_at_once(ada: Client, request_bytes: int) -> None:
    upload = await create(ada, len(LARGE))
    for at in range(0, len(LARGE), request_bytes):
        answer = await upload.patch(at, LARGE[at : at + request_bytes])
        assert answer.headers["upload-offset"] == str(min(at + request_bytes, len(LARGE)))
    assert await read(ada, "new") == LARGE
    assert await manifest_of(ada) == cut_at_once(ada, LARGE)


async def test_requests_of_one_byte(ada: Client, world: World) -> None:
    plain = LARGE[: 3 * TAIL_PARTS_MAX + 1]
    upload = await create(ada, len(plain))
    for at in range(len(plain)):
        assert (await upload.patch(at, plain[at : at + 1])).status_code == 204
        assert await rows(world, "transfer_tails") <= TAIL_PARTS_MAX + 1
    assert await read(ada, "new") == plain


async def test_the_last_answer_and_later_ones_name_the_version(ada: Client) -> None:
    upload = await create(ada, 3)
    answer = await upload.patch(0, b"abc")
    assert answer.headers["etag"] == (await get(ada, "new")).headers["etag"] == (await upload.head()).headers["etag"]


async def test_everybody_is_told_as_of_any_upload(ada: Client) -> None:
    upload = await create(ada, 3)
    assert (await ada.follow(0, 0)).notices == []
    await upload.patch(0, b"abc")
    told = (await ada.follow(0, 0)).notices
    assert [(notice.what, notice.state) for notice in told] == [("create", State.PENDING), ("commit", State.UPLOADED)]


async def test_what_is_kept_of_an_upload_goes_when_it_is_a_file(ada: Client, world: World) -> None:
    upload = await create(ada, len(LARGE))
    await upload.patch(0, LARGE[: 10 * MIB + 100])
    assert await rows(world, "transfer_blocks") > 0
    await upload.patch(10 * MIB + 100, LARGE[10 * MIB + 100 :])
    assert (await rows(world, "transfer_blocks"), await rows(world, "transfer_tails")) == (0, 0)


async def test_an_upload_that_is_complete_takes_no_more(ada: Client) -> None:
    upload = await create(ada, 3)
    await upload.patch(0, b"abc")
    assert problem(await upload.patch(3, b"d")) == (409, "conflict")
    again = await tus(ada, "PATCH", upload.url, b"", upload_offset="3")
    assert (again.status_code, again.headers["upload-offset"]) == (204, "3")


# ── creation-with-upload, creation-defer-length ──


async def test_a_content_that_comes_with_the_creation(ada: Client) -> None:
    answer = await tus(
        ada,
        "POST",
        f"/v1/tus/{ada.workspace}",
        b"123",
        upload_length="5",
        upload_metadata=metadata(path="new"),
    )
    assert (answer.status_code, answer.headers["upload-offset"]) == (201, "3")
    upload = Upload(ada, answer.headers["location"])
    assert (await upload.patch(3, b"45")).status_code == 204
    assert await read(ada, "new") == b"12345"


async def test_a_length_that_is_told_later(ada: Client) -> None:
    upload = await create(ada, None, upload_defer_length="1")
    await upload.patch(0, b"123")
    told = (await upload.head()).headers
    assert (told.get("upload-length"), told["upload-defer-length"]) == (None, "1")
    assert (await upload.patch(3, b"4", upload_length="5")).status_code == 204
    assert (await upload.head()).headers["upload-length"] == "5"
    assert problem(await upload.patch(4, b"5", upload_length="6")) == (400, "bad-request")
    assert (await upload.patch(4, b"5", upload_length="5")).status_code == 204
    assert await read(ada, "new") == b"12345"


async def test_a_length_that_is_told_when_all_has_come(ada: Client) -> None:
    upload = await create(ada, None, upload_defer_length="1")
    await upload.patch(0, b"123")
    assert problem(await upload.patch(3, b"", upload_length="2")) == (400, "bad-request")
    assert (await upload.patch(3, b"", upload_length="3")).status_code == 204
    assert await read(ada, "new") == b"123"
