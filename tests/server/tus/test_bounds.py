"""Who may upload, and how much."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from protocol.limits import KIB, MIB
from protocol.messages.accounts import Role
from server.metadata import accounts, blocks, transfers
from tests.server.plainly import get, in_parts
from tests.server.tus.client import LARGE, Upload, create, metadata, part_of, tus
from tests.server.world import Client, World, problem

# ── who may ──


async def test_an_upload_of_somebody_else_is_not_there(world: World, ada: Client) -> None:
    bob = await world.member(ada, "bob", Role.EDITOR)
    eve = await world.user("eve")
    upload = await create(ada, 3)
    part = await part_of(ada, b"abc")
    for other in (bob, eve):
        theirs = Upload(other, upload.url)
        assert (await theirs.head()).status_code == 404
        assert problem(await theirs.patch(0, b"abc")) == (404, "not-found")
        assert problem(await tus(other, "DELETE", upload.url)) == (404, "not-found")
    where = metadata(path="stolen")
    answer = await tus(
        bob, "POST", f"/v1/tus/{ada.workspace}", upload_concat=f"final;{part.url}", upload_metadata=where
    )
    assert problem(answer) == (404, "not-found")


async def test_a_viewer_uploads_nothing(world: World, ada: Client) -> None:
    bob = await world.member(ada, "bob", Role.VIEWER)
    answer = await tus(bob, "POST", f"/v1/tus/{ada.workspace}", upload_length="1", upload_metadata=metadata(path="a"))
    assert problem(answer) == (403, "forbidden")


async def test_a_stranger_learns_nothing(world: World, ada: Client) -> None:
    eve = await world.user("eve")
    answer = await tus(eve, "POST", f"/v1/tus/{ada.workspace}", upload_length="1", upload_metadata=metadata(path="a"))
    assert problem(answer) == (404, "not-found")
    eve.token = "none"
    upload = await create(ada, 3)
    assert (await Upload(eve, upload.url).head()).status_code == 401


@pytest.mark.parametrize("size_bytes", [10, 20 * MIB])
async def test_a_role_that_is_lost_stops_an_upload(world: World, ada: Client, size_bytes: int) -> None:
    bob = await world.member(ada, "bob", Role.EDITOR)
    upload = await create(bob, size_bytes)

    async def losing() -> AsyncIterator[bytes]:
        yield LARGE[:5]
        await world.metadata.write(lambda tx: accounts.share(tx, ada.workspace, "bob", Role.VIEWER))
        async for part in in_parts(LARGE[5:size_bytes]):
            yield part

    assert problem(await upload.patch(0, losing())) == (403, "forbidden")
    assert (await get(ada, "new")).status_code == 404


# ── bounds ──


async def test_what_is_not_cut_yet_counts_for_the_quota(world: World) -> None:
    ada = await world.with_quota("ada", 600 * KIB)
    for number in range(2):
        upload = await create(ada, MIB, f"{number}")
        assert (await upload.patch(0, LARGE[: 200 * KIB])).status_code == 204
    upload = await create(ada, MIB, "too much")
    assert problem(await upload.patch(0, LARGE[: 200 * KIB])) == (507, "quota")
    assert await upload.offset() == 0


async def test_blocks_of_unfinished_uploads_count_for_the_quota(world: World) -> None:
    ada = await world.with_quota("ada", 9 * MIB)
    upload = await create(ada, len(LARGE))
    assert problem(await upload.patch(0, LARGE)) == (507, "quota")
    assert await upload.offset() <= 9 * MIB

    def is_full(tx: blocks.Transaction) -> None:
        with pytest.raises(blocks.OverQuota):
            blocks.check_quota(tx, ada.workspace, 9 * MIB)

    await world.metadata.read(is_full)


async def test_one_user_begins_so_many_uploads(world: World, ada: Client) -> None:
    await create(ada, 1)

    def fill(tx: transfers.Transaction) -> None:
        tx.execute(
            "WITH RECURSIVE number (n) AS (SELECT 2 UNION ALL SELECT n + 1 FROM number WHERE n < ?)"
            " INSERT INTO transfers SELECT workspace, printf('%032d', n), user_id, length, received, cut_bytes,"
            " cut_pieces, turn, metadata, concat, etag, expires_ns FROM transfers, number",
            (transfers.UNFINISHED_MAX,),
        )

    await world.metadata.write(fill)
    answer = await tus(ada, "POST", f"/v1/tus/{ada.workspace}", upload_length="1", upload_metadata=metadata(path="a"))
    assert problem(answer) == (507, "quota")
