"""Files that come and go leave nothing behind in the mount's process."""

from __future__ import annotations

from tests.real.churn import Footprint, come_and_go
from tests.real.world import World

MIB = 1 << 20


def test_what_came_and_went_is_forgotten(world: World) -> None:
    mount = world.mount()
    come_and_go(mount.path, range(250))
    before = Footprint.of(mount)
    come_and_go(mount.path, range(250, 650))
    after = Footprint.of(mount)
    assert after.descriptors <= before.descriptors, (before, after)
    assert after.resident_bytes - before.resident_bytes < 8 * MIB, (before, after)
