"""``samedrive link`` and ``audit`` against a real server."""

from __future__ import annotations

import base64
import json
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from cli.localserver import LocalServer
from tests.cli.conftest import Person


def fetched(url: str, password: str | None = None, body: bytes | None = None) -> bytes:
    """As curl does it, without an account."""
    request = urllib.request.Request(url, data=body, method="GET" if body is None else "PUT")
    if password is not None:
        request.add_header("Authorization", "Basic " + base64.b64encode(f":{password}".encode()).decode())
    with urllib.request.urlopen(request) as answer:
        content: bytes = answer.read()
    return content


def test_a_link_is_an_address_that_works_until_it_is_revoked(admin: Person, server: LocalServer) -> None:
    address = admin.does("link", "create", "/", "--workspace", "home").rstrip()
    assert address.startswith(f"{server.url}/v1/links/")
    assert fetched(address).startswith(b"PK")
    head, row = admin.does("link", "list", "home").splitlines()
    assert head.split() == ["ID", "KIND", "PATH", "BY", "EXPIRES", "PASSWORD", "USES", "TRANSFERS", "LAST"]
    assert row.split()[1:7] == ["read", "/", "admin", "-", "1", "1"]
    assert admin.does("link", "revoke", "home", row.split()[0]).endswith("leads nowhere from now on.\n")
    with pytest.raises(urllib.error.HTTPError, match="404"):
        fetched(address)


def test_neither_secret_nor_password_of_a_link_is_in_the_servers_log(
    admin: Person, server: LocalServer, tmp_path: Path
) -> None:
    options = ("--workspace", "home", "--upload", "--password-file", "-", "--expires", "1d", "--times", "3")
    made = json.loads(admin.does("link", "create", "/", *options, "--json", typed="open sesame\n"))
    address = f"{server.url}/v1/links/{made['secret']}"
    fetched(f"{address}/files/new", "open sesame", b"content")
    for password in (None, "guess"):
        with pytest.raises(urllib.error.HTTPError, match="401"):
            fetched(address, password)
    process = server.running()
    assert process is not None
    server.stop(process)
    log = (tmp_path / "server.log").read_text()
    assert log
    assert not any(secret in log for secret in (made["secret"], "open sesame"))


def test_what_is_on_no_drive_is_not_linked_to(admin: Person, tmp_path: Path) -> None:
    said = admin.fails("link", "create", str(tmp_path / "file"))
    assert said == f"{tmp_path / 'file'} is not on a mounted drive: mount it, or name it in a workspace with " + (
        "--workspace NAME"
    )


def test_what_is_not_there_is_told(admin: Person) -> None:
    assert admin.fails("link", "create", "nothing", "--workspace", "home") == "there is no such file or folder"
    assert "no workspace called 'team'" in admin.fails("link", "list", "team")
    assert admin.fails("link", "revoke", "home", "0" * 16) == "there is no such link"


def test_the_audit_log_tells_who_did_what(admin: Person) -> None:
    admin.does("token", "create", "backup")
    events = json.loads(admin.does("audit", "--json"))
    assert [(each["what"], each["user"], each["device"]) for each in events] == [
        ("login", "admin", "desk"),
        ("token-made", "admin", "desk"),
    ]
    assert admin.does("audit", "--after", str(events[0]["id"])).splitlines()[1].endswith("backup: read")


@pytest.mark.real
def test_a_file_on_a_drive_is_linked_to_by_its_path(person: Person, tmp_path: Path) -> None:
    drive = tmp_path / "drive"
    person.does("up", str(drive))
    (drive / "report 1.txt").write_text("content")
    address = person.does("link", "create", str(drive / "report 1.txt")).rstrip()
    assert fetched(address) == b"content"
    (drive / "new").write_text("newer")
    (drive / "new").rename(drive / "report 1.txt")
    assert fetched(address) == b"newer"


@pytest.mark.real
def test_what_is_brought_through_a_link_is_on_the_drive(person: Person, tmp_path: Path) -> None:
    drive = tmp_path / "drive"
    person.does("up", str(drive))
    (drive / "inbox").mkdir()
    assert list((drive / "inbox").iterdir()) == []
    command = person.does("link", "create", str(drive / "inbox"), "--upload").split()
    assert command[:3] == ["curl", "-T", "FILE"]
    for content in (b"one", b"two"):
        fetched(f"{command[3]}photo.jpg", body=content)
    found = {path.name: path.read_bytes() for path in (drive / "inbox").iterdir()}
    assert found == {"photo.jpg": b"one", "photo (2).jpg": b"two"}
