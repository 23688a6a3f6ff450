"""docs/api-tus.md: its lines run in order against a server and print what stands there."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import httpx
import pytest

from tests.real.harness import Server

PAGE: Final = Path(__file__).parents[2] / "docs" / "api-tus.md"
_STEP: Final = re.compile(r"^```sh\n(.*?)^```\n+(?:^```text\n(.*?)^```$)", re.MULTILINE | re.DOTALL)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    server = Server(tmp_path / "server")
    try:
        yield server.start()
    finally:
        server.close()


def test_the_page_tells_the_truth(server: Server, tmp_path: Path) -> None:
    steps = _STEP.findall(PAGE.read_text())
    assert len(steps) == PAGE.read_text().count("```sh")
    login = {"user": "admin", "password": server.admin_password_file.read_text().strip(), "device": "script"}
    token = httpx.post(f"{server.url}/v1/login", json=login).json()["token"]
    answer = httpx.get(f"{server.url}/v1/workspaces", headers={"Authorization": f"Bearer {token}"})
    begin = (
        f"SERVER={server.url}\nAUTH='Authorization: Bearer {token}'\n"
        f"API=$SERVER/v1/workspaces/{answer.json()['workspaces'][0]['id']}\n"
    )
    blocks = [f"{{\n{lines}}} >{number}.out\n" for number, (lines, _) in enumerate(steps)]
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", begin + "".join(blocks)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    for number, (_, shown) in enumerate(steps):
        assert (tmp_path / f"{number}.out").read_text() == shown
