"""Programs for long: everything in ``loads``, much larger, and files that come and go by the hundred thousand.

``python -m tests.real.programs.soak MINUTES [SEED]`` does one after the other, in an order that the seed gives, and
begins none when the time is over. What fails is told and the next is tried.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from random import Random
from typing import Final

from tests.real.churn import Footprint, come_and_go, hard_links, many_files, rewritten
from tests.real.harness import Device, Failed, Log, Mount, Server
from tests.real.programs import loads

MIB: Final = 1 << 20
STEP: Final = 10_000
"""Files that come and go between two looks at what the mount's process holds."""

GROWTH_MOST_BYTES: Final = 24 * MIB
"""After the first step: what the tree notes of touched names and nodes until it forgets them all (``backend/tree.py``),
and what Python's allocator keeps."""

KNOWN_MOST: Final = 15_000
"""More nodes and names than the bounds of ``backend/tree.py`` let it keep of what is gone."""


def works(mount: Mount, until_s: float) -> dict[str, Callable[[Path], object]]:
    """Each takes an empty folder of its own on the mount."""
    return {
        "fio psync": lambda folder: loads.fio(folder, "256m", engine="psync", block="1k-256k"),
        "fio mmap": lambda folder: loads.fio(folder, "64m", engine="mmap", block="4k"),
        "fio sequential": lambda folder: loads.fio(folder, "512m", engine="psync", block="1m", pattern="write"),
        "dbench": lambda folder: loads.dbench(folder, 4, 60),
        "bonnie++": lambda folder: loads.bonnie(folder, 256, 4),
        "10,000 files in a folder": _many_files,
        "1,000 names of a file": lambda folder: hard_links(folder, 1_000),
        "a file rewritten 1,000 times": lambda folder: rewritten(folder / "file", 1_000),
        "100,000 files that come and go": partial(_come_and_go, mount, until_s),
        **{f"stress-ng {name}": partial(loads.stress, stressor=name, seconds=10) for name in loads.STRESSORS},
    }


def _many_files(folder: Path) -> None:
    names = many_files(folder, 10_000)
    assert {path.name for path in folder.iterdir()} == names


def _come_and_go(mount: Mount, until_s: float, folder: Path) -> None:
    """As many as there is time for; what the first of them left counts as what a mount needs."""
    come_and_go(folder, range(STEP))
    before = Footprint.of(mount)
    for begin in range(STEP, 10 * STEP, STEP):
        if time.monotonic() > until_s:
            break
        come_and_go(folder, range(begin, begin + STEP))
        after = Footprint.of(mount)
        print(f"  {begin + STEP} files: {after}, after the first {STEP}: {before}", flush=True)
        assert after.descriptors <= before.descriptors, "descriptors are left open"
        assert after.known <= before.known + KNOWN_MOST, "nodes or names are kept for ever"
        assert after.resident_bytes - before.resident_bytes < GROWTH_MOST_BYTES, "memory grows"


def soak(minutes: float, seed: int) -> int:
    """The exit status. The folder is left where anything failed."""
    until_s = time.monotonic() + 60 * minutes
    folder = Path(tempfile.mkdtemp(prefix="samedrive-soak-"))
    server = Server(folder / "server").start()
    device = Device(folder / "device", "laptop", server.url)
    device.login(server.admin_password_file)
    mount = Mount(device, folder / "mount", "home").start()
    print(f"seed {seed}, in {folder}", flush=True)
    try:
        failures = _rounds(mount, (mount.log, server.log), until_s, Random(seed))
    finally:
        mount.close()
        server.close()
    print(f"{failures} failed" if failures else "all well", flush=True)
    if failures == 0:
        shutil.rmtree(folder)
    return 1 if failures else 0


def _rounds(mount: Mount, logs: tuple[Log, ...], until_s: float, random: Random) -> int:
    failures = 0
    chosen: list[tuple[str, Callable[[Path], object]]] = []
    while time.monotonic() < until_s:
        if not chosen:
            chosen = list(works(mount, until_s).items())
            random.shuffle(chosen)
        failures += not _holds(mount, logs, *chosen.pop())
    return failures


def _holds(mount: Mount, logs: tuple[Log, ...], name: str, work: Callable[[Path], object]) -> bool:
    """Whether a work ended well, with nothing in the logs; a mount that it ended is started again."""
    began_s, seen = time.monotonic(), [log.from_here() for log in logs]
    folder = mount.path / name
    try:
        folder.mkdir()
        done = work(folder)
        shutil.rmtree(folder)
        if trouble := [line for log in seen for line in log.unexpected()]:
            raise Failed("in the logs: " + "\n".join(trouble))
    except (AssertionError, Failed, OSError, subprocess.TimeoutExpired) as error:
        print(f"{name}: FAILED: {error}", flush=True)
        if mount.process is None or not mount.process.running:
            mount.close()
            mount.start()
        return False
    nothing = " (the drive lacks what it wears out)" if done is False else ""
    print(f"{name}: {time.monotonic() - began_s:.0f} s{nothing}", flush=True)
    return True


if __name__ == "__main__":
    sys.exit(soak(float(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 1))
