"""Mounts that may not change anything."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable

import pytest

from tests.real.harness import Device, Mount
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


@pytest.fixture
def member(world: World) -> Device:
    """A device of somebody who may edit the workspace."""
    password, name = world.folder / "password", f"member-{world.workspace}"
    password.write_text("a long enough secret")
    world.admin.run("user", "add", name, "--password-file", str(password))
    world.admin.run("workspace", "share", world.workspace, name, "--role", "editor")
    return world.device(name, login=name, password_file=password)


def becomes(world: World, member: Device, role: str) -> None:
    world.admin.run("workspace", "share", world.workspace, member.name, "--role", role)


def test_a_viewer_s_mount_is_read_only(world: World, member: Device) -> None:
    becomes(world, member, "viewer")
    (world.mount("owner").path / "file").write_text("x")
    viewer = world.mount(device=member)
    assert os.statvfs(viewer.path).f_flag & os.ST_RDONLY
    assert (viewer.path / "file").read_text() == "x"
    for change in changes_of(viewer):
        with refused(errno.EROFS):
            change()
    assert (viewer.path / "file").read_text() == "x"


def test_who_became_a_viewer_while_mounted_changes_nothing_any_more(world: World, member: Device) -> None:
    owner = world.mount("owner")
    (owner.path / "file").write_text("x")
    mount = world.mount(device=member)
    assert (mount.path / "file").read_text() == "x"
    becomes(world, member, "viewer")
    for change in changes_of(mount):
        with refused(errno.EROFS):
            change()
    assert os.listdir(owner.path) == ["file"]
    assert (owner.path / "file").read_text() == "x"


def test_what_was_written_when_the_role_was_lost_is_sent_when_it_is_back(world: World, member: Device) -> None:
    owner = world.mount("owner")
    mount = world.mount(device=member)
    (mount.path / "file").write_text("old")
    becomes(world, member, "viewer")
    with refused(errno.EROFS):
        (mount.path / "file").write_text("new")
    becomes(world, member, "editor")
    mount.wait()
    assert (owner.path / "file").read_text() == "new"


def test_who_became_an_editor_changes_things_from_the_next_mount_on(world: World, member: Device) -> None:
    becomes(world, member, "viewer")
    mount = world.mount(device=member)
    becomes(world, member, "editor")
    with refused(errno.EROFS):
        (mount.path / "file").touch()
    mount.remount()
    (mount.path / "file").touch()
