"""Answers that are overtaken by a change, on a real mount of the in-memory drive."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.real.getdents import getdents
from tests.real.test_fake_drive_mount import FakeMount


@pytest.fixture
def mount(tmp_path: Path) -> Iterator[FakeMount]:
    folder = tmp_path / "drive"
    folder.mkdir()
    mount = FakeMount(folder)
    try:
        yield mount
    finally:
        mount.close()


def test_an_answer_that_a_change_overtook_is_not_kept(mount: FakeMount) -> None:
    mount.another_device("write", name="file", content="x")
    mount.another_device("overtaken by chmod", name="file", mode=0o600)
    (mount.path / "file").stat()
    with (mount.path / "file").open() as file:
        assert os.fstat(file.fileno()).st_mode & 0o777 == 0o600


def test_a_listing_that_is_read_on_later_does_not_move_where_a_file_is_appended_to(mount: FakeMount) -> None:
    for number in range(200):
        mount.another_device("write", name=f"{number:03}", content="")
    appended = os.open(mount.path / "199", os.O_WRONLY | os.O_APPEND)
    folder = os.open(mount.path, os.O_RDONLY)
    try:
        os.write(appended, b"first ")
        assert getdents(folder, 512)
        os.write(appended, b"second ")
        while getdents(folder, 512):
            pass
        os.write(appended, b"third")
    finally:
        os.close(folder)
        os.close(appended)
    assert (mount.path / "199").read_bytes() == b"first second third"


@pytest.mark.parametrize(("flags", "asked"), [((), []), (("--strict",), ["attributes", "lookup"])], ids=["", "strict"])
def test_a_strict_mount_is_asked_each_time(tmp_path: Path, flags: tuple[str, ...], asked: list[str]) -> None:
    folder = tmp_path / "strict"
    folder.mkdir()
    mount = FakeMount(folder, *flags)
    try:
        mount.another_device("write", name="file", content="x")
        (mount.path / "file").stat()
        mount.calls()
        (mount.path / "file").stat()
        assert sorted(set(mount.calls())) == asked
    finally:
        mount.close()


def test_closing_a_file_that_was_made_for_reading_commits_it(mount: FakeMount) -> None:
    mount.calls()
    os.close(os.open(mount.path / "file", os.O_CREAT | os.O_RDONLY))
    assert "flush" in mount.calls()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may raise read-ahead")
def test_read_ahead_is_raised_for_good(mount: FakeMount) -> None:
    mount.path.stat()  # After its first exchange with the mount, which sets it back to the default.
    table = Path("/proc/self/mountinfo").read_text().splitlines()
    device = next(line.split()[2] for line in table if line.split()[4] == str(mount.path))
    assert int(Path(f"/sys/class/bdi/{device}/read_ahead_kb").read_text()) >= 4096
