"""SIGKILL at bad moments: what was acknowledged is there, whole; what was closed arrives."""

from __future__ import annotations

import errno
import hashlib
import os
import sqlite3
import subprocess
import sys
import textwrap
from contextlib import suppress
from pathlib import Path

import pytest

from tests.real.harness import Process, Server
from tests.real.world import World

WRITER = textwrap.dedent("""
    import hashlib, os, sys
    folder, count, most = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    for number in range(count):
        content = os.urandom(most if number % 7 == 0 else 1 + number * 37 % 9000)
        name = f"{number:05}"
        fd = os.open(os.path.join(folder, name), os.O_CREAT | os.O_WRONLY, 0o644)
        try:
            view = memoryview(content)
            while view:
                view = view[os.write(fd, view):]
        finally:
            os.close(fd)
        print(name, len(content), hashlib.sha256(content).hexdigest(), flush=True)
""")
"""Writes files one by one, and says of each that its close returned."""


class Writer:
    """The program above, and what it was told is done."""

    def __init__(self, world: World, folder: Path, count: int, most_bytes: int = 3 << 20) -> None:
        self.process = Process(
            (sys.executable, "-c", WRITER, str(folder), str(count), str(most_bytes)),
            world.folder / "writer.log",
            dict(os.environ),
        )

    def done(self) -> dict[str, tuple[int, str]]:
        lines = [line.split(" ") for line in self.process.output.splitlines()]
        return {line[0]: (int(line[1]), line[2]) for line in lines if len(line) == 3 and len(line[2]) == 64}

    def wait_for(self, number: int) -> None:
        self.process.wait_for_line(rf"^{number:05} ", 60)

    def end(self) -> None:
        self.process.close()


def assert_whole(folder: Path, done: dict[str, tuple[int, str]]) -> None:
    for name, (size, digest) in done.items():
        content = (folder / name).read_bytes()
        assert len(content) == size, name
        assert hashlib.sha256(content).hexdigest() == digest, name


def assert_database_sound(server: Server) -> None:
    """Every SQLite file in the data folder passes its own check."""
    databases = [path for path in server.data.rglob("*") if path.is_file() and is_sqlite(path)]
    assert databases
    for path in databases:
        connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
        connection.close()


def is_sqlite(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(16) == b"SQLite format 3\0"


@pytest.mark.parametrize("kill_after", [3, 40])
def test_killed_server_keeps_every_file_whose_close_returned(own_world: World, kill_after: int) -> None:
    world = own_world
    mount = world.mount()
    mount.log.expect(r"(?i)offline|unreachable|cannot reach|can't reach|retry|connect|reading|server")
    writer = Writer(world, mount.path, 4000)
    writer.wait_for(kill_after)
    world.server.kill()
    done_before = writer.done()
    assert len(done_before) > kill_after
    world.server.start()
    writer.wait_for(kill_after + 60)
    writer.end()
    done = writer.done()
    mount.wait()
    assert_whole(mount.path, done)
    mount.remount_empty()
    assert_whole(mount.path, done)
    world.server.stop()
    assert_database_sound(world.server)
    world.server.start()


def test_what_was_closed_on_a_killed_mount_arrives_on_the_next(own_world: World) -> None:
    world = own_world
    mount = world.mount()
    writer = Writer(world, mount.path, 4000)
    writer.wait_for(50)
    mount.kill()
    writer.end()
    done = writer.done()
    mount.start()
    mount.wait()
    assert_whole(mount.path, done)
    other = world.mount("other")
    assert_whole(other.path, done)


def test_what_could_not_be_sent_is_reported_kept_and_sent_later(world: World) -> None:
    mount, wire = world.wired("laptop", "--strict")
    mount.log.expect(r"(?i)upload|offline|unreachable|reach|commit|retry|sen[dt]|connect")
    content = os.urandom(2 << 20)
    fd = os.open(mount.path / "file", os.O_CREAT | os.O_RDWR)
    os.write(fd, content)
    wire.cut()
    with pytest.raises(OSError) as told:
        os.fsync(fd)
    assert told.value.errno in {errno.EIO, errno.ETIMEDOUT}
    os.lseek(fd, 0, os.SEEK_SET)
    assert os.read(fd, 4096) == content[:4096]
    wire.heal()
    os.close(fd)
    mount.wait()
    other = world.mount("other")
    assert (other.path / "file").read_bytes() == content


def test_what_could_not_be_sent_survives_the_mount_too(world: World) -> None:
    mount, wire = world.wired("laptop", "--strict")
    mount.log.expect(r"(?i)upload|offline|unreachable|reach|commit|retry|sen[dt]|connect")
    content = os.urandom(2 << 20)
    (mount.path / "file").write_bytes(b"before")
    fd = os.open(mount.path / "file", os.O_WRONLY)
    os.write(fd, content)
    wire.cut()
    with pytest.raises(OSError):
        os.close(fd)
    mount.kill()
    wire.heal()
    mount.start()
    mount.wait()
    other = world.mount("other")
    assert (other.path / "file").read_bytes() == content


@pytest.mark.parametrize("after_bytes", [100, 600_000, 1_500_000])
def test_a_link_that_breaks_in_the_middle_of_a_commit_loses_nothing(world: World, after_bytes: int) -> None:
    """Wherever the cut fell (before the request, in it, before its answer), the file arrives once, whole."""
    mount, wire = world.wired()
    mount.log.expect(r"(?i)upload|offline|unreachable|reach|commit|retry|sen[dt]|connect")
    content = os.urandom(1 << 20)
    fd = os.open(mount.path / "file", os.O_CREAT | os.O_WRONLY)
    os.write(fd, content)
    wire.cut_after(after_bytes)
    with suppress(OSError):
        os.close(fd)
    wire.heal()
    mount.wait()
    other = world.mount("other")
    assert os.listdir(other.path) == ["file"]
    assert (other.path / "file").read_bytes() == content


def test_a_killed_mounts_folder_is_cleared_by_the_next(world: World) -> None:
    mount = world.mount()
    (mount.path / "file").write_text("x")
    mount.kill()
    with pytest.raises(OSError) as told:
        os.listdir(mount.path)
    assert told.value.errno == errno.ENOTCONN
    mount.start()
    assert (mount.path / "file").read_text() == "x"


def test_a_server_stops_while_mounts_poll(own_world: World) -> None:
    mount = own_world.mount()
    mount.log.expect(r"(?i)offline|unreachable|reach|retry|connect|server")
    (mount.path / "file").write_text("x")
    assert own_world.server.stop() == 0
    own_world.server.start()
    (mount.path / "file").write_text("y")
    assert (own_world.mount("other").path / "file").read_text() == "y"


def test_nothing_is_left_behind_by_unmount(world: World) -> None:
    mount = world.mount()
    subprocess.run(("cp", "-r", str(Path(__file__).parent), str(mount.path)), check=True)
    mount.unmount()
    assert os.listdir(mount.path) == []
