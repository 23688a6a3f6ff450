"""A file that is open stays on one version, whatever another mount commits meanwhile (docs/ARCHITECTURE.md)."""

from __future__ import annotations

import mmap
import os
import subprocess
import sys
import textwrap
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.real.harness import Mount, Process
from tests.real.world import World

SIZE_BYTES = 6 << 20
PIECE_BYTES = 512 << 10


@pytest.fixture(params=[(), ("--no-epoch",)], ids=["epoch", "no epoch"])
def pair(request: pytest.FixtureRequest, world: World) -> tuple[Mount, Mount]:
    """A writer and a reader."""
    return world.mount("desk"), world.mount("laptop", *request.param)


def drop_pages(fd: int) -> None:
    """Let the next read of this file ask the mount again."""
    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)


def replace(path: Path, content: bytes) -> None:
    """As editors do."""
    path.with_name("draft").write_bytes(content)
    path.with_name("draft").rename(path)


def test_a_mapping_shows_the_version_that_was_mapped(pair: tuple[Mount, Mount]) -> None:
    writer, reader = pair
    old, new = os.urandom(SIZE_BYTES), os.urandom(SIZE_BYTES)
    (writer.path / "file").write_bytes(old)
    with open(reader.path / "file", "rb") as file:
        with mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as mapped:
            assert mapped[:PIECE_BYTES] == old[:PIECE_BYTES]
            (writer.path / "file").write_bytes(new)
            assert (reader.path / "file").read_bytes() == new
            mapped.madvise(mmap.MADV_DONTNEED)
            drop_pages(file.fileno())
            assert mapped[:] == old
    assert (reader.path / "file").read_bytes() == new


def test_a_slow_copy_has_the_bytes_of_the_version_that_was_opened(pair: tuple[Mount, Mount]) -> None:
    writer, reader = pair
    versions = [os.urandom(SIZE_BYTES) for _ in range(3)]
    (writer.path / "file").write_bytes(versions[0])
    copied = []
    with open(reader.path / "file", "rb", buffering=0) as file:
        for number in range(SIZE_BYTES // PIECE_BYTES):
            if number == 3:
                (writer.path / "file").write_bytes(versions[1])
            if number == 6:
                replace(writer.path / "file", versions[2])
            if number == 9:
                (writer.path / "file").unlink()
            copied.append(file.read(PIECE_BYTES))
            drop_pages(file.fileno())
        file.seek(0)
        assert b"".join(copied) == versions[0]
        assert file.read(SIZE_BYTES) == versions[0]
        assert os.fstat(file.fileno()).st_size == SIZE_BYTES
    assert not (reader.path / "file").exists()


REPLACER = textwrap.dedent("""
    import os, sys
    path, size = sys.argv[1], int(sys.argv[2])
    print("begin", flush=True)
    number = 0
    while True:
        content = bytes([number % 256]) * (size - number % 7)
        if number % 2:
            open(path, "wb").write(content)
        else:
            open(path + ".draft", "wb").write(content)
            os.rename(path + ".draft", path)
        number += 1
""")
"""Replaces a file again and again, each version one byte repeated, by both of the ways that programs have."""


def test_a_file_that_is_replaced_without_pause_is_never_read_mixed(
    world: World, pair: tuple[Mount, Mount], tmp_path: Path
) -> None:
    writer, reader = pair
    (writer.path / "file").write_bytes(bytes([255]) * SIZE_BYTES)
    replacer = Process(
        (sys.executable, "-c", REPLACER, str(writer.path / "file"), str(SIZE_BYTES)),
        world.folder / "replacer.log",
        dict(os.environ),
    )
    try:
        replacer.wait_for_line("begin")
        for number in range(5):
            copy = tmp_path / str(number)
            with copy.open("wb") as output:  # cp(1) gives a file up that is another one by the time it is opened.
                subprocess.run(("cat", reader.path / "file"), stdout=output, check=True, timeout=60)
            content = copy.read_bytes()
            # Opening for writing truncates: an empty version is one, too, where it was committed.
            assert content == content[:1] * len(content), f"copy {number} has bytes of several versions"
            assert len(content) in {0, *range(SIZE_BYTES - 6, SIZE_BYTES + 1)}
    finally:
        replacer.close()


def test_a_handle_for_writing_keeps_its_base_and_its_write_becomes_a_conflict_copy(pair: tuple[Mount, Mount]) -> None:
    writer, reader = pair
    old, new = os.urandom(3 * PIECE_BYTES), os.urandom(2 * PIECE_BYTES)
    (writer.path / "file.bin").write_bytes(old)
    edited = old[:PIECE_BYTES] + b"edited" + old[PIECE_BYTES + 6 :]
    with open(reader.path / "file.bin", "r+b", buffering=0) as file:
        (writer.path / "file.bin").write_bytes(new)
        assert (reader.path / "file.bin").read_bytes() == new
        os.pwrite(file.fileno(), b"edited", PIECE_BYTES)
        drop_pages(file.fileno())
        assert os.pread(file.fileno(), len(old), 0) == edited
        assert os.getxattr(f"/proc/self/fd/{file.fileno()}", "user.samedrive.state") == b"local"
    for mount in pair:
        names = sorted(os.listdir(mount.path))
        assert len(names) == 2
        copy = next(name for name in names if name.startswith("file (conflict from laptop "))
        assert (mount.path / "file.bin").read_bytes() == new
        assert (mount.path / copy).read_bytes() == edited
        assert os.getxattr(mount.path / copy, "user.samedrive.state") == b"conflict"
        assert os.getxattr(mount.path / "file.bin", "user.samedrive.state") == b"synced"


@pytest.mark.parametrize("flags", [os.O_TRUNC, 0], ids=["cut", "overwritten"])
def test_a_read_that_a_change_overtook_leaves_nothing_behind(world: World, flags: int) -> None:
    """The kernel holds a page's lock while it is read: what is cut or written waits for that, and stays."""
    old, new = os.urandom(10_000), os.urandom(100)
    (world.mount("desk").path / "file").write_bytes(old)
    mount, wire = world.wired("laptop")
    path = mount.path / "file"
    assert path.stat().st_size == len(old)
    wire.set_rtt(0.5)
    wire.reset()
    with ThreadPoolExecutor() as threads:
        reading = threads.submit(path.read_bytes)
        while not wire.counts().blocks_read:
            assert not reading.done()
        with open(os.open(path, os.O_WRONLY | flags), "wb") as file:
            file.write(new)
        read = reading.result()
    wire.set_rtt(0)
    assert read[len(new) :] in (b"", old[len(new) :])
    assert path.read_bytes() == (new if flags else new + old[len(new) :])
