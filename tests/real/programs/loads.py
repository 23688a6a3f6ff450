"""Programs that were written to wear out file systems, each with its own check of what it reads back."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Final

from tests.real.harness import Failed

STRESSORS: Final = (
    "access", "chattr", "chdir", "chmod", "chown", "copy-file", "dentry", "dir", "dirdeep", "dirmany", "dnotify",
    "dup", "fallocate", "fcntl", "fiemap", "file-ioctl", "filename", "flock", "fpunch", "fsize", "fstat", "getdent",
    "handle", "hdd", "inode-flags", "inotify", "io", "iomix", "lease", "link", "locka", "lockf", "lockofd", "mknod",
    "open", "rename", "symlink", "sync-file", "touch", "utime", "verity", "xattr",
)  # fmt: skip
"""stress-ng's class "filesystem", less what doesn't touch the folder that it is given."""

_NOT_IMPLEMENTED: Final = 4
"""stress-ng's status where the file system lacks what a stressor wears out."""


def fio(folder: Path, size: str, *, engine: str, block: str, pattern: str = "randrw") -> None:
    """Blocks at random places, each with a checksum that is verified after all have been written."""
    _run(
        ("fio", "--name=load", f"--directory={folder}", f"--rw={pattern}", f"--bs={block}", f"--size={size}"),
        (
            "--numjobs=2",
            "--thread",
            f"--ioengine={engine}",
            "--fsync=128",
            "--verify=crc32c",
            "--verify_fatal=1",
            "--verify_state_save=0",
        ),
        within_s=3600.0,
    )


def stress(folder: Path, stressor: str, seconds: int) -> bool:
    """One of stress-ng's file system stressors with its checks; False where it finds nothing that it could wear out."""
    status = _run(
        ("stress-ng", f"--{stressor}", "1", "--verify", "--timeout", str(seconds), "--temp-path", str(folder)),
        # It cleans up after the time is over: thousands of links, one after the other.
        within_s=seconds + 600.0,
        also_good=_NOT_IMPLEMENTED,
    )
    return status == 0


def dbench(folder: Path, clients: int, seconds: int) -> None:
    """What the clients of a file server do, by a recording."""
    _run(("dbench", "-D", str(folder), "-t", str(seconds), str(clients)), within_s=seconds + 300.0)


def bonnie(folder: Path, mebibytes: int, thousands_of_files: int) -> None:
    """Write, rewrite and read in blocks, seek, then make, stat and remove files. Less its part of one byte a call."""
    program = shutil.which("bonnie++", path=f"{os.environ['PATH']}:/usr/sbin")
    _run(
        (program or "bonnie++", "-q", "-f", "-d", str(folder), "-s", str(mebibytes), "-r", str(mebibytes // 2)),
        ("-n", f"{thousands_of_files}:1000:100:4", *(("-u", "root") if os.geteuid() == 0 else ())),
        within_s=3600.0,
    )


def _run(*command: tuple[str, ...], within_s: float, also_good: int = 0) -> int:
    whole = [part for parts in command for part in parts]
    done = subprocess.run(
        whole, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", timeout=within_s, check=False
    )
    if done.returncode not in {0, also_good}:
        raise Failed(f"{' '.join(whole)}: status {done.returncode}\n{done.stdout[-4000:]}{done.stderr[-4000:]}")
    return done.returncode
