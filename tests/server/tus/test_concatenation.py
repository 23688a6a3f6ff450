"""Uploads that are made of others."""

from __future__ import annotations

from dataclasses import replace

import httpx
import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.limits import MIB
from protocol.messages.accounts import Role
from server.service import Places
from server.shares import Shares
from tests.server.content.test_writing import cut_at_once
from tests.server.plainly import content, get
from tests.server.tus.client import LARGE, Upload, create, manifest_of, metadata, part_of, read, tus
from tests.server.world import Client, World, a_world, problem


async def joined(client: Client, *parts: Upload, path: str = "new") -> Upload:
    urls = " ".join(part.url for part in parts)
    return await create(client, None, path, upload_concat=f"final;{urls}")


async def test_parts_are_joined_in_their_order(ada: Client) -> None:
    parts = [LARGE[: 9 * MIB], LARGE[9 * MIB : 9 * MIB + 10], b"", LARGE[9 * MIB + 10 :]]
    uploads = [await part_of(ada, plain) for plain in parts]
    assert (await get(ada, "new")).status_code == 404
    whole = await joined(ada, *uploads)
    assert await read(ada, "new") == LARGE
    told = (await whole.head()).headers
    assert told["upload-offset"] == told["upload-length"] == str(len(LARGE))
    assert told["upload-concat"].startswith("final;")
    assert (await uploads[0].head()).headers["upload-concat"] == "partial"


async def test_parts_that_come_at_the_same_time(ada: Client) -> None:
    plains = [content(3 * MIB + number, number) for number in range(4)]
    uploads = [await create(ada, len(plain), upload_metadata="", upload_concat="partial") for plain in plains]
    async with trio.open_nursery() as nursery:
        for upload, plain in zip(uploads, plains, strict=True):
            nursery.start_soon(upload.patch, 0, plain)
    await joined(ada, *uploads)
    assert await read(ada, "new") == b"".join(plains)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(st.sampled_from([LARGE, bytes(9 * MIB)]), st.integers(0, 9 * MIB)), min_size=1, max_size=5))
def test_joined_parts_are_cut_as_at_once(lengths: list[tuple[bytes, int]]) -> None:
    plains = [source[:length] for source, length in lengths]

    async def run() -> None:
        async with a_world() as world:
            ada = await world.user("ada")
            await joined(ada, *[await part_of(ada, plain) for plain in plains])
            plain = b"".join(plains)
            assert await manifest_of(ada) == cut_at_once(ada, plain)
            assert await read(ada, "new") == plain

    trio.run(run)


async def test_urls_of_parts_may_be_absolute(ada: Client) -> None:
    part = await part_of(ada, b"abc")
    await create(ada, None, upload_concat=f"final;http://server{part.url}")
    assert await read(ada, "new") == b"abc"


async def test_a_part_that_has_not_come_is_waited_for(ada: Client) -> None:
    part = await create(ada, 3, upload_metadata="", upload_concat="partial")
    await part.patch(0, b"ab")
    answer = await tus(
        ada,
        "POST",
        f"/v1/tus/{ada.workspace}",
        upload_concat=f"final;{part.url}",
        upload_metadata=metadata(path="new"),
    )
    assert problem(answer) == (409, "conflict")
    await part.patch(2, b"c")
    await joined(ada, part)
    assert await read(ada, "new") == b"abc"


async def test_what_is_no_part_is_not_joined(ada: Client) -> None:
    whole = await create(ada, 3)
    await whole.patch(0, b"abc")
    nothing = f"/v1/tus/{ada.workspace}/{'0' * 32}"
    for concat, expected in (
        (f"final;{whole.url}", (400, "bad-request")),
        (f"final;{nothing}", (404, "not-found")),
        ("final;/elsewhere", (404, "not-found")),
        ("final;", (400, "bad-request")),
        ("half", (400, "bad-request")),
    ):
        answer = await tus(
            ada, "POST", f"/v1/tus/{ada.workspace}", upload_concat=concat, upload_metadata=metadata(path="b")
        )
        assert problem(answer) == expected


async def test_parts_that_are_ended_while_their_whole_waits_for_a_place_are_not_joined(
    world: World, ada: Client
) -> None:
    """Nothing is left of them: the file would be shorter than its parts were."""
    part, other = await part_of(ada, b"abc"), await part_of(ada, b"def")
    concat = f"final;{part.url} {other.url}"
    answers: list[httpx.Response] = []

    async def join() -> None:
        url, path = f"/v1/tus/{ada.workspace}", metadata(path="new")
        answers.append(await tus(ada, "POST", url, upload_concat=concat, upload_metadata=path))

    places = Places(uploads=Shares(1, 1))
    world.app.state.service = replace(world.service, places=places)
    async with trio.open_nursery() as nursery, places.uploads.place("somebody"):
        nursery.start_soon(join)
        await trio.testing.wait_all_tasks_blocked()
        assert (await tus(ada, "DELETE", other.url)).status_code == 204
    assert problem(answers[0]) == (404, "not-found")
    assert (await get(ada, "new")).status_code == 404


async def test_a_joined_upload_takes_no_content(ada: Client) -> None:
    whole = await joined(ada, await part_of(ada, b"abc"))
    assert problem(await whole.patch(3, b"d")) == (403, "forbidden")


async def test_parts_of_another_workspace_are_not_joined(world: World, ada: Client) -> None:
    bob = await world.member(ada, "bob", Role.EDITOR)
    answer = await tus(bob, "POST", "/v1/tus", upload_length="0", upload_concat="partial")
    where = metadata(path="new", workspace=ada.workspace)
    final = f"final;{answer.headers['location']}"
    answer = await tus(bob, "POST", "/v1/tus", upload_concat=final, upload_metadata=where)
    assert problem(answer) == (409, "conflict")
