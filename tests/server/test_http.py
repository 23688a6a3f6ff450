"""Errors at the edge: every one a problem, nothing leaked."""

from __future__ import annotations

import pytest
import structlog.testing

from protocol.ids import Seq, VersionNumber
from protocol.messages.accounts import NewKey
from protocol.messages.batches import Batch
from protocol.messages.conflicts import Keep, Resolution
from protocol.messages.items import Copy, Restore
from protocol.messages.sessions import Join
from protocol.messages.wire import MSGPACK, Message
from server.metadata.store import StoreFull, StoreUnavailable
from tests.server.plainly import put
from tests.server.world import Client, World, problem


@pytest.mark.parametrize(
    "path", ["/page", "/v1", "/v1/", "/v2/health", "/v1/health/", "/v1/healthy", "/%00", "/v1/%2e%2e/x"]
)
async def test_a_path_of_nothing_is_a_problem(world: World, path: str) -> None:
    assert problem(await world.http.get(path)) == (404, "not-found")


async def test_a_wrong_method_is_a_problem(world: World) -> None:
    assert problem(await world.http.put("/v1/health")) == (405, "method-not-allowed")


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("./join", Join(b"s" * 16, b"j" * 16, Seq(1 << 63))),
        ("./changes", Batch(b"j" * 16, 1 << 63, [])),
        ("./restore", Restore("file", VersionNumber(1 << 63))),
        ("./copy", Copy("file", "other", version=VersionNumber(-1 << 63))),
        ("./keys", NewKey(1 << 63)),
        ("./conflicts/101", Resolution(Keep.BOTH, VersionNumber(1 << 63))),
    ],
)
async def test_a_number_that_no_database_holds_is_malformed(ada: Client, path: str, message: Message) -> None:
    await ada.leave()
    await put(ada, "file", b"content")
    answer = await ada.call("POST", path, message)
    assert problem(answer) == (400, "bad-request")
    assert "out of range" in answer.json()["detail"]


@pytest.mark.parametrize(
    ("header", "is_msgpack"),
    [
        (MSGPACK, True),
        (f"{MSGPACK}; q=1", True),
        (f"text/html, {MSGPACK}", True),
        ("*/*", False),
        ("application/json", False),
        ("", False),
    ],
)
async def test_the_codec_of_an_answer_is_the_one_accepted(world: World, header: str, is_msgpack: bool) -> None:
    answer = await world.http.get("/v1/health", headers={"Accept": header})
    assert (answer.headers["content-type"] == MSGPACK) is is_msgpack


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (StoreFull("full"), (507, "no-space")),
        (StoreUnavailable("busy"), (503, "unavailable")),
    ],
)
async def test_trouble_of_the_engine_is_told(
    world: World, ada: Client, error: Exception, expected: tuple[int, str]
) -> None:
    def fail(tx: object) -> None:
        raise error

    with pytest.raises(type(error)):
        await world.metadata.read(fail)
    ada.http._transport.app.state.service = _Broken(error)  # type: ignore[attr-defined]
    assert problem(await ada.call("GET", "./usage")) == expected


async def test_a_bug_is_logged_and_not_told(ada: Client) -> None:
    ada.http._transport.app.state.service = _Broken(RuntimeError("the secret"))  # type: ignore[attr-defined]
    with structlog.testing.capture_logs() as logs:
        answer = await ada.call("GET", "./usage")
    assert problem(answer) == (500, "internal")
    assert b"secret" not in answer.content
    assert [entry["event"] for entry in logs] == ["request failed"]


class _Broken:
    """A server of which no part works."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def __getattr__(self, name: str) -> object:
        raise self._error
