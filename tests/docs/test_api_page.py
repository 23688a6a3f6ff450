"""docs/api.md: its lines run in order against a server and print what stands there."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any, Final, NamedTuple

import httpx
import trio

from server.app import DESCRIPTIONS, ROUTES
from tests.real.harness import Server
from tests.server.tree import by_a_mount

PAGE: Final = Path(__file__).parents[2] / "docs" / "api.md"
_BLOCK: Final = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_SECTION: Final = re.compile(r"^## (.*)$", re.MULTILINE)
_CONTENTS: Final = "Contents of files"

_VARYING: Final = re.compile(r'"(?:\w+_ns|seq|node)": *"?\d+"?|"[0-9a-f]{32}"|\\"[0-9a-f]+-')
"""What differs from run to run: times, numbers of nodes and changes, ids, and nodes in etags."""


class Step(NamedTuple):
    """Lines of the page, and what they print."""

    section: str
    lines: str
    shown: str
    is_json: bool


def steps() -> list[Step]:
    """The page's."""
    found: list[Step] = []
    page = PAGE.read_text()
    names = [(match.start(), match[1]) for match in _SECTION.finditer(page)]
    for match in _BLOCK.finditer(page):
        if match[1] == "sh":
            section = [name for start, name in names if start < match.start()][-1]
            found.append(Step(section, match[2], "", is_json=False))
        else:
            found[-1] = found[-1]._replace(shown=match[2], is_json=match[1] == "json")
    return found


def alike(step: Step, text: str) -> Any:
    """What has to be the same of what is printed."""
    if not step.is_json:
        return text
    values, at, decoder = [], 0, json.JSONDecoder()
    while text[at:].strip():
        at += len(text[at:]) - len(text[at:].lstrip())
        value, at = decoder.raw_decode(text, at)
        values.append(_VARYING.sub("*", json.dumps(value)))
    return values


def run(url: str, password: str, folder: Path, wanted: list[Step]) -> list[str]:
    """What each of the steps prints, one shell for all."""
    blocks = [f"{{\n{step.lines}}} >{number}.out\n" for number, step in enumerate(wanted)]
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", "".join(blocks)],
        cwd=folder,
        env={"PATH": "/usr/bin:/bin", "SERVER": url, "PASSWORD": password},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, ""), done
    return [(folder / f"{number}.out").read_text() for number in range(len(wanted))]


async def write_plan(url: str, password: str) -> None:
    """What the section on contents writes, by a mount."""
    async with httpx.AsyncClient(base_url=url) as http:
        tree = await by_a_mount(http, password, "script")
        await tree.folder("notes")
        await tree.file("notes/plan.txt", b"first\n", b"the second\n")


def test_each_line_prints_what_stands_below_it(tmp_path: Path) -> None:
    has_contents = any(route.path.endswith("/files/{path:path}") and "PUT" in (route.methods or ()) for route in ROUTES)
    server = Server(tmp_path / "server").start()
    try:
        password = server.admin_password_file.read_text().strip()
        wanted = [step for step in steps() if has_contents or step.section != _CONTENTS]
        if not has_contents:
            trio.run(write_plan, server.url, password)
        printed = run(server.url, password, tmp_path, wanted)
    finally:
        server.close()
    for step, text in zip(wanted, printed, strict=True):
        assert alike(step, text) == alike(step, step.shown), step.lines


def test_each_request_that_is_described_is_on_the_page() -> None:
    lines = "".join(step.lines for step in steps())
    for one in DESCRIPTIONS:
        last = [part for part in one.path.split("/") if part and "{" not in part][-1]
        assert f"/{last}" in lines, one
