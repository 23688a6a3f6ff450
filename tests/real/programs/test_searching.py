"""Programs that read: find, du, grep and ripgrep, and tail that follows a file."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.real.programs.conftest import Run


@pytest.fixture
def tree(drive: Path) -> Path:
    """Three levels, 4 folders and 8 files in each folder; every file names itself."""

    def fill(folder: Path, levels: int) -> None:
        for number in range(8):
            file = folder / f"file{number}.txt"
            file.write_text(f"{file.relative_to(drive)}\n")
        for number in range(4 if levels else 0):
            (folder / f"folder{number}").mkdir()
            fill(folder / f"folder{number}", levels - 1)

    fill(drive, 2)
    return drive


def test_find_finds_every_name_once(tree: Path, run: Run) -> None:
    assert len(run("find", tree, "-type", "f").splitlines()) == 8 * (1 + 4 + 16)
    assert len(run("find", tree, "-type", "d").splitlines()) == 1 + 4 + 16
    assert run("find", tree, "-size", "-5c", "-type", "f") == ""
    run("find", tree, "-name", "file7.txt", "-delete")
    assert len(run("find", tree, "-type", "f").splitlines()) == 7 * (1 + 4 + 16)


def test_du_counts_what_is_there_and_no_hole(drive: Path, run: Run) -> None:
    (drive / "folder").mkdir()
    (drive / "folder" / "file").write_bytes(os.urandom(1_000_000))
    with (drive / "folder" / "sparse").open("wb") as file:
        file.truncate(1 << 30)
    apparent = int(run("du", "-s", "--apparent-size", "--block-size=1", drive / "folder").split()[0])
    used = int(run("du", "-s", "--block-size=1", drive / "folder").split()[0])
    assert apparent >= (1 << 30) + 1_000_000
    assert 1_000_000 <= used < 1_100_000


@pytest.mark.parametrize("program", [("grep", "-rl"), ("rg", "-l", "--no-ignore")], ids=["grep", "ripgrep"])
def test_a_search_finds_every_file(tree: Path, run: Run, program: tuple[str, ...]) -> None:
    found = run(*program, "file3", tree).splitlines()
    assert len(found) == 1 + 4 + 16
    assert all(Path(path).read_text() == f"{Path(path).relative_to(tree)}\n" for path in found)


@pytest.fixture
def tail(both: tuple[Path, Path]) -> Iterator[subprocess.Popen[str]]:
    """``tail -F`` of a file on the other mount that has one line, which it has printed."""
    (both[0] / "log").write_text("line 0\n")
    command = ("tail", "-n", "+1", "-s", "0.1", "-F", str(both[1] / "log"))
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "line 0\n"
        yield process
        process.kill()


def test_tail_shows_what_another_mount_appends(both: tuple[Path, Path], tail: subprocess.Popen[str]) -> None:
    """It takes a remote append for a replacement, and prints the file again: see docs/posix.md."""
    assert tail.stdout is not None
    for number in range(1, 4):
        with (both[0] / "log").open("a") as log:
            log.write(f"line {number}\n")
        shown = [tail.stdout.readline() for _ in range(number + 1)]
        assert shown == [f"line {each}\n" for each in range(number + 1)]
