"""What POSIX and Linux promise of attributes, extended ones too: one promise a test, on one mount."""

from __future__ import annotations

import errno
import os
import stat
import struct
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.real.refusals import refused
from tests.real.utimensat import UTIME_NOW, UTIME_OMIT, utimensat

MIB = 1 << 20


# ── attributes ────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("mode", [0o000, 0o644, 0o755, 0o4755, 0o2750, 0o1777, 0o7777])
def test_modes_are_kept(drive: Path, mode: int) -> None:
    (drive / "file").touch()
    (drive / "folder").mkdir()
    os.chmod(drive / "file", mode)
    os.chmod(drive / "folder", mode)
    assert stat.S_IMODE(os.stat(drive / "file").st_mode) == mode
    assert stat.S_IMODE(os.stat(drive / "folder").st_mode) == mode


def test_the_mode_of_a_new_file_is_cut_by_the_umask(drive: Path) -> None:
    old = os.umask(0o027)
    try:
        os.close(os.open(drive / "file", os.O_CREAT | os.O_WRONLY, 0o666))
        os.mkdir(drive / "folder", 0o777)
    finally:
        os.umask(old)
    assert stat.S_IMODE(os.stat(drive / "file").st_mode) == 0o640
    assert stat.S_IMODE(os.stat(drive / "folder").st_mode) == 0o750


def test_owner_and_group_are_kept_as_numbers(drive: Path) -> None:
    (drive / "file").touch()
    os.chown(drive / "file", 12345, 54321)
    seen = os.stat(drive / "file")
    assert (seen.st_uid, seen.st_gid) == (12345, 54321)
    os.chown(drive / "file", -1, 7)
    seen = os.stat(drive / "file")
    assert (seen.st_uid, seen.st_gid) == (12345, 7)


def test_a_new_owner_takes_suid_away(drive: Path) -> None:
    (drive / "file").touch()
    os.chmod(drive / "file", 0o6755)
    os.chown(drive / "file", 1000, 1000)
    assert stat.S_IMODE(os.stat(drive / "file").st_mode) == 0o755


def test_a_setgid_folder_hands_its_group_down(drive: Path) -> None:
    os.mkdir(drive / "shared")
    os.chown(drive / "shared", 0, 777)
    os.chmod(drive / "shared", 0o2775)
    (drive / "shared" / "file").touch()
    (drive / "shared" / "folder").mkdir()
    assert os.stat(drive / "shared" / "file").st_gid == 777
    assert os.stat(drive / "shared" / "folder").st_gid == 777
    assert os.stat(drive / "shared" / "folder").st_mode & stat.S_ISGID


@pytest.mark.parametrize(
    "times",
    [(1, 2), (1_700_000_000_123_456_789, 1_600_000_000_987_654_321), (-1_500_000_000, 4_294_967_296_000_000_001)],
)
def test_times_are_kept_to_the_nanosecond(drive: Path, times: tuple[int, int]) -> None:
    (drive / "file").touch()
    os.utime(drive / "file", ns=times)
    seen = os.stat(drive / "file")
    assert (seen.st_atime_ns, seen.st_mtime_ns) == times


def test_a_write_moves_mtime_and_ctime_and_a_chmod_ctime_alone(drive: Path) -> None:
    (drive / "file").write_text("x")
    os.utime(drive / "file", ns=(1, 1))
    before = os.stat(drive / "file")
    assert time.time_ns() - before.st_ctime_ns < 60_000_000_000
    os.chmod(drive / "file", 0o600)
    chmodded = os.stat(drive / "file")
    assert chmodded.st_mtime_ns == 1
    assert chmodded.st_ctime_ns > before.st_ctime_ns
    with open(drive / "file", "a") as file:
        file.write("y")
    written = os.stat(drive / "file")
    assert written.st_mtime_ns > 1
    assert written.st_ctime_ns > chmodded.st_ctime_ns


def test_entries_move_their_folders_times(drive: Path) -> None:
    os.mkdir(drive / "folder")

    def changes(change: Callable[[], object]) -> bool:
        os.utime(drive / "folder", ns=(1, 1))
        change()
        return os.stat(drive / "folder").st_mtime_ns > 1

    file = drive / "folder" / "file"
    assert changes(file.touch)
    assert not changes(lambda: file.write_text("x"))
    assert changes(lambda: file.rename(drive / "folder" / "other"))
    assert changes((drive / "folder" / "other").unlink)


def test_links_are_counted(drive: Path) -> None:
    assert os.stat(drive).st_nlink == 2
    os.mkdir(drive / "folder")
    assert os.stat(drive).st_nlink == 3
    (drive / "a").write_text("x")
    os.link(drive / "a", drive / "b")
    assert os.stat(drive / "a").st_nlink == 2
    assert os.path.samefile(drive / "a", drive / "b")
    (drive / "b").write_text("changed")
    assert (drive / "a").read_text() == "changed"
    os.unlink(drive / "a")
    assert os.stat(drive / "b").st_nlink == 1
    with refused(errno.EPERM):
        os.link(drive / "folder", drive / "folder 2")


def test_statfs_has_room(drive: Path) -> None:
    seen = os.statvfs(drive)
    assert seen.f_namemax == 255
    assert 0 < seen.f_bavail <= seen.f_blocks
    assert seen.f_files > 0


