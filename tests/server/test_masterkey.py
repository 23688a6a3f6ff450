"""A new master key takes the place of the old one, wherever that is interrupted."""

from __future__ import annotations

from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import TypeVar, cast

import pytest

from protocol.ids import WorkspaceId
from protocol.keys import WrongKey, new_key
from server.keyring import Keyring, create, load
from server.masterkey import FILE, NEXT, keyring_of, rotate
from server.metadata import accounts, workspacekeys
from server.metadata.sqlite import MemoryStore, SqliteStore
from server.metadata.store import MetadataStore, Transaction, Work

T = TypeVar("T")

SPACES = [WorkspaceId(f"{number:032}") for number in range(3)]
KEYS = {(space, key_id): new_key() for space in SPACES for key_id in (1, 2)}


@pytest.fixture
async def metadata() -> AsyncIterator[MemoryStore]:
    async with MemoryStore() as made:
        yield made


async def fill(metadata: MetadataStore, keyring: Keyring) -> None:
    """Three workspaces with two keys each."""

    def work(tx: Transaction) -> None:
        ann = accounts.add_user(tx, "ann", "-", False, 0)
        for space in SPACES:
            first, second = (keyring.wrap(space, KEYS[space, key_id]) for key_id in (1, 2))
            accounts.create_workspace(tx, space, ann.id, space, first, None, False, 0)
            workspacekeys.add(tx, space, second, 1, 0)

    await metadata.write(work)


def names(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


def all_of(folder: Path, pattern: str) -> bytes:
    return b"".join(path.read_bytes() for path in folder.glob(pattern))


async def opened(metadata: MetadataStore, keyring: Keyring) -> dict[tuple[WorkspaceId, int], bytes]:
    """All keys; raises WrongKey."""
    wrapped = {space: await metadata.read(partial(workspacekeys.wrapped_keys, workspace=space)) for space in SPACES}
    return {(space, key_id): keyring.unwrap(space, each) for space in SPACES for key_id, each in wrapped[space].items()}


async def test_all_keys_are_the_same_under_the_new_one_and_the_old_one_opens_none(
    tmp_path: Path, metadata: MemoryStore
) -> None:
    old = await keyring_of(tmp_path, metadata)
    await fill(metadata, old)
    assert await rotate(tmp_path, metadata) == len(KEYS)
    new = await keyring_of(tmp_path, metadata)
    assert await opened(metadata, new) == KEYS
    with pytest.raises(WrongKey):
        await opened(metadata, old)
    assert names(tmp_path) == [FILE]
    assert (tmp_path / FILE).stat().st_mode & 0o777 == 0o600


class Crash(Exception):
    """The process ends here."""


class Crashing:
    """A metadata store at whose write the process ends."""

    def __init__(self, store: MetadataStore, *, is_done: bool) -> None:
        self._store = store
        self._is_done = is_done

    async def read(self, work: Work[T]) -> T:
        return await self._store.read(work)

    async def write(self, work: Work[T]) -> T:
        if self._is_done:
            await self._store.write(work)
        raise Crash


@pytest.mark.parametrize("is_done", [False, True])
async def test_a_crash_leaves_the_keys_under_one_that_the_next_start_finds(
    tmp_path: Path, metadata: MemoryStore, is_done: bool
) -> None:
    old = await keyring_of(tmp_path, metadata)
    await fill(metadata, old)
    with pytest.raises(Crash):
        await rotate(tmp_path, cast(MetadataStore, Crashing(metadata, is_done=is_done)))
    found = await keyring_of(tmp_path, metadata)
    assert await opened(metadata, found) == KEYS
    assert names(tmp_path) == [FILE]
    await rotate(tmp_path, metadata)
    assert await opened(metadata, await keyring_of(tmp_path, metadata)) == KEYS


async def test_where_neither_opens_the_keys_both_are_kept(tmp_path: Path, metadata: MemoryStore) -> None:
    await fill(metadata, Keyring(new_key()))
    create(tmp_path / FILE)
    create(tmp_path / NEXT)
    with pytest.raises(WrongKey, match="neither"):
        await keyring_of(tmp_path, metadata)
    assert load(tmp_path / FILE) is not None
    assert load(tmp_path / NEXT) is not None


async def test_nothing_that_the_old_one_opens_remains_in_the_database_s_files(tmp_path: Path) -> None:
    data, file = tmp_path / "data", tmp_path / "metadata.sqlite"
    data.mkdir()
    async with SqliteStore(file) as metadata:
        await fill(metadata, await keyring_of(data, metadata))
        before = [
            each
            for space in SPACES
            for each in (await metadata.read(partial(workspacekeys.wrapped_keys, workspace=space))).values()
        ]
    assert all(each in file.read_bytes() for each in before)
    async with SqliteStore(file) as metadata:
        await rotate(data, metadata)
    stored = all_of(tmp_path, "metadata.sqlite*")
    assert not any(each[:16] in stored or each[-16:] in stored for each in before)
