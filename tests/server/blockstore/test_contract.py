"""What every engine of block stores does."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from protocol.ids import BlockId
from server.blockstore.engines import open_block_store
from server.blockstore.store import BlockStore, ObjectMissing, object_name

BLOCK = BlockId(bytes(range(32)))


@pytest.fixture(params=["file", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> BlockStore:
    return open_block_store("memory:" if request.param == "memory" else (tmp_path / "the blocks").as_uri())


def test_what_was_put_is_got(store: BlockStore) -> None:
    name = object_name(BLOCK)
    store.put(name, b"sealed")
    assert store.get(name) == b"sealed"


def test_a_buffer_may_be_used_again_after_the_put(store: BlockStore) -> None:
    name, buffer = object_name(BLOCK), bytearray(b"sealed")
    store.put(name, buffer)
    buffer[:] = b"others"
    assert store.get(name) == b"sealed"


def test_one_block_may_lie_under_two_names(store: BlockStore) -> None:
    first, second = object_name(BLOCK), object_name(BLOCK)
    store.put(first, b"one")
    store.put(second, b"two")
    store.delete(first)
    assert store.get(second) == b"two"


def test_an_object_that_was_never_put_is_missing(store: BlockStore) -> None:
    with pytest.raises(ObjectMissing):
        store.get(object_name(BLOCK))


def test_a_deleted_object_is_missing(store: BlockStore) -> None:
    name = object_name(BLOCK)
    store.put(name, b"sealed")
    store.delete(name)
    with pytest.raises(ObjectMissing):
        store.get(name)


def test_deleting_what_is_not_there_is_no_error(store: BlockStore) -> None:
    store.delete(object_name(BLOCK))


def test_an_empty_and_a_large_object(store: BlockStore) -> None:
    for content in (b"", bytes(4 << 20)):
        name = object_name(BLOCK)
        store.put(name, content)
        assert store.get(name) == content


def test_several_threads_put_at_once(store: BlockStore) -> None:
    names = [object_name(BlockId(bytes([n]) * 32)) for n in range(32)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda name: store.put(name, name.encode()), names))
    assert [store.get(name) for name in names] == [name.encode() for name in names]


def test_there_is_room(store: BlockStore) -> None:
    assert store.free_bytes() > 0


@pytest.mark.parametrize("url", ["", "file:relative", "file://host/folder", "ftp:///x", "memory:x"])
def test_a_url_of_no_engine_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="no block store"):
        open_block_store(url)
