"""Who may do what on a mount of root's that others may use: one promise a test."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.differential.calls import acting_as
from tests.differential.places import mounting
from tests.real.refusals import refused

USER = 1001
OTHER = 1002

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")


@pytest.fixture(scope="module")
def open_mount(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("open")
    folder.chmod(0o711)
    with mounting(folder / "samedrive") as mount:
        yield mount.path


@pytest.fixture
def common(open_mount: Path) -> Path:
    """A folder in which everybody may do everything."""
    folder = open_mount / f"test {len(os.listdir(open_mount))}"
    folder.mkdir()
    folder.chmod(0o777)
    return folder


def mode_of(path: Path) -> int:
    return stat.S_IMODE(os.lstat(path).st_mode)


def test_new_files_are_their_makers(common: Path) -> None:
    with acting_as(USER):
        (common / "file").touch()
        (common / "folder").mkdir()
        os.symlink("x", common / "link")
    for name in ("file", "folder", "link"):
        seen = os.lstat(common / name)
        assert (seen.st_uid, seen.st_gid) == (USER, USER)


def test_a_sticky_folder_lets_owners_alone_remove(common: Path) -> None:
    common.chmod(0o1777)
    with acting_as(USER):
        (common / "file").touch()
    with acting_as(OTHER):
        (common / "other").touch()
        with refused(errno.EPERM):
            os.unlink(common / "file")
        with refused(errno.EPERM):
            os.rename(common / "file", common / "new")
        with refused(errno.EPERM):
            os.rename(common / "other", common / "file")
    with acting_as(USER):
        os.rename(common / "file", common / "new")
        os.unlink(common / "new")


def writing(path: Path) -> None:
    with open(path, "r+b") as file:
        file.write(b"x")


def emptying(path: Path) -> None:
    os.close(os.open(path, os.O_RDONLY | os.O_TRUNC))


@pytest.mark.parametrize("change", [writing, emptying, lambda path: os.truncate(path, 1)])
def test_who_writes_takes_suid_and_sgid(common: Path, change: Callable[[Path], None]) -> None:
    (common / "file").write_bytes(b"content")
    (common / "file").chmod(0o6777)
    change(common / "file")
    assert mode_of(common / "file") == 0o6777  # Root keeps them.
    with acting_as(USER):
        change(common / "file")
    assert mode_of(common / "file") == 0o777


def test_a_group_that_is_not_ones_own_takes_sgid(common: Path) -> None:
    with acting_as(USER):
        (common / "file").touch()
    os.chown(common / "file", USER, 3000)
    with acting_as(USER):
        os.chmod(common / "file", 0o2755)
    assert mode_of(common / "file") == 0o755


def test_a_setgid_folder_hands_its_group_to_other_users_files(common: Path) -> None:
    os.chown(common, 0, 3000)
    common.chmod(0o2777)
    with acting_as(USER):
        (common / "folder").mkdir()
        (common / "file").touch()
    assert (os.stat(common / "folder").st_gid, os.stat(common / "file").st_gid) == (3000, 3000)
    assert mode_of(common / "folder") & stat.S_ISGID


def test_owners_alone_change_attributes(common: Path) -> None:
    (common / "file").touch()
    (common / "file").chmod(0o666)
    with acting_as(USER):
        with refused(errno.EPERM):
            os.chmod(common / "file", 0o777)
        with refused(errno.EPERM):
            os.chown(common / "file", USER, -1)
        with refused(errno.EPERM):
            os.utime(common / "file", ns=(1, 1))
        os.utime(common / "file")
        with refused(errno.EPERM):
            os.setxattr(common / "file", "trusted.a", b"1")
        os.setxattr(common / "file", "user.a", b"1")


def test_a_folder_without_x_can_not_be_passed(common: Path) -> None:
    os.makedirs(common / "closed" / "inner")
    (common / "closed").chmod(0o666)
    with acting_as(USER):
        assert os.listdir(common / "closed") == ["inner"]
        with refused(errno.EACCES):
            os.stat(common / "closed" / "inner")
        with refused(errno.EACCES):
            (common / "closed" / "new").touch()


def test_a_folder_without_r_can_not_be_listed(common: Path) -> None:
    os.makedirs(common / "closed" / "inner")
    (common / "closed").chmod(0o311)
    with acting_as(USER):
        with refused(errno.EACCES):
            os.listdir(common / "closed")
        assert (common / "closed" / "inner").is_dir()


def test_access_says_what_open_does(common: Path) -> None:
    (common / "file").touch()
    (common / "file").chmod(0o644)
    with acting_as(USER):
        assert os.access(common / "file", os.R_OK, effective_ids=True)
        assert not os.access(common / "file", os.W_OK, effective_ids=True)
        with refused(errno.EACCES):
            os.open(common / "file", os.O_WRONLY)


def test_devices_are_made_by_root_alone(common: Path) -> None:
    with acting_as(USER):
        with refused(errno.EPERM):
            os.mknod(common / "null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
        os.mknod(common / "pipe", stat.S_IFIFO | 0o666)
