"""What every engine promises: the same tests on each."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trio

from server.metadata import accounts
from server.metadata.accounts import Taken
from server.metadata.engines import open_store
from server.metadata.store import MetadataStore, StoreError, Transaction


@pytest.fixture(params=["sqlite", "memory"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[MetadataStore]:
    url = "memory:" if request.param == "memory" else f"sqlite://{tmp_path}/with%20space.sqlite"
    async with open_store(url) as opened:
        yield opened


def names(tx: Transaction) -> list[str]:
    return [user.name for user in accounts.list_users(tx)]


async def test_an_empty_database_gets_the_schema(store: MetadataStore) -> None:
    assert await store.read(names) == []


async def test_a_read_sees_the_writes_that_have_returned(store: MetadataStore) -> None:
    user = await store.write(lambda tx: accounts.add_user(tx, "ann", "hash", admin=False, now_ns=1))
    assert user.name == "ann"
    assert await store.read(names) == ["ann"]


async def test_an_error_is_raised_and_nothing_kept(store: MetadataStore) -> None:
    def add_and_fail(tx: Transaction) -> None:
        accounts.add_user(tx, "ann", "hash", admin=False, now_ns=1)
        raise Taken("after all")

    with pytest.raises(Taken, match="after all"):
        await store.write(add_and_fail)
    assert await store.read(names) == []


async def test_an_attempt_is_undone_by_itself(store: MetadataStore) -> None:
    def work(tx: Transaction) -> None:
        accounts.add_user(tx, "ann", "hash", admin=False, now_ns=1)

        def inner() -> None:
            accounts.add_user(tx, "bob", "hash", admin=False, now_ns=1)
            tx.attempt(lambda: accounts.add_user(tx, "carl", "hash", admin=False, now_ns=1))
            raise Taken("bob")

        with pytest.raises(Taken):
            tx.attempt(inner)
        tx.attempt(lambda: accounts.add_user(tx, "dora", "hash", admin=False, now_ns=1))

    await store.write(work)
    assert await store.read(names) == ["ann", "dora"]


async def test_a_read_that_changes_rows_is_refused(store: MetadataStore) -> None:
    with pytest.raises(StoreError):
        await store.read(lambda tx: accounts.add_user(tx, "ann", "hash", admin=False, now_ns=1))
    assert await store.read(names) == []
    await store.write(lambda tx: accounts.add_user(tx, "ann", "hash", admin=False, now_ns=1))


async def test_errors_of_reads_are_raised(store: MetadataStore) -> None:
    with pytest.raises(accounts.Unknown):
        await store.read(lambda tx: accounts.user_named(tx, "nobody"))
    with pytest.raises(sqlite3.OperationalError):
        await store.read(lambda tx: tx.all("SELECT nonsense"))
    assert await store.read(names) == []


async def test_many_callers_write_at_once_and_each_gets_its_own(store: MetadataStore) -> None:
    got: dict[int, str] = {}

    async def one(number: int) -> None:
        if number % 10 == 0:
            with pytest.raises(Taken):
                await store.write(lambda tx: accounts.add_user(tx, "taken", "hash", admin=False, now_ns=1))
            return
        user = await store.write(lambda tx: accounts.add_user(tx, f"u{number:03}", "hash", admin=False, now_ns=1))
        got[number] = user.name

    await store.write(lambda tx: accounts.add_user(tx, "taken", "hash", admin=False, now_ns=1))
    async with trio.open_nursery() as nursery:
        for number in range(200):
            nursery.start_soon(one, number)
    assert got == {number: f"u{number:03}" for number in range(200) if number % 10}
    assert await store.read(names) == sorted([*got.values(), "taken"])


async def test_foreign_keys_hold(store: MetadataStore) -> None:
    with pytest.raises(sqlite3.IntegrityError):
        await store.write(lambda tx: tx.execute("INSERT INTO members VALUES ('no workspace', 'no user', 'owner')"))


async def test_a_cancelled_write_was_not_done(store: MetadataStore) -> None:
    with trio.CancelScope() as scope:
        scope.cancel()
        await store.write(lambda tx: accounts.add_user(tx, "ann", "hash", admin=False, now_ns=1))
    assert scope.cancelled_caught
    await store.write(lambda tx: accounts.add_user(tx, "bob", "hash", admin=False, now_ns=1))
    assert await store.read(names) == ["bob"]


@pytest.mark.parametrize("url", ["", "sqlite:", "sqlite://host/path", "sqlite:///", "postgresql://x/y", "memory"])
def test_an_unknown_engine_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="sqlite:///FILE"):
        open_store(url)
