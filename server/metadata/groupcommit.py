"""One durable transaction for several units of work that know nothing of each other.

Each unit runs in a savepoint: its error undoes it alone. The group is committed once, so that whoever waits for the
disk shares one wait. Outcomes may be told only after that: also an error says something about units before it in
the group, and would be wrong if they were not kept.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Sequence
from typing import Any, Generic, TypeVar

import trio

from server.metadata.connection import SqliteTransaction, store_error
from server.metadata.store import StoreUnavailable, Work

T = TypeVar("T")


class Unit(Generic[T]):
    """A piece of work, who waits for it, and what became of it.

    Either the caller withdraws it or the writer begins it; the lock decides which. From then on only the writer
    writes the outcome, and the caller reads it when it has been woken.
    """

    __slots__ = ("_begun", "_error", "_lock", "_result", "_withdrawn", "task", "work")

    def __init__(self, work: Work[T], task: trio.lowlevel.Task | None = None) -> None:
        self.work = work
        self.task = task
        self._lock = threading.Lock()
        self._begun = False
        self._withdrawn = False
        self._result: Any = None
        self._error: BaseException | None = None

    def begin(self) -> bool:
        """Whether to do it; by the writer."""
        with self._lock:
            self._begun = not self._withdrawn
            return self._begun

    def withdraw(self) -> bool:
        """Whether it will not be done; by the caller."""
        with self._lock:
            self._withdrawn = not self._begun
            return self._withdrawn

    def succeed(self, result: T) -> None:
        """What the work returned."""
        self._result = result

    def fail(self, error: BaseException) -> None:
        """What the work or the engine raised."""
        self._error = error

    def outcome(self) -> T:
        """Return or raise it."""
        if self._error is not None:
            raise self._error
        result: T = self._result
        return result


def commit_group(connection: sqlite3.Connection, group: Sequence[Unit[Any]]) -> None:
    """Run units that have begun, commit, and give each its outcome. Raises nothing."""
    transaction = SqliteTransaction(connection)
    try:
        connection.execute("BEGIN IMMEDIATE")
        for unit in group:
            _run(connection, transaction, unit)
        connection.execute("COMMIT")
    except sqlite3.Error as error:
        translated = store_error(error) or StoreUnavailable(f"the metadata database can't be used: {error}")
        translated.__cause__ = error
        for unit in group:
            unit.fail(translated)
        _roll_back(connection)


def _run(connection: sqlite3.Connection, transaction: SqliteTransaction, unit: Unit[Any]) -> None:
    """Raises sqlite3.Error only where the error has ended the transaction of the whole group."""
    try:
        unit.succeed(transaction.attempt(lambda: unit.work(transaction)))
    except sqlite3.Error as error:
        if not connection.in_transaction:
            raise
        unit.fail(store_error(error) or error)
    except BaseException as error:
        unit.fail(error)


def _roll_back(connection: sqlite3.Connection) -> None:
    """Where this fails, the next BEGIN does too, and its group is told."""
    try:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
    except sqlite3.Error:
        return
