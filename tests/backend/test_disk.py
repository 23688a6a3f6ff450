"""What every disk does: the operating system's and the simulated one."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest

from backend.disk import Disk, RealDisk, make_folders, read_file
from protocol.limits import MIB
from tests.simulation.disk import ROOT, SimDisk


@pytest.fixture(params=["real", "simulated"])
def disk(request: pytest.FixtureRequest) -> Disk:
    return RealDisk() if request.param == "real" else SimDisk(Random(1))


@pytest.fixture
def folder(disk: Disk, tmp_path: Path) -> Path:
    """An empty folder."""
    if isinstance(disk, RealDisk):
        return tmp_path
    disk.make_folder(ROOT / "folder")
    return ROOT / "folder"


def make_file(disk: Disk, path: Path, content: bytes = b"") -> None:
    file = disk.create(path)
    file.write(0, content)
    file.close()


def names(disk: Disk, folder: Path) -> list[str]:
    return sorted(entry.name for entry in disk.entries(folder))


# ── bytes ──


def test_what_was_written_is_read(disk: Disk, folder: Path) -> None:
    file = disk.create(folder / "file")
    file.write(0, b"abcdef")
    file.write(2, bytearray(b"XY"))
    assert file.read(1, 4) == b"bXYe"
    assert file.size_bytes() == 6
    file.close()
    assert read_file(disk, folder / "file") == b"abXYef"


def test_a_buffer_may_be_used_again_after_the_write(disk: Disk, folder: Path) -> None:
    file, buffer = disk.create(folder / "file"), bytearray(b"mine")
    file.write(0, buffer)
    buffer[:] = b"new!"
    assert file.read(0, 4) == b"mine"
    file.close()


def test_a_write_past_the_end_leaves_a_hole(disk: Disk, folder: Path) -> None:
    file = disk.create(folder / "file")
    file.write(1 << 40, b"x")
    assert file.read((1 << 40) - 5000, 6000) == bytes(5000) + b"x"
    assert file.size_bytes() == (1 << 40) + 1
    file.close()


def test_nothing_written_past_the_end_changes_nothing(disk: Disk, folder: Path) -> None:
    file = disk.create(folder / "file")
    file.write(10, b"")
    assert file.size_bytes() == 0
    file.close()


def test_past_the_end_there_is_nothing(disk: Disk, folder: Path) -> None:
    file = disk.create(folder / "file")
    file.write(0, b"abc")
    assert file.read(2, 10) == b"c"
    assert file.read(50, 10) == b""
    file.close()


@pytest.mark.parametrize("size", [0, 3, 4096, 5000, 8192])
def test_bytes_that_were_cut_off_are_zeros_afterwards(disk: Disk, folder: Path, size: int) -> None:
    file = disk.create(folder / "file")
    file.write(0, b"x" * 10_000)
    file.truncate(size)
    assert file.size_bytes() == size
    file.truncate(10_000)
    assert file.read(0, 10_000) == b"x" * size + bytes(10_000 - size)
    file.close()


def test_a_large_write_at_an_odd_place(disk: Disk, folder: Path) -> None:
    data = Random(1).randbytes(MIB)
    file = disk.create(folder / "file")
    file.write(0, b"begin" * 5000)
    file.write(4999, data)
    assert file.read(0, 2 * MIB) == (b"begin" * 5000)[:4999] + data
    file.close()


def test_a_synced_file_goes_on(disk: Disk, folder: Path) -> None:
    file = disk.create(folder / "file")
    file.write(0, b"one")
    file.sync()
    file.write(3, b"two")
    assert file.read(0, 6) == b"onetwo"
    file.close()


def test_a_closed_file_is_of_no_use(disk: Disk, folder: Path) -> None:
    file = disk.create(folder / "file")
    file.close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        file.write(0, b"x")
    with pytest.raises(OSError, match="Bad file descriptor"):
        file.close()


# ── names ──


def test_create_empties_what_is_there(disk: Disk, folder: Path) -> None:
    make_file(disk, folder / "file", b"old")
    make_file(disk, folder / "file", b"")
    assert read_file(disk, folder / "file") == b""


def test_open_takes_what_is_there(disk: Disk, folder: Path) -> None:
    make_file(disk, folder / "file", b"old")
    file = disk.open(folder / "file")
    file.write(1, b"X")
    assert file.read(0, 3) == b"oXd"
    file.close()


def test_rename_replaces_what_has_the_name(disk: Disk, folder: Path) -> None:
    make_file(disk, folder / "new", b"new")
    make_file(disk, folder / "file", b"old")
    disk.rename(folder / "new", folder / "file")
    assert names(disk, folder) == ["file"]
    assert read_file(disk, folder / "file") == b"new"


def test_an_open_file_outlives_its_name(disk: Disk, folder: Path) -> None:
    file = disk.create(folder / "file")
    file.write(0, b"kept")
    disk.remove(folder / "file")
    assert names(disk, folder) == []
    assert file.read(0, 4) == b"kept"
    file.close()


def test_what_is_not_there(disk: Disk, folder: Path) -> None:
    missing = folder / "missing"
    for call in (disk.open, disk.remove, disk.touch, disk.entries, disk.sync_folder):
        with pytest.raises(FileNotFoundError):
            call(missing)
    with pytest.raises(FileNotFoundError):
        disk.rename(missing, folder / "other")
    for make in (disk.create, disk.lock, disk.make_folder):
        with pytest.raises(FileNotFoundError):
            make(missing / "below")


def test_a_file_is_no_folder(disk: Disk, folder: Path) -> None:
    make_file(disk, folder / "file")
    with pytest.raises(FileExistsError):
        disk.make_folder(folder / "file")
    for call in (disk.entries, disk.sync_folder):
        with pytest.raises(NotADirectoryError):
            call(folder / "file")
    for call_below in (disk.open, disk.create, disk.lock, disk.make_folder, disk.remove):
        with pytest.raises(NotADirectoryError):
            call_below(folder / "file" / "below")


def test_a_folder_is_no_file(disk: Disk, folder: Path) -> None:
    disk.make_folder(folder / "inner")
    for call in (disk.open, disk.create, disk.remove):
        with pytest.raises(IsADirectoryError):
            call(folder / "inner")
    with pytest.raises(FileExistsError):
        disk.make_folder(folder / "inner")


def test_a_listing_tells_kinds_and_sizes(disk: Disk, folder: Path) -> None:
    disk.make_folder(folder / "inner")
    make_file(disk, folder / "inner" / "deeper")
    make_file(disk, folder / "file", b"12345")
    found = {entry.name: entry for entry in disk.entries(folder)}
    assert found.keys() == {"inner", "file"}
    assert found["inner"].is_folder
    assert not found["file"].is_folder
    assert found["file"].size_bytes == 5


def test_what_was_touched_is_the_latest(disk: Disk, folder: Path) -> None:
    for name in ("a", "b", "c"):
        make_file(disk, folder / name, b"x")
    disk.touch(folder / "a")
    latest = max(disk.entries(folder), key=lambda entry: entry.mtime_ns)
    assert latest.mtime_ns == next(entry.mtime_ns for entry in disk.entries(folder) if entry.name == "a")


def test_folders_are_made_with_all_above_them(disk: Disk, folder: Path) -> None:
    for _ in range(2):
        make_folders(disk, folder / "a" / "b" / "c")
    assert names(disk, folder / "a" / "b") == ["c"]


# ── the rest ──


def test_a_lock_has_one_holder_at_a_time(disk: Disk, folder: Path) -> None:
    held = disk.lock(folder / "lock")
    with pytest.raises(BlockingIOError):
        disk.lock(folder / "lock")
    disk.lock(folder / "another").close()
    held.close()
    disk.lock(folder / "lock").close()


def test_there_is_no_more_room_than_the_disk_has(disk: Disk, folder: Path) -> None:
    total_bytes, free_bytes = disk.room_bytes(folder)
    assert 0 <= free_bytes <= total_bytes
    assert total_bytes > 0


def test_the_machine_was_started_once(disk: Disk) -> None:
    assert disk.boot() == disk.boot() != ""
