"""What crosses the network, counted: the budgets of the design's section 4, and its numbers for large files.

A long poll is no part of any budget: it comes by itself.
"""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

import pytest

from tests.real.harness import Mount
from tests.real.proxy import Counts, Wire
from tests.real.world import World

MIB = 1 << 20
LARGE_BYTES = 64 * MIB


@pytest.fixture
def wired(world: World) -> tuple[Mount, Wire]:
    return world.wired()


def settled(mount: Mount, wire: Wire) -> Counts:
    """The counts since the last call, once the mount has nothing left to send."""
    mount.wait()
    counts = wire.counts()
    wire.reset()
    return counts


@pytest.fixture
def large(wired: tuple[Mount, Wire], tmp_path: Path) -> Path:
    """64 MiB that can't be compressed, on the drive."""
    mount, wire = wired
    (tmp_path / "large").write_bytes(os.urandom(LARGE_BYTES))
    settled(mount, wire)
    shutil.copyfile(tmp_path / "large", mount.path / "large")
    return mount.path / "large"


def test_a_first_copy_is_sent_once(wired: tuple[Mount, Wire], large: Path) -> None:
    counts = settled(*wired)
    assert LARGE_BYTES <= counts.bytes_up < LARGE_BYTES * 1.02
    assert LARGE_BYTES / (4 * MIB) <= len(counts.blocks_put) <= 100
    assert len(set(counts.blocks_put)) == len(counts.blocks_put)
    assert not counts.blocks_read


def test_a_second_copy_sends_no_block(wired: tuple[Mount, Wire], large: Path) -> None:
    settled(*wired)
    shutil.copyfile(large, large.with_name("again"))
    counts = settled(*wired)
    assert counts.blocks_put == []
    assert counts.bytes_up < 100_000


def test_a_copy_by_another_device_sends_no_block(world: World, wired: tuple[Mount, Wire], large: Path) -> None:
    other, wire = world.wired("other")
    local = world.folder / "copy"
    shutil.copyfile(large, local)
    settled(other, wire)
    shutil.copyfile(local, other.path / "by other")
    counts = settled(other, wire)
    assert counts.blocks_put == []
    assert counts.bytes_up < 100_000


