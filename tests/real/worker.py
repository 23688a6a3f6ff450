"""A program that uses a mount at random and writes down what it did, until its standard input ends.

Several run on each of several mounts and meet on few names. Each line of its output is a record (``histories.py``
makes events of them): the operation, its arguments, its result and when it was called and returned, by
CLOCK_MONOTONIC, which all processes of a machine share.

Processes of one machine don't write to one file at once: what they would see of each other is POSIX's affair, not the
drive's. They agree on that with locks in a folder beside the drive.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import select
import stat
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path
from random import Random
from typing import Any, Final

from tests.simulation.history import ABSENT, CELL_BYTES, FOLDER, OK, UNREAD, cells, label_of

FILES: Final = ("a", "b", "c", "d/x", "d/y")
FOLDERS: Final = ("d", "e", "d/f")
REMOVABLE: Final = FOLDERS[1:]
CONFLICT_MARK: Final = " (conflict from "
OWN_MARK: Final = "own"
"""Files that one process makes and nobody touches again."""

LONG_CELLS: Final = 400_000 // CELL_BYTES
PIECE_BYTES: Final = 48 * 1024
HURRY_S: Final = (0.01, 0.05, 0.2)
SLOWLY_S: Final = 0.05

GONE: Final = (errno.ENOTCONN, errno.ECONNABORTED)
SAYS: Final = (errno.ENOENT, errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR, errno.EISDIR)
"""Errors that say how the tree is; any other leaves open what became of a change."""


class Ended(Exception):
    """Nobody wants more."""


class Worker:
    """One process of one machine."""

    def __init__(self, drive: Path, locks: Path, number: int, seed: int, output: Path) -> None:
        """``number`` is below 63, and every process of the run has another."""
        self._drive = drive
        self._locks = locks
        self._number = number
        self._random = Random(seed)
        self._tokens = count(number * 1_000_000 + 1)
        self._handles = count(number * 1_000_000 + 1)
        self._output = output.open("a", buffering=1)
        self._hurry_s = self._random.choice(HURRY_S)

    def run(self) -> None:
        """Until nobody wants more."""
        acts = (
            (self.look, 20),
            (self.list, 12),
            (self.read, 22),
            (self.write_new, 14),
            (self.rewrite, 14),
            (self.write_blindly, 5),
            (self.write_own, 5),
            (self.unlink, 6),
            (self.rename, 8),
            (self.mkdir, 3),
            (self.rmdir, 3),
        )
        while True:
            self._pause(self._hurry_s)
            [(act, _)] = self._random.choices(acts, [weight for _, weight in acts])
            with self._lock("mount", fcntl.LOCK_SH):
                act()

    def _pause(self, mean_s: float) -> None:
        """Programs aren't always busy. Raises Ended where the input has ended."""
        ready, _, _ = select.select([0], [], [], self._random.expovariate(1 / mean_s))
        if ready:
            raise Ended

    def _dawdle(self) -> None:
        """The same inside of an operation, which goes on to its end."""
        select.select([], [], [], self._random.expovariate(1 / SLOWLY_S))

    # ── locks beside the drive ──

    @contextmanager
    def _lock(self, name: str, kind: int = fcntl.LOCK_EX) -> Iterator[bool]:
        """Whether it was got, where ``kind`` has LOCK_NB."""
        with (self._locks / name.replace("/", "-")).open("w") as file:
            try:
                fcntl.flock(file, kind)
            except BlockingIOError:
                yield False
            else:
                yield True

    # ── questions ──

    def look(self) -> None:
        """stat(2)."""
        path, call_s = self._random.choice(FILES + FOLDERS), time.monotonic()
        about: dict[str, Any] = {"path": path}
        try:
            status = os.stat(self._drive / path)
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.ENOTDIR):
                self._failed("look", call_s, error, **about)
                return
            result = ABSENT
        else:
            result = FOLDER if stat.S_ISDIR(status.st_mode) else str(status.st_size)
            about["inode"] = status.st_ino
        self._record("look", call_s, result, **about)

    def list(self) -> None:
        """A whole folder; conflict copies are left out."""
        folder, call_s = self._random.choice(("", "", *FOLDERS)), time.monotonic()
        try:
            names = os.listdir(self._drive / folder)
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.ENOTDIR):
                self._failed("list", call_s, error, path=folder)
                return
            result = ABSENT
        else:
            result = listing(names)
        self._record("list", call_s, result, path=folder)

    def read(self) -> None:
        """A whole file, now and then slowly."""
        path, call_s = self._random.choice(FILES), time.monotonic()
        try:
            fd = os.open(self._drive / path, os.O_RDONLY)
            opened_s, inode = time.monotonic(), os.fstat(fd).st_ino
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.ENOTDIR):
                self._record("open", call_s, ABSENT, path=path, handle=0)
            else:
                self._failed("open", call_s, error, path=path)
            return
        try:
            label = label_of(self._whole(fd, slowly=self._random.random() < 0.3))
            self._record("open", call_s, label, opened_s, path=path, handle=0, inode=inode, until=time.monotonic())
        except OSError as error:
            self._failed("open", call_s, error, path=path)
        finally:
            self._close(fd)

    def _whole(self, fd: int, *, slowly: bool) -> bytes:
        parts: list[bytes] = []
        while part := os.pread(fd, PIECE_BYTES, sum(map(len, parts))):
            parts.append(part)
            if slowly:
                self._dawdle()
        return b"".join(parts)

    # ── content ──

    def write_new(self) -> None:
        """O_CREAT, and O_EXCL half of the time."""
        flags = os.O_RDWR | os.O_CREAT | (os.O_EXCL if self._random.random() < 0.5 else 0)
        self._write(self._random.choice(FILES), flags)

    def rewrite(self) -> None:
        """Read what is there, and append or write anew."""
        self._write(self._random.choice(FILES), os.O_RDWR)

    def write_blindly(self) -> None:
        """Over what is there."""
        self._write(self._random.choice(FILES), os.O_WRONLY | os.O_TRUNC)

    def write_own(self) -> None:
        """A new file that stays."""
        self._write(f"{OWN_MARK}-{self._number}-{next(self._tokens)}", os.O_RDWR | os.O_CREAT)

    def _write(self, path: str, flags: int) -> None:
        with self._lock(path):
            handle, began_ns, call_s = next(self._handles), time.time_ns(), time.monotonic()
            exclusive, creates = bool(flags & os.O_EXCL), bool(flags & os.O_CREAT)
            about: dict[str, Any] = {"path": path, "handle": handle}
            try:
                fd = os.open(self._drive / path, flags, 0o600 | self._number)
            except OSError as error:
                if not creates and error.errno in (errno.ENOENT, errno.ENOTDIR):
                    self._record("open", call_s, ABSENT, **about)
                elif exclusive and error.errno == errno.EEXIST:
                    self._record("create", call_s, "EEXIST", **about, exclusive=True)
                else:
                    self._failed("create" if creates else "open", call_s, error, **about, exclusive=exclusive)
                return
            opened_s = time.monotonic()
            try:
                inode = os.fstat(fd).st_ino
                with self._lock(f"inode {inode}", fcntl.LOCK_EX | fcntl.LOCK_NB) as alone:
                    if alone:  # Else somebody here writes to it under another name.
                        made = exclusive or (creates and self._made(fd, began_ns))
                        self._fill(fd, flags, call_s, opened_s, {**about, "inode": inode}, made=made)
            except OSError as error:  # Before it is said what the open did.
                self._failed("create" if creates else "open", call_s, error, **about, exclusive=exclusive)
            finally:
                self._close(fd)

    def _made(self, fd: int, began_ns: int) -> bool:
        """Whether this open made the file: its mode is this process's own, and it is from after the call."""
        status = os.fstat(fd)
        return status.st_mode & 0o77 == self._number and status.st_ctime_ns >= began_ns and status.st_size == 0

    def _close(self, fd: int) -> None:
        try:
            os.close(fd)
        except OSError:
            return  # The mount is gone.

    def _fill(self, fd: int, flags: int, call_s: float, opened_s: float, about: dict[str, Any], *, made: bool) -> None:
        """Read where something was there, write, and close."""
        content = b""
        if made:
            self._record("create", call_s, OK, opened_s, **about, exclusive=bool(flags & os.O_EXCL))
        elif flags & os.O_TRUNC:
            self._record("open", call_s, UNREAD, opened_s, **about)
        else:
            content = self._whole(fd, slowly=self._random.random() < 0.2)
            self._record("open", call_s, label_of(content), opened_s, **about)
        new = cells(next(self._tokens), self._random.choice((1, 2, 5, LONG_CELLS)))
        close_s, here = time.monotonic(), bytearray(content)
        # Of the descriptors of an open file each close flushes: should the first fail, the caller's is left to close.
        first = os.dup(fd)
        try:
            if not content or len(content) > LONG_CELLS * CELL_BYTES or self._random.random() < 0.5:
                if content:
                    os.ftruncate(fd, 0)
                    here.clear()
                half = len(new) // 2 // CELL_BYTES * CELL_BYTES
                _append(fd, new[:half], here)
                if self._random.random() < 0.3:
                    self._dawdle()
                _append(fd, new[half:], here)
            else:
                _append(fd, new, here)
            close_s = time.monotonic()
        except OSError as error:
            self._close(first)
            self._failed("commit", close_s, error, **about, content=label_of(bytes(here)))
            return
        try:
            os.close(first)
        except OSError as error:
            self._failed("commit", close_s, error, **about, content=label_of(bytes(here)))
        else:
            self._record("commit", close_s, OK, **about, content=label_of(bytes(here)))

    # ── names ──

    def unlink(self) -> None:
        """unlink(2)."""
        path = self._random.choice(FILES)
        with self._lock(path):
            self._change("unlink", lambda: os.unlink(self._drive / path), path=path)

    def rename(self) -> None:
        """rename(2), often over something."""
        path, new_path = sorted(self._random.sample(FILES, 2))
        back = self._random.random() < 0.5
        with self._lock(path), self._lock(new_path):
            if back:
                path, new_path = new_path, path
            self._change(
                "rename", lambda: os.rename(self._drive / path, self._drive / new_path), path=path, new_path=new_path
            )

    def mkdir(self) -> None:
        """mkdir(2)."""
        path = self._random.choice(REMOVABLE)
        self._change("mkdir", lambda: os.mkdir(self._drive / path), path=path)

    def rmdir(self) -> None:
        """rmdir(2)."""
        path = self._random.choice(REMOVABLE)
        self._change("rmdir", lambda: os.rmdir(self._drive / path), path=path)

    def _change(self, what: str, change: Callable[[], None], **about: Any) -> None:
        call_s = time.monotonic()
        try:
            change()
        except OSError as error:
            if error.errno in SAYS:
                self._record(what, call_s, errno.errorcode[error.errno], **about)
            else:
                self._failed(what, call_s, error, **about)
        else:
            self._record(what, call_s, OK, **about)

    # ── records ──

    def _record(self, what: str, call_s: float, result: str, return_s: float | None = None, **about: Any) -> None:
        until_s = time.monotonic() if return_s is None else return_s
        self._say({"what": what, "call_s": call_s, "return_s": until_s, "result": result, **about})

    def _failed(self, what: str, call_s: float, error: OSError, **about: Any) -> None:
        """Told of trouble: whether it took effect isn't known."""
        name = errno.errorcode[error.errno or errno.EIO]
        self._say({"what": what, "call_s": call_s, "return_s": time.monotonic(), "failed": name, **about})

    def _say(self, record: dict[str, Any]) -> None:
        self._output.write(json.dumps(record) + "\n")


def _append(fd: int, content: bytes, here: bytearray) -> None:
    """Write to the end of a file that has ``here`` in it, and say there how far it came."""
    while content:
        written = os.pwrite(fd, content, len(here))
        here += content[:written]
        content = content[written:]


def listing(names: list[str]) -> str:
    """A folder's names as events have them."""
    return "".join(sorted(f"{name}/" for name in names if CONFLICT_MARK not in name))


if __name__ == "__main__":
    os.umask(0)
    drive, locks, number, seed, output = sys.argv[1:]
    with suppress(Ended):
        Worker(Path(drive), Path(locks), int(number), int(seed), Path(output)).run()
