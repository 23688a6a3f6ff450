"""``up`` and ``down`` with real mounts: what is started, found again, shared and ended."""

from __future__ import annotations

import json
import os
import select
import signal
from pathlib import Path

import pytest

from cli.localserver import LocalServer
from tests.cli.conftest import Person

pytestmark = pytest.mark.real


def mounts(person: Person) -> list[dict[str, str | int]]:
    found: list[dict[str, str | int]] = json.loads(person.does("status", "--json"))
    return found


def server_of(person: Person) -> int | None:
    """Its process id."""
    server = LocalServer(person.home / ".local" / "share" / "samedrive", Path(os.devnull))
    with server.alone():
        return server.running()


def test_one_command_makes_a_folder_that_is_a_drive(person: Person, tmp_path: Path) -> None:
    drive = tmp_path / "new" / "drive"
    said = person.does("up", str(drive))
    assert drive.is_mount()
    (drive / "file").write_text("kept")
    assert f"samedrive down {drive}" in said


def test_another_folder_shows_the_same_files_from_the_same_server(person: Person, tmp_path: Path) -> None:
    person.does("up", str(tmp_path / "one"))
    first = server_of(person)
    person.does("up", str(tmp_path / "two"))
    assert server_of(person) == first
    (tmp_path / "one" / "file").write_text("here")
    assert (tmp_path / "two" / "file").read_text() == "here"


def test_up_again_changes_nothing(person: Person, tmp_path: Path) -> None:
    drive = tmp_path / "drive"
    person.does("up", str(drive))
    before = mounts(person)[0]["pid"]
    assert person.does("up", str(drive)) == f"{drive} is up already.\n"
    assert [mount["pid"] for mount in mounts(person)] == [before]


def test_the_server_stays_while_another_mount_uses_it_and_ends_with_the_last(person: Person, tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    person.does("up", str(one))
    person.does("up", str(two))
    person.does("down", str(one))
    assert not one.is_mount()
    assert server_of(person) is not None
    person.does("down", str(two))
    assert not two.is_mount()
    assert server_of(person) is None


def test_the_files_are_there_again_after_down_and_up(person: Person, tmp_path: Path) -> None:
    drive = tmp_path / "drive"
    person.does("up", str(drive))
    (drive / "file").write_text("kept")
    person.does("down", str(drive))
    assert list(drive.iterdir()) == []
    person.does("up", str(drive))
    assert (drive / "file").read_text() == "kept"


def test_down_without_up_is_told(person: Person, tmp_path: Path) -> None:
    assert person.fails("down", str(tmp_path / "drive")) == f"{tmp_path / 'drive'} is not up. Nothing is."


def test_down_of_another_folder_names_what_is_up(person: Person, tmp_path: Path) -> None:
    person.does("up", str(tmp_path / "one"))
    assert person.fails("down", str(tmp_path / "two")).endswith(f"is not up. Up: {tmp_path / 'one'}")


def test_a_folder_with_files_in_it_is_refused_and_left_alone(person: Person, tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("keep")
    assert "not empty" in person.fails("up", str(tmp_path))
    assert (tmp_path / "mine").read_text() == "keep"


def test_a_file_is_not_made_a_drive(person: Person, tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("keep")
    assert person.fails("up", str(tmp_path / "mine")) == f"{tmp_path / 'mine'} is not a folder"


def end(process: int) -> None:
    """Kill it as a crash does, and return when it has ended."""
    watched = os.pidfd_open(process)
    os.kill(process, signal.SIGKILL)
    try:
        assert select.select([watched], [], [], 30)[0]
    finally:
        os.close(watched)


def test_up_mends_a_mount_whose_process_died(person: Person, tmp_path: Path) -> None:
    drive = tmp_path / "drive"
    person.does("up", str(drive))
    (drive / "file").write_text("kept")
    end(int(mounts(person)[0]["pid"]))
    person.does("up", str(drive))
    assert (drive / "file").read_text() == "kept"


def test_down_clears_a_mount_whose_process_died(person: Person, tmp_path: Path) -> None:
    drive = tmp_path / "drive"
    person.does("up", str(drive))
    end(int(mounts(person)[0]["pid"]))
    person.does("down", str(drive))
    assert not drive.is_mount()
    assert server_of(person) is None


def test_up_brings_back_a_server_that_died_under_its_mounts(person: Person, tmp_path: Path) -> None:
    drive = tmp_path / "drive"
    person.does("up", str(drive))
    server = server_of(person)
    assert server is not None
    end(server)
    assert person.does("up", str(drive)) == f"{drive} is up already.\n"
    (drive / "file").write_text("kept")
    person.does("wait", str(drive))


def test_a_login_that_was_revoked_is_made_again(person: Person, tmp_path: Path) -> None:
    drive = tmp_path / "drive"
    person.does("up", str(drive))
    person.does("down", str(drive))
    (login,) = (person.home / ".config" / "samedrive" / "logins").iterdir()
    login.write_text(login.read_text().replace('"token": "', '"token": "0'))
    person.does("up", str(drive))
    assert drive.is_mount()
