"""A real server, clients of others that upload to it, and the packages that those are."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import quote

import httpx
import pytest

from tests.real.conftest import logs, module_server, pytest_runtest_makereport
from tests.real.harness import Log, Server
from tests.server.plainly import content

__all__ = ["logs", "module_server", "pytest_runtest_makereport"]

HERE: Final = Path(__file__).parent
CLIENT_S: Final = 60.0


@dataclass
class Drive:
    """A server's first user, who uses it without a mount."""

    server: Server
    folder: Path
    token: str
    workspace: str
    modules: Path
    """Where the packages of npm are."""
    started: list[subprocess.Popen[str]] = field(default_factory=list)

    @property
    def endpoint(self) -> str:
        return f"{self.server.url}/v1/tus"

    def file(self, size_bytes: int, seed: int = 1) -> Path:
        """A local file of bytes that can't be compressed."""
        path = self.folder / f"{size_bytes}-{seed}"
        path.write_bytes(content(size_bytes, seed))
        return path

    def read(self, path: str) -> bytes:
        """What the server has."""
        answer = self.ask("GET", f"{self.server.url}/v1/workspaces/{self.workspace}/files/{quote(path)}")
        assert answer.status_code == 200, answer.text
        return answer.content

    def ask(self, method: str, url: str, body: bytes = b"", **headers: str) -> httpx.Response:
        """One request; ``upload_offset`` is the header Upload-Offset."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        named |= {"Authorization": f"Bearer {self.token}", "Tus-Resumable": "1.0.0"}
        return httpx.request(method, url, headers=named, content=body, timeout=CLIENT_S)

    def start(self, script: str, **options: object) -> subprocess.Popen[str]:
        """A client as a process."""
        if script.endswith(".py"):
            command = [sys.executable, str(HERE / script)]
        else:  # Node looks for packages beside the script.
            shutil.copy(HERE / script, self.modules / script)
            command = ["node", str(self.modules / script)]
        given = {"endpoint": self.endpoint, "token": self.token, "storage": str(self.folder / "urls"), **options}
        process = subprocess.Popen(
            [*command, json.dumps(given, default=str)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.started.append(process)
        return process

    def run(self, script: str, status: int = 0, **options: object) -> str:
        """A client from its beginning to its end; what it printed."""
        return self.end(self.start(script, **options), status)

    def end(self, process: subprocess.Popen[str], status: int = 0) -> str:
        """Wait for a client; what it printed."""
        output, complaints = process.communicate(timeout=CLIENT_S)
        assert process.returncode == status, output + complaints
        return output

    def close(self) -> None:
        for process in self.started:
            process.kill()
            process.communicate()


@pytest.fixture(scope="session")
def modules(request: pytest.FixtureRequest) -> Path:
    """The folder with the packages of npm, fetched once, with the hashes of package-lock.json."""
    assert request.config.cache is not None
    wanted = hashlib.sha256((HERE / "package-lock.json").read_bytes()).hexdigest()
    folder: Path = request.config.cache.mkdir("clients") / wanted[:16]
    if not (folder / "complete").exists():
        folder.mkdir(exist_ok=True)
        for name in ("package.json", "package-lock.json"):
            shutil.copy(HERE / name, folder / name)
        quiet = ("--ignore-scripts", "--no-audit", "--no-fund", "--no-update-notifier")
        done = subprocess.run(["npm", "ci", *quiet], cwd=folder, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        (folder / "complete").touch()
    return folder


def of(server: Server, folder: Path, modules: Path) -> Drive:
    login = {"user": "admin", "password": server.admin_password_file.read_text().strip(), "device": "script"}
    token = httpx.post(f"{server.url}/v1/login", json=login).raise_for_status().json()["token"]
    answer = httpx.get(f"{server.url}/v1/workspaces", headers={"Authorization": f"Bearer {token}"})
    return Drive(server, folder, token, answer.json()["workspaces"][0]["id"], modules)


@pytest.fixture
def drive(module_server: Server, tmp_path: Path, modules: Path, logs: list[Log]) -> Iterator[Drive]:
    """At a server that several tests share."""
    logs.append(module_server.log.from_here())
    drive = of(module_server, tmp_path, modules)
    yield drive
    drive.close()


@pytest.fixture
def own_drive(tmp_path: Path, modules: Path, logs: list[Log]) -> Iterator[Drive]:
    """At a server that the test may kill."""
    server = Server(tmp_path / "server", "--grace-s", "1")
    logs.append(server.log)
    try:
        drive = of(server.start(), tmp_path, modules)
        yield drive
        drive.close()
    finally:
        server.close()
