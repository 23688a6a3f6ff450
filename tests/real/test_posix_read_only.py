"""Mounts that may not change anything."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable

import pytest

from tests.real.harness import Mount
from tests.real.refusals import refused
from tests.real.world import World

MIB = 1 << 20


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
