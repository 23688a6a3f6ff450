"""Room that is held on the disk for when it is full."""

from __future__ import annotations

from random import Random

import pytest

from backend.reserve import RESERVE_BYTES, Reserve
from tests.simulation.disk import ROOT, SimDisk

PATH = ROOT / "reserve"


def test_what_is_given_up_can_be_written() -> None:
    disk = SimDisk(Random(1))
    reserve = Reserve(disk, PATH)
    reserve.hold()
    disk.capacity_bytes = disk.used_bytes
    file = disk.create(ROOT / "file")
    with pytest.raises(OSError, match="No space"):
        file.write(0, b"x")
    assert reserve.give_up()
    file.write(0, bytes(RESERVE_BYTES))
    assert not reserve.give_up()


def test_it_is_held_whole_or_not_at_all() -> None:
    disk = SimDisk(Random(1))
    disk.capacity_bytes = RESERVE_BYTES - 1
    reserve = Reserve(disk, PATH)
    with pytest.raises(OSError, match="No space"):
        reserve.hold()
    assert not reserve.is_held
    assert disk.used_bytes == 0


def test_what_an_earlier_process_held_is_held() -> None:
    disk = SimDisk(Random(1))
    Reserve(disk, PATH).hold()
    assert Reserve(disk.kill(), PATH).is_held
