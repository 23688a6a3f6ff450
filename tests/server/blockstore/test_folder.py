from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from protocol.ids import BlockId
from server.blockstore.folder import FolderStore
from server.blockstore.memory import MemoryBlockStore
from server.blockstore.store import BlockStoreError, BlockStoreFull, ObjectMissing, object_name

BLOCK = BlockId(bytes(range(32)))


def test_objects_outlive_the_process(tmp_path: Path) -> None:
    name = object_name(BLOCK)
    FolderStore(tmp_path).put(name, b"sealed")
    assert FolderStore(tmp_path).get(name) == b"sealed"


def test_a_half_written_object_of_a_crash_is_cleaned_up(tmp_path: Path) -> None:
    FolderStore(tmp_path)
    leftover = tmp_path / "incoming" / object_name(BLOCK)
    leftover.write_bytes(b"hal")
    store = FolderStore(tmp_path)
    assert not leftover.exists()
    with pytest.raises(ObjectMissing):
        store.get(leftover.name)


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


def test_a_failed_put_says_so_and_leaves_nothing(tmp_path: Path) -> None:
    store = FolderStore(tmp_path)
    name = object_name(BLOCK)
    (tmp_path / name[:2]).rmdir()
    with pytest.raises(BlockStoreError):
        store.put(name, b"sealed")
    assert list((tmp_path / "incoming").iterdir()) == []


def test_the_disk_is_full() -> None:
    store = MemoryBlockStore(room_bytes=10)
    with pytest.raises(BlockStoreFull):
        store.put(object_name(BLOCK), bytes(11))
    store.put(object_name(BLOCK), bytes(10))
