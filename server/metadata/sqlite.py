"""The embedded engine: SQLite with WAL and synchronous=FULL, and the same engine in memory.

Owns the connections. One writer thread takes what is queued when it becomes free, up to GROUP_MAX units, into one
transaction (see ``groupcommit``). Readers run on threads and connections of their own, each read on one snapshot.

Invariants: a ``write`` returns only after the COMMIT that holds its changes; a unit is either withdrawn by its
cancelled caller or its outcome is delivered, never both. The queue is as long as there are callers who wait.
"""

from __future__ import annotations

import queue
import sqlite3
import threading
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self, TypeVar

import trio

from server.metadata.connection import SqliteTransaction, connect, migrate, store_error
from server.metadata.groupcommit import Unit, commit_group
from server.metadata.store import StoreError, StoreUnavailable, Work

T = TypeVar("T")

READERS: Final = 2
GROUP_MAX: Final = 64
"""Units in one commit: bounds how long the first of them waits."""


class SqliteStore:
    """One database file, used by one process. ``MetadataStore``."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._units: queue.SimpleQueue[Unit[Any] | None] = queue.SimpleQueue()
        """None is the last: the store closes."""
        self._open = False
        self._idle_readers: list[sqlite3.Connection] = []
        self._reading = trio.CapacityLimiter(READERS)
        self._writer: threading.Thread | None = None

    async def __aenter__(self) -> Self:
        writing = await trio.to_thread.run_sync(self._connect)
        token = trio.lowlevel.current_trio_token()
        # A daemon: should the event loop die without closing this store, the process must still be able to end.
        self._writer = threading.Thread(target=self._write, args=(writing, token), name="metadata writer", daemon=True)
        self._writer.start()
        self._open = True
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._writer is not None
        self._open = False
        self._units.put(None)
        with trio.CancelScope(shield=True):
            await trio.to_thread.run_sync(self._writer.join)
        for connection in self._idle_readers:
            connection.close()

    async def read(self, work: Work[T]) -> T:
        """See ``MetadataStore``."""
        if not self._open:
            raise StoreUnavailable("the metadata store is closed")
        return await trio.to_thread.run_sync(self._read, work, limiter=self._reading)

    async def write(self, work: Work[T]) -> T:
        """See ``MetadataStore``."""
        await trio.lowlevel.checkpoint_if_cancelled()
        if not self._open:
            raise StoreUnavailable("the metadata store is closed")
        unit = Unit(work, trio.lowlevel.current_task())
        self._units.put(unit)

        def abort(_: object) -> trio.lowlevel.Abort:
            return trio.lowlevel.Abort.SUCCEEDED if unit.withdraw() else trio.lowlevel.Abort.FAILED

        await trio.lowlevel.wait_task_rescheduled(abort)
        return unit.outcome()

    # ── on threads ──

    def _connect(self) -> sqlite3.Connection:
        """The writer's connection, and the idle readers' ones."""
        made: list[sqlite3.Connection] = []
        try:
            writing = connect(self._path)
            made.append(writing)
            writing.execute("PRAGMA journal_mode = WAL")
            writing.execute("PRAGMA synchronous = FULL")
            migrate(writing)
            for _ in range(READERS):
                reading = connect(self._path)
                made.append(reading)
                reading.execute("PRAGMA query_only = ON")
        except (sqlite3.Error, StoreError) as error:
            for connection in made:
                connection.close()
            if isinstance(error, sqlite3.Error):
                raise StoreUnavailable(f"can't open {self._path}: {error}") from error
            raise
        self._idle_readers = made[1:]
        return writing

    def _read(self, work: Work[T]) -> T:
        connection = self._idle_readers.pop()  # The limiter lets in as many as there are.
        try:
            return read_on(connection, work)
        finally:
            self._idle_readers.append(connection)

    def _write(self, connection: sqlite3.Connection, token: trio.lowlevel.TrioToken) -> None:
        try:
            while (group := self._next_group()) is not None:
                commit_group(connection, group)
                token.run_sync_soon(_deliver, group)
        except trio.RunFinishedError:
            return  # Nobody waits any longer.
        finally:
            connection.close()

    def _next_group(self) -> list[Unit[Any]] | None:
        """Wait for a unit, and take what is queued behind it; None when the store closes. May be empty."""
        first = self._units.get()
        if first is None:
            return None
        group = [first] if first.begin() else []
        while len(group) < GROUP_MAX:
            try:
                unit = self._units.get_nowait()
            except queue.Empty:
                break
            if unit is None:
                self._units.put(None)  # Nothing is queued behind it: this group is the last.
                break
            if unit.begin():
                group.append(unit)
        return group


def _deliver(group: Sequence[Unit[Any]]) -> None:
    for unit in group:
        assert unit.task is not None
        trio.lowlevel.reschedule(unit.task)


def read_on(connection: sqlite3.Connection, work: Work[T]) -> T:
    """One snapshot's work on a connection that refuses changes; raises StoreError and what ``work`` raises."""
    try:
        connection.execute("BEGIN")
        try:
            return work(SqliteTransaction(connection))
        finally:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
    except sqlite3.Error as error:
        raise store_error(error) or error from error


class MemoryStore:
    """``MetadataStore`` in memory, run in place: no threads, so that a seed makes the whole run."""

    def __init__(self) -> None:
        self._connection = connect(None)

    async def __aenter__(self) -> Self:
        await trio.lowlevel.checkpoint()
        migrate(self._connection)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.close()

    async def read(self, work: Work[T]) -> T:
        """See ``MetadataStore``."""
        await trio.lowlevel.checkpoint()
        self._connection.execute("PRAGMA query_only = ON")
        try:
            return read_on(self._connection, work)
        finally:
            self._connection.execute("PRAGMA query_only = OFF")

    async def write(self, work: Work[T]) -> T:
        """See ``MetadataStore``."""
        await trio.lowlevel.checkpoint()
        unit = Unit(work)
        commit_group(self._connection, [unit])
        return unit.outcome()
