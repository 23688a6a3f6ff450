"""A server of its own for a test, and people at machines of their own who use its commands."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from cli.localserver import PROGRAM, LocalServer


class Person:
    """Somebody with a home folder; each command is a process, as in life."""

    def __init__(self, home: Path) -> None:
        home.mkdir(exist_ok=True)
        self.home = home

    def run(self, *arguments: str, typed: str = "") -> subprocess.CompletedProcess[str]:
        """Run one command with ``typed`` on standard input."""
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(("XDG_", "SAMEDRIVE_"))}
        return subprocess.run(
            [sys.executable, PROGRAM, *arguments],
            env=inherited | {"HOME": str(self.home)},
            input=typed,
            capture_output=True,
            text=True,
            check=False,
        )

    def does(self, *arguments: str, typed: str = "") -> str:
        """Run one command that must succeed; what it printed."""
        done = self.run(*arguments, typed=typed)
        assert (done.returncode, done.stderr) == (0, ""), done
        return done.stdout

    def fails(self, *arguments: str, typed: str = "") -> str:
        """Run one command that must fail with one line; that line."""
        done = self.run(*arguments, typed=typed)
        assert done.returncode == 1, done
        assert done.stdout == ""
        assert done.stderr.count("\n") == 1
        return done.stderr.removeprefix("samedrive: ").rstrip("\n")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[LocalServer]:
    """Running, and empty."""
    made = LocalServer(tmp_path / "data", tmp_path / "server.log")
    with made.alone():
        made.start()
        yield made
        process = made.running()
        if process is not None:
            made.stop(process)


@pytest.fixture
def admin(server: LocalServer, tmp_path: Path) -> Person:
    """Logged in as ``admin`` on the device ``desk``."""
    person = Person(tmp_path / "admin")
    password = str(server.password_file)
    person.does("login", server.url, "--user", "admin", "--password-file", password, "--device", "desk")
    return person


@pytest.fixture
def ann(admin: Person, server: LocalServer, tmp_path: Path) -> Person:
    """A user whom admin has added, logged in on her laptop."""
    admin.does("user", "add", "ann", "--password-file", "-", typed="ann's\n")
    person = Person(tmp_path / "ann")
    person.does("login", server.url, "--user", "ann", "--password-file", "-", "--device", "laptop", typed="ann's")
    return person


@pytest.fixture
def person(tmp_path: Path) -> Iterator[Person]:
    """Somebody new; what is still up after the test is taken down."""
    made = Person(tmp_path / "home")
    yield made
    # Whatever the test left, and whether or not the mounts still answer.
    for record in (made.home / ".local" / "state" / "samedrive" / "run").glob("*.json"):
        subprocess.run(
            ["fusermount3", "-uz", json.loads(record.read_bytes())["folder"]], check=False, capture_output=True
        )
    server = LocalServer(made.home / ".local" / "share" / "samedrive", Path(os.devnull))
    with server.alone():
        if (process := server.running()) is not None:
            server.stop(process)
