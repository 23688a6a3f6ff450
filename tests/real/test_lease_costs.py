"""What it costs that several mounts show the same: requests and round trips of mounts that know of each other."""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.real.harness import Mount, environment
from tests.real.proxy import Wire
from tests.real.test_wire_counts import settled
from tests.real.world import World

RTT_S = 0.05
LONG_RTT_S = 0.4
"""Where round trips are told from times: what a busy machine adds is little beside it."""

FILES = 5000
LEASE_S = 2.0

both_ways = pytest.mark.parametrize("flags", [(), ("--no-epoch",)], ids=["names are kept", "names are not kept"])


def commits(mount: Mount, wires: list[Wire], rtt_s: float, count: int = 5) -> list[float]:
    """How long it takes to write a small file anew, with that round-trip time on every wire; sorted."""
    for wire in wires:
        wire.set_rtt(rtt_s)
    took_s = []
    for number in range(count):
        start_s = time.monotonic()
        (mount.path / "file").write_text(f"{number}")
        took_s.append(time.monotonic() - start_s)
    for wire in wires:
        wire.set_rtt(0)
    return sorted(took_s)


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A git repository with many files in many folders."""
    folder = tmp_path_factory.mktemp("repository")
    for number in range(FILES):
        path = folder / f"{number % 50:02}" / f"{number // 50:02}"
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"{number}\n")
    git(folder, "init", "-q")
    git(folder, "add", "-A")
    git(folder, "-c", "user.name=A", "-c", "user.email=a@example.org", "commit", "-qm", "all")
    git(folder, "gc", "-q")
    return folder


def git(folder: Path, *arguments: str) -> str:
    env = {**environment(folder.parent / "git-home"), "GIT_CEILING_DIRECTORIES": str(folder.parent)}
    done = subprocess.run(("git", *arguments), cwd=folder, env=env, check=True, capture_output=True, text=True)
    return done.stdout


@pytest.mark.slow
def test_a_warm_git_status_makes_no_request(world: World, repository: Path) -> None:
    """Both where names are kept and where they are not. git's own lock is a change: a file that comes and goes."""
    desk = world.wired("desk")
    shutil.copytree(repository, desk[0].path / "repository", symlinks=True, copy_function=shutil.copyfile)
    for mount, wire in (desk, world.wired("laptop", "--no-epoch")):
        for _ in range(2):
            assert git(mount.path / "repository", "status", "--porcelain") == ""
        settled(mount, wire)
        wire.set_rtt(RTT_S)
        assert git(mount.path / "repository", "--no-optional-locks", "status", "--porcelain") == ""
        assert settled(mount, wire).asked == []
        assert git(mount.path / "repository", "status", "--porcelain") == ""
        counts = settled(mount, wire)
        assert len(counts.asked) == len(counts.batches) <= 3
        wire.set_rtt(0)


@both_ways
def test_a_commit_beside_one_idle_mount_takes_less_than_three_round_trips(world: World, flags: tuple[str, ...]) -> None:
    (writer, one), (reader, two) = world.wired("desk", *flags), world.wired("laptop", *flags)
    (writer.path / "file").write_text("x")
    assert (reader.path / "file").read_text() == "x"
    assert statistics.median(commits(writer, [one, two], LONG_RTT_S)) < 3 * LONG_RTT_S


@both_ways
def test_a_commit_beside_two_mounts_takes_one_round_trip_more_than_alone(world: World, flags: tuple[str, ...]) -> None:
    writer, wire = world.wired("desk", *flags)
    (writer.path / "file").write_text("x")
    alone_s = statistics.median(commits(writer, [wire], LONG_RTT_S))
    others = [world.wired(name, *flags) for name in ("laptop", "phone")]
    for mount, _ in others:
        assert (mount.path / "file").read_text() == "4"
    together_s = statistics.median(commits(writer, [wire, *(other for _, other in others)], LONG_RTT_S))
    assert alone_s < 1.5 * LONG_RTT_S
    assert 0.5 * LONG_RTT_S < together_s - alone_s < 1.5 * LONG_RTT_S, (alone_s, together_s)


def test_a_mount_that_was_unmounted_costs_nothing(world: World) -> None:
    writer, wire = world.wired("desk")
    leaver = world.mount("laptop")
    (writer.path / "file").write_text("x")
    assert (leaver.path / "file").read_text() == "x"
    leaver.unmount()
    assert statistics.median(commits(writer, [wire], LONG_RTT_S)) < 1.5 * LONG_RTT_S


@pytest.fixture
def short_leases(new_own_world: Callable[..., World]) -> World:
    """One whose server gives short leases."""
    return new_own_world("--lease-s", f"{LEASE_S:g}")


def test_a_killed_mount_costs_the_others_one_lease_once(short_leases: World) -> None:
    writer, victim = short_leases.mount("desk"), short_leases.mount("laptop")
    (writer.path / "file").write_text("x")
    assert (victim.path / "file").read_text() == "x"
    victim.kill()
    start_s = time.monotonic()
    (writer.path / "file").write_text("waits for the lease")
    assert time.monotonic() - start_s < 1.25 * LEASE_S + 0.5
    assert max(commits(writer, [], 0)) < LEASE_S / 2


@both_ways
def test_a_mount_with_a_warm_cache_asks_for_what_changed_alone(world: World, flags: tuple[str, ...]) -> None:
    writer, (reader, wire) = world.mount("desk"), world.wired("laptop", *flags)
    for number in range(30):
        folder = writer.path / f"{number % 5}"
        folder.mkdir(exist_ok=True)
        (folder / f"{number}").write_bytes(os.urandom(100_000))

    def look() -> None:
        for folder in sorted(os.listdir(reader.path)):
            for name in os.listdir(reader.path / folder):
                assert len((reader.path / folder / name).read_bytes()) == 100_000

    look()
    reader.unmount()
    (writer.path / "3" / "8").write_bytes(os.urandom(100_000))
    reader.start()
    settled(reader, wire)
    look()
    counts = settled(reader, wire)
    assert len(counts.blocks_read) == 1, counts.asked
    assert len(counts.asked) <= 3, counts.asked
