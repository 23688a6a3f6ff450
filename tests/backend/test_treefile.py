"""What one mount knew and the next begins with."""

from __future__ import annotations

import contextlib
from random import Random

import pytest
import trio
import trio.testing

from backend.threads import InlineThreads
from backend.tree import ABSENT, FolderSnapshot, Snapshot, Tree
from backend.treefile import TreeFile, decoded, encoded
from protocol.ids import ROOT_NODE, NodeId, OriginId, Seq, VersionNumber
from protocol.messages.nodes import Kind, Node
from protocol.messages.notices import Notice, Notices, Touched, TouchedEntry
from protocol.messages.tree import Entry
from tests.simulation.disk import ROOT, Crashed, SimDisk

FILE, FOLDER = NodeId(7), NodeId(8)
ROW = Node(FILE, Kind.FILE, 0o644, 1, 2, 1, 3, 4, 5, version=VersionNumber(6), xattrs={"user.a": b"b"})
SNAPSHOT = Snapshot(Seq(9), [ROW], [FolderSnapshot(ROOT_NODE, True, {b"\xff": 7, b"gone": 0})])
OTHER = OriginId(b"o" * 16)


def treefile(disk: SimDisk) -> TreeFile:
    return TreeFile(disk, ROOT / "tree", InlineThreads())


def restored(tree: Tree) -> Tree:
    """Through a file."""
    snapshot = decoded(encoded(tree.snapshot()))
    assert snapshot is not None
    after = Tree(Seq(0))
    after.restore(snapshot)
    after.check()
    return after


@pytest.fixture
def tree() -> Tree:
    """A root that is known whole, and a folder of which one name is known and one known to be absent."""
    made = Tree(Seq(5))
    folder = Node(FOLDER, Kind.FOLDER, 0o755, 0, 0, 2, 0, 0, 0)
    made.keep_listing(ROOT_NODE, [Entry(b"file", ROW), Entry(b"folder", folder)], Seq(5))
    made.keep_name(FOLDER, b"known", FILE, Seq(5))
    made.keep_name(FOLDER, b"absent", ABSENT, Seq(5))
    return made


def test_what_was_known_is_known_to_the_next_mount(tree: Tree) -> None:
    after = restored(tree)
    assert after.applied == 5
    assert after.node(FILE) == ROW
    assert after.listing(ROOT_NODE) == [(b"file", FILE), (b"folder", FOLDER)]
    assert after.lookup(ROOT_NODE, b"other") is ABSENT


def test_of_a_folder_that_is_known_in_part_the_rest_stays_unknown(tree: Tree) -> None:
    after = restored(tree)
    assert after.lookup(FOLDER, b"known") == FILE
    assert after.lookup(FOLDER, b"absent") is ABSENT
    assert after.lookup(FOLDER, b"other") is None
    assert after.listing(FOLDER) is None


def test_a_name_that_was_outdated_is_unknown_and_not_absent(tree: Tree) -> None:
    entries, nodes = [TouchedEntry(ROOT_NODE, b"file")], [Touched(FILE, True)]
    tree.apply(Notices(Seq(6), [Notice(Seq(6), "unlink", OTHER, nodes, entries)]), OriginId(b"m" * 16))
    after = restored(tree)
    assert after.lookup(ROOT_NODE, b"file") is None
    assert after.listing(ROOT_NODE) is None
    assert after.node(FILE) is None
    assert after.lookup(ROOT_NODE, b"folder") == FOLDER


async def test_what_was_saved_is_loaded() -> None:
    disk = SimDisk(Random(1))
    assert await treefile(disk).load() is None
    await treefile(disk).save(SNAPSHOT)
    assert await treefile(disk).load() == SNAPSHOT


async def test_what_is_to_be_saved_soon_is_written_by_run(nursery: trio.Nursery) -> None:
    disk = SimDisk(Random(1))
    memory = treefile(disk)
    nursery.start_soon(memory.run)
    memory.save_soon(SNAPSHOT)
    await trio.testing.wait_all_tasks_blocked()
    assert await treefile(disk).load() == SNAPSHOT


async def test_on_a_full_disk_the_one_before_stays() -> None:
    disk = SimDisk(Random(1))
    await treefile(disk).save(SNAPSHOT)
    disk.is_full = True
    await treefile(disk).save(Snapshot(Seq(10), [], []))
    disk.is_full = False
    assert await treefile(disk).load() == SNAPSHOT


@pytest.mark.parametrize("how", ["kill", "power_loss"])
async def test_a_crash_at_each_change_of_the_disk_leaves_the_old_one_or_the_new_one(how: str) -> None:
    later = Snapshot(Seq(10), [], [])
    for step in range(1, 7):
        disk = SimDisk(Random(step))
        await treefile(disk).save(SNAPSHOT)
        disk.crash_at(disk.steps + step)
        saved = False
        with contextlib.suppress(Crashed):
            await treefile(disk).save(later)
            saved = True
        found = await treefile(getattr(disk, how)()).load()
        assert found == later if saved else found in (SNAPSHOT, later)


def test_a_file_that_is_cut_or_damaged_anywhere_is_no_snapshot() -> None:
    content = encoded(SNAPSHOT)
    for place in range(len(content)):
        damaged = bytearray(content)
        damaged[place] ^= 0x41
        assert decoded(bytes(damaged)) is None
        assert decoded(content[:place]) is None


def test_the_format_is_frozen() -> None:
    assert decoded(GOLDEN) == SNAPSHOT


GOLDEN = bytes.fromhex(
    "5344543100000000118ccc8650e08f0f42a748d27158c7dc28b52ffd208c2d0400e2871e26a03907ffc3cf87530d53ecca34"
    "8b66e7166d4ba15b26b11309497e09003855cdb668b6ad13090bfb7b98aba9e8d590e8637ac8db9e33117a3103e497228c87"
    "31b24564e0af1fb2620a98c524acc0fb815d476729e4ddbc026c3f946e4b94d409ef73925b3b72bd21d96c430a0b657adee7"
    "1561b95b14b1e908020020cfd1ac9801"
)
