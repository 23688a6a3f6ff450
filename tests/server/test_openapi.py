"""The OpenAPI document: it is true of the server, and names each request once."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from protocol.messages.items import Item
from server.app import DESCRIPTIONS
from server.openapi import document
from tests.fuzz.api import ROUTED, Target, target
from tests.server.world import World

EXAMPLES = 10
"""Of each operation; `scripts/soak api` asks for more."""

ALL = document(DESCRIPTIONS)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    with target(tmp_path_factory.mktemp("server")) as made:
        yield made


@pytest.mark.parametrize("name", ROUTED)
def test_nothing_but_documented_answers_comes(server: Target, name: str) -> None:
    server.check(name, EXAMPLES, 1)
    assert server.server.log.unexpected() == []


async def test_anybody_may_read_it(world: World) -> None:
    answer = await world.http.get("/v1/openapi.json")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
    assert answer.json() == ALL


def test_each_request_has_a_name_of_its_own() -> None:
    names = [one["operationId"] for path in ALL["paths"].values() for one in path.values()]
    assert len(names) == len(set(names)) == len(DESCRIPTIONS)


REQUESTS = {
    "/members": {"get", "post"},
    "/members/{user}": {"delete"},
    "/links": {"get", "post"},
    "/links/{link}": {"delete"},
    "/items/{path}": {"get"},
    "/folders/{path}": {"delete", "get", "put"},
    "/files/{path}": {"delete", "get", "head", "put"},
    "/archive/{path}": {"get"},
    "/move": {"post"},
    "/copy": {"post"},
    "/search": {"get"},
    "/history/{path}": {"get"},
    "/restore": {"post"},
    "/trash": {"get"},
    "/trash/{node}": {"post"},
    "/feed": {"get"},
    "/conflicts": {"get"},
    "/conflicts/{node}": {"post"},
}


@pytest.mark.parametrize("path", REQUESTS)
def test_it_names_the_requests_by_paths(path: str) -> None:
    assert set(ALL["paths"][f"/v1/workspaces/{{workspace}}{path}"]) == REQUESTS[path]


def test_it_names_the_requests_of_resumable_uploads_and_the_headers_of_their_answers() -> None:
    assert set(ALL["paths"]["/v1/tus/{workspace}"]) == {"post"}
    assert set(ALL["paths"]["/v1/tus/{workspace}/{upload}"]) == {"head", "patch", "delete"}
    made = ALL["paths"]["/v1/tus/{workspace}"]["post"]["responses"]["201"]
    assert set(made["headers"]) == {"Location", "Upload-Offset", "Upload-Expires", "ETag"}
    assert [name for name, header in made["headers"].items() if header["required"]] == ["Location", "Upload-Offset"]


def test_a_message_is_described_by_its_type() -> None:
    answer = ALL["paths"]["/v1/workspaces/{workspace}/items/{path}"]["get"]["responses"]["200"]
    assert answer["content"] == {"application/json": {"schema": {"$ref": "#/components/schemas/Item"}}}
    assert ALL["components"]["schemas"]["Item"]["required"] == list(Item.__struct_fields__)
