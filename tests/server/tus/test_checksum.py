"""The checksum extension."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import trio
import trio.testing

from protocol.limits import MIB
from tests.server.plainly import in_parts
from tests.server.tus.client import (
    LARGE,
    checksum,
    create,
    read,
)
from tests.server.world import Client, problem


@pytest.mark.parametrize("algorithm", ["sha1", "sha256", "sha512", "md5"])
async def test_a_checksum_that_fits(ada: Client, algorithm: str) -> None:
    upload = await create(ada, len(LARGE))
    answer = await upload.patch(0, LARGE[: 10 * MIB], upload_checksum=checksum(algorithm, LARGE[: 10 * MIB]))
    assert answer.status_code == 204
    rest = LARGE[10 * MIB :]
    assert (await upload.patch(10 * MIB, rest, upload_checksum=checksum(algorithm, rest))).status_code == 204
    assert await read(ada, "new") == LARGE


@pytest.mark.parametrize("size_bytes", [10, 20 * MIB])
async def test_of_a_request_whose_checksum_does_not_fit_nothing_is_kept(ada: Client, size_bytes: int) -> None:
    plain = LARGE[:size_bytes]
    upload = await create(ada, size_bytes)
    await upload.patch(0, plain[:5])
    answer = await upload.patch(5, plain[5:], upload_checksum=checksum("sha1", plain))
    assert problem(answer) == (460, "checksum")
    assert await upload.offset() == 5
    assert (await upload.patch(5, plain[5:], upload_checksum=checksum("sha1", plain[5:]))).status_code == 204
    assert await read(ada, "new") == plain


async def test_of_a_request_with_a_checksum_that_breaks_off_nothing_is_kept(ada: Client) -> None:
    upload = await create(ada, len(LARGE))

    async def breaking() -> AsyncIterator[bytes]:
        async for part in in_parts(LARGE[: 18 * MIB]):
            yield part
        await trio.testing.wait_all_tasks_blocked()
        request.cancel()
        await trio.sleep_forever()

    with trio.CancelScope() as request:
        await upload.patch(0, breaking(), upload_checksum=checksum("sha1", LARGE))
    assert await upload.offset() == 0
    assert (await upload.patch(0, LARGE)).status_code == 204
    assert await read(ada, "new") == LARGE


@pytest.mark.parametrize("text", ["crc7 AAAA", "sha1", "sha1 !", "sha1 AAAA"])
async def test_a_checksum_that_is_none_is_refused(ada: Client, text: str) -> None:
    upload = await create(ada, 10)
    answer = await upload.patch(0, b"123", upload_checksum=text)
    assert answer.status_code == (460 if text in ("sha1", "sha1 AAAA") else 400)
    assert await upload.offset() == 0
