"""Where the drive is not what a local file system is: each line of docs/posix.md that says so."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import mmap
import os
import struct
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.real.harness import Mount
from tests.real.refusals import refused
from tests.real.renameat2 import renameat2
from tests.real.world import World

_LIBC = ctypes.CDLL(None, use_errno=True)
FICLONE = 0x40049409
FS_IOC_GETFLAGS = 0x80086601
IN_ALL_EVENTS = 0xFFF
RENAME_WHITEOUT = 4
ORDINARY_USER = 65_534


@contextmanager
def opened(path: Path, flags: int = os.O_RDWR, mode: int = 0o644) -> Iterator[int]:
    descriptor = os.open(path, flags, mode)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


@contextmanager
def watched(folder: Path) -> Iterator[int]:
    """An inotify descriptor that never waits."""
    descriptor = _LIBC.inotify_init1(os.O_NONBLOCK)
    assert _LIBC.inotify_add_watch(descriptor, os.fsencode(folder), IN_ALL_EVENTS) > 0
    try:
        yield descriptor
    finally:
        os.close(descriptor)


# ── what is missing ──────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("mode", [0, 1, 3, 8, 16, 32], ids=["", "keep size", "punch", "collapse", "zero", "insert"])
def test_fallocate_is_refused_in_each_mode(drive: Path, mode: int) -> None:
    (drive / "file").write_bytes(b"x" * 20_000)
    with opened(drive / "file") as file:
        assert _LIBC.fallocate(file, mode, ctypes.c_long(4096), ctypes.c_long(4096)) == -1
        assert ctypes.get_errno() == errno.EOPNOTSUPP
    assert (drive / "file").read_bytes() == b"x" * 20_000


def test_posix_fallocate_writes_instead(drive: Path) -> None:
    with opened(drive / "file", os.O_CREAT | os.O_RDWR) as file:
        os.posix_fallocate(file, 0, 100_000)
    assert (drive / "file").read_bytes() == bytes(100_000)


def test_clones_are_refused_and_copy_file_range_copies(drive: Path) -> None:
    (drive / "file").write_bytes(b"x" * 20_000)
    with opened(drive / "file") as source, opened(drive / "copy", os.O_CREAT | os.O_WRONLY) as target:
        with refused(errno.EOPNOTSUPP):
            fcntl.ioctl(target, FICLONE, source)
        assert os.copy_file_range(source, target, 20_000) == 20_000
    assert (drive / "copy").read_bytes() == b"x" * 20_000


def test_inode_flags_are_refused(drive: Path) -> None:
    (drive / "file").touch()
    with opened(drive / "file") as file, refused(errno.ENOTTY):
        fcntl.ioctl(file, FS_IOC_GETFLAGS, bytes(8))


def test_files_without_a_name_are_refused(drive: Path) -> None:
    with refused(errno.EOPNOTSUPP), opened(drive, os.O_TMPFILE | os.O_RDWR):
        pass


def test_access_control_lists_are_refused(drive: Path) -> None:
    (drive / "file").touch()
    entries = [(1, 6, 0xFFFFFFFF), (4, 4, 0xFFFFFFFF), (32, 4, 0xFFFFFFFF)]
    acl = struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)
    with refused(errno.EOPNOTSUPP):
        os.setxattr(drive / "file", "system.posix_acl_access", acl)


def test_lseek_knows_no_holes(drive: Path) -> None:
    with opened(drive / "file", os.O_CREAT | os.O_RDWR) as file:
        os.pwrite(file, b"x", 10 << 20)
        assert os.lseek(file, 0, os.SEEK_DATA) == 0
        assert os.lseek(file, 0, os.SEEK_HOLE) == (10 << 20) + 1
        with refused(errno.ENXIO):
            os.lseek(file, 20 << 20, os.SEEK_DATA)


def test_no_rename_leaves_a_whiteout(drive: Path) -> None:
    (drive / "file").touch()
    with refused(errno.EINVAL):
        renameat2(drive / "file", drive / "new", RENAME_WHITEOUT)
    assert os.listdir(drive) == ["file"]


# ── what differs ─────────────────────────────────────────────────────────────────────────────────────


def test_reading_moves_no_access_time(drive: Path) -> None:
    (drive / "file").write_text("x")
    os.utime(drive / "file", ns=(5, 6))
    (drive / "file").read_text()
    os.listdir(drive)
    assert os.stat(drive / "file").st_atime_ns == 5


def test_writing_a_pipe_moves_none_of_its_times(drive: Path) -> None:
    os.mkfifo(drive / "pipe")
    before = os.stat(drive / "pipe")
    with opened(drive / "pipe") as pipe:
        os.write(pipe, b"x")
    after = os.stat(drive / "pipe")
    assert (after.st_mtime_ns, after.st_ctime_ns) == (before.st_mtime_ns, before.st_ctime_ns)


def test_a_chown_that_names_nobody_moves_no_time(drive: Path) -> None:
    before = os.stat(drive).st_ctime_ns
    os.chown(drive, -1, -1)
    assert os.stat(drive).st_ctime_ns == before


def test_an_attribute_that_is_set_to_what_it_is_moves_ctime(drive: Path) -> None:
    os.setxattr(drive, "user.a", b"1")
    before = os.stat(drive).st_ctime_ns
    os.setxattr(drive, "user.a", b"1")
    assert os.stat(drive).st_ctime_ns > before


def test_locks_are_not_seen_by_another_mount(both: tuple[Path, Path]) -> None:
    (both[0] / "file").write_text("x")
    with opened(both[0] / "file") as here, opened(both[0] / "file") as beside, opened(both[1] / "file") as there:
        fcntl.flock(here, fcntl.LOCK_EX)
        with refused(errno.EAGAIN):
            fcntl.flock(beside, fcntl.LOCK_EX | fcntl.LOCK_NB)
        fcntl.flock(there, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_inotify_tells_of_changes_on_this_mount_and_of_no_others(both: tuple[Path, Path]) -> None:
    with watched(both[0]) as here, watched(both[1]) as there:
        (both[0] / "file").write_text("x")
        assert os.listdir(both[1]) == ["file"]
        assert os.read(here, 4096)
        events = b""
        with refused(errno.EAGAIN):  # Its own listing is all that it was told of.
            while True:
                events += os.read(there, 4096)
        assert b"file" not in events


def test_a_file_that_is_open_gets_another_inode_number_when_another_mount_writes_it(both: tuple[Path, Path]) -> None:
    (both[0] / "file").write_text("old")
    with (both[0] / "file").open() as file:
        before = os.fstat(file.fileno()).st_ino
        (both[1] / "file").write_text("new")
        assert os.stat(both[0] / "file").st_ino != before == os.fstat(file.fileno()).st_ino
        assert file.read() == "old"


def test_what_is_written_to_a_mapping_is_seen_by_others_when_it_is_synced(both: tuple[Path, Path]) -> None:
    here, there = (folder / "file" for folder in both)
    here.write_bytes(bytes(8192))
    with opened(here) as file, mmap.mmap(file, 8192) as mapping:
        mapping[:3] = b"one"
        assert here.read_bytes()[:3] == b"one"
        assert there.read_bytes()[:3] == bytes(3)
        mapping.flush()
        assert there.read_bytes()[:3] == b"one"


def test_a_file_that_another_mount_removed_comes_back_when_its_writer_closes_it(both: tuple[Path, Path]) -> None:
    here, there = (folder / "file" for folder in both)
    here.write_text("first")
    with here.open("a") as file:
        there.unlink()
        assert not here.exists()
        file.write(" and more")
    assert there.read_text() == "first and more"


def test_a_write_by_an_ordinary_user_takes_suid_away(world: World) -> None:
    mount: Mount = world.mount("everyone", "--allow-other")
    file = mount.path / "file"
    file.write_text("x")
    file.chmod(0o6777)
    with opened(file, os.O_WRONLY) as descriptor:
        subprocess.run(("printf", "y"), stdout=descriptor, user=ORDINARY_USER, extra_groups=[], check=True)
    assert file.stat().st_mode & 0o7777 == 0o777


def test_what_the_disk_of_the_cache_can_not_address_is_efbig(drive: Path) -> None:
    """Reading nothing is possible up to 8 EiB; a byte is written to a sparse file beside the cache first."""
    with opened(drive / "file", os.O_CREAT | os.O_RDWR) as file:
        os.ftruncate(file, 1 << 60)
        assert os.pread(file, 10, 1 << 59) == bytes(10)
        with refused(errno.EFBIG):
            os.pwrite(file, b"x", 1 << 60)
