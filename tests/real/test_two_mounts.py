"""What has returned on one mount is seen by everything that begins later on another: line 1 of the contract.

Each test first makes the reading mount know the old state, kernel caches included; then changes it on the other, and
looks once, at once. All run twice: with names that the kernel keeps, and without (for kernels before Linux 6.16).
"""

from __future__ import annotations

import errno
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.real.harness import Mount
from tests.real.world import World


@pytest.fixture(params=[(), ("--no-epoch",)], ids=["names are kept", "names are not kept"])
def pair(world: World, request: pytest.FixtureRequest) -> tuple[Mount, Mount]:
    flags: tuple[str, ...] = request.param
    return world.mount("desk", *flags), world.mount("laptop", *flags)


def test_a_new_file_is_seen_with_its_content(pair: tuple[Mount, Mount]) -> None:
    writer, reader = pair
    assert os.listdir(reader.path) == []
    with pytest.raises(FileNotFoundError):
        os.stat(reader.path / "new")
    (writer.path / "new").write_text("content")
    assert (reader.path / "new").read_text() == "content"
    assert os.listdir(reader.path) == ["new"]


def test_new_content_is_seen(pair: tuple[Mount, Mount]) -> None:
    writer, reader = pair
    (writer.path / "file").write_text("old")
    assert (reader.path / "file").read_text() == "old"
    (writer.path / "file").write_text("new and longer")
    assert (reader.path / "file").stat().st_size == 14
    assert (reader.path / "file").read_text() == "new and longer"


def test_a_deleted_file_is_gone(pair: tuple[Mount, Mount]) -> None:
    writer, reader = pair
    (writer.path / "file").write_text("x")
    assert (reader.path / "file").exists()
    (writer.path / "file").unlink()
    assert not (reader.path / "file").exists()
    assert os.listdir(reader.path) == []


def test_a_renamed_file_has_its_new_name_alone(pair: tuple[Mount, Mount]) -> None:
    writer, reader = pair
    (writer.path / "folder").mkdir()
    (writer.path / "file").write_text("x")
    assert (reader.path / "file").exists()
    assert not (reader.path / "folder" / "moved").exists()
    (writer.path / "file").rename(writer.path / "folder" / "moved")
    assert not (reader.path / "file").exists()
    assert (reader.path / "folder" / "moved").read_text() == "x"


def test_a_rename_over_a_file_swaps_its_content(pair: tuple[Mount, Mount]) -> None:
    writer, reader = pair
    (writer.path / "file").write_text("old")
    assert (reader.path / "file").read_text() == "old"
    (writer.path / "draft").write_text("new")
    (writer.path / "draft").rename(writer.path / "file")
    assert (reader.path / "file").read_text() == "new"
    assert os.listdir(reader.path) == ["file"]


def test_folders_come_and_go(pair: tuple[Mount, Mount]) -> None:
    writer, reader = pair
    assert os.stat(reader.path).st_nlink == 2
    (writer.path / "a").mkdir()
    assert os.stat(reader.path).st_nlink == 3
    assert (reader.path / "a").is_dir()
    (writer.path / "a").rmdir()
    assert os.stat(reader.path).st_nlink == 2
    assert not (reader.path / "a").exists()


def test_a_truncation_by_path_is_seen(pair: tuple[Mount, Mount]) -> None:
    writer, reader = pair
    (writer.path / "file").write_bytes(b"0123456789")
    assert (reader.path / "file").read_bytes() == b"0123456789"
    os.truncate(writer.path / "file", 4)
    assert (reader.path / "file").read_bytes() == b"0123"
    os.truncate(writer.path / "file", 6)
    assert (reader.path / "file").read_bytes() == b"0123\0\0"


def test_attributes_are_seen(pair: tuple[Mount, Mount]) -> None:
    writer, reader = pair
    (writer.path / "file").write_text("x")
    os.stat(reader.path / "file")
    os.chmod(writer.path / "file", 0o4711)
    os.utime(writer.path / "file", ns=(5, 7_000_000_009))
    os.setxattr(writer.path / "file", "user.tag", b"\x00\xff")
    seen = os.stat(reader.path / "file")
    assert (seen.st_mode & 0o7777, seen.st_mtime_ns) == (0o4711, 7_000_000_009)
    assert os.getxattr(reader.path / "file", "user.tag") == b"\x00\xff"
    os.removexattr(writer.path / "file", "user.tag")
    assert os.listxattr(reader.path / "file") == []


def test_a_second_name_is_counted_on_the_first(pair: tuple[Mount, Mount]) -> None:
    writer, reader = pair
    (writer.path / "file").write_text("x")
    assert os.stat(reader.path / "file").st_nlink == 1
    os.link(writer.path / "file", writer.path / "other")
    assert os.stat(reader.path / "file").st_nlink == 2
    assert os.stat(reader.path / "file").st_ino == os.stat(reader.path / "other").st_ino
    (writer.path / "other").write_text("changed")
    assert (reader.path / "file").read_text() == "changed"


