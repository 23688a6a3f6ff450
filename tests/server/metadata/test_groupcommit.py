from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from server.metadata.connection import connect
from server.metadata.groupcommit import Unit, commit_group
from server.metadata.store import StoreFull, StoreUnavailable, Transaction


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    made = connect(tmp_path / "db")
    made.execute("CREATE TABLE t (x INTEGER PRIMARY KEY, filling BLOB) STRICT")
    made.execute("CREATE TABLE parents (x INTEGER PRIMARY KEY) STRICT")
    made.execute("CREATE TABLE children (x REFERENCES parents DEFERRABLE INITIALLY DEFERRED)")
    yield made
    made.close()


def insert(number: int, filling: bytes = b"") -> Unit[int]:
    return Unit(lambda tx: tx.execute("INSERT INTO t VALUES (?, ?)", (number, filling)))


def rows(connection: sqlite3.Connection) -> list[int]:
    return [row[0] for row in connection.execute("SELECT x FROM t ORDER BY x")]


def test_the_units_of_a_group_are_kept_together(connection: sqlite3.Connection) -> None:
    group = [insert(1), insert(2)]
    commit_group(connection, group)
    assert [unit.outcome() for unit in group] == [1, 1]
    assert rows(connection) == [1, 2]


@pytest.mark.parametrize("sql", ["INSERT INTO t VALUES (1, x'')", "SELECT nonsense", "INSERT INTO t VALUES ('x', x'')"])
def test_the_error_of_one_unit_is_its_own(connection: sqlite3.Connection, sql: str) -> None:
    def work(tx: Transaction) -> None:
        tx.execute("INSERT INTO t VALUES (10, x'')")
        tx.execute(sql)

    bad: Unit[None] = Unit(work)
    group = [insert(1), bad, insert(2)]
    commit_group(connection, group)
    with pytest.raises(sqlite3.Error):
        bad.outcome()
    assert [group[0].outcome(), group[2].outcome()] == [1, 1]
    assert rows(connection) == [1, 2]


def test_a_unit_may_fail_with_any_exception(connection: sqlite3.Connection) -> None:
    def work(_: Transaction) -> None:
        raise SystemExit(3)

    bad: Unit[None] = Unit(work)
    commit_group(connection, [bad, insert(1)])
    with pytest.raises(SystemExit):
        bad.outcome()
    assert rows(connection) == [1]


def test_a_full_disk_is_told_to_who_met_it_and_the_store_goes_on(connection: sqlite3.Connection) -> None:
    connection.execute("PRAGMA max_page_count = 40")
    group = [insert(1, b"x" * 100), insert(2, b"x" * 1_000_000), insert(3, b"x" * 100)]
    commit_group(connection, group)
    with pytest.raises(StoreFull):
        group[1].outcome()
    assert 2 not in rows(connection)
    later = insert(4)
    commit_group(connection, [later])
    assert later.outcome() == 1


def test_where_the_commit_fails_nobody_is_told_of_success(connection: sqlite3.Connection) -> None:
    def orphan(tx: Transaction) -> None:
        tx.execute("INSERT INTO children VALUES (99)")  # The constraint is checked at the commit.

    def taken(_: Transaction) -> None:
        raise KeyError("taken by a unit that was not kept")

    group: list[Unit[object]] = [insert(1), Unit(orphan), Unit(taken)]  # type: ignore[list-item]
    commit_group(connection, group)
    for unit in group:
        with pytest.raises(StoreUnavailable):
            unit.outcome()
    assert rows(connection) == []
    later = insert(2)
    commit_group(connection, [later])
    assert later.outcome() == 1


def test_where_another_process_holds_the_database_the_group_is_told(
    connection: sqlite3.Connection, tmp_path: Path
) -> None:
    connection.execute("PRAGMA busy_timeout = 0")
    other = sqlite3.connect(tmp_path / "db", isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    unit = insert(1)
    commit_group(connection, [unit])
    other.close()
    with pytest.raises(StoreUnavailable):
        unit.outcome()


def test_a_unit_is_either_begun_or_withdrawn() -> None:
    begun, withdrawn = insert(1), insert(2)
    assert begun.begin()
    assert not begun.withdraw()
    assert withdrawn.withdraw()
    assert not withdrawn.begin()
