"""What the engine in a file adds: threads, groups, restarts."""

from __future__ import annotations

import sqlite3
import threading
from functools import partial
from pathlib import Path

import pytest
import trio
import trio.testing

from protocol.ids import JournalId, Seq, WorkspaceId
from protocol.messages.batches import Batch
from protocol.messages.changes import Create
from protocol.messages.nodes import Kind
from server.metadata import accounts, feed, invariants, tree
from server.metadata.changes import apply_batch
from server.metadata.sqlite import GROUP_MAX, SqliteStore
from server.metadata.store import SchemaTooNew, StoreUnavailable, Transaction

SPACE = WorkspaceId("ab" * 16)


def add(tx: Transaction, name: str) -> None:
    accounts.add_user(tx, name, "hash", admin=False, now_ns=1)


def names(tx: Transaction) -> list[str]:
    return [user.name for user in accounts.list_users(tx)]


class Gate:
    """Work that keeps the writer busy until it is let go."""

    def __init__(self) -> None:
        self.entered = threading.Event()
        self.release = threading.Event()

    def work(self, tx: Transaction) -> str:
        add(tx, "gate")
        self.entered.set()
        assert self.release.wait(10)
        return "let go"

    async def wait_entered(self) -> None:
        assert await trio.to_thread.run_sync(self.entered.wait, 10)


async def test_what_was_written_is_there_after_a_restart(tmp_path: Path) -> None:
    async with SqliteStore(tmp_path / "db") as store:
        await store.write(lambda tx: add(tx, "ann"))
    async with SqliteStore(tmp_path / "db") as store:
        assert await store.read(names) == ["ann"]


async def test_a_batch_is_answered_again_after_a_restart(tmp_path: Path) -> None:
    def prepare(tx: Transaction) -> accounts.Caller:
        user = accounts.add_user(tx, "ann", "hash", admin=False, now_ns=1)
        accounts.create_workspace(tx, SPACE, user.id, "home", b"key", None, is_default=True, now_ns=1)
        accounts.login_device(tx, user.id, "laptop", b"token", 1)
        caller = accounts.caller_of(tx, b"token")
        assert caller is not None
        feed.join(tx, SPACE, caller.device, journal, Seq(0), 1)
        return caller

    journal = JournalId(b"j" * 16)
    made = [Create(5, tree.NodeId(1), name, tree.NodeId(number), Kind.FILE, 0o644, 0, 0)
            for number, name in ((100, b"a"), (101, b"a"), (102, b"b"))]  # fmt: skip
    batch = Batch(journal, 1, list(made))
    async with SqliteStore(tmp_path / "db") as store:
        caller = await store.write(prepare)
        first = await store.write(lambda tx: apply_batch(tx, SPACE, caller, batch, {}, Seq(0), 7))
    async with SqliteStore(tmp_path / "db") as store:
        assert await store.write(lambda tx: apply_batch(tx, SPACE, caller, batch, {}, Seq(0), 8)) == first
        assert await store.read(lambda tx: tree.head(tx, SPACE)) == 2
        await store.read(lambda tx: invariants.check(tx, SPACE))


async def test_what_queues_up_meanwhile_shares_a_commit(tmp_path: Path) -> None:
    gate = Gate()
    committed: list[int] = []
    async with SqliteStore(tmp_path / "db") as store:
        watching = sqlite3.connect(tmp_path / "db", check_same_thread=False)

        def watch_and_add(tx: Transaction, number: int) -> None:
            add(tx, f"u{number}")
            committed.append(watching.execute("SELECT count(*) FROM users").fetchone()[0])

        async with trio.open_nursery() as nursery:
            nursery.start_soon(store.write, gate.work)
            await gate.wait_entered()
            for number in range(GROUP_MAX + 1):
                nursery.start_soon(store.write, partial(watch_and_add, number=number))
            await trio.testing.wait_all_tasks_blocked()
            gate.release.set()
        watching.close()
    # The gate was a group of its own, then one as large as groups get, then the rest.
    assert committed == [1] * GROUP_MAX + [1 + GROUP_MAX]


