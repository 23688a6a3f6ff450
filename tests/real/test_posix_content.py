"""What POSIX and Linux promise of the content of files: one promise a test, on one mount."""

from __future__ import annotations

import errno
import fcntl
import mmap
import os
import stat
import struct
import subprocess
from pathlib import Path

import pytest

from tests.real.refusals import refused
from tests.real.world import World

MIB = 1 << 20


def test_a_sparse_file_stays_sparse(drive: Path) -> None:
    with open(drive / "sparse", "wb") as file:
        file.seek(1 << 30)
        file.write(b"end")
    seen = os.stat(drive / "sparse")
    assert seen.st_size == (1 << 30) + 3
    assert seen.st_blocks * 512 < 8 * MIB
    with open(drive / "sparse", "rb") as file:
        file.seek((1 << 30) - 10)
        assert file.read() == bytes(10) + b"end"


def test_offsets_past_four_gibibytes(drive: Path) -> None:
    with open(drive / "far", "wb") as file:
        file.seek((5 << 30) + 1)
        file.write(b"far away")
    with open(drive / "far", "r+b") as file:
        file.seek((4 << 30) - 2)
        file.write(b"edge")
    with open(drive / "far", "rb") as file:
        assert file.seek(0, os.SEEK_END) == (5 << 30) + 9
        file.seek((5 << 30) - 1)
        assert file.read() == b"\0\0far away"
        file.seek((4 << 30) - 4)
        assert file.read(8) == b"\0\0edge\0\0"


def test_an_unlinked_file_lives_while_it_is_open(drive: Path) -> None:
    with open(drive / "file", "w+b", buffering=0) as file:
        file.write(b"before")
        os.unlink(drive / "file")
        assert os.listdir(drive) == []
        file.write(b" after")
        file.seek(0)
        assert file.read() == b"before after"
        os.fsync(file.fileno())
        assert os.fstat(file.fileno()).st_size == 12
        assert os.fstat(file.fileno()).st_nlink == 0
        os.fchmod(file.fileno(), 0o600)
        os.ftruncate(file.fileno(), 3)
        file.seek(0)
        assert file.read() == b"bef"
    assert os.listdir(drive) == []


def test_a_committed_file_that_is_unlinked_lives_while_it_is_open(drive: Path) -> None:
    content = os.urandom(2 * MIB)
    (drive / "file").write_bytes(content)
    with open(drive / "file", "rb", buffering=0) as file:
        os.unlink(drive / "file")
        assert file.read(4 * MIB) == content
    with refused(errno.ENOENT):
        os.stat(drive / "file")


def test_a_file_that_was_renamed_over_lives_while_it_is_open(drive: Path) -> None:
    (drive / "file").write_text("old")
    (drive / "new").write_text("new")
    with open(drive / "file", "r+") as file:
        os.rename(drive / "new", drive / "file")
        assert file.read() == "old"
        file.write(" and more")
        file.flush()
        file.seek(0)
        assert file.read() == "old and more"
    assert (drive / "file").read_text() == "new"
    assert os.listdir(drive) == ["file"]


def test_a_shared_mapping_is_committed_after_the_file_was_closed(world: World) -> None:
    mount = world.mount()
    (mount.path / "file").write_bytes(bytes(8192))
    with open(mount.path / "file", "r+b") as file:
        mapping = mmap.mmap(file.fileno(), 8192)
    mapping[100:105] = b"hello"
    mapping.flush()
    mapping[5000:5005] = b"world"
    mapping.close()
    mount.wait()
    mount.remount_empty()
    content = (mount.path / "file").read_bytes()
    assert content[100:105] == b"hello"
    assert content[5000:5005] == b"world"


def test_a_shared_mapping_reads_what_is_written(drive: Path) -> None:
    (drive / "file").write_bytes(b"a" * 4096)
    with open(drive / "file", "r+b", buffering=0) as file, mmap.mmap(file.fileno(), 4096) as mapping:
        assert mapping[:2] == b"aa"
        file.write(b"b")
        assert mapping[:2] == b"ba"


def test_o_trunc_empties(drive: Path) -> None:
    (drive / "file").write_bytes(b"long content")
    with open(drive / "file", "wb"):
        assert os.stat(drive / "file").st_size == 0
    assert (drive / "file").read_bytes() == b""


def test_o_append_writes_at_the_end_of_all_handles(drive: Path) -> None:
    first = os.open(drive / "log", os.O_CREAT | os.O_APPEND | os.O_WRONLY)
    second = os.open(drive / "log", os.O_APPEND | os.O_WRONLY)
    for number in range(5):
        os.write(first, f"first {number}\n".encode())
        os.write(second, f"second {number}\n".encode())
    os.close(first)
    os.close(second)
    expected = [f"{who} {number}" for number in range(5) for who in ("first", "second")]
    assert (drive / "log").read_text().splitlines() == expected


@pytest.mark.parametrize("size", [0, 1, 4096, 3 * MIB, 10 * MIB])
def test_truncate_by_path_and_by_handle(drive: Path, size: int) -> None:
    content = os.urandom(5 * MIB)
    (drive / "file").write_bytes(content)
    os.truncate(drive / "file", size)
    expected = content[:size].ljust(size, b"\0")
    assert (drive / "file").read_bytes() == expected
    with open(drive / "file", "r+b") as file:
        file.truncate(size + 10)
        assert os.fstat(file.fileno()).st_size == size + 10
    assert (drive / "file").read_bytes() == expected + bytes(10)


