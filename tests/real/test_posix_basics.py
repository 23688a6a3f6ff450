"""What POSIX and Linux promise of a file system, one promise a test, on one mount."""

from __future__ import annotations

import errno
import fcntl
import mmap
import os
import socket
import stat
import struct
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.real.harness import Mount
from tests.real.renameat2 import EXCHANGE, NOREPLACE, renameat2
from tests.real.world import World

MIB = 1 << 20


@contextmanager
def refused(number: int) -> Iterator[None]:
    with pytest.raises(OSError) as told:
        yield
    assert told.value.errno == number, (
        f"{errno.errorcode[told.value.errno or 0]} instead of {errno.errorcode[number]}: {told.value}"
    )


# ── attributes ───────────────────────────────────────────────────────────────────────────────────────


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


# ── kinds ────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("target", [b"x", b"../no where", b"/" + b"\xff\x01\n" * 100, b"t" * 4095])
def test_symlinks_keep_their_targets(drive: Path, target: bytes) -> None:
    link = os.fsencode(drive) + b"/link"
    os.symlink(target, link)
    assert os.readlink(link) == target
    seen = os.lstat(link)
    assert stat.S_ISLNK(seen.st_mode)
    assert seen.st_size == len(target)


def test_a_fifo_carries_bytes(drive: Path) -> None:
    os.mkfifo(drive / "fifo", 0o600)
    assert stat.S_ISFIFO(os.stat(drive / "fifo").st_mode)
    writer = subprocess.Popen(("sh", "-c", 'printf hello > "$0"', str(drive / "fifo")))
    assert (drive / "fifo").read_text() == "hello"
    assert writer.wait(10) == 0


def test_sockets_and_devices_are_kept(drive: Path) -> None:
    os.mknod(drive / "socket", stat.S_IFSOCK | 0o600)
    os.mknod(drive / "zero", stat.S_IFCHR | 0o666, os.makedev(1, 5))
    os.mknod(drive / "disk", stat.S_IFBLK | 0o600, os.makedev(259, 70_000))
    assert stat.S_ISSOCK(os.stat(drive / "socket").st_mode)
    assert os.stat(drive / "zero").st_rdev == os.makedev(1, 5)
    assert os.stat(drive / "disk").st_rdev == os.makedev(259, 70_000)
    with refused(errno.EACCES):
        os.open(drive / "zero", os.O_RDONLY)


def test_a_socket_can_be_bound(drive: Path) -> None:
    # A path to bind to may have 107 bytes: go there by a short one.
    folder = os.open(drive, os.O_DIRECTORY)
    try:
        with socket.socket(socket.AF_UNIX) as server, socket.socket(socket.AF_UNIX) as client:
            server.bind(f"/proc/self/fd/{folder}/s")
            server.listen()
            client.connect(f"/proc/self/fd/{folder}/s")
    finally:
        os.close(folder)


# ── extended attributes ──────────────────────────────────────────────────────────────────────────────


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


# ── names ────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "name",
    [
        b"n" * 255,
        bytes(each for each in range(1, 256) if each != ord("/")),
        b"\xff",
        b" ",
        b"\n",
        b"%2F",
        b"-",
        b"a\\b",
    ],
    ids=repr,
)
def test_any_bytes_make_a_name(drive: Path, name: bytes) -> None:
    path = os.fsencode(drive) + b"/" + name
    with open(path, "wb") as file:
        file.write(name)
    assert os.listdir(os.fsencode(drive)) == [name]
    with open(path, "rb") as file:
        assert file.read() == name
    os.rename(path, path[:-1] + b"_")
    os.mkdir(path)
    os.rmdir(path)
    os.unlink(path[:-1] + b"_")
    assert os.listdir(drive) == []


def test_longer_names_are_refused(drive: Path) -> None:
    with refused(errno.ENAMETOOLONG):
        (drive / ("n" * 256)).touch()
    with refused(errno.ENAMETOOLONG):
        os.stat(drive / ("n" * 256))


def test_composed_and_decomposed_letters_are_two_names(drive: Path) -> None:
    (drive / "\u00e9").write_text("one")
    (drive / "e\u0301").write_text("two")
    (drive / "E\u0301").write_text("three")
    assert len(os.listdir(drive)) == 3


def test_a_folder_that_changes_while_it_is_read_shows_every_lasting_name_once(drive: Path) -> None:
    for number in range(300):
        (drive / f"{number:03}").touch()
    seen = []
    with os.scandir(drive) as entries:
        for count, entry in enumerate(entries):
            seen.append(entry.name)
            if count < 100:
                (drive / f"new {count}").touch()
    lasting = [name for name in seen if not name.startswith("new")]
    assert sorted(lasting) == [f"{number:03}" for number in range(300)]


def test_a_large_folder_is_listed_whole(drive: Path) -> None:
    names = {f"{number:04} {'x' * 100}" for number in range(2_300)}
    for name in names:
        os.mkfifo(drive / name)
    listed = os.listdir(drive)
    assert len(listed) == len(names)
    assert set(listed) == names


# ── changes of names ─────────────────────────────────────────────────────────────────────────────────


