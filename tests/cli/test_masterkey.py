"""A server's new master key."""

from __future__ import annotations

from pathlib import Path

from cli.localserver import LocalServer
from tests.cli.conftest import Person


def test_a_stopped_server_gets_a_new_master_key(server: LocalServer, admin: Person) -> None:
    before = (server.data / "master-key").read_bytes()
    flags = ("--data", str(server.data))
    assert "another server is using" in admin.fails("rotate-master-key", *flags)
    process = server.running()
    assert process is not None
    server.stop(process)
    said = admin.does("rotate-master-key", *flags)
    assert said.startswith(f"{server.data / 'master-key'} is new, with ")
    assert (server.data / "master-key").read_bytes() != before
    server.start()
    admin.does("workspace", "rotate-key", "home")


def test_a_folder_without_a_server_s_data_is_left_alone(admin: Person, tmp_path: Path) -> None:
    folder = tmp_path / "nothing"
    folder.mkdir()
    assert "there is no server's data" in admin.fails("rotate-master-key", "--data", str(folder))
    assert list(folder.iterdir()) == []
