"""The adapter alone, on a real mount of the in-memory drive, with the kernel's name epoch and without it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.real.harness import REPOSITORY
from tests.real.renameat2 import EXCHANGE, NOREPLACE, renameat2


class FakeMount:
    def __init__(self, folder: Path, *flags: str) -> None:
        self.path = folder
        self._process = subprocess.Popen(
            (sys.executable, "-m", "tests.real.fake_mount", str(folder), *flags),
            cwd=REPOSITORY,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._answer("ready")

    def _answer(self, wanted: str | None = None) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline().strip()
        assert wanted in {None, line}
        return line

    def another_device(self, do: str, **command: Any) -> None:
        """Returns when this mount's kernel has been told."""
        self._say(do, command)
        self._answer("done")

    def calls(self) -> list[str]:
        """What the drive was asked since the last time."""
        self._say("calls", {})
        calls: list[str] = json.loads(self._answer())
        return calls

    def _say(self, do: str, command: dict[str, Any]) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"do": do, **command}) + "\n")
        self._process.stdin.flush()

    def close(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        subprocess.run(("fusermount3", "-uz", str(self.path)), check=False, capture_output=True)
        self._process.stdin.close()  # Who reads it waits in a thread, and the process for that thread.
        try:
            assert self._process.wait(20) == 0
        finally:
            self._process.kill()
            self._process.wait()
            self._process.stdout.close()


@pytest.fixture(params=[(), ("--no-epoch",)], ids=["epoch", "no epoch"])
def mount(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[FakeMount]:
    folder = tmp_path / "drive"
    folder.mkdir()
    mount = FakeMount(folder, *request.param)
    try:
        yield mount
    finally:
        mount.close()


def test_what_is_written_is_read_and_listed(mount: FakeMount) -> None:
    folder = mount.path / "folder"
    folder.mkdir()
    (folder / "file").write_bytes(b"content")
    (folder / "link").symlink_to("file")
    os.link(folder / "file", folder / "second")
    assert (folder / "link").read_bytes() == b"content"
    assert sorted(os.listdir(folder)) == ["file", "link", "second"]
    assert (folder / "second").stat().st_nlink == 2


def test_an_unlinked_file_lives_on_in_its_handles(mount: FakeMount) -> None:
    with (mount.path / "file").open("w+b") as file:
        (mount.path / "file").unlink()
        file.write(b"still here")
        file.flush()
        assert os.fstat(file.fileno()).st_size == 10
        file.seek(0)
        assert file.read() == b"still here"


def test_rename_flags_are_kept(mount: FakeMount) -> None:
    a, b = mount.path / "a", mount.path / "b"
    a.write_text("a")
    b.write_text("b")
    with pytest.raises(FileExistsError):
        renameat2(a, b, NOREPLACE)
    renameat2(a, b, EXCHANGE)
    assert (a.read_text(), b.read_text()) == ("b", "a")


def test_xattr_flags_are_kept(mount: FakeMount) -> None:
    file = mount.path / "file"
    file.touch()
    with pytest.raises(OSError, match="No data available"):
        os.setxattr(file, "user.name", b"value", os.XATTR_REPLACE)
    os.setxattr(file, "user.name", b"value", os.XATTR_CREATE)
    with pytest.raises(FileExistsError):
        os.setxattr(file, "user.name", b"other", os.XATTR_CREATE)
    assert os.listxattr(file) == ["user.name"]
    os.removexattr(file, "user.name")
    assert os.listxattr(file) == []


def test_a_name_of_256_bytes_is_too_long(mount: FakeMount) -> None:
    with pytest.raises(OSError, match="File name too long"):
        (mount.path / ("n" * 256)).stat()


def test_a_name_that_was_absent_is_seen_once_another_device_makes_it(mount: FakeMount) -> None:
    assert not (mount.path / "new").exists()
    mount.another_device("write", name="new", content="there")
    assert (mount.path / "new").read_text() == "there"


def test_a_name_that_another_device_removed_is_gone(mount: FakeMount) -> None:
    mount.another_device("write", name="file", content="x")
    assert (mount.path / "file").exists()
    mount.another_device("remove", name="file")
    assert not (mount.path / "file").exists()
    assert os.listdir(mount.path) == []


def test_another_devices_chmod_is_seen(mount: FakeMount) -> None:
    mount.another_device("write", name="file", content="x")
    assert (mount.path / "file").stat().st_mode & 0o777 == 0o644
    mount.another_device("chmod", name="file", mode=0o600)
    assert (mount.path / "file").stat().st_mode & 0o777 == 0o600


def test_an_open_file_keeps_its_version_and_a_new_open_gets_the_new_one(mount: FakeMount) -> None:
    mount.another_device("write", name="file", content="old")
    with (mount.path / "file").open() as old:
        assert old.read(1) == "o"
        mount.another_device("write", name="file", content="newer")
        assert (mount.path / "file").read_text() == "newer"
        old.seek(0)
        assert old.read() == "old"
        assert os.fstat(old.fileno()).st_size == 3


def test_a_files_state_can_be_asked_for(mount: FakeMount) -> None:
    with (mount.path / "file").open("wb", buffering=0) as file:
        file.write(b"x")
        assert os.getxattr(mount.path / "file", "user.samedrive.state") == b"local"
    assert os.getxattr(mount.path / "file", "user.samedrive.state") == b"synced"
    assert os.getxattr(mount.path, "user.samedrive.state") == b"synced"


def test_a_files_state_is_not_listed_and_nobody_sets_it(mount: FakeMount) -> None:
    file = mount.path / "file"
    file.touch()
    assert os.listxattr(file) == []
    for refused in (
        lambda: os.setxattr(file, "user.samedrive.state", b"synced"),
        lambda: os.setxattr(file, "user.samedrive.other", b""),
        lambda: os.removexattr(file, "user.samedrive.state"),
    ):
        with pytest.raises(OSError, match="not supported"):
            refused()


@pytest.mark.parametrize("copy", [("cp", "-a"), ("cp", "--archive", "--preserve=all"), ("rsync", "-aX")], ids=" ".join)
def test_programs_copy_a_file_without_its_state(mount: FakeMount, tmp_path: Path, copy: tuple[str, ...]) -> None:
    (mount.path / "file").write_text("content")
    os.setxattr(mount.path / "file", "user.tag", b"value")
    for source, target in ((mount.path / "file", tmp_path / "out"), (tmp_path / "out", mount.path / "back")):
        done = subprocess.run((*copy, source, target), capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert (mount.path / "back").read_text() == "content"
    assert os.listxattr(mount.path / "back") == ["user.tag"]