def test_an_open_handle_keeps_the_version_it_opened(pair: tuple[Mount, Mount]) -> None:
    writer, reader = pair
    old, new = os.urandom(3 << 20), os.urandom(3 << 20)
    (writer.path / "file").write_bytes(old)
    with open(reader.path / "file", "rb", buffering=0) as held:
        assert held.read(4096) == old[:4096]
        (writer.path / "file").write_bytes(new)
        with open(reader.path / "file", "rb", buffering=0) as fresh:
            assert fresh.read(4096) == new[:4096]
            held.seek(0)
            rest = b"".join(iter(lambda: held.read(1 << 20), b""))
            assert rest == old
            assert fresh.read(4096) == new[4096:8192]
    assert (reader.path / "file").read_bytes() == new


def test_an_open_handle_outlives_a_remote_unlink(pair: tuple[Mount, Mount]) -> None:
    writer, reader = pair
    content = os.urandom(100_000)
    (writer.path / "file").write_bytes(content)
    with open(reader.path / "file", "rb", buffering=0) as held:
        held.read(10)
        (writer.path / "file").unlink()
        held.seek(0)
        assert held.read(200_000) == content
    assert not (reader.path / "file").exists()


def test_it_takes_milliseconds(pair: tuple[Mount, Mount]) -> None:
    """The look-ups spin: the notice has to take effect by itself. The bound is wide for busy machines."""
    writer, reader = pair
    took_s = []
    for number in range(20):
        name = f"file {number}"
        assert not (reader.path / name).exists()
        (writer.path / name).write_text("x")
        start = time.monotonic()
        while not (reader.path / name).exists():
            assert time.monotonic() < start + 10, f"{name} isn't seen"
        took_s.append(time.monotonic() - start)
    assert sorted(took_s)[10] < 0.2, took_s


def test_both_create_in_one_folder_without_a_stall(pair: tuple[Mount, Mount]) -> None:
    count = 100
    start = time.monotonic()

    def create(mount: Mount) -> None:
        for number in range(count):
            (mount.path / f"{mount.device.name} {number}").write_text(str(number))

    with ThreadPoolExecutor(2) as threads:
        for done in [threads.submit(create, mount) for mount in pair]:
            done.result(timeout=60)
    took_s = time.monotonic() - start
    names = sorted(f"{mount.device.name} {number}" for mount in pair for number in range(count))
    for mount in pair:
        assert sorted(os.listdir(mount.path)) == names
    assert took_s < 30


def test_exclusive_creates_have_one_winner(pair: tuple[Mount, Mount]) -> None:
    for number in range(10):
        together = threading.Barrier(2)

        def create(mount: Mount, name: str = f"lock {number}", together: threading.Barrier = together) -> str:
            together.wait(10)
            try:
                os.close(os.open(mount.path / name, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
            except OSError as error:
                return errno.errorcode[error.errno or 0]
            return "won"

        with ThreadPoolExecutor(2) as threads:
            assert sorted(threads.map(create, pair)) == ["EEXIST", "won"]


def contents(folder: Path) -> list[bytes]:
    return sorted((folder / name).read_bytes() for name in os.listdir(folder))


def test_two_writers_of_one_version_keep_both_contents(pair: tuple[Mount, Mount]) -> None:
    first, second = pair
    (first.path / "report.txt").write_bytes(b"base")
    with open(first.path / "report.txt", "r+b") as one, open(second.path / "report.txt", "r+b") as other:
        one.write(b"from desk")
        other.write(b"from laptop")
    for mount in pair:
        assert contents(mount.path) == [b"from desk", b"from laptop"]
        assert (mount.path / "report.txt").exists()
        copies = [name for name in os.listdir(mount.path) if "conflict" in name]
        assert len(copies) == 1
        assert copies[0].startswith("report (conflict from ")
        assert copies[0].endswith(".txt")


def test_an_edit_of_a_file_that_another_removed_is_not_lost(pair: tuple[Mount, Mount]) -> None:
    first, second = pair
    (first.path / "file").write_bytes(b"base")
    with open(second.path / "file", "r+b") as edit:
        edit.write(b"edited")
        (first.path / "file").unlink()
    assert b"edited" in contents(first.path)


def test_a_rename_over_an_edited_file_keeps_the_edit(pair: tuple[Mount, Mount]) -> None:
    first, second = pair
    (first.path / "file").write_bytes(b"base")
    for _ in range(3):
        (first.path / "draft").write_bytes(b"draft")
        together = threading.Barrier(2)

        def save(together: threading.Barrier = together) -> None:
            together.wait(10)
            (second.path / "file").write_bytes(b"edit")

        with ThreadPoolExecutor(1) as threads:
            saved = threads.submit(save)
            together.wait(10)
            (first.path / "draft").rename(first.path / "file")
            saved.result(timeout=30)
        # Whichever came second, `file` is one of the two, and no bytes of an edit that was not seen are gone.
        assert (first.path / "file").read_bytes() in {b"draft", b"edit"}
        assert contents(first.path) == contents(second.path)
