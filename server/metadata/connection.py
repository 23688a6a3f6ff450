"""SQLite connections: how each is set up, the transaction on it, numbered migrations, and whose fault an error is.

Knows nothing of threads or of what the rows mean.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final, TypeVar

from server.metadata.store import Row, SchemaTooNew, StoreError, StoreFull, StoreUnavailable

T = TypeVar("T")

MIGRATIONS: Final = Path(__file__).parent / "migrations"
"""Numbered from 0001; a database's ``user_version`` is the number of the last one applied."""

_BUSY_TIMEOUT_MS: Final = 30_000
_CACHE_KIB: Final = 24 * 1024
"""Pages that one connection keeps: the writer's and two readers' together stay below 75 MiB."""

_STATEMENTS: Final = 512
"""Prepared statements that a connection keeps: more than this package has."""

_UNAVAILABLE: Final = frozenset(
    {
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_NOMEM,
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_CORRUPT,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_PROTOCOL,
        sqlite3.SQLITE_NOTADB,
    }
)


def connect(path: Path | None) -> sqlite3.Connection:
    """A connection as every part here uses it; None is a database in memory. Raises sqlite3.Error."""
    connection = sqlite3.connect(
        ":memory:" if path is None else path,
        isolation_level=None,
        check_same_thread=False,
        cached_statements=_STATEMENTS,
    )
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("PRAGMA secure_delete = FAST")  # No remains of a replaced key in the page that held it.
    connection.execute(f"PRAGMA busy_timeout = {_BUSY_TIMEOUT_MS}")
    connection.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
    return connection


def store_error(error: sqlite3.Error) -> StoreError | None:
    """What trouble of the engine is called; None where the SQL or a constraint is at fault, which is a bug of ours."""
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF  # The low byte of an extended code.
    if code == sqlite3.SQLITE_FULL:
        return StoreFull("the disk that holds the metadata database is full")
    if code in _UNAVAILABLE:
        return StoreUnavailable(f"the metadata database can't be used: {error}")
    return None


class SqliteTransaction:
    """``Transaction`` on one connection."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def execute(self, sql: str, parameters: Sequence[object] = ()) -> int:
        """See ``Transaction``."""
        return self._connection.execute(sql, parameters).rowcount

    def all(self, sql: str, parameters: Sequence[object] = ()) -> list[Row]:
        """See ``Transaction``."""
        return self._connection.execute(sql, parameters).fetchall()

    def one(self, sql: str, parameters: Sequence[object] = ()) -> Row | None:
        """See ``Transaction``."""
        cursor = self._connection.execute(sql, parameters)
        row: Row | None = cursor.fetchone()
        cursor.close()  # An unfinished statement would hold the snapshot.
        return row

    def attempt(self, work: Callable[[], T]) -> T:
        """See ``Transaction``. Savepoints nest: the name means the innermost."""
        self._connection.execute("SAVEPOINT part")
        try:
            result = work()
        except BaseException:
            if self._connection.in_transaction:  # Some errors, a full disk's among them, end the whole transaction.
                self._connection.execute("ROLLBACK TO part")
                self._connection.execute("RELEASE part")
            raise
        self._connection.execute("RELEASE part")
        return result


def migrate(connection: sqlite3.Connection, folder: Path = MIGRATIONS) -> None:
    """Bring the schema up to date in one transaction; raises SchemaTooNew, and sqlite3.Error with nothing changed."""
    scripts = sorted(folder.glob("[0-9]*.sql"))
    connection.execute("BEGIN IMMEDIATE")
    try:
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if version > len(scripts):
            raise SchemaTooNew(
                f"the database has schema {version}, this program knows up to {len(scripts)}: install a newer samedrive"
            )
        for script in scripts[version:]:
            for statement in _statements(script.read_text()):
                connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {len(scripts)}")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _statements(script: str) -> Iterator[str]:
    """The statements of a script (sqlite3's own executescript would commit before it begins)."""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
    if statement.strip():
        raise ValueError(f"a migration ends inside a statement: {statement!r}")
