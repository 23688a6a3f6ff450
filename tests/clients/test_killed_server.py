"""A server that ends in the middle of a request, and a client that goes on where it was."""

from __future__ import annotations

import socket
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager

from protocol.limits import MIB
from tests.clients.conftest import Drive

OFFSET_OCTETS = "application/offset+octet-stream"
WINDOW_BYTES = 8 * MIB


def created(drive: Drive, length: int) -> str:
    """The path of an upload's URL."""
    where = f"path {b64encode(b'a').decode()}"
    made = drive.ask("POST", drive.endpoint, upload_length=str(length), upload_metadata=where)
    location: str = made.headers["location"]
    return location


def offset(drive: Drive, upload: str) -> int:
    return int(drive.ask("HEAD", drive.server.url + upload).headers["upload-offset"])


@contextmanager
def unfinished_request(drive: Drive, upload: str, length: int, came: bytes) -> Iterator[None]:
    """A request of which no more than that comes."""
    head = (
        f"PATCH {upload} HTTP/1.1\r\nHost: server\r\nTus-Resumable: 1.0.0\r\nAuthorization: Bearer {drive.token}\r\n"
        f"Content-Type: {OFFSET_OCTETS}\r\nUpload-Offset: 0\r\nContent-Length: {length}\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", drive.server.port)) as connection:
        connection.sendall(head.encode() + came)
        yield


def goes_on(drive: Drive, upload: str, plain: bytes, at: int) -> None:
    answer = drive.ask(
        "PATCH", drive.server.url + upload, plain[at:], upload_offset=str(at), content_type=OFFSET_OCTETS
    )
    assert answer.status_code == 204
    assert drive.read("a") == plain


def test_full_windows_are_kept_of_a_request_in_which_the_server_was_killed(own_drive: Drive) -> None:
    plain = own_drive.file(30 * MIB).read_bytes()
    upload = created(own_drive, len(plain))
    with unfinished_request(own_drive, upload, len(plain), plain[: 24 * MIB]):
        while (seen := offset(own_drive, upload)) == 0:
            pass  # A window has come, and is on its way to the disk.
        own_drive.server.kill()
    own_drive.server.start()
    now = offset(own_drive, upload)
    assert WINDOW_BYTES // 2 <= seen <= now <= 24 * MIB
    goes_on(own_drive, upload, plain, now)


def test_all_that_came_is_kept_by_a_server_that_is_stopped(own_drive: Drive) -> None:
    plain = own_drive.file(4 * MIB).read_bytes()
    upload = created(own_drive, len(plain))
    with unfinished_request(own_drive, upload, len(plain), plain[: 2 * MIB]):
        own_drive.server.stop()
    own_drive.server.start()
    now = offset(own_drive, upload)
    assert 0 < now <= 2 * MIB
    goes_on(own_drive, upload, plain, now)
