"""The seam between transactions and the engine that runs them.

A transaction is a synchronous function that is given a ``Transaction`` and does all its reading and writing there: one hop to
a thread for all of it. SQL is written with ``?`` for parameters and in what SQLite and PostgreSQL share; an
engine translates the rest.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeVar

T = TypeVar("T")
Row = tuple[Any, ...]


class StoreError(Exception):
    """Base of this package's errors of the engine."""


class StoreFull(StoreError):
    """The database's disk is full; nothing of the transaction was kept."""


class StoreUnavailable(StoreError):
    """The database can't be used now; try again."""


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
    """An engine. Used as an async context manager."""

    async def read(self, work: Work[T]) -> T:
        """Run on one snapshot; must not change anything."""
        ...

    async def write(self, work: Work[T]) -> T:
        """Run alone, and return when it is durable; raises what ``work`` raises, nothing of it being kept then."""
        ...