# ── extended attributes ───────────────────────────────────────────────────────────────────────────


def test_xattrs_are_set_listed_and_removed(drive: Path) -> None:
    (drive / "file").touch()
    os.setxattr(drive / "file", b"user.\xff\xfe", b"\x00binary\xff")
    os.setxattr(drive / "file", "user.empty", b"")
    assert sorted(os.listxattr(os.fsencode(drive / "file"))) == ["user.empty", os.fsdecode(b"user.\xff\xfe")]
    assert os.getxattr(drive / "file", b"user.\xff\xfe") == b"\x00binary\xff"
    assert os.getxattr(drive / "file", "user.empty") == b""
    os.removexattr(drive / "file", "user.empty")
    with refused(errno.ENODATA):
        os.getxattr(drive / "file", "user.empty")
    with refused(errno.ENODATA):
        os.removexattr(drive / "file", "user.empty")


def test_xattr_flags(drive: Path) -> None:
    (drive / "file").touch()
    with refused(errno.ENODATA):
        os.setxattr(drive / "file", "user.a", b"1", os.XATTR_REPLACE)
    os.setxattr(drive / "file", "user.a", b"1", os.XATTR_CREATE)
    with refused(errno.EEXIST):
        os.setxattr(drive / "file", "user.a", b"2", os.XATTR_CREATE)
    os.setxattr(drive / "file", "user.a", b"3", os.XATTR_REPLACE)
    assert os.getxattr(drive / "file", "user.a") == b"3"


def test_xattrs_of_folders_and_large_values(drive: Path) -> None:
    value = os.urandom(60_000)
    os.setxattr(drive, "user.large", value)
    assert os.getxattr(drive, "user.large") == value
    with pytest.raises(OSError) as told:
        os.setxattr(drive, "user.larger", bytes(10_000))
    assert told.value.errno in {errno.ENOSPC, errno.E2BIG}
    assert os.getxattr(drive, "user.large") == value


def test_xattr_names_have_a_name_space(drive: Path) -> None:
    (drive / "file").touch()
    for name in ("nothing", "system.other", "user.samedrive.state"):
        with refused(errno.ENOTSUP):
            os.setxattr(drive / "file", name, b"1")
    for name in ("user.", "trusted."):
        with refused(errno.EINVAL):
            os.setxattr(drive / "file", name, b"1")
        with refused(errno.EINVAL):
            os.getxattr(drive / "file", name)
        with refused(errno.EINVAL):
            os.removexattr(drive / "file", name)


def test_xattr_sizes(drive: Path) -> None:
    (drive / "file").touch()
    os.setxattr(drive / "file", "user." + "n" * 250, b"")
    with refused(errno.ERANGE):
        os.setxattr(drive / "file", "user." + "n" * 251, b"")
    with refused(errno.E2BIG):
        os.setxattr(drive / "file", "user.large", bytes(65_537))


def test_xattrs_of_users_are_for_files_and_folders(drive: Path) -> None:
    os.symlink("x", drive / "link")
    os.mkfifo(drive / "pipe")
    for name in ("link", "pipe"):
        with refused(errno.EPERM):
            os.setxattr(drive / name, "user.a", b"1", follow_symlinks=False)


def test_writing_takes_capabilities_away(drive: Path) -> None:
    file = drive / "file"
    file.write_bytes(b"x")
    capability = struct.pack("<IIIII", 0x0200_0001, 1 << 10, 0, 0, 0)
    for change in (
        lambda: file.write_bytes(b"y"),
        lambda: os.truncate(file, 0),
        lambda: os.chown(file, 5, 5),
        lambda: os.close(os.open(file, os.O_TRUNC | os.O_WRONLY)),
    ):
        os.setxattr(file, "security.capability", capability)
        change()
        with refused(errno.ENODATA):
            os.getxattr(file, "security.capability")


# ── times that are set ───────────────────────────────────────────────────────────────────────────────


def test_a_time_can_be_left_or_set_to_now(drive: Path) -> None:
    path = os.fsencode(drive / "file")
    (drive / "file").touch()
    utimensat(path, (1, 1), (2, 2))
    utimensat(path, (0, UTIME_OMIT), (3, 3))
    seen = os.stat(path)
    assert (seen.st_atime_ns, seen.st_mtime_ns) == (1_000_000_001, 3_000_000_003)
    before_ns = time.time_ns()
    utimensat(path, (0, UTIME_NOW), (0, UTIME_OMIT))
    seen = os.stat(path)
    assert seen.st_mtime_ns == 3_000_000_003
    assert abs(seen.st_atime_ns - before_ns) < 60_000_000_000


def test_times_of_a_link_are_its_own(drive: Path) -> None:
    (drive / "file").touch()
    os.symlink("file", drive / "link")
    os.utime(drive / "link", ns=(1, 2), follow_symlinks=False)
    assert os.lstat(drive / "link").st_mtime_ns == 2
    assert os.stat(drive / "link").st_mtime_ns > 2


def test_reading_sets_no_time(drive: Path) -> None:
    (drive / "file").write_text("x")
    os.utime(drive / "file", ns=(1, 2))
    assert (drive / "file").read_text() == "x"
    seen = os.stat(drive / "file")
    assert (seen.st_atime_ns, seen.st_mtime_ns) == (1, 2)
