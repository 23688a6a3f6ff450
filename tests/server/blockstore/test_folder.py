from __future__ import annotations

import resource
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from protocol.ids import BlockId
from protocol.limits import KIB
from server.blockstore.folder import FolderStore
from server.blockstore.memory import MemoryBlockStore
from server.blockstore.store import BlockStoreError, BlockStoreFull, ObjectMissing, object_name

BLOCK = BlockId(bytes(range(32)))


@contextmanager
def largest_file_bytes(limit: int) -> Iterator[None]:
    """Meanwhile a write beyond that fails (EFBIG), after what fits has been written."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_objects_outlive_the_process(tmp_path: Path) -> None:
    name = object_name(BLOCK)
    FolderStore(tmp_path).put(name, b"sealed")
    assert FolderStore(tmp_path).get(name) == b"sealed"


def test_half_an_object_that_a_crash_left_is_in_nobodys_way(tmp_path: Path) -> None:
    FolderStore(tmp_path)
    half, whole = object_name(BLOCK), object_name(BLOCK)
    (tmp_path / half[:2] / half).write_bytes(b"sea")
    store = FolderStore(tmp_path)
    store.put(whole, b"sealed")
    assert store.get(whole) == b"sealed"
    store.delete(half)
    with pytest.raises(ObjectMissing):
        store.get(half)


def test_an_object_lies_where_the_docs_say_and_nothing_else_is_left(tmp_path: Path) -> None:
    name = object_name(BLOCK)
    FolderStore(tmp_path).put(name, b"sealed")
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [tmp_path / name[:2] / name]


def test_a_store_that_went_away_has_not_lost_its_objects(tmp_path: Path) -> None:
    store = FolderStore(tmp_path / "disk")
    shutil.rmtree(tmp_path / "disk")
    with pytest.raises(BlockStoreError) as raised:
        store.get(object_name(BLOCK))
    assert not isinstance(raised.value, ObjectMissing)


def test_a_put_that_fails_half_way_says_so_and_leaves_nothing(tmp_path: Path) -> None:
    store = FolderStore(tmp_path)
    with largest_file_bytes(KIB), pytest.raises(BlockStoreError):
        store.put(object_name(BLOCK), bytes(2 * KIB))
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_a_name_that_is_taken_is_refused_and_keeps_its_object(tmp_path: Path) -> None:
    store, name = FolderStore(tmp_path), object_name(BLOCK)
    store.put(name, b"sealed")
    with pytest.raises(BlockStoreError):
        store.put(name, b"others")
    assert store.get(name) == b"sealed"


def test_the_disk_is_full() -> None:
    store = MemoryBlockStore(room_bytes=10)
    with pytest.raises(BlockStoreFull):
        store.put(object_name(BLOCK), bytes(11))
    store.put(object_name(BLOCK), bytes(10))
