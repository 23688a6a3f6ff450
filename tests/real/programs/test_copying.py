"""Programs that copy, move, pack and unpack trees."""

from __future__ import annotations

import os
import shutil
import tarfile
from pathlib import Path

import pytest

from tests.real.harness import REPOSITORY
from tests.real.programs.conftest import Run


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A small tree with what a copy can lose: links, modes, times, attributes, holes, odd names."""
    tree = tmp_path / "source"
    shutil.copytree(REPOSITORY / "protocol", tree, ignore=shutil.ignore_patterns("__pycache__"))
    (tree / "empty").touch()
    (tree / "empty folder").mkdir()
    (tree / "read only").write_text("x")
    (tree / "read only").chmod(0o400)
    os.link(tree / "ids.py", tree / "second name")
    (tree / "link").symlink_to("ids.py")
    (tree / "dangling").symlink_to("nowhere")
    os.mkfifo(tree / "fifo")
    with (tree / "sparse").open("wb") as file:
        file.seek(20 << 20)
        file.write(b"end")
    (tree / os.fsdecode(b"\xff\n")).write_text("odd")
    os.setxattr(tree / "limits.py", "user.comment", b"kept")
    os.utime(tree / "limits.py", ns=(1, 1_000_000_000_000_000_001))
    return tree


def test_tar_extracts_and_compares(drive: Path, run: Run, tmp_path: Path) -> None:
    archive = tmp_path / "source.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(REPOSITORY / "protocol", "protocol")
        tar.add(REPOSITORY / "tests", "tests")
    run("tar", "xf", archive, cwd=drive)
    assert run("tar", "--compare", "-f", archive, cwd=drive) == ""
    run("tar", "czf", "again.tar.gz", "protocol", "tests", cwd=drive)
    run("tar", "--compare", "-f", "again.tar.gz", cwd=drive)


def test_rsync_copies_and_then_sends_nothing(drive: Path, source: Path, run: Run) -> None:
    run("rsync", "-aHAX", f"{source}/", drive / "copy/")
    again = run("rsync", "-aHAX", "--stats", "--itemize-changes", "--delete", f"{source}/", drive / "copy/")
    assert "Total transferred file size: 0 bytes" in again
    assert not [line for line in again.splitlines() if line.startswith((">", "<", "c", "*", "."))]
    assert run("rsync", "-aiHAX", "--checksum", f"{source}/", drive / "copy/") == ""
    (drive / "copy" / "ids.py").write_text("changed")
    assert "ids.py" in run("rsync", "-aiHAX", "--inplace", "--checksum", f"{source}/", drive / "copy/")
    assert run("rsync", "-aiHAX", "--checksum", f"{drive}/copy/", f"{source}/") == ""


def test_cp_copies_everything_there_and_back(drive: Path, source: Path, tmp_path: Path, run: Run) -> None:
    run("cp", "-a", source, drive / "copy")
    run("cp", "-a", drive / "copy", tmp_path / "back")
    for copy in (drive / "copy", tmp_path / "back"):
        assert run("rsync", "-aniHAX", "--checksum", "--delete", f"{source}/", f"{copy}/") == ""


def test_mv_moves_between_folders_and_out_of_the_drive_and_in(
    drive: Path, source: Path, tmp_path: Path, run: Run
) -> None:
    (drive / "folder").mkdir()
    run("cp", "-a", source, drive / "tree")
    run("mv", drive / "tree", drive / "folder" / "tree")
    run("mv", drive / "folder" / "tree", tmp_path / "out")
    assert os.listdir(drive / "folder") == []
    assert run("rsync", "-aniHAX", "--checksum", "--delete", f"{source}/", f"{tmp_path / 'out'}/") == ""
    run("mv", tmp_path / "out", drive / "in")
    assert not (tmp_path / "out").exists()
    assert run("rsync", "-aniHAX", "--checksum", "--delete", f"{source}/", f"{drive / 'in'}/") == ""


def test_zip_packs_and_unzip_unpacks(drive: Path, run: Run, tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    shutil.copytree(REPOSITORY / "protocol", tree, ignore=shutil.ignore_patterns("__pycache__"))
    run("cp", "-a", tree, drive / "tree")
    run("zip", "-qr", "tree.zip", "tree", cwd=drive)
    run("unzip", "-tq", "tree.zip", cwd=drive)
    run("unzip", "-q", "tree.zip", "-d", "unpacked", cwd=drive)
    assert run("diff", "-r", tree, drive / "unpacked" / "tree") == ""
