"""The embedded engine: SQLite with WAL and synchronous=FULL.

Owns the connections. One writer thread takes everything that is queued into one transaction, each piece in a savepoint of its own,
and commits once: a commit is an fsync, and whoever waits for one shares it (group commit). Readers run on threads and
connections of their own, each read on one snapshot.

Invariant: a caller's ``write`` returns only after the COMMIT that holds its changes.
"""

from __future__ import annotations

import queue
import sqlite3
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final, TypeVar

import trio

from server.metadata.store import Row, SchemaTooNew, StoreFull, StoreUnavailable, Work

T = TypeVar("T")

READERS: Final = 2
GROUP_MAX: Final = 64
"""Pieces of work in one commit: bounds how long the first of them waits."""

_MIGRATIONS: Final = Path(__file__).parent / "migrations"


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
        row: Row | None = self._connection.execute(sql, parameters).fetchone()
        return row

    def attempt(self, work: Callable[[], T]) -> T:
        """See ``Transaction``."""
        self._connection.execute("SAVEPOINT part")
        try:
            result = work()
        except BaseException:
            self._connection.execute("ROLLBACK TO part")
            self._connection.execute("RELEASE part")
            raise
        self._connection.execute("RELEASE part")
        return result


@dataclass(slots=True)
class _Job:
    """A piece of work in the writer's queue."""

    work: Work[Any]
    done: trio.Event
    outcome: Any = None
    error: BaseException | None = None


class SqliteStore:
    """One database file. Use as an async context manager."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._idle_readers: queue.SimpleQueue[sqlite3.Connection] = queue.SimpleQueue()
        self._reading = trio.CapacityLimiter(READERS)
        self._writer: threading.Thread | None = None
        self._closing = False

    async def __aenter__(self) -> SqliteStore:
        connection = await trio.to_thread.run_sync(self._open_and_migrate)
        for _ in range(READERS):
            self._idle_readers.put(connect(self._path))
        self._writer = threading.Thread(
            target=self._write_until_closed, args=(connection, trio.lowlevel.current_trio_token()), name="metadata"
        )
        self._writer.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closing = True
        self._jobs.put(None)
        assert self._writer is not None
        with trio.CancelScope(shield=True):
            await trio.to_thread.run_sync(self._writer.join)
        for _ in range(READERS):
            self._idle_readers.get().close()

    async def read(self, work: Work[T]) -> T:
        """See ``MetadataStore``."""
        return await trio.to_thread.run_sync(self._read, work, limiter=self._reading)

    async def write(self, work: Work[T]) -> T:
        """See ``MetadataStore``. A caller that is cancelled leaves its work in the queue: it is done all the same."""
        if self._closing:
            raise StoreUnavailable("the server is stopping")
        job = _Job(work, trio.Event())
        self._jobs.put(job)
        await job.done.wait()
        if job.error is not None:
            raise job.error
        result: T = job.outcome
        return result

    def _open_and_migrate(self) -> sqlite3.Connection:
        connection = connect(self._path)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        migrate(connection)
        return connection

    def _read(self, work: Work[T]) -> T:
        connection = self._idle_readers.get()
        try:
            connection.execute("BEGIN")
            try:
                return work(SqliteTransaction(connection))
            finally:
                connection.execute("ROLLBACK")
        except sqlite3.OperationalError as error:
            raise StoreUnavailable(str(error)) from error
        finally:
            self._idle_readers.put(connection)

    def _write_until_closed(self, connection: sqlite3.Connection, token: trio.lowlevel.TrioToken) -> None:
        while (job := self._jobs.get()) is not None:
            group, ending = [job], False
            while len(group) < GROUP_MAX and not self._jobs.empty():
                more = self._jobs.get()
                if more is None:
                    ending = True
                    break
                group.append(more)
            run_group(connection, group)
            try:
                token.run_sync_soon(_tell, group)
            except trio.RunFinishedError:
                break
            if ending:
                break
        connection.close()


def _tell(group: list[_Job]) -> None:
    for job in group:
        job.done.set()


def run_group(connection: sqlite3.Connection, group: list[_Job]) -> None:
    """One transaction for all of them; each gets its result, its own error, or the error of the commit."""
    transaction = SqliteTransaction(connection)
    try:
        connection.execute("BEGIN IMMEDIATE")
        for job in group:
            try:
                job.outcome = transaction.attempt(lambda job=job: job.work(transaction))  # type: ignore[misc]
            except (sqlite3.OperationalError, sqlite3.InternalError):
                raise
            except BaseException as error:
                job.error = error
        connection.execute("COMMIT")
    except sqlite3.Error as error:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        full = error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_FULL if hasattr(error, "sqlite_errorcode") else False
        for job in group:
            job.error = (StoreFull if full else StoreUnavailable)(str(error))


class MemoryStore:
    """The same engine in memory, run in place: for tests and simulations."""

    def __init__(self) -> None:
        self._connection = connect(None)
        migrate(self._connection)

    async def __aenter__(self) -> MemoryStore:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.close()

    async def read(self, work: Work[T]) -> T:
        """See ``MetadataStore``."""
        await trio.lowlevel.checkpoint()
        return work(SqliteTransaction(self._connection))

    async def write(self, work: Work[T]) -> T:
        """See ``MetadataStore``."""
        await trio.lowlevel.checkpoint()
        job = _Job(work, trio.Event())
        run_group(self._connection, [job])
        if job.error is not None:
            raise job.error
        result: T = job.outcome
        return result


def connect(path: Path | None) -> sqlite3.Connection:
    """A connection as every part here uses it; None is a database in memory."""
    connection = sqlite3.connect(
        ":memory:" if path is None else path, isolation_level=None, check_same_thread=False, cached_statements=512
    )
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("PRAGMA busy_timeout = 30000")
    connection.execute("PRAGMA cache_size = -65536")
    return connection


def migrate(connection: sqlite3.Connection) -> None:
    """Bring the schema up to date, one numbered file at a time; raises SchemaTooNew."""
    scripts = sorted(_MIGRATIONS.glob("[0-9]*.sql"))
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version > len(scripts):
        raise SchemaTooNew(
            f"the database has schema {version}, this program knows up to {len(scripts)}: install a newer samedrive"
        )
    for number, script in enumerate(scripts[version:], start=version + 1):
        connection.executescript(f"BEGIN IMMEDIATE;\n{script.read_text()}\nPRAGMA user_version = {number};\nCOMMIT;")
