"""A real tree goes in by `cp -a`, and comes back equal from a mount that has nothing cached."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.real.world import World

SOURCES = ("/usr/lib/python3", "/usr/share/doc", "/usr/share")
DEFAULT_FILES = 2_000


def sample(target: Path, most: int) -> int:
    """Copy up to so many real files, with their links, modes and times, to a folder on the local disk."""
    copied = 0
    for source in map(Path, SOURCES):
        for folder, _, names in os.walk(source):
            if copied >= most:
                return copied
            into = target / Path(folder).relative_to("/")
            into.mkdir(parents=True, exist_ok=True)
            for name in names[: most - copied]:
                shutil.copy2(Path(folder) / name, into / name, follow_symlinks=False)
                copied += 1
            shutil.copystat(folder, into)
    return copied


def difference(one: Path, other: Path) -> str:
    """What `diff -r` and rsync, comparing every byte and attribute, have to say; empty where equal."""
    diff = subprocess.run(
        # It has no way to compare two FIFOs; rsync has.
        ("diff", "-r", "--no-dereference", "--exclude=fifo", str(one), str(other)),
        capture_output=True,
        text=True,
        check=False,
    )
    rsync = subprocess.run(
        ("rsync", "-ainHAX", "--checksum", "--delete", f"{one}/", f"{other}/"),
        capture_output=True,
        text=True,
        check=True,
    )
    return diff.stdout + diff.stderr + rsync.stdout + rsync.stderr


def test_a_real_tree_comes_back_equal_from_an_empty_cache(world: World, tmp_path: Path) -> None:
    files = int(os.environ.get("SAMEDRIVE_TREE_FILES", DEFAULT_FILES))
    tree = tmp_path / "tree"
    assert sample(tree, files) == files
    # What real trees of packages seldom have.
    (tree / "empty").touch()
    (tree / "hole").touch()
    os.truncate(tree / "hole", 5 << 20)
    os.link(tree / "empty", tree / "second name")
    os.symlink("nowhere", tree / "dangling")
    os.utime(tree / "empty", ns=(1, 1_234_567_890_123_456_789))
    os.setxattr(tree / "empty", "user.colour", b"blue")
    os.mkfifo(tree / "fifo")
    (tree / "set").write_text("x")
    (tree / "set").chmod(0o6751)

    mount = world.mount()
    subprocess.run(("cp", "-a", str(tree), str(mount.path)), check=True)
    subprocess.run(("rsync", "-aHAX", f"{tree}/", f"{mount.path}/tree/"), check=True)
    assert difference(tree, mount.path / "tree") == ""
    mount.remount_empty()
    assert difference(tree, mount.path / "tree") == ""
    assert os.stat(mount.path / "tree" / "hole").st_blocks == 0
    assert os.stat(mount.path / "tree" / "empty").st_nlink == 2


@pytest.mark.slow
def test_a_tree_is_removed_to_the_last_file(world: World, tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    sample(tree, 500)
    mount = world.mount()
    subprocess.run(("cp", "-a", str(tree), str(mount.path)), check=True)
    shutil.rmtree(mount.path / "tree")
    assert os.listdir(mount.path) == []
    mount.remount_empty()
    assert os.listdir(mount.path) == []
