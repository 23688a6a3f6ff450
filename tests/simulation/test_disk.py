"""What a simulated disk loses in a crash, and what it never loses."""

from __future__ import annotations

import errno
from pathlib import Path
from random import Random

import pytest

from backend.disk import make_folders, read_file
from tests.simulation.disk import ROOT, Crashed, SimDisk

FILE = ROOT / "file"
SEEDS = range(200)


def disk_with(content: bytes, seed: int = 1) -> SimDisk:
    """A disk on which a file of this content is safe."""
    disk = SimDisk(Random(seed))
    file = disk.create(FILE)
    file.write(0, content)
    file.sync()
    file.close()
    disk.sync_folder(ROOT)
    return disk


def names(disk: SimDisk, folder: Path = ROOT) -> list[str]:
    return sorted(entry.name for entry in disk.entries(folder))


def contents_after_power_loss(disk: SimDisk) -> set[bytes]:
    return {read_file(disk.power_loss(), FILE) for _ in SEEDS}


def test_a_killed_process_leaves_everything_that_it_did() -> None:
    disk = SimDisk(Random(1))
    disk.make_folder(ROOT / "folder")
    disk.create(ROOT / "folder" / "old").write(0, b"bytes")
    disk.rename(ROOT / "folder" / "old", ROOT / "folder" / "new")
    disk = disk.kill()
    assert names(disk, ROOT / "folder") == ["new"]
    assert read_file(disk, ROOT / "folder" / "new") == b"bytes"


def test_a_power_loss_leaves_everything_that_was_synced() -> None:
    disk = disk_with(b"safe")
    assert contents_after_power_loss(disk) == {b"safe"}


def test_an_unsynced_write_is_lost_kept_or_torn() -> None:
    disk = disk_with(b"a" * 256)
    disk.open(FILE).write(0, b"b" * 256)
    found = contents_after_power_loss(disk)
    assert {b"a" * 256, b"b" * 256, b"a" * 64 + b"b" * 192} <= found
    assert all(set(one) <= {*b"ab"} and len(one) == 256 for one in found)


def test_a_file_may_have_grown_without_its_bytes() -> None:
    disk = disk_with(b"a")
    disk.open(FILE).write(1, b"b")
    assert contents_after_power_loss(disk) == {b"a", b"ab", b"a\0"}


def test_an_unsynced_cut_is_lost_or_kept() -> None:
    disk = disk_with(b"abc")
    disk.open(FILE).truncate(1)
    assert contents_after_power_loss(disk) == {b"abc", b"a"}


def test_an_unsynced_name_is_lost_or_kept() -> None:
    disk = SimDisk(Random(1))
    file = disk.create(FILE)
    file.write(0, b"synced")
    file.sync()
    found = [names(disk.power_loss()) for _ in SEEDS]
    assert [] in found
    assert ["file"] in found


def test_a_rename_happens_as_a_whole_or_not_at_all() -> None:
    disk = disk_with(b"old")
    file = disk.create(ROOT / "new")
    file.write(0, b"new")
    file.sync()
    disk.rename(ROOT / "new", FILE)
    assert contents_after_power_loss(disk) == {b"old", b"new"}


def test_a_removed_file_may_come_back() -> None:
    disk = disk_with(b"x")
    disk.remove(FILE)
    found = [names(disk.power_loss()) for _ in SEEDS]
    assert [] in found
    assert ["file"] in found


def test_what_lies_in_a_lost_folder_is_lost() -> None:
    disk = SimDisk(Random(1))
    disk.make_folder(ROOT / "folder")
    disk.create(ROOT / "folder" / "file")
    disk.sync_folder(ROOT / "folder")
    found = [names(disk.power_loss()) for _ in SEEDS]
    assert [] in found
    assert ["folder"] in found


def test_folders_made_with_all_above_them_survive() -> None:
    disk = SimDisk(Random(1))
    make_folders(disk, ROOT / "a" / "b")
    assert all(names(disk.power_loss(), ROOT / "a") == ["b"] for _ in SEEDS)


