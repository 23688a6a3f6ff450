"""What the protocol asks of requests and answers."""

from __future__ import annotations

import pytest

from tests.server.tus.client import (
    OFFSET_OCTETS,
    create,
    metadata,
    read,
    tus,
)
from tests.server.world import Client, problem


async def test_what_the_server_can_do(ada: Client) -> None:
    answer = await ada.http.request("OPTIONS", "/v1/tus")
    assert answer.status_code == 204
    assert answer.headers["tus-version"] == answer.headers["tus-resumable"] == "1.0.0"
    assert set(answer.headers["tus-extension"].split(",")) == {
        "creation",
        "creation-defer-length",
        "creation-with-upload",
        "expiration",
        "checksum",
        "termination",
        "concatenation",
    }
    assert int(answer.headers["tus-max-size"]) > 10**11
    assert "sha1" in answer.headers["tus-checksum-algorithm"].split(",")


@pytest.mark.parametrize("method", ["HEAD", "PATCH", "DELETE", "POST"])
async def test_another_version_of_the_protocol_is_refused(ada: Client, method: str) -> None:
    upload = await create(ada, 10)
    path = "/v1/tus" if method == "POST" else upload.url
    for version in ({"Tus-Resumable": "0.2.2"}, {}):
        answer = await ada.http.request(
            method, path, headers={"Authorization": f"Bearer {ada.token}", "Content-Type": OFFSET_OCTETS, **version}
        )
        assert answer.status_code == 412
        assert answer.headers["tus-version"] == "1.0.0"


async def test_every_answer_names_the_version(ada: Client) -> None:
    upload = await create(ada, 10)
    answers = [await upload.head(), await upload.patch(0, b"1"), await upload.patch(0, b"1")]
    assert [answer.headers["tus-resumable"] for answer in answers] == ["1.0.0"] * 3
    assert (await upload.head()).headers["cache-control"] == "no-store"


async def test_the_metadata_is_told_as_it_came(ada: Client) -> None:
    where = metadata(path="a", anything="else")
    upload = await create(ada, 10, upload_metadata=where)
    assert (await upload.head()).headers["upload-metadata"] == where


async def test_a_content_of_another_type_is_refused(ada: Client) -> None:
    upload = await create(ada, 10)
    assert problem(await upload.patch(0, b"1", content_type="text/plain")) == (415, "unsupported-media")
    answer = await tus(
        ada,
        "POST",
        f"/v1/tus/{ada.workspace}",
        b"1",
        content_type="text/plain",
        upload_length="1",
        upload_metadata=metadata(path="a"),
    )
    assert problem(answer) == (415, "unsupported-media")


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"upload_length": "-1"},
        {"upload_length": "1", "upload_defer_length": "1"},
        {"upload_defer_length": "2"},
        {"upload_length": "many"},
    ],
)
async def test_an_upload_needs_a_length(ada: Client, headers: dict[str, str]) -> None:
    answer = await tus(ada, "POST", f"/v1/tus/{ada.workspace}", upload_metadata=metadata(path="a"), **headers)
    assert problem(answer) == (400, "bad-request")


async def test_an_upload_that_no_file_can_hold_is_refused(ada: Client) -> None:
    answer = await tus(
        ada, "POST", f"/v1/tus/{ada.workspace}", upload_length="9" * 17, upload_metadata=metadata(path="a")
    )
    assert problem(answer) == (413, "body-too-large")


async def test_an_offset_is_needed(ada: Client) -> None:
    upload = await create(ada, 10)
    assert problem(await tus(ada, "PATCH", upload.url, b"1")) == (400, "bad-request")


async def test_who_can_send_posts_alone_can_upload(ada: Client) -> None:
    upload = await create(ada, 3)
    answer = await tus(ada, "POST", upload.url, b"abc", upload_offset="0", x_http_method_override="PATCH")
    assert answer.status_code == 204
    assert await read(ada, "new") == b"abc"
    assert problem(await tus(ada, "POST", upload.url)) == (405, "method-not-allowed")
    assert (await tus(ada, "POST", upload.url, x_http_method_override="DELETE")).status_code == 204
