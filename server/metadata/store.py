"""The seam between transactions and the engine that runs them.

A transaction is a synchronous function that is given a ``Transaction`` and does all its reading and writing there: one
hop to a thread for all of it. SQL is written with ``?`` for parameters and in what SQLite and PostgreSQL share; an
engine translates the rest.

Errors::

    StoreError
    ├── StoreFull         nothing of the transaction was kept: make room
    ├── StoreUnavailable  nothing of the transaction was kept: try again
    └── SchemaTooNew      the database can't be opened: install the newer program

Whatever else a transaction's function raises reaches the caller as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, Protocol, Self, TypeVar

T = TypeVar("T")
Row = tuple[Any, ...]


class StoreError(Exception):
    """Base of this package's errors of the engine."""


class StoreFull(StoreError):
    """The database's disk is full; nothing of the transaction was kept."""


class StoreUnavailable(StoreError):
    """The database can't be used now; nothing of the transaction was kept. Try again."""


class SchemaTooNew(StoreError):
    """A newer version of samedrive wrote this database: install that version."""


class Transaction(Protocol):
    """One transaction's view of the database."""

    def execute(self, sql: str, parameters: Sequence[object] = ()) -> int:
        """Change rows; returns how many."""
        ...

    def all(self, sql: str, parameters: Sequence[object] = ()) -> list[Row]:
        """Every row of a query."""
        ...

    def one(self, sql: str, parameters: Sequence[object] = ()) -> Row | None:
        """The first row of a query, or None."""
        ...

    def attempt(self, work: Callable[[], T]) -> T:
        """Run a part that is undone by itself where it raises."""
        ...


Work = Callable[[Transaction], T]


class MetadataStore(Protocol):
    """An engine.

    Entering it opens the database and brings its schema up to date; raises SchemaTooNew and StoreUnavailable. Leaving
    it lets what is queued finish.
    """

    async def __aenter__(self) -> Self: ...

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    async def read(self, work: Work[T]) -> T:
        """Run on one snapshot, which holds every write that returned before; a ``work`` that changes rows is refused.

        Raises what ``work`` raises, and StoreUnavailable.
        """
        ...

    async def write(self, work: Work[T]) -> T:
        """Run alone, and return when it is durable; raises what ``work`` raises, nothing of it being kept then.

        Also raises StoreFull and StoreUnavailable. trio.Cancelled means that it was not done and won't be: once the
        engine has begun, a cancelled caller waits for the outcome and gets it.
        """
        ...