def test_a_small_overwrite_sends_at_most_three_blocks(wired: tuple[Mount, Wire], large: Path) -> None:
    settled(*wired)
    with open(large, "r+b", buffering=0) as file:
        file.seek(LARGE_BYTES // 2 + 12345)
        file.write(os.urandom(4096))
    counts = settled(*wired)
    assert 1 <= len(counts.blocks_put) <= 3
    assert counts.bytes_up < 6_000_000


def test_a_small_overwrite_of_a_cold_file_fetches_at_most_two_blocks(wired: tuple[Mount, Wire], large: Path) -> None:
    mount, wire = wired
    mount.remount_empty()
    os.stat(large)
    settled(mount, wire)
    with open(large, "r+b", buffering=0) as file:
        file.seek(LARGE_BYTES // 2 + 12345)
        file.write(os.urandom(4096))
    counts = settled(mount, wire)
    assert 1 <= len(counts.blocks_put) <= 3
    assert counts.bytes_up < 6_000_000
    assert counts.bytes_down < 9_000_000
    assert mount.status()["blocks_down"] <= 2


def test_a_byte_inserted_at_the_front_sends_at_most_three_blocks(
    wired: tuple[Mount, Wire], large: Path, tmp_path: Path
) -> None:
    settled(*wired)
    content = (tmp_path / "large").read_bytes()
    with open(large, "r+b", buffering=0) as file:
        file.write(b"!")
        for at in range(0, len(content), MIB):
            file.write(content[at : at + MIB])
    counts = settled(*wired)
    assert 1 <= len(counts.blocks_put) <= 3
    assert counts.bytes_up < 6_000_000
    assert large.stat().st_size == LARGE_BYTES + 1


def test_a_close_without_change_sends_nothing(wired: tuple[Mount, Wire], large: Path) -> None:
    settled(*wired)
    with open(large, "r+b", buffering=0) as file:
        file.read(4096)
    os.close(os.open(large, os.O_WRONLY))
    assert settled(*wired).asked == []


def test_a_small_read_of_a_cold_large_file_fetches_at_most_two_blocks(wired: tuple[Mount, Wire], world: World) -> None:
    """1 GiB of a few random megabytes over and over, moved by a byte each time so that blocks differ in place."""
    mount, wire = wired
    pattern = os.urandom(31 * MIB + 7)
    with open(mount.path / "huge", "wb", buffering=0) as file:
        written = 0
        while written < 1 << 30:
            written += file.write(pattern[: min(len(pattern), (1 << 30) - written)])
    mount.remount_empty()
    settled(mount, wire)
    with open(mount.path / "huge", "rb", buffering=0) as file:
        file.seek(700 * MIB + 321)
        got = file.read(4096)
    at = (700 * MIB + 321) % len(pattern)
    assert got == (pattern + pattern[:4096])[at : at + 4096]
    counts = settled(mount, wire)
    assert counts.bytes_down < 6_000_000
    assert mount.status()["blocks_down"] <= 2


both_ways = pytest.mark.parametrize("flags", [(), ("--no-epoch",)], ids=["names are kept", "names are not kept"])


@both_ways
def test_what_was_seen_before_needs_no_request(world: World, flags: tuple[str, ...]) -> None:
    mount, wire = world.wired("laptop", *flags)
    folder = mount.path / "folder"
    folder.mkdir()
    for number in range(20):
        (folder / str(number)).write_text("x" * number)
    os.symlink("target", folder / "link")

    def look() -> None:
        for name in sorted(os.listdir(folder)):
            os.lstat(folder / name)
        for number in range(20):
            assert (folder / str(number)).read_text() == "x" * number
        assert os.readlink(folder / "link") == "target"
        assert not (folder / "absent").exists()
        assert os.access(folder / "3", os.R_OK)

    look()
    settled(mount, wire)
    look()
    assert settled(mount, wire).asked == []


@both_ways
def test_what_another_mount_made_needs_no_request_once_it_was_seen(world: World, flags: tuple[str, ...]) -> None:
    writer, (reader, wire) = world.mount("desk", *flags), world.wired("laptop", *flags)
    for number in range(20):
        (writer.path / str(number)).write_text("x" * number)

    def look() -> None:
        assert len(os.listdir(reader.path)) == 20
        for number in range(20):
            assert (reader.path / str(number)).read_text() == "x" * number
        assert not (reader.path / "absent").exists()

    look()
    settled(reader, wire)
    look()
    assert settled(reader, wire).asked == []


@both_ways
def test_a_commit_waits_one_round_trip_of_the_slowest_other_mount(world: World, flags: tuple[str, ...]) -> None:
    """Its own round trip, and one of the others: the answers to their polls, and the next polls, at once."""
    devices = [world.wired(name, *flags) for name in ("desk", "laptop", "phone")]
    (writer, _), *others = devices
    for number in range(3):
        (writer.path / f"{number}").write_text("old")
    for mount, wire in devices:
        for number in range(3):
            assert (mount.path / f"{number}").read_text() == "old"
        settled(mount, wire)
    rtt_s, took_s = 0.2, []
    for _, wire in devices:
        wire.set_rtt(rtt_s)
    for number in range(3):
        start = time.monotonic()
        (writer.path / f"{number}").write_text("new")
        took_s.append(time.monotonic() - start)
    for _, wire in devices:
        wire.set_rtt(0)
    assert sorted(took_s)[1] < 3 * rtt_s, took_s
    for mount, wire in others:
        assert settled(mount, wire).asked == []
        assert (mount.path / "2").read_text() == "new"


def test_a_cold_folder_is_listed_with_attributes_in_one_request(wired: tuple[Mount, Wire]) -> None:
    mount, wire = wired
    (mount.path / "folder").mkdir()
    for number in range(200):
        (mount.path / "folder" / f"{number:03}").write_text("x")
    mount.remount_empty()
    os.stat(mount.path / "folder")
    settled(mount, wire)
    for entry in os.scandir(mount.path / "folder"):
        entry.stat(follow_symlinks=False)
    assert not (mount.path / "folder" / "absent").exists()
    assert len(settled(mount, wire).asked) == 1


def test_small_files_read_in_order_come_several_a_request(wired: tuple[Mount, Wire]) -> None:
    mount, wire = wired
    for number in range(200):
        (mount.path / f"{number:03}").write_text(f"{number}" * 500)
    mount.remount_empty()
    assert len(os.listdir(mount.path)) == 200
    settled(mount, wire)
    for number in range(200):
        assert (mount.path / f"{number:03}").read_text() == f"{number}" * 500
    assert len(settled(mount, wire).asked) <= 20


def test_a_small_file_costs_one_round_trip(wired: tuple[Mount, Wire]) -> None:
    """Its create may be announced by a request of its own, which nothing waits for."""
    mount, wire = wired
    os.listdir(mount.path)
    settled(mount, wire)
    rtt_s, count = 0.2, 10
    wire.set_rtt(rtt_s)
    start = time.monotonic()
    for number in range(count):
        (mount.path / f"small {number}").write_bytes(os.urandom(3000))
    took_s = time.monotonic() - start
    wire.set_rtt(0)
    counts = settled(mount, wire)
    assert len(counts.asked) == len(counts.batches) <= 2 * count
    assert took_s < 1.5 * rtt_s * count


@pytest.mark.parametrize("change", ["mkdir", "unlink", "rename", "chmod", "symlink", "setxattr"])
def test_a_change_of_names_or_attributes_costs_one_request(wired: tuple[Mount, Wire], change: str) -> None:
    mount, wire = wired
    file = mount.path / "file"
    file.write_text("x")
    os.listdir(mount.path)
    settled(mount, wire)
    match change:
        case "mkdir":
            (mount.path / "new").mkdir()
        case "unlink":
            file.unlink()
        case "rename":
            file.rename(mount.path / "new")
        case "chmod":
            file.chmod(0o600)
        case "symlink":
            os.symlink("x", mount.path / "new")
        case "setxattr":
            os.setxattr(file, "user.x", b"1")
    counts = settled(mount, wire)
    assert len(counts.asked) == len(counts.batches) == 1


def test_a_close_asks_once_what_is_missing_and_commits_once(wired: tuple[Mount, Wire]) -> None:
    mount, wire = wired
    (mount.path / "file").touch()
    settled(mount, wire)
    with open(mount.path / "file", "r+b", buffering=0) as file:
        for _ in range(8):
            file.write(os.urandom(MIB))
    counts = settled(mount, wire)
    asked = counts.of("POST", "/blocks/missing")
    assert len(asked) == len(counts.batches) == 1
    assert len(counts.asked) == len(asked) + len(counts.batches) + len(counts.blocks_put)


def test_a_reread_reaches_neither_network_nor_mount(wired: tuple[Mount, Wire], large: Path) -> None:
    """Each request of the kernel's is a read of the mount's device: that many would be 512 of 128 KiB."""
    mount, wire = wired
    content = large.read_bytes()
    settled(mount, wire)
    before = mount.read_calls()
    assert large.read_bytes() == content
    assert mount.read_calls() - before < 30
    assert settled(mount, wire).asked == []
