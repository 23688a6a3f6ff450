"""tus-js-client and Uppy, as they are, against a real server."""

from __future__ import annotations

import signal

import pytest

from protocol.limits import KIB, MIB
from tests.clients.conftest import Drive

SCRIPT = "by_tus_js.mjs"


@pytest.mark.parametrize(
    "upload",
    [
        {},
        {"chunkSize": 5 * MIB},
        {"chunkSize": 300 * KIB, "uploadDataDuringCreation": True},
        {"uploadDataDuringCreation": True},
        {"chunkSize": 5 * MIB, "overridePatchMethod": True},
    ],
)
def test_a_file_is_uploaded(drive: Drive, upload: dict[str, object]) -> None:
    file = drive.file(12 * MIB + 345)
    where = {"filename": "übung.bin", "filetype": "application/octet-stream"}
    drive.run(SCRIPT, file=file, metadata=where, upload=upload)
    assert drive.read("übung.bin") == file.read_bytes()


def test_an_empty_file_is_uploaded(drive: Drive) -> None:
    drive.run(SCRIPT, file=drive.file(0), metadata={"path": "empty"})
    assert drive.read("empty") == b""


def test_a_file_is_uploaded_by_several_connections(drive: Drive) -> None:
    file = drive.file(12 * MIB + 345)
    drive.run(SCRIPT, file=file, metadata={"path": "a/b"}, upload={"parallelUploads": 4})
    assert drive.read("a/b") == file.read_bytes()


def test_a_stream_whose_length_is_not_known_is_uploaded(drive: Drive) -> None:
    file = drive.file(5 * MIB + 345)
    options = {"chunkSize": MIB, "uploadLengthDeferred": True}
    drive.run(SCRIPT, file=file, metadata={"path": "streamed"}, is_streamed=True, upload=options)
    assert drive.read("streamed") == file.read_bytes()


@pytest.mark.parametrize(("path", "upload"), [("in one request", {}), ("in many", {"chunkSize": MIB})])
def test_a_client_that_was_killed_goes_on(drive: Drive, path: str, upload: dict[str, object]) -> None:
    file = drive.file(64 * MIB)
    options = {"file": file, "metadata": {"path": path}, "upload": upload}
    drive.run(SCRIPT, -signal.SIGKILL, dies_at=30 * MIB, **options)
    output = drive.run(SCRIPT, **options)
    assert output.startswith("HEAD")
    assert drive.read(path) == file.read_bytes()


def test_several_connections_that_were_killed_go_on(drive: Drive) -> None:
    file = drive.file(64 * MIB)
    options = {"file": file, "metadata": {"path": "several"}, "upload": {"parallelUploads": 3}}
    drive.run(SCRIPT, -signal.SIGKILL, dies_at=40 * MIB, **options)
    output = drive.run(SCRIPT, **options)
    assert output.count("HEAD") == 3
    assert drive.read("several") == file.read_bytes()


def test_a_client_goes_on_when_its_server_is_back(own_drive: Drive) -> None:
    file = own_drive.file(12 * MIB)
    client = own_drive.start(SCRIPT, file=file, metadata={"path": "a"}, waits_at=5 * MIB, upload={"chunkSize": MIB})
    assert client.stdin is not None
    assert client.stdout is not None
    while client.stdout.readline() not in ("waits\n", ""):
        pass
    own_drive.server.kill()
    client.stdin.write("go on\n")
    client.stdin.flush()
    while "HEAD" not in (line := client.stdout.readline()) and line:
        pass
    own_drive.server.start()
    own_drive.end(client)
    assert own_drive.read("a") == file.read_bytes()


def test_uppy_uploads_a_folder(drive: Drive) -> None:
    files = [drive.file(3 * MIB, 1), drive.file(100, 2), drive.file(0, 3)]
    listed = [{"name": f"{n}.bin", "path": file, "relativePath": f"folder/{n}.bin"} for n, file in enumerate(files)]
    drive.run("by_uppy.mjs", files=listed, meta={"folder": "from uppy"}, tus={"chunkSize": MIB})
    for number, file in enumerate(files):
        assert drive.read(f"from uppy/folder/{number}.bin") == file.read_bytes()


def test_uppy_uploads_a_file_into_a_workspace_that_the_url_names(drive: Drive) -> None:
    file = drive.file(MIB)
    drive.run("by_uppy.mjs", files=[{"name": "a.bin", "path": file}], endpoint=f"{drive.endpoint}/{drive.workspace}")
    assert drive.read("a.bin") == file.read_bytes()