def test_what_a_killed_process_left_unsynced_can_still_be_lost() -> None:
    disk = disk_with(b"a")
    disk.open(FILE).write(0, b"b")
    assert contents_after_power_loss(disk.kill()) == {b"a", b"b"}


def test_a_sync_makes_safe_what_an_earlier_process_wrote() -> None:
    disk = disk_with(b"a")
    disk.open(FILE).write(0, b"b")
    disk = disk.kill()
    disk.open(FILE).sync()
    assert contents_after_power_loss(disk) == {b"b"}


def test_what_a_failed_sync_lost_no_later_one_brings_back() -> None:
    disk = disk_with(b"aa")
    file = disk.open(FILE)
    file.write(0, b"b")
    disk.fail_at(disk.steps + 1, errno.EIO)
    with pytest.raises(OSError, match="Input/output"):
        file.sync()
    file.write(1, b"c")
    file.sync()
    assert file.read(0, 2) == b"bc"
    assert contents_after_power_loss(disk) == {b"ac"}


def test_a_planned_failure_happens_once() -> None:
    disk = SimDisk(Random(1))
    disk.fail_at(1, errno.ENOSPC)
    with pytest.raises(OSError, match="No space"):
        disk.create(FILE)
    disk.create(FILE)
    assert disk.steps == 2


def test_on_a_full_disk_a_write_fails_after_a_part_of_it() -> None:
    found = set()
    for seed in SEEDS:
        disk = disk_with(b"", seed)
        disk.is_full = True
        with pytest.raises(OSError, match="No space"):
            disk.open(FILE).write(0, b"abc")
        found.add(read_file(disk, FILE))
    assert found == {b"", b"a", b"ab", b"abc"}


def test_a_crash_inside_a_write_leaves_a_part_of_it() -> None:
    found = set()
    for seed in SEEDS:
        disk = disk_with(b"", seed)
        disk.crash_at(disk.steps + 1)
        with pytest.raises(Crashed):
            disk.open(FILE).write(0, b"abc")
        found.add(read_file(disk.kill(), FILE))
    assert found == {b"", b"a", b"ab", b"abc"}


def test_a_crash_inside_a_sync_makes_nothing_safe() -> None:
    disk = disk_with(b"a")
    file = disk.open(FILE)
    file.write(0, b"b")
    disk.crash_at(disk.steps + 1)
    with pytest.raises(Crashed):
        file.sync()
    assert contents_after_power_loss(disk) == {b"a", b"b"}


def test_after_a_crash_nothing_of_the_dead_process_reaches_the_disk() -> None:
    disk = disk_with(b"a")
    file = disk.open(FILE)
    after = disk.kill()
    for ghost in (lambda: file.write(0, b"b"), lambda: file.read(0, 1), lambda: disk.remove(FILE)):
        with pytest.raises(Crashed):
            ghost()
    file.close()
    assert read_file(after, FILE) == b"a"


def test_the_simulation_is_told_of_a_crash_once() -> None:
    told: list[str] = []
    disk = SimDisk(Random(1), lambda: told.append("crashed"))
    disk.crash_at(1)
    with pytest.raises(Crashed):
        disk.create(FILE)
    disk.kill()
    disk.power_loss()
    assert told == ["crashed"]


def test_the_lock_of_a_dead_process_is_free() -> None:
    disk = SimDisk(Random(1))
    disk.lock(ROOT / "lock")
    disk.kill().lock(ROOT / "lock")
    disk.power_loss().create(ROOT / "lock")


def test_the_start_of_the_machine_changes_with_a_power_loss_alone() -> None:
    disk = SimDisk(Random(1))
    assert disk.kill().boot() == disk.boot()
    assert disk.power_loss().boot() != disk.boot()
    assert disk.power_loss().power_loss().boot() != disk.power_loss().boot()


def test_one_seed_gives_one_outcome() -> None:
    def outcome() -> list[bytes]:
        disk = disk_with(b"a" * 1000, seed=7)
        disk.open(FILE).write(0, b"b" * 1000)
        return [read_file(disk.power_loss(), FILE) for _ in range(20)]

    assert outcome() == outcome()