def test_rename_replaces(drive: Path) -> None:
    (drive / "a").write_text("a")
    (drive / "b").write_text("b")
    os.rename(drive / "a", drive / "b")
    assert os.listdir(drive) == ["b"]
    assert (drive / "b").read_text() == "a"


def test_rename_noreplace(drive: Path) -> None:
    (drive / "a").write_text("a")
    (drive / "b").write_text("b")
    with refused(errno.EEXIST):
        renameat2(drive / "a", drive / "b", NOREPLACE)
    assert (drive / "b").read_text() == "b"
    renameat2(drive / "a", drive / "c", NOREPLACE)
    assert (drive / "c").read_text() == "a"


def test_rename_exchange(drive: Path) -> None:
    (drive / "a").write_text("a")
    (drive / "folder").mkdir()
    (drive / "folder" / "inside").touch()
    renameat2(drive / "a", drive / "folder", EXCHANGE)
    assert (drive / "folder").read_text() == "a"
    assert os.listdir(drive / "a") == ["inside"]
    with refused(errno.ENOENT):
        renameat2(drive / "a", drive / "absent", EXCHANGE)


def test_rename_refuses_what_posix_refuses(drive: Path) -> None:
    os.makedirs(drive / "full" / "inner")
    os.makedirs(drive / "empty")
    (drive / "file").touch()
    with refused(errno.ENOTEMPTY):
        os.rename(drive / "empty", drive / "full")
    with refused(errno.EISDIR):
        os.rename(drive / "file", drive / "empty")
    with refused(errno.ENOTDIR):
        os.rename(drive / "empty", drive / "file")
    with refused(errno.EINVAL):
        os.rename(drive / "full", drive / "full" / "inner" / "deep")
    with refused(errno.ENOENT):
        os.rename(drive / "absent", drive / "new")
    os.rename(drive / "full", drive / "empty")
    assert os.listdir(drive / "empty") == ["inner"]


def test_rename_of_one_link_onto_the_other_does_nothing(drive: Path) -> None:
    (drive / "a").touch()
    os.link(drive / "a", drive / "b")
    os.rename(drive / "a", drive / "b")
    assert sorted(os.listdir(drive)) == ["a", "b"]


def test_folders_move_with_what_is_in_them(drive: Path) -> None:
    os.makedirs(drive / "a" / "b" / "c")
    (drive / "a" / "b" / "c" / "file").write_text("x")
    os.mkdir(drive / "d")
    os.rename(drive / "a" / "b", drive / "d" / "b")
    assert (drive / "d" / "b" / "c" / "file").read_text() == "x"
    assert os.stat(drive / "a").st_nlink == 2
    assert os.stat(drive / "d").st_nlink == 3


def test_removing_refuses_what_posix_refuses(drive: Path) -> None:
    os.makedirs(drive / "full" / "inner")
    (drive / "file").touch()
    with refused(errno.ENOTEMPTY):
        os.rmdir(drive / "full")
    with refused(errno.ENOTDIR):
        os.rmdir(drive / "file")
    with refused(errno.EISDIR):
        os.unlink(drive / "full")
    with refused(errno.EEXIST):
        os.mkdir(drive / "file")
    with refused(errno.ENOTDIR):
        os.stat(drive / "file" / "below")


# ── content ──────────────────────────────────────────────────────────────────────────────────────────


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


# ── mounts that may not change anything ──────────────────────────────────────────────────────────────


def test_a_read_only_mount_refuses_changes(world: World) -> None:
    (world.mount("writer").path / "file").write_text("x")
    reader = world.mount("reader", "--read-only")
    assert (reader.path / "file").read_text() == "x"
    for change in changes_of(reader):
        with refused(errno.EROFS):
            change()


def changes_of(mount: Mount) -> list[Callable[[], object]]:
    file = mount.path / "file"
    return [
        (mount.path / "new").touch,
        lambda: file.write_text("y"),
        file.unlink,
        lambda: file.rename(mount.path / "other"),
        (mount.path / "folder").mkdir,
        lambda: file.chmod(0o600),
        lambda: os.truncate(file, 0),
        lambda: os.setxattr(file, "user.x", b"1"),
        lambda: os.symlink("x", mount.path / "link"),
    ]


def test_a_viewer_may_read_and_not_change(world: World) -> None:
    """Its mount is read-only, or the server refuses: in no case does anything change."""
    password = world.folder / "viewer-password"
    password.write_text("a long enough secret")
    world.admin.run("user", "add", "viewer", "--password-file", str(password))
    world.admin.run("workspace", "share", world.workspace, "viewer", "--role", "viewer")
    owner = world.mount("owner")
    (owner.path / "file").write_text("x")
    device = world.device("viewing", login="viewer", password_file=password)
    viewer = world.mount(device=device)
    viewer.log.expect("(?i)viewer|forbidden|refused|read-only|403")
    assert (viewer.path / "file").read_text() == "x"
    for change in changes_of(viewer):
        with pytest.raises(OSError) as told:
            change()
        assert told.value.errno in {errno.EROFS, errno.EACCES, errno.EPERM}
    assert os.listdir(owner.path) == ["file"]
    assert (owner.path / "file").read_text() == "x"
