"""A link that is slow: what moves is waited for, and the mount stays with its server."""

from __future__ import annotations

import os

from tests.real.world import World

SIZE_BYTES = 4_000_000
BYTES_PER_S = 100_000.0


def test_an_upload_that_takes_many_deadlines_and_leases_succeeds(world: World) -> None:
    mount, wire = world.wired("laptop", "--deadline", "5")
    wire.set_bandwidth(BYTES_PER_S)
    (mount.path / "large").write_bytes(content := os.urandom(SIZE_BYTES))
    assert mount.status()["queued_changes"] == 0
    assert mount.status()["state"] != "offline"
    wire.set_bandwidth(None)
    other = world.mount("desk")
    assert (other.path / "large").read_bytes() == content
