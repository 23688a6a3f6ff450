"""A mount's life: the folder checked, the kernel's connection made, served, and given up.

Knows mount options and /proc; knows nothing of requests. Paths below the mount are never touched from its own
process: that would wait for itself.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import signal
import stat
import subprocess
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

import pyfuse3
import trio

from backend.drive import Drive
from backend.errors import DriveError, LocalFailure
from backend.threads import WorkerThreads
from fs.answering import DEADLINE_S, Deadlines
from fs.attributes import Owner
from fs.clock import LinuxClock
from fs.entries import Entries
from fs.inodes import Inodes
from fs.keeping import Keeping
from fs.notices import FuseKernel, Notices, fuse_devices
from fs.operations import Operations

FSNAME: Final = "samedrive"
READ_AHEAD_KIB: Final = 8 * 1024
"""The kernel's default of 128 KiB makes a sequential reader wait for each request."""

UNMOUNT_S: Final = 60.0
"""The program that unmounts may ask the mount something first, which is answered within the mount's deadline."""

LAST_SEND_S: Final = 30.0
"""How long an unmount waits for what is still to be sent; the rest is in the journal for the next mount."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class MountOptions:
    """How a workspace appears."""

    allow_other: bool = False
    read_only: bool = False
    numeric_owner: bool = False
    suid: bool = False
    dev: bool = False
    use_epoch: bool = True
    strict: bool = False
    deadline_s: float = DEADLINE_S


class _Mounted(NamedTuple):
    device: str
    """major:minor"""
    kind: str
    source: str


def mounted_at(folder: Path) -> _Mounted | None:
    """What is mounted at a folder, by /proc/self/mountinfo (proc(5)); the folder itself is not touched."""
    found = None
    for line in Path("/proc/self/mountinfo").read_text(errors="surrogateescape").splitlines():
        fields = line.split(" ")
        if _unescaped(fields[4]) == str(folder):
            separator = fields.index("-")
            found = _Mounted(fields[2], fields[separator + 1], fields[separator + 2])
    return found


def _unescaped(text: str) -> str:
    raw = text.encode(errors="surrogateescape")
    for code, char in ((b"\\040", b" "), (b"\\011", b"\t"), (b"\\012", b"\n"), (b"\\134", b"\\")):
        raw = raw.replace(code, char)
    return os.fsdecode(raw)


def check_folder(folder: Path) -> None:
    """Raises LocalFailure where nothing can be mounted; clears the mount point of a process that died."""
    try:
        os.statvfs(folder)  # Asks the mount's process where stat may be answered from what the kernel kept.
        status = folder.stat()
    except FileNotFoundError:
        raise LocalFailure(f"{folder} does not exist: make the folder first (mkdir {folder})") from None
    except OSError as error:
        if error.errno not in (errno.ENOTCONN, errno.ECONNABORTED) or mounted_at(folder) is None:
            raise LocalFailure(f"{folder} can't be used: {error.strerror}") from None
        log.info("clearing the mount point of a process that is gone: %s", folder)
        unmount(folder, lazily=True)
        check_folder(folder)
        return
    if (there := mounted_at(folder)) is not None:
        raise LocalFailure(f"{folder} has something mounted on it already ({there.kind}): unmount that first")
    if not stat.S_ISDIR(status.st_mode):
        raise LocalFailure(f"{folder} is not a folder")
    if next(folder.iterdir(), None) is not None:
        raise LocalFailure(f"{folder} is not empty: what is in it would be hidden; choose an empty folder")
    if not os.path.exists("/dev/fuse"):
        raise LocalFailure("there is no /dev/fuse: the fuse module is not loaded, or a container lacks the device")
    if not os.access("/dev/fuse", os.R_OK | os.W_OK):
        raise LocalFailure("this user may not open /dev/fuse: let root give its mode 0666, as systems usually have it")


def unmount(folder: Path, *, lazily: bool = False) -> None:
    """Unmount; raises LocalFailure where it is busy. Lazily: at once, what is open goes on."""
    command = ["umount"] if os.geteuid() == 0 else ["fusermount3", "-u"]
    option = ["-l" if os.geteuid() == 0 else "-z"] if lazily else []
    process = subprocess.Popen([*command, *option, str(folder)], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        _, said = process.communicate(timeout=UNMOUNT_S)
    except subprocess.TimeoutExpired:
        process.kill()  # Not waited for: the kernel may hold it until the mount's process answers it or ends.
        raise LocalFailure(f"{folder} does not answer: its process hangs, and unmounts when it is killed") from None
    if process.returncode != 0:
        why = " ".join(said.decode(errors="backslashreplace").split()) or "unmounting failed"
        raise LocalFailure(f"{folder} can't be unmounted: {why}")


async def serve_mount(
    drive: Drive,
    folder: Path,
    options: MountOptions,
    beside: Callable[[], Awaitable[None]],
    ready: Callable[[], None],
) -> None:
    """Mount and serve until unmounted, by anybody, or SIGTERM or SIGINT. ``beside`` runs meanwhile; ``ready`` is called
    when requests are answered. Raises LocalFailure where the kernel refuses."""
    owner = None if options.numeric_owner or os.geteuid() == 0 else Owner(os.geteuid(), os.getegid())
    inodes = Inodes()
    deadlines = Deadlines(options.deadline_s)
    drive.watch_traffic(deadlines.moved)
    entries = Entries(inodes, owner)
    operations = Operations(drive, inodes, entries, deadlines)
    before = fuse_devices()
    try:
        pyfuse3.init(operations, str(folder), _fuse_options(options, read_only=drive.read_only))
    except RuntimeError:
        raise LocalFailure(
            f"{folder} could not be mounted: see above what fusermount3 said; is the user allowed to use FUSE?"
        ) from None
    with contextlib.ExitStack() as ending:
        ending.callback(pyfuse3.close, unmount=True)
        clock = ending.enter_context(LinuxClock())
        (device,) = fuse_devices() - before
        notices = Notices(
            FuseKernel(device), inodes, WorkerThreads(1), drive.cache_timeout_s, use_epoch=options.use_epoch
        )
        keeping = Keeping(drive, notices, clock)
        entries.begin(notices, keeping)
        async with trio.open_nursery() as nursery:
            await nursery.start(drive.run, notices.tell)
            nursery.start_soon(notices.run)
            nursery.start_soon(keeping.run)
            nursery.start_soon(beside)
            nursery.start_soon(_unmount_on_signal, folder)
            nursery.start_soon(_report_ready, folder, ready)
            await pyfuse3.main()
            # Apart from the server nothing can be sent: it is kept for the next mount.
            with trio.move_on_after(0 if drive.is_apart else LAST_SEND_S):
                try:
                    await drive.synced()
                except DriveError as error:
                    log.warning("not everything could be sent, the next mount sends the rest: %s", error)
            nursery.cancel_scope.cancel()
        notices.end()
    await drive.leave()


async def _report_ready(folder: Path, ready: Callable[[], None]) -> None:
    """Ready is who has answered a request. It comes from a thread: this one has to answer it."""
    try:
        await trio.to_thread.run_sync(os.stat, folder)
    except OSError as error:
        raise LocalFailure(f"{folder} is mounted, but does not answer: {error.strerror}") from None
    # Not before: in its first exchange with the mount the kernel sets read-ahead back to its default.
    _raise_read_ahead(folder)
    ready()


async def _unmount_on_signal(folder: Path) -> None:
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async for _ in signals:
            log.info("unmounting")
            # Lazily: programs that have files open may finish; the kernel ends the connection after the last.
            await trio.to_thread.run_sync(_unmount_quietly, folder)
            pyfuse3.terminate()


def _unmount_quietly(folder: Path) -> None:
    with contextlib.suppress(LocalFailure):
        unmount(folder, lazily=True)


def _fuse_options(options: MountOptions, *, read_only: bool) -> set[str]:
    chosen = {f"fsname={FSNAME}", "default_permissions"}
    chosen |= {"allow_other"} if options.allow_other else set()
    chosen |= {"ro"} if read_only else set()
    chosen.add("suid" if options.suid else "nosuid")
    chosen.add("dev" if options.dev else "nodev")
    return chosen


def _raise_read_ahead(folder: Path) -> None:
    """Where permitted (root); elsewhere the kernel's default stays."""
    there = mounted_at(folder)
    if there is not None:
        with contextlib.suppress(OSError):
            Path(f"/sys/class/bdi/{there.device}/read_ahead_kb").write_text(str(READ_AHEAD_KIB))
