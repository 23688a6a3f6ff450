from __future__ import annotations

import os
from pathlib import Path

from backend.blockcache import UNIT_BYTES, BlockCache
from backend.disk import RealDisk
from protocol.ids import BlockId


def block(number: int) -> BlockId:
    return BlockId(number.to_bytes(32, "big"))


def test_what_was_put_is_found(tmp_path: Path) -> None:
    cache = BlockCache(RealDisk(), tmp_path, 10 * UNIT_BYTES)
    cache.put(block(1), b"sealed")
    assert cache.get(block(1)) == b"sealed"
    assert cache.used_bytes == UNIT_BYTES


def test_what_was_not_put_is_a_miss(tmp_path: Path) -> None:
    assert BlockCache(RealDisk(), tmp_path, 10 * UNIT_BYTES).get(block(1)) is None


def test_the_least_recently_used_goes_first(tmp_path: Path) -> None:
    cache = BlockCache(RealDisk(), tmp_path, 3 * UNIT_BYTES)
    for number in (1, 2, 3):
        cache.put(block(number), bytes(10))
    cache.get(block(1))
    cache.put(block(4), bytes(10))
    assert [cache.get(block(number)) is not None for number in (1, 2, 3, 4)] == [True, False, True, True]
    assert cache.used_bytes == 3 * UNIT_BYTES


def test_the_folder_never_takes_more_of_the_disk_than_the_limit(tmp_path: Path) -> None:
    cache = BlockCache(RealDisk(), tmp_path, 9 * UNIT_BYTES)
    for number in range(20):
        cache.put(block(number), bytes(UNIT_BYTES + 7))
    sizes = [path.stat().st_size for path in tmp_path.rglob("*") if path.is_file()]
    assert sizes == [UNIT_BYTES + 7] * 4
    assert cache.used_bytes == 8 * UNIT_BYTES


def test_tiny_blocks_are_bounded_in_number(tmp_path: Path) -> None:
    for cache in (BlockCache(RealDisk(), tmp_path, 5 * UNIT_BYTES) for _ in range(2)):
        cache.load()
        for number in range(20):
            cache.put(block(number), b"tiny")
        assert sum(path.is_file() for path in tmp_path.rglob("*")) == 5


def test_a_block_larger_than_the_limit_is_not_kept(tmp_path: Path) -> None:
    cache = BlockCache(RealDisk(), tmp_path, UNIT_BYTES)
    cache.put(block(1), bytes(UNIT_BYTES + 1))
    assert cache.get(block(1)) is None


def test_the_next_mount_finds_them_in_order_of_last_use(tmp_path: Path) -> None:
    cache = BlockCache(RealDisk(), tmp_path, 10 * UNIT_BYTES)
    for number in (1, 2, 3):
        cache.put(block(number), bytes(10))
    for number, used_s in ((1, 300), (2, 100), (3, 200)):
        [path] = tmp_path.rglob(block(number).hex())
        os.utime(path, (used_s, used_s))
    again = BlockCache(RealDisk(), tmp_path, 2 * UNIT_BYTES)
    again.load()
    assert again.get(block(2)) is None
    assert (again.get(block(1)), again.get(block(3))) == (bytes(10), bytes(10))


def test_what_is_no_block_is_removed_from_the_folder(tmp_path: Path) -> None:
    (tmp_path / "00").mkdir()
    (tmp_path / "00" / f"{block(1).hex()}.7.tmp").write_bytes(b"half")
    cache = BlockCache(RealDisk(), tmp_path, 10 * UNIT_BYTES)
    cache.load()
    assert cache.used_bytes == 0
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_a_dropped_block_is_gone(tmp_path: Path) -> None:
    cache = BlockCache(RealDisk(), tmp_path, 10 * UNIT_BYTES)
    cache.put(block(1), b"bad")
    cache.drop(block(1))
    cache.drop(block(1))
    assert cache.get(block(1)) is None
    assert cache.used_bytes == 0


def test_a_file_that_somebody_removed_is_a_miss(tmp_path: Path) -> None:
    cache = BlockCache(RealDisk(), tmp_path, 10 * UNIT_BYTES)
    cache.put(block(1), b"sealed")
    [path] = tmp_path.rglob(block(1).hex())
    path.unlink()
    assert cache.get(block(1)) is None
    assert cache.used_bytes == 0


def test_a_folder_that_cannot_be_written_is_told_and_no_error(tmp_path: Path) -> None:
    (tmp_path / "blocks").write_bytes(b"not a folder")
    cache = BlockCache(RealDisk(), tmp_path / "blocks", 10 * UNIT_BYTES)
    cache.put(block(1), b"sealed")
    assert cache.get(block(1)) is None
    assert str(tmp_path / "blocks") in cache.trouble


def test_trouble_ends_when_a_block_can_be_kept_again(tmp_path: Path) -> None:
    folder = tmp_path / "blocks"
    folder.write_bytes(b"not a folder")
    cache = BlockCache(RealDisk(), folder, 10 * UNIT_BYTES)
    cache.put(block(1), b"sealed")
    folder.unlink()
    folder.mkdir()
    cache.put(block(1), b"sealed")
    assert cache.trouble == ""
    assert cache.get(block(1)) == b"sealed"