def test_two_handles_see_each_others_writes(drive: Path) -> None:
    with open(drive / "file", "w+b", buffering=0) as one, open(drive / "file", "r+b", buffering=0) as other:
        one.write(b"12345678")
        assert other.read(100) == b"12345678"
        other.write(b"9")
        one.seek(0)
        assert one.read(100) == b"123456789"
        assert os.stat(drive / "file").st_size == 9


def test_scattered_writes_read_back_before_and_after_close(drive: Path) -> None:
    size = 9 * MIB + 77
    expected = bytearray(os.urandom(size))
    (drive / "file").write_bytes(expected)
    steps = struct.unpack("<200I", os.urandom(800))
    with open(drive / "file", "r+b", buffering=0) as file:
        for number, step in enumerate(steps):
            at = step % size
            data = bytes([number]) * (1 + step % 50_000)
            file.seek(at)
            file.write(data)
            expected[at : at + len(data)] = data
        file.seek(0)
        got = b"".join(iter(lambda: file.read(MIB), b""))
        assert got == expected
    assert (drive / "file").read_bytes() == expected


def test_locks_are_kept_between_handles_of_one_mount(drive: Path) -> None:
    with open(drive / "lock", "w") as one, open(drive / "lock", "w") as other:
        fcntl.flock(one, fcntl.LOCK_EX)
        with refused(errno.EAGAIN):
            fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_seek_finds_data_or_says_that_all_is_data(drive: Path) -> None:
    (drive / "file").write_bytes(bytes(10_000))
    with open(drive / "file", "rb") as file:
        assert os.lseek(file.fileno(), 0, os.SEEK_DATA) == 0
        assert os.lseek(file.fileno(), 0, os.SEEK_HOLE) in {0, 10_000}


def test_attributes_of_open_files_are_set_through_handles(drive: Path) -> None:
    with open(drive / "file", "wb", buffering=0) as file:
        file.write(b"x" * 100)
        os.utime(file.fileno(), ns=(5, 6))
        os.fchmod(file.fileno(), 0o600)
    seen = os.stat(drive / "file")
    assert (seen.st_size, seen.st_mtime_ns, stat.S_IMODE(seen.st_mode)) == (100, 6, 0o600)


def test_space_is_promised_by_writing_it(drive: Path) -> None:
    """The C library does what FUSE's kernel side leaves to it here."""
    with open(drive / "file", "w+b", buffering=0) as file:
        file.write(b"content")
        os.posix_fallocate(file.fileno(), 3, 10_000)
        assert os.fstat(file.fileno()).st_size == 10_003
    assert (drive / "file").read_bytes() == b"content".ljust(10_003, b"\0")


def test_a_private_mapping_changes_no_file(drive: Path) -> None:
    (drive / "file").write_bytes(b"a" * 8192)
    with open(drive / "file", "r+b", buffering=0) as file:
        with mmap.mmap(file.fileno(), 8192, mmap.MAP_PRIVATE) as mapping:
            mapping[0:1] = b"b"
            os.pwrite(file.fileno(), b"c", 5000)
            assert (mapping[0:1], mapping[5000:5001]) == (b"b", b"c")
    assert (drive / "file").read_bytes()[:1] == b"a"


def test_a_mapping_that_is_synced_is_seen_by_readers(drive: Path) -> None:
    (drive / "file").write_bytes(bytes(8192))
    with open(drive / "file", "r+b", buffering=0) as file, mmap.mmap(file.fileno(), 8192) as mapping:
        mapping[4000:4200] = b"m" * 200
        mapping.flush()
        assert os.pread(file.fileno(), 200, 4000) == b"m" * 200
        assert (drive / "file").read_bytes()[4000:4200] == b"m" * 200


def test_bytes_past_the_end_of_a_mapped_file_are_never_its_content(drive: Path) -> None:
    (drive / "file").write_bytes(b"x" * 100)
    with open(drive / "file", "r+b", buffering=0) as file, mmap.mmap(file.fileno(), 100) as mapping:
        mapping[50:100] = b"y" * 50
        os.ftruncate(file.fileno(), 60)
        os.ftruncate(file.fileno(), 100)
        assert mapping[:100] == b"x" * 50 + b"y" * 10 + bytes(40)
    assert (drive / "file").read_bytes() == b"x" * 50 + b"y" * 10 + bytes(40)


@pytest.mark.parametrize("how", ["auto", "never"])
def test_cp_copies_with_holes_and_all(drive: Path, how: str) -> None:
    with open(drive / "file", "wb") as file:
        file.write(b"begin")
        file.seek(3 * MIB)
        file.write(b"end")
    subprocess.run(("cp", f"--reflink={how}", drive / "file", drive / "copy"), check=True)
    assert (drive / "copy").read_bytes() == (drive / "file").read_bytes()


def test_ranges_are_copied_between_files(drive: Path) -> None:
    (drive / "source").write_bytes(os.urandom(100_000))
    (drive / "target").write_bytes(bytes(50_000))
    with open(drive / "source", "rb") as source, open(drive / "target", "r+b") as target:
        assert os.copy_file_range(source.fileno(), target.fileno(), 60_000, 1_000, 20_000) == 60_000
        assert os.copy_file_range(source.fileno(), target.fileno(), 10, 100_000) == 0
    expected = bytes(20_000) + (drive / "source").read_bytes()[1_000:61_000]
    assert (drive / "target").read_bytes() == expected


def test_folders_and_file_systems_are_synced(drive: Path) -> None:
    folder = os.open(drive, os.O_RDONLY)
    os.fsync(folder)
    os.fdatasync(folder)
    os.close(folder)
    subprocess.run(("sync", "-f", drive), check=True)
