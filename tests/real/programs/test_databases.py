"""sqlite3: journals in its ways, killed while it writes, on a second mount afterwards."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from tests.real.programs.conftest import Run

WRITES_UNTIL_KILLED = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute(f"PRAGMA journal_mode={sys.argv[2]}")
connection.execute("CREATE TABLE IF NOT EXISTS t (id INTEGER PRIMARY KEY, body BLOB)")
while True:
    connection.execute("BEGIN IMMEDIATE")
    connection.executemany("INSERT INTO t (body) VALUES (randomblob(?))", ((2000,) for _ in range(20)))
    connection.execute("COMMIT")
    print(connection.execute("SELECT count(*) FROM t").fetchone()[0], flush=True)
"""


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


@pytest.mark.parametrize("mode", ["delete", "wal"])
def test_sqlite_that_is_killed_while_it_writes_has_every_commit_it_told_of(
    both: tuple[Path, Path], run: Run, mode: str
) -> None:
    here, there = (folder / "data.db" for folder in both)
    told = 0
    for commits in (3, 5, 8):
        command = (sys.executable, "-c", WRITES_UNTIL_KILLED, str(here), mode)
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
            assert writer.stdout is not None
            for _ in range(commits):
                told = int(writer.stdout.readline())
            writer.send_signal(signal.SIGKILL)
        for path in (here, there):
            assert run("sqlite3", path, "PRAGMA integrity_check") == "ok\n"
            assert int(run("sqlite3", path, "SELECT count(*) FROM t")) >= told
