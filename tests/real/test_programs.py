"""Programs that people use, on the mount, checked by their own means."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.real.harness import REPOSITORY, environment

Run = Callable[..., str]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    env = {
        **environment(tmp_path / "home"),
        "GIT_AUTHOR_NAME": "A",
        "GIT_AUTHOR_EMAIL": "a@example.org",
        "GIT_COMMITTER_NAME": "A",
        "GIT_COMMITTER_EMAIL": "a@example.org",
    }

    def run(*command: str | Path, cwd: Path | None = None) -> str:
        done = subprocess.run(
            [str(each) for each in command],
            cwd=cwd,
            env=env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=180,
            check=False,
        )
        assert done.returncode == 0, f"{command}: {done.returncode}\n{done.stdout}{done.stderr}"
        return done.stdout + done.stderr

    return run


def test_git_clones_commits_collects_and_checks(drive: Path, run: Run, tmp_path: Path) -> None:
    origin = tmp_path / "origin"
    run("git", "init", "-q", "-b", "main", origin)
    for number in range(120):
        (origin / f"file{number}").write_text(f"{number}\n" * 200)
    run("git", "-C", origin, "add", "-A")
    run("git", "-C", origin, "commit", "-qm", "first")
    clone = drive / "clone"
    run("git", "clone", "-q", "--no-local", origin, clone)
    assert run("git", "-C", clone, "status", "--porcelain") == ""
    (clone / "file3").write_text("changed\n")
    (clone / "new").write_text("new\n")
    assert run("git", "-C", clone, "status", "--porcelain") == " M file3\n?? new\n"
    run("git", "-C", clone, "add", "-A")
    run("git", "-C", clone, "commit", "-qm", "second")
    run("git", "-C", clone, "checkout", "-qb", "branch", "HEAD~1")
    assert not (clone / "new").exists()
    run("git", "-C", clone, "gc", "-q", "--aggressive", "--prune=now")
    run("git", "-C", clone, "fsck", "--full", "--strict")
    assert run("git", "-C", clone, "status", "--porcelain") == ""
    run("git", "-C", clone, "push", "-q", "origin", "main:copy")
    assert run("git", "-C", origin, "rev-parse", "copy") == run("git", "-C", clone, "rev-parse", "main")


@pytest.mark.parametrize("backupcopy", ["yes", "no"])
def test_vim_saves_with_swap_and_backup(drive: Path, run: Run, backupcopy: str) -> None:
    file = drive / "text"
    file.write_text("one\ntwo\n")
    file.chmod(0o640)
    run(
        *("vim", "-Nu", "NONE", "-es", "--not-a-term"),
        *("-c", f"set swapfile directory=. undofile undodir=. backupcopy={backupcopy}"),
        *("-c", "set backup writebackup backupdir=. backupskip="),
        *("-c", "%s/two/three/", "-c", "preserve", "-c", "wq", "text"),
        cwd=drive,
    )
    assert file.read_text() == "one\nthree\n"
    assert (drive / "text~").read_text() == "one\ntwo\n"
    assert file.stat().st_mode & 0o777 == 0o640
    assert sorted(os.listdir(drive)) == [".text.un~", "text", "text~"]


@pytest.mark.parametrize("mode", ["delete", "wal", "truncate"])
def test_sqlite_keeps_its_database_sound(drive: Path, mode: str) -> None:
    path = drive / "data.db"
    connection = sqlite3.connect(path, isolation_level=None)
    assert connection.execute(f"PRAGMA journal_mode={mode}").fetchone() == (mode,)
    connection.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, body BLOB)")
    for batch in range(5):
        connection.execute("BEGIN")
        connection.executemany("INSERT INTO t (body) VALUES (?)", ((os.urandom(500),) for _ in range(200)))
        connection.execute("COMMIT")
        connection.execute("DELETE FROM t WHERE id % 7 = ?", (batch,))
    other = sqlite3.connect(path)
    assert other.execute("SELECT count(*) FROM t").fetchone() == connection.execute("SELECT count(*) FROM t").fetchone()
    other.close()
    connection.execute("VACUUM")
    assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    connection.close()
    again = sqlite3.connect(path)
    assert again.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    again.close()
    assert sorted(os.listdir(drive)) == ["data.db", *(["data.db-journal"] if mode == "truncate" else [])]


def test_tar_extracts_and_compares(drive: Path, run: Run, tmp_path: Path) -> None:
    archive = tmp_path / "source.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(REPOSITORY / "protocol", "protocol")
        tar.add(REPOSITORY / "tests", "tests")
    run("tar", "xf", archive, cwd=drive)
    assert run("tar", "--compare", "-f", archive, cwd=drive) == ""
    run("tar", "czf", "again.tar.gz", "protocol", "tests", cwd=drive)
    run("tar", "--compare", "-f", "again.tar.gz", cwd=drive)


def test_rsync_copies_and_then_has_nothing_to_do(drive: Path, run: Run) -> None:
    source = f"{REPOSITORY / 'protocol'}/"
    run("rsync", "-aHAX", source, drive / "copy/")
    assert run("rsync", "-aiHAX", "--checksum", "--delete", source, drive / "copy/") == ""
    (drive / "copy" / "ids.py").write_text("changed")
    assert "ids.py" in run("rsync", "-aiHAX", "--inplace", "--checksum", source, drive / "copy/")
    assert run("diff", "-r", source, drive / "copy") == ""


def test_gcc_builds_a_program_that_runs(drive: Path, run: Run) -> None:
    for number in range(10):
        (drive / f"part{number}.c").write_text(f"int part{number}(void) {{ return {number}; }}\n")
    calls = " + ".join(f"part{number}()" for number in range(10))
    declared = "".join(f"int part{number}(void);\n" for number in range(10))
    (drive / "main.c").write_text(f'#include <stdio.h>\n{declared}int main(void) {{ printf("%d\\n", {calls}); }}\n')
    for name in [*(f"part{number}" for number in range(10)), "main"]:
        run("gcc", "-O1", "-g", "-c", f"{name}.c", "-o", f"{name}.o", cwd=drive)
    run("sh", "-c", "ar rcs libparts.a part*.o && gcc main.o -L. -lparts -o program", cwd=drive)
    assert run(drive / "program") == "45\n"


def test_python_compiles_and_imports(drive: Path, run: Run) -> None:
    shutil.copytree(REPOSITORY / "protocol", drive / "protocol", ignore=shutil.ignore_patterns("__pycache__"))
    run(sys.executable, "-m", "compileall", "-q", drive / "protocol")
    assert len(list((drive / "protocol" / "__pycache__").iterdir())) == len(list((drive / "protocol").glob("*.py")))
    assert run(
        sys.executable, "-c", "import protocol.limits; print(protocol.limits.__file__)", cwd=drive
    ).strip() == str(drive / "protocol" / "limits.py")
