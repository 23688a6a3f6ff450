from __future__ import annotations

import stat

import msgspec
import pytest

from fs.attributes import Owner, entry_of, kept_ns, kind_of, no_entry
from protocol.ids import NodeId
from protocol.limits import MIB
from protocol.messages.nodes import Kind, Node

FILE = Node(
    id=NodeId(7), kind=Kind.FILE, mode=0o4755, uid=10, gid=20, nlink=2, mtime_ns=1_500_000_001, ctime_ns=2,
    atime_ns=-1, size=5_000_000_000, data_bytes=1025,
)  # fmt: skip


def test_stored_numbers_are_shown_where_nobody_is_the_owner_of_all() -> None:
    entry = entry_of(FILE, 7, None, 1.0, 2.0)
    assert (entry.st_uid, entry.st_gid) == (10, 20)


def test_everything_is_shown_as_the_persons_own() -> None:
    entry = entry_of(FILE, 7, Owner(1000, 1001), 1.0, 2.0)
    assert (entry.st_uid, entry.st_gid) == (1000, 1001)


def test_blocks_count_what_is_not_a_hole_in_sectors() -> None:
    entry = entry_of(FILE, 7, None, 0.0, 0.0)
    assert (entry.st_size, entry.st_blocks, entry.st_blksize) == (5_000_000_000, 3, MIB)


def test_times_keep_their_nanoseconds_before_1970_too() -> None:
    entry = entry_of(FILE, 7, None, 0.0, 0.0)
    assert (entry.st_mtime_ns, entry.st_atime_ns) == (1_500_000_001, -1)


@pytest.mark.parametrize("kind", list(Kind))
def test_each_kind_has_a_type_that_mknod_turns_back(kind: Kind) -> None:
    entry = entry_of(msgspec.structs.replace(FILE, kind=kind), 7, None, 0.0, 0.0)
    assert kind_of(entry.st_mode) is kind
    assert stat.S_IMODE(entry.st_mode) == 0o4755


def test_an_absent_name_is_inode_0() -> None:
    entry = no_entry(3.0)
    assert (entry.st_ino, entry.entry_timeout) == (0, 3.0)


@pytest.mark.parametrize(
    ("asked_s", "kept_s"),
    [(-1, -1), (32_503_680_000, 9_223_372_036), (-11_676_096_000, -9_223_372_037), (1 << 62, 9_223_372_036)],
    ids=["1969", "3000", "1600", "the largest"],
)
def test_times_that_no_node_can_have_become_the_nearest(asked_s: int, kept_s: int) -> None:
    assert kept_ns(asked_s * 10**9) // 10**9 == kept_s
