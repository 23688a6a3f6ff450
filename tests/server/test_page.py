"""The web page's files, by HTTP."""

from __future__ import annotations

import re
from pathlib import Path

import httpx
import pytest

from server.routes.page import FOLDER
from tests.server.world import World

FILES = sorted(path.name for path in FOLDER.iterdir())


def _address(name: str) -> str:
    return "/" if name == "index.html" else f"/{name}"


async def _get(world: World, name: str, **headers: str) -> httpx.Response:
    return await world.http.get(_address(name), headers=headers)


@pytest.mark.parametrize("name", FILES)
async def test_every_file_is_served_to_anybody_as_what_it_is(world: World, name: str) -> None:
    answer = await _get(world, name)
    assert (answer.status_code, answer.content) == (200, (FOLDER / name).read_bytes())
    kinds = {".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
    assert answer.headers["content-type"].split(";")[0] == kinds[Path(name).suffix]
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "no-referrer"


@pytest.mark.parametrize("name", FILES)
async def test_the_policy_lets_nothing_run_but_what_this_server_sends(world: World, name: str) -> None:
    policy = (await _get(world, name)).headers["content-security-policy"]
    rules = dict(rule.split(" ", 1) for rule in policy.split("; "))
    assert (rules["default-src"], rules["script-src"], rules["style-src"]) == ("'none'", "'self'", "'self'")
    assert (rules["frame-ancestors"], rules["base-uri"], rules["form-action"]) == ("'none'", "'none'", "'none'")
    assert rules["require-trusted-types-for"] == "'script'"
    assert "unsafe" not in policy
    assert "*" not in policy
    assert "http" not in policy


async def test_a_file_that_the_browser_has_is_not_sent_again(world: World) -> None:
    first = await _get(world, "index.html")
    again = await _get(world, "index.html", **{"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["content-security-policy"] == first.headers["content-security-policy"]
    assert (await _get(world, "index.html", **{"If-None-Match": '"another"'})).status_code == 200


@pytest.mark.parametrize("path", ["/nothing.js", "/page/app.js", "/../serve.py", "/%2e%2e/serve.py", "/routes"])
async def test_nothing_else_is_served(world: World, path: str) -> None:
    assert (await world.http.get(path)).status_code == 404


@pytest.mark.parametrize("name", [name for name in FILES if name.endswith((".js", ".html"))])
def test_no_text_becomes_markup_or_code(name: str) -> None:
    sinks = r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|srcdoc|javascript:| on\w+=\""
    assert not re.findall(sinks, (FOLDER / name).read_text())


@pytest.mark.parametrize("name", FILES)
def test_no_other_host_is_named(name: str) -> None:
    hosts = set(re.findall(r"https?://[^\s\"')]+", (FOLDER / name).read_text()))
    assert hosts <= {"http://www.w3.org/2000/svg"}


@pytest.mark.parametrize("name", [name for name in FILES if name.endswith(".js")])
def test_every_module_that_is_imported_is_there(name: str) -> None:
    imported = re.findall(r'from "\./([^"]+)"', (FOLDER / name).read_text())
    assert set(imported) <= set(FILES)
