"""Files that come and go, and what a mount's process has grown to meanwhile."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, NamedTuple

from tests.real.harness import Mount

PROGRAMS: Final = 8
"""That change files at the same time: they share round trips, and the requests' tasks are all made in the beginning."""


class Footprint(NamedTuple):
    """What a mount's process holds now."""

    resident_bytes: int
    descriptors: int
    """But the connections to the server, of which there are as many as requests were under way at once."""
    known: int
    """Nodes and names, as ``samedrive status`` counts them."""

    @classmethod
    def of(cls, mount: Mount) -> Footprint:
        assert mount.process is not None
        process = Path(f"/proc/{mount.process.pid}")
        match = re.search(r"VmRSS:\s+(\d+) kB", (process / "status").read_text())
        assert match
        return cls(int(match[1]) * 1024, _descriptors(process), int(mount.status()["known"]))


def _descriptors(process: Path) -> int:
    connections = {line.split()[9] for line in (process / "net" / "tcp").read_text().splitlines()[1:]}
    targets = [os.readlink(each) for each in (process / "fd").iterdir()]
    return sum(target.removeprefix("socket:[").rstrip("]") not in connections for target in targets)


def come_and_go(folder: Path, numbers: Iterable[int]) -> None:
    """Of each number a file and a folder: made, written, opened, renamed and removed."""

    def one(number: int) -> None:
        first, second = folder / f"file {number}", folder / f"renamed {number}"
        first.write_bytes(b"%d" % number)
        assert first.read_bytes() == b"%d" % number
        first.rename(second)
        second.unlink()
        (folder / f"folder {number}").mkdir()
        (folder / f"folder {number}").rmdir()

    with ThreadPoolExecutor(PROGRAMS) as pool:
        for done in pool.map(one, numbers):
            assert done is None


def hard_links(folder: Path, count: int) -> None:
    """So many names of one file, each of which counts them all, and then removed."""
    (folder / "name").write_text("content")
    for number in range(count - 1):
        os.link(folder / "name", folder / f"name {number}")
    assert {entry.stat().st_nlink for entry in os.scandir(folder)} == {count}
    assert (folder / f"name {count - 2}").read_text() == "content"
    for number in range(count - 1):
        os.unlink(folder / f"name {number}")
    assert os.stat(folder / "name").st_nlink == 1


def rewritten(file: Path, times: int) -> None:
    """One file, written anew so many times; what is read back is the last."""
    for number in range(times):
        file.write_text(f"{number}\n" * (1 + number % 50))
    assert file.read_text() == f"{times - 1}\n" * (1 + (times - 1) % 50)


def many_files(folder: Path, count: int, together: int = 500) -> set[str]:
    """So many files in one folder; returns their names."""
    with ThreadPoolExecutor(PROGRAMS) as pool:
        for begin in range(0, count, together):
            names = [str(number) for number in range(begin, min(begin + together, count))]
            descriptors = [os.open(folder / name, os.O_CREAT | os.O_WRONLY) for name in names]
            for done in pool.map(os.close, descriptors):
                assert done is None
    return {str(number) for number in range(count)}
