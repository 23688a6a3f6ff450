"""A fault of the program in one request is EIO for the call that made it: the mount goes on."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.real.test_fake_drive_mount import FakeMount


@pytest.fixture
def mount(tmp_path: Path) -> Iterator[FakeMount]:
    """One whose kernel keeps nothing, so that every call is a request."""
    folder = tmp_path / "drive"
    folder.mkdir()
    mount = FakeMount(folder, "--strict", "--no-epoch")
    try:
        yield mount
    finally:
        mount.close()


CALLS: list[tuple[str, Callable[[Path], object]]] = [
    ("lookup", lambda folder: os.stat(folder / "never seen")),
    ("attributes", lambda folder: os.listxattr(folder / "file")),
    ("entries", os.listdir),
    ("usage", os.statvfs),
    ("open", lambda folder: (folder / "file").read_bytes()),
    ("create", (lambda folder: (folder / "new").touch())),
    ("flush", lambda folder: (folder / "file").write_text("x")),
    ("make", lambda folder: (folder / "folder").mkdir()),
    ("set_attributes", lambda folder: (folder / "file").chmod(0o600)),
    ("link", lambda folder: os.link(folder / "file", folder / "second")),
    ("unlink", lambda folder: (folder / "file").unlink()),
    ("rename", lambda folder: (folder / "file").rename(folder / "renamed")),
    ("set_xattr", lambda folder: os.setxattr(folder / "file", "user.x", b"1")),
]


@pytest.mark.parametrize(("at", "call"), CALLS, ids=[at for at, _ in CALLS])
def test_a_fault_is_eio_for_that_call_alone(mount: FakeMount, at: str, call: Callable[[Path], object]) -> None:
    (mount.path / "file").write_text("content")
    mount.another_device("fail", at=at)
    with pytest.raises(OSError) as told:
        call(mount.path)
    assert told.value.errno == errno.EIO
    (mount.path / "other").write_text("goes on")
    assert (mount.path / "other").read_text() == "goes on"
    assert "file" in os.listdir(mount.path)
