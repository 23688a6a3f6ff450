"""Where differential tests run: a real mount of a new server, and a local folder beside it.

As root the local folder is an ext4 of its own, mounted as a drive is: reading sets no access times, devices cannot be
opened, suid has no meaning. Elsewhere it is a folder of whatever file system temporary files are on.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple

from tests.differential.comparing import Comparison
from tests.differential.program import Profile
from tests.real.harness import Device, Mount, Server

IMAGE_BYTES: Final = 2 << 30
"""Sparse: most of it never takes space."""


@contextmanager
def comparing(folder: Path, *flags: str) -> Iterator[Comparison]:
    """A comparison of a new mount, which gets the flags, with a local folder, both in this one."""
    folder.chmod(0o711)
    with mounting(folder / "samedrive", *flags) as mount, local(folder / "local") as expected:
        profile = Profile(privileged=os.geteuid() == 0)
        yield Comparison(expected.folder, mount.path, profile, mount.remount, exact=expected.exact)


@contextmanager
def mounting(folder: Path, *flags: str) -> Iterator[Mount]:
    """A mount of a new server's workspace; other users may use it where root mounts it.

    Its log must hold no trouble in the end.
    """
    folder.mkdir(mode=0o711)
    server = Server(folder / "server").start()
    try:
        device = Device(folder / "device", "device", server.url)
        device.login(server.admin_password_file)
        others = ("--allow-other",) if os.geteuid() == 0 else ()
        mount = Mount(device, folder / "mounts", "home", *others, *flags)
        for way in (device.folder, mount.path.parent):
            way.chmod(0o711)
        mount.start()
        try:
            mount.path.chmod(0o755)
            yield mount
            assert mount.log.unexpected() == []
        finally:
            mount.close()
    finally:
        server.close()


class Local(NamedTuple):
    """A folder whose behaviour is expected of a mount."""

    folder: Path
    exact: bool
    """Whether it is known to do what Linux does best: ext4, where reading leaves access times alone."""


@contextmanager
def local(folder: Path) -> Iterator[Local]:
    """A new one; ext4 of its own in a file where this is root and the machine lets it."""
    image = folder.with_suffix(".ext4")
    folder.mkdir(mode=0o755)
    exact = (
        os.geteuid() == 0
        and _run("truncate", "--size", str(IMAGE_BYTES), str(image))
        and _run("mkfs.ext4", "-q", str(image))
        and _run("mount", "-o", "loop,noatime,nodev,nosuid", str(image), str(folder))
    )
    try:
        if exact:
            (folder / "lost+found").rmdir()
        yield Local(folder, exact)
    finally:
        if exact:
            subprocess.run(("umount", str(folder)), check=True)
            image.unlink()


def _run(*command: str) -> bool:
    return subprocess.run(command, check=False, capture_output=True).returncode == 0
