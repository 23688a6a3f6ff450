from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from server.metadata.connection import MIGRATIONS, connect, migrate
from server.metadata.store import SchemaTooNew


@pytest.fixture
def connection() -> Iterator[sqlite3.Connection]:
    made = connect(None)
    yield made
    made.close()


def version(connection: sqlite3.Connection) -> int:
    (number,) = connection.execute("PRAGMA user_version").fetchone()
    return int(number)


def test_migrations_are_numbered_from_1_without_gaps() -> None:
    numbers = [int(path.name[:4]) for path in sorted(MIGRATIONS.glob("*.sql"))]
    assert numbers == list(range(1, len(numbers) + 1))


def test_a_migration_is_applied_once(connection: sqlite3.Connection, tmp_path: Path) -> None:
    (tmp_path / "0001_a.sql").write_text("-- A; comment.\nCREATE TABLE a (x); -- one; two\nCREATE TABLE b (\n x\n);\n")
    migrate(connection, tmp_path)
    migrate(connection, tmp_path)
    (tmp_path / "0002_b.sql").write_text("ALTER TABLE a ADD COLUMN y;\nINSERT INTO a VALUES (1, ';\n');\n")
    migrate(connection, tmp_path)
    assert version(connection) == 2
    assert connection.execute("SELECT * FROM a").fetchall() == [(1, ";\n")]


def test_a_failed_migration_changes_nothing(connection: sqlite3.Connection, tmp_path: Path) -> None:
    (tmp_path / "0001_a.sql").write_text("CREATE TABLE a (x);\nCREATE TABLE a (x);\n")
    with pytest.raises(sqlite3.OperationalError):
        migrate(connection, tmp_path)
    assert (version(connection), connection.in_transaction) == (0, False)
    assert connection.execute("SELECT count(*) FROM sqlite_master").fetchone() == (0,)


def test_a_migration_that_ends_inside_a_statement_is_refused(connection: sqlite3.Connection, tmp_path: Path) -> None:
    (tmp_path / "0001_a.sql").write_text("CREATE TABLE a (x);\nCREATE TABLE b (x)\n")
    with pytest.raises(ValueError, match="inside a statement"):
        migrate(connection, tmp_path)
    assert version(connection) == 0


def test_a_newer_schema_is_refused(connection: sqlite3.Connection, tmp_path: Path) -> None:
    connection.execute("PRAGMA user_version = 2")
    (tmp_path / "0001_a.sql").write_text("CREATE TABLE a (x);\n")
    with pytest.raises(SchemaTooNew, match="schema 2"):
        migrate(connection, tmp_path)


def test_keys_and_blocks_from_before_rotation_are_the_first_key_s(
    connection: sqlite3.Connection, tmp_path: Path
) -> None:
    for script in sorted(MIGRATIONS.glob("*.sql"))[:9]:
        (tmp_path / script.name).write_text(script.read_text())
    migrate(connection, tmp_path)
    connection.execute("INSERT INTO users VALUES ('u', 'ann', '-', 0, 0)")
    connection.execute(
        "INSERT INTO workspaces (id, owner_id, name, wrapped_key, key_id, is_default, created_ns)"
        " VALUES ('w', 'u', 'home', x'0102', 1, 1, 7)"
    )
    connection.execute("INSERT INTO blocks VALUES ('w', x'aa', NULL, 5, 5), ('w', x'bb', 'object', 9, 9)")
    migrate(connection)
    assert connection.execute("SELECT * FROM workspace_keys").fetchall() == [("w", 1, b"\1\2", 7)]
    assert connection.execute("SELECT block_count, old_blocks, key_id FROM workspaces").fetchall() == [(2, 0, 1)]
    assert connection.execute("SELECT DISTINCT key_id FROM blocks").fetchall() == [(1,)]


def test_every_table_of_a_workspace_begins_its_key_with_it(connection: sqlite3.Connection) -> None:
    migrate(connection)
    tables = {row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    for table in tables - {"users", "devices", "workspaces", "audit"}:
        key = [row[1] for row in connection.execute(f"PRAGMA table_info({table})") if row[5] == 1]
        assert key == ["workspace"], table
