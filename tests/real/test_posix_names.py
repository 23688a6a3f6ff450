"""What POSIX and Linux promise of names, and of files that are no regular ones: one promise a test, on one mount."""

from __future__ import annotations

import errno
import os
import socket
import stat
import subprocess
from pathlib import Path

import pytest

from tests.real.readdir import Folder
from tests.real.refusals import refused
from tests.real.renameat2 import EXCHANGE, NOREPLACE, renameat2

MIB = 1 << 20


# ── kinds ─────────────────────────────────────────────────────────────────────────────────────────


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


# ── names ─────────────────────────────────────────────────────────────────────────────────────────


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


# ── changes of names ──────────────────────────────────────────────────────────────────────────────


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


def test_a_link_to_a_link_is_a_second_name_of_that(drive: Path) -> None:
    os.symlink("target", drive / "link")
    os.link(drive / "link", drive / "other", follow_symlinks=False)
    assert os.readlink(drive / "other") == "target"
    assert os.lstat(drive / "link").st_nlink == 2


def test_a_file_without_names_gets_none(drive: Path) -> None:
    with open(drive / "file", "w") as file, open("/proc/self/fd/0") as any_file:
        opened = f"/proc/self/fd/{file.fileno()}"
        os.link(opened, drive / "other", src_dir_fd=any_file.fileno())  # The descriptor has Python follow the link.
        os.unlink(drive / "file")
        os.unlink(drive / "other")
        with refused(errno.ENOENT):
            os.link(opened, drive / "back", src_dir_fd=any_file.fileno())


def test_forty_links_are_followed_and_no_more(drive: Path) -> None:
    (drive / "link 0").touch()
    for number in range(41):
        os.symlink(f"link {number}", drive / f"link {number + 1}")
    assert (drive / "link 40").is_file()
    with refused(errno.ELOOP):
        os.stat(drive / "link 41")


def test_links_lead_up_and_out(drive: Path) -> None:
    os.makedirs(drive / "a" / "b")
    (drive / "file").write_text("x")
    os.symlink("../../file", drive / "a" / "b" / "link")
    os.symlink("/etc", drive / "out")
    assert (drive / "a" / "b" / "link").read_text() == "x"
    assert os.path.samefile(drive / "out", "/etc")
    with refused(errno.EXDEV):
        os.rename(drive / "file", "/etc/file that is never made")


def test_dots_are_not_renamed(drive: Path) -> None:
    os.mkdir(drive / "folder")
    with refused(errno.EBUSY):
        os.rename(f"{drive}/folder/.", drive / "new")
    with refused(errno.EINVAL):
        os.rmdir(f"{drive}/folder/.")
    with refused(errno.ENOTEMPTY):
        os.rmdir(f"{drive}/folder/..")


def test_a_slash_after_a_name_wants_a_folder(drive: Path) -> None:
    (drive / "file").touch()
    with refused(errno.ENOTDIR):
        os.stat(f"{drive}/file/")
    with refused(errno.ENOTDIR):
        os.unlink(f"{drive}/file/")
    with refused(errno.ENOTDIR):
        os.rename(drive / "file", f"{drive}/new/")
    with refused(errno.EISDIR):
        os.open(f"{drive}/new/", os.O_CREAT | os.O_WRONLY)
    os.mkdir(f"{drive}/new/")


def test_reading_a_folder_goes_back_to_where_it_was_told_to_be(drive: Path) -> None:
    for number in range(200):
        os.mkfifo(drive / f"{number:03}")
    with Folder(drive) as folder:
        places = []
        while True:
            place, name = folder.tell(), folder.read()
            if name is None:
                break
            places.append((place, name))
        assert len(places) == 202
        for number in (150, 3, 0, 201, 77):
            folder.seek(places[number][0])
            assert folder.read() == places[number][1]


def test_reading_a_folder_from_its_begin_shows_what_has_changed(drive: Path) -> None:
    for number in range(50):
        os.mkfifo(drive / f"{number:03}")
    with Folder(drive) as folder:
        first = set(iter(folder.read, None))
        os.unlink(drive / "010")
        os.mkfifo(drive / "new")
        folder.rewind()
        assert set(iter(folder.read, None)) == first - {b"010"} | {b"new"}