async def test_a_read_goes_on_beside_a_write_and_sees_what_is_committed(tmp_path: Path) -> None:
    gate = Gate()
    async with SqliteStore(tmp_path / "db") as store, trio.open_nursery() as nursery:
        await store.write(lambda tx: add(tx, "ann"))
        nursery.start_soon(store.write, gate.work)
        await gate.wait_entered()
        assert await store.read(names) == ["ann"]
        gate.release.set()


async def test_a_read_is_one_snapshot(tmp_path: Path) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def twice(tx: Transaction) -> tuple[list[str], list[str]]:
        first = names(tx)
        begun.set()
        assert go_on.wait(10)
        return first, names(tx)

    async with SqliteStore(tmp_path / "db") as store, trio.open_nursery() as nursery:
        seen: list[tuple[list[str], list[str]]] = []

        async def read() -> None:
            seen.append(await store.read(twice))

        nursery.start_soon(read)
        assert await trio.to_thread.run_sync(begun.wait, 10)
        await store.write(lambda tx: add(tx, "ann"))
        go_on.set()
    assert seen == [([], [])]


async def test_a_caller_cancelled_before_its_turn_withdraws(tmp_path: Path) -> None:
    gate = Gate()
    async with SqliteStore(tmp_path / "db") as store:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(store.write, gate.work)
            await gate.wait_entered()
            with trio.move_on_after(0) as scope:
                await store.write(lambda tx: add(tx, "withdrawn"))
            assert scope.cancelled_caught
            gate.release.set()
        assert await store.read(names) == ["gate"]


async def test_a_caller_cancelled_after_the_start_waits_for_the_outcome(tmp_path: Path) -> None:
    gate, got = Gate(), []

    async def write(scope: trio.CancelScope) -> None:
        with scope:
            got.append(await store.write(gate.work))

    async with SqliteStore(tmp_path / "db") as store:
        async with trio.open_nursery() as nursery:
            scope = trio.CancelScope()
            nursery.start_soon(write, scope)
            await gate.wait_entered()
            scope.cancel()
            await trio.testing.wait_all_tasks_blocked()
            assert got == []
            gate.release.set()
        assert got == ["let go"]
        assert await store.read(names) == ["gate"]


async def test_leaving_lets_the_queue_finish_and_then_refuses(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "db")
    gate = Gate()
    async with trio.open_nursery() as nursery:
        await store.__aenter__()
        nursery.start_soon(store.write, gate.work)
        await gate.wait_entered()
        nursery.start_soon(store.write, lambda tx: add(tx, "queued"))
        await trio.testing.wait_all_tasks_blocked()
        gate.release.set()
        await store.__aexit__(None, None, None)
    with pytest.raises(StoreUnavailable):
        await store.write(lambda tx: add(tx, "late"))
    with pytest.raises(StoreUnavailable):
        await store.read(names)
    async with SqliteStore(tmp_path / "db") as again:
        assert await again.read(names) == ["gate", "queued"]


async def test_a_newer_schema_is_refused_and_left_alone(tmp_path: Path) -> None:
    async with SqliteStore(tmp_path / "db"):
        pass
    with sqlite3.connect(tmp_path / "db") as connection:
        connection.execute("PRAGMA user_version = 9999")
    connection.close()
    with pytest.raises(SchemaTooNew, match="9999"):
        await SqliteStore(tmp_path / "db").__aenter__()


async def test_what_is_no_database_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "db").write_bytes(b"not a database" * 100)
    with pytest.raises(StoreUnavailable, match=str(tmp_path / "db")):
        await SqliteStore(tmp_path / "db").__aenter__()
    with pytest.raises(StoreUnavailable):
        await SqliteStore(tmp_path / "no folder" / "db").__aenter__()


async def test_the_writer_waits_for_the_disk_at_each_commit(tmp_path: Path) -> None:
    async with SqliteStore(tmp_path / "db") as store:
        assert await store.write(lambda tx: tx.one("PRAGMA synchronous")) == (2,)
        assert await store.write(lambda tx: tx.one("PRAGMA journal_mode")) == ("wal",)
