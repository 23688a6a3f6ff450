"""What a drive does otherwise than ext4, because pyfuse3 or FUSE carry no more. Most is refused; none is wrong."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
from pathlib import Path

import pytest

from tests.real.refusals import refused
from tests.real.renameat2 import renameat2

KEEP_SIZE, PUNCH_HOLE, COLLAPSE, ZERO = 1, 2, 8, 16
WHITEOUT = 4
GET_FLAGS = 0x80086601
CLONE = 0x40049409


@pytest.mark.parametrize("mode", [0, KEEP_SIZE, KEEP_SIZE | PUNCH_HOLE, COLLAPSE, ZERO])
def test_fallocate_is_refused(drive: Path, mode: int) -> None:
    library = ctypes.CDLL(None, use_errno=True)
    with open(drive / "file", "w+b", buffering=0) as file:
        file.write(bytes(10_000))
        assert library.fallocate(file.fileno(), mode, ctypes.c_long(0), ctypes.c_long(4096)) == -1
        assert ctypes.get_errno() == errno.ENOTSUP


def test_there_are_no_files_that_never_had_a_name(drive: Path) -> None:
    with refused(errno.ENOTSUP):
        os.open(drive, os.O_TMPFILE | os.O_RDWR)


def test_there_are_no_access_control_lists(drive: Path) -> None:
    for name in ("system.posix_acl_access", "system.posix_acl_default"):
        with refused(errno.ENOTSUP):
            os.getxattr(drive, name)


def test_there_are_no_flags_of_files_and_no_clones(drive: Path) -> None:
    with open(drive / "one", "w+b") as one, open(drive / "other", "w+b") as other:
        with refused(errno.ENOTTY):
            fcntl.ioctl(one, GET_FLAGS, bytearray(8))
        with refused(errno.ENOTSUP):
            fcntl.ioctl(one, CLONE, other.fileno())


def test_no_rename_leaves_a_whiteout(drive: Path) -> None:
    (drive / "file").touch()
    with refused(errno.EINVAL):
        renameat2(drive / "file", drive / "new", WHITEOUT)
    assert os.listdir(drive) == ["file"]


def test_holes_are_said_to_be_data(drive: Path) -> None:
    with open(drive / "file", "w+b", buffering=0) as file:
        os.pwrite(file.fileno(), b"x", 1 << 20)
        assert os.lseek(file.fileno(), 0, os.SEEK_DATA) == 0
        assert os.lseek(file.fileno(), 0, os.SEEK_HOLE) == (1 << 20) + 1
        with refused(errno.ENXIO):
            os.lseek(file.fileno(), 1 << 21, os.SEEK_DATA)


def test_writing_a_pipe_moves_none_of_its_times(drive: Path) -> None:
    os.mkfifo(drive / "pipe")
    before = os.stat(drive / "pipe")
    pipe = os.open(drive / "pipe", os.O_RDWR)
    os.write(pipe, b"x")
    os.close(pipe)
    after = os.stat(drive / "pipe")
    assert (after.st_mtime_ns, after.st_ctime_ns) == (before.st_mtime_ns, before.st_ctime_ns)


def test_an_owner_that_stays_moves_no_time(drive: Path) -> None:
    before = os.stat(drive).st_ctime_ns
    os.chown(drive, -1, -1)
    assert os.stat(drive).st_ctime_ns == before
