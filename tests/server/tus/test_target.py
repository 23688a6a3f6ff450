"""Where an upload goes: its path, workspace, time and conditions."""

from __future__ import annotations

import pytest

from protocol.messages.accounts import Role
from tests.server.plainly import ask, listed, put
from tests.server.tus.client import (
    create,
    metadata,
    read,
    tus,
)
from tests.server.world import Client, World, problem


@pytest.mark.parametrize(
    ("pairs", "path"),
    [
        ({"path": "a/b/c.txt"}, "a/b/c.txt"),
        ({"path": "50% ü"}, "50%25%20%C3%BC"),
        ({"path": b"\xff"}, "%FF"),
        ({"filename": "c.txt", "filetype": "text/plain"}, "c.txt"),
        ({"filename": "c.txt", "name": "c.txt", "relativePath": "null", "type": "text/plain"}, "c.txt"),
        ({"filename": "c.txt", "folder": "/a/b/"}, "a/b/c.txt"),
        ({"name": "c.txt", "relativePath": "b/c.txt", "folder": "a"}, "a/b/c.txt"),
        ({"name": "c.txt", "relativePath": "/b/c.txt"}, "b/c.txt"),
    ],
)
async def test_the_path_is_in_the_metadata(ada: Client, pairs: dict[str, str | bytes], path: str) -> None:
    upload = await create(ada, 1, upload_metadata=metadata(**pairs))
    assert (await upload.patch(0, b"x")).status_code == 204
    assert await read(ada, path) == b"x"


@pytest.mark.parametrize("path", ["", "/a", "a//b", "a/", "..", "a/../b", "a\0", "n" * 256])
async def test_what_is_no_path_is_refused(ada: Client, path: str) -> None:
    answer = await tus(ada, "POST", f"/v1/tus/{ada.workspace}", upload_length="1", upload_metadata=metadata(path=path))
    assert problem(answer) == (400, "bad-request")


@pytest.mark.parametrize(("path", "code"), [("file/new", "conflict"), ("d/" * 257 + "new", "bad-request")])
async def test_folders_that_can_not_be_made_are_told_of_before_the_content_comes(
    ada: Client, path: str, code: str
) -> None:
    await put(ada, "file", b"x", 201)
    answer = await tus(ada, "POST", f"/v1/tus/{ada.workspace}", upload_length="1", upload_metadata=metadata(path=path))
    assert problem(answer)[1] == code


@pytest.mark.parametrize("text", ["path", "path Zm9v,path Zm9v", "path !!", " Zm9v", ","])
async def test_metadata_that_is_none_is_refused(ada: Client, text: str) -> None:
    answer = await tus(ada, "POST", f"/v1/tus/{ada.workspace}", upload_length="1", upload_metadata=text)
    assert problem(answer) == (400, "bad-request")


@pytest.mark.parametrize("mtime", ["9223372036.9", "-9999999999", "soon"])
async def test_a_time_that_a_file_can_not_have_is_refused_before_the_content_comes(ada: Client, mtime: str) -> None:
    where = metadata(path="a", mtime=mtime)
    answer = await tus(ada, "POST", f"/v1/tus/{ada.workspace}", upload_length="1", upload_metadata=where)
    assert problem(answer) == (400, "bad-request")


@pytest.mark.parametrize("slash", ["", "/"])
async def test_the_workspace_is_the_callers_own_where_none_is_named(ada: Client, slash: str) -> None:
    answer = await tus(ada, "POST", f"/v1/tus{slash}", b"x", upload_length="1", upload_metadata=metadata(path="a"))
    assert answer.status_code == 201
    assert await read(ada, "a") == b"x"


async def test_the_workspace_can_be_in_the_metadata(world: World, ada: Client) -> None:
    bob = await world.member(ada, "bob", Role.EDITOR)
    where = metadata(workspace=ada.workspace, path="from bob")
    answer = await tus(bob, "POST", "/v1/tus", b"x", upload_length="1", upload_metadata=where)
    assert answer.status_code == 201
    assert await read(ada, "from%20bob") == b"x"


async def test_the_time_of_change_can_be_in_the_metadata(ada: Client) -> None:
    upload = await create(ada, 1, upload_metadata=metadata(path="a", mtime="1700000000.25"))
    await upload.patch(0, b"x")
    assert (await listed(ada))[b"a"].mtime_ns == 1_700_000_000_250_000_000


@pytest.mark.parametrize("mtime", ["yesterday", "NaN", "1e9", "Infinity", "-", "1.", "12345678901"])
async def test_a_time_of_change_that_is_none_is_refused(ada: Client, mtime: str) -> None:
    where = metadata(path="a", mtime=mtime)
    answer = await tus(ada, "POST", f"/v1/tus/{ada.workspace}", upload_length="1", upload_metadata=where)
    assert problem(answer) == (400, "bad-request")


async def test_what_is_there_is_replaced(ada: Client) -> None:
    before = await put(ada, "a", b"before")
    upload = await create(ada, 5, "a")
    answer = await upload.patch(0, b"after")
    assert answer.headers["etag"] == f'"{int(before.node):x}-2"'
    assert await read(ada, "a") == b"after"


async def test_conditions_that_do_not_hold_are_told_before_anything_is_sent(ada: Client) -> None:
    await put(ada, "a", b"before")
    for key, value in (("ifNoneMatch", "*"), ("ifMatch", '"1f-9"')):
        where = metadata(path="a", **{key: value})
        answer = await tus(ada, "POST", f"/v1/tus/{ada.workspace}", upload_length="1", upload_metadata=where)
        assert problem(answer) == (412, "precondition")


async def test_conditions_decide_when_all_has_come(ada: Client) -> None:
    before = await put(ada, "a", b"before")
    upload = await create(ada, 2, upload_metadata=metadata(path="a", ifMatch=before.etag))
    await put(ada, "a", b"between")
    assert problem(await upload.patch(0, b"xy")) == (412, "precondition")
    assert await read(ada, "a") == b"between"
    assert await upload.offset() == 0


async def test_a_folder_is_not_replaced(ada: Client) -> None:
    await ask(ada, "PUT", "files/folder/x?parents=1", b"x")
    answer = await tus(
        ada, "POST", f"/v1/tus/{ada.workspace}", upload_length="1", upload_metadata=metadata(path="folder")
    )
    assert problem(answer) == (409, "conflict")
