"""tuspy, as it is, against a real server."""

from __future__ import annotations

import signal

import pytest

from protocol.limits import KIB, MIB
from tests.clients.conftest import Drive


@pytest.mark.parametrize("chunk_bytes", [1 << 40, 5 * MIB, 300 * KIB])
@pytest.mark.parametrize("has_checksum", [False, True])
def test_a_file_is_uploaded(drive: Drive, chunk_bytes: int, has_checksum: bool) -> None:
    file = drive.file(12 * MIB + 345)
    where = {"filename": "video.bin", "folder": "from tuspy"}
    drive.run("by_tuspy.py", file=file, chunk_bytes=chunk_bytes, has_checksum=has_checksum, metadata=where)
    assert drive.read("from tuspy/video.bin") == file.read_bytes()


def test_an_empty_file_is_uploaded(drive: Drive) -> None:
    drive.run("by_tuspy.py", file=drive.file(0), chunk_bytes=MIB, metadata={"path": "empty"})
    assert drive.read("empty") == b""


def test_a_client_that_was_killed_goes_on(drive: Drive) -> None:
    file = drive.file(12 * MIB)
    options = {"file": file, "chunk_bytes": MIB, "metadata": {"path": "killed"}}
    drive.run("by_tuspy.py", -signal.SIGKILL, stop_at=7 * MIB, is_killed=True, **options)
    output = drive.run("by_tuspy.py", **options)
    assert output == f"began at {7 * MIB}\nstopped at {12 * MIB}\n"
    assert drive.read("killed") == file.read_bytes()


def test_an_upload_goes_on_at_a_server_that_was_killed(own_drive: Drive) -> None:
    file = own_drive.file(12 * MIB)
    options = {"file": file, "chunk_bytes": 700 * KIB, "metadata": {"path": "a"}, "has_checksum": True}
    for stop_at in (1 * MIB, 6 * MIB, 11 * MIB):
        own_drive.run("by_tuspy.py", stop_at=stop_at, **options)
        own_drive.server.kill()
        own_drive.server.start()
    own_drive.run("by_tuspy.py", **options)
    assert own_drive.read("a") == file.read_bytes()
