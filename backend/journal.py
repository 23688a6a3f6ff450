"""What was written and closed here and is in no committed version yet: a log that survives a crash at any byte.

Owns the journal folder: the journal's id, the lock that keeps a second mount out, the record file, and the
folder of overlay files that records name.

Format 1 of ``log``: the 8 bytes ``SDJ1\\0\\0\\0\\0``, then records: length of the body (4 bytes, big-endian), the
first 8 bytes of the body's BLAKE3, the body in MessagePack (``Begun`` or ``Done``). A tail that is cut or doesn't match
its hash is dropped: it was being written when the power went, and nobody has been told that it is there.

Invariants: a record's number is never used twice in one log; when nothing is live the log is replaced by an empty one.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import struct
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Final

import msgspec
from blake3 import blake3

from backend.errors import LocalFailure
from protocol.ids import JOURNAL_ID_BYTES, JournalId, new_journal_id
from protocol.messages import Create, Node

MAGIC: Final = b"SDJ1\0\0\0\0"
_HEAD: Final = struct.Struct(">I8s")
_RECORD_MAX_BYTES: Final = 64 << 20
_COMPACT_BYTES: Final = 4 << 20
"""A log with nothing live is emptied when it is longer than this, not after each commit."""

log = logging.getLogger(__name__)


class Flushed(msgspec.Struct, frozen=True, tag="flushed", kw_only=True):
    """A file that is about to be committed: all that is needed to do it after a crash."""

    row: Node
    create: Create | None
    """Where the server may not know the file yet."""
    manifest: bytes
    """The base version's content."""
    mtime_ns: int
    size: int
    base_visible: int
    segments: list[tuple[int, int]]
    """Ranges of local bytes."""
    boot: str
    """The machine's start (/proc/sys/kernel/random/boot_id) at which the bytes were written."""
    synced: bool
    """Whether the bytes survive a power loss: else they are worth nothing after another start."""
    file: str
    """The overlay file's name, in the folder ``overlays``; it exists where ``content`` is None."""
    content: bytes | None
    """The local bytes where they are few: offset is place."""


class Begun(msgspec.Struct, frozen=True, tag="begun"):
    """A numbered record."""

    number: int
    flushed: Flushed


class Done(msgspec.Struct, frozen=True, tag="done"):
    """The record of this number is committed."""

    number: int


class Journal:
    """The journal of one mount. Use as a context manager; raises LocalFailure where the folder can't be used."""

    def __init__(self, folder: Path) -> None:
        self.overlays = folder / "overlays"
        self._folder = folder
        self._live: dict[int, Flushed] = {}
        self._sync_failed = False
        """What was appended before a failed fsync may be gone, and the next fsync would not say so (fsync(2))."""
        self._next = 1
        self._log = self._lock = -1
        try:
            self.overlays.mkdir(parents=True, exist_ok=True)
            self._take_lock()
            self.id = self._load_id()
            self.boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
            self._open_log()
        except OSError as error:
            self.close()
            raise LocalFailure(f"the folder {folder} can't be used: {error.strerror}", error.errno or 5) from None
        self._remove_strays()

    def live(self) -> list[tuple[int, Flushed]]:
        """Records that are not done, in order."""
        return sorted(self._live.items())

    def begin(self, flushed: Flushed) -> int:
        """Append a record; returns its number. ``sync`` makes it survive a power loss."""
        number, self._next = self._next, self._next + 1
        self._append(Begun(number, flushed))
        self._live[number] = flushed
        return number

    def end(self, number: int) -> None:
        """A record is committed. Where that can't be written, the next mount commits it again, which does no harm."""
        if self._live.pop(number, None) is None:
            return
        try:
            if self._live or os.lseek(self._log, 0, os.SEEK_CUR) < _COMPACT_BYTES:
                self._append(Done(number))
            else:
                self._begin_log()
        except (OSError, LocalFailure) as error:
            log.warning("%s: the end of a record can't be written: %s", self._folder, error)

    def sync(self) -> None:
        """Return when everything appended survives a power loss; raises LocalFailure.

        After a failure the next call writes what is live to a new file.
        """
        try:
            if self._sync_failed:
                self._begin_log()
            else:
                os.fsync(self._log)
        except OSError as error:
            self._sync_failed = True
            raise LocalFailure(f"{self._folder}: {error.strerror}", error.errno or 5) from None
        self._sync_failed = False

    def close(self) -> None:
        """Let another mount have the folder."""
        for fd in (self._log, self._lock):
            if fd >= 0:
                os.close(fd)
        self._log = self._lock = -1

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _take_lock(self) -> None:
        self._lock = os.open(self._folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self.close()
            raise LocalFailure(
                f"another mount is using {self._folder.parent}; give this one a folder of its own with --cache"
            ) from None

    def _load_id(self) -> JournalId:
        path = self._folder / "id"
        with contextlib.suppress(FileNotFoundError):
            if len(data := path.read_bytes()) == JOURNAL_ID_BYTES:
                return JournalId(data)
        _replace(path, made := new_journal_id())
        return made

    def _open_log(self) -> None:
        path = self._folder / "log"
        if not path.exists() or path.stat().st_size < len(MAGIC):
            self._begin_log()
            return
        self._log = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        data = path.read_bytes()
        if data[: len(MAGIC)] != MAGIC:
            raise LocalFailure(f"{path} is not a journal that this version knows; it may hold unsent work")
        good = len(MAGIC)
        for record, stop in _records(data):
            good = stop
            if isinstance(record, Begun):
                self._live[record.number] = record.flushed
                self._next = record.number + 1
            else:
                self._live.pop(record.number, None)
        if good < len(data):
            log.warning("%s: dropped %d bytes of a record that was never finished", path, len(data) - good)
            os.ftruncate(self._log, good)
        os.lseek(self._log, good, os.SEEK_SET)

    def _begin_log(self) -> None:
        """Replace the log by a new one that holds what is live."""
        _replace(
            self._folder / "log", MAGIC + b"".join(_encoded(Begun(*record)) for record in sorted(self._live.items()))
        )
        if self._log >= 0:
            os.close(self._log)
        self._log = os.open(self._folder / "log", os.O_RDWR | os.O_APPEND | os.O_CLOEXEC)
        os.lseek(self._log, 0, os.SEEK_END)

    def _append(self, record: Begun | Done) -> None:
        data = _encoded(record)
        begin = os.lseek(self._log, 0, os.SEEK_CUR)
        try:
            if os.write(self._log, data) != len(data):
                raise OSError(28, "No space left on device")
        except OSError as error:
            with contextlib.suppress(OSError):  # What stands there unfinished is dropped when the log is read.
                os.ftruncate(self._log, begin)
                os.lseek(self._log, begin, os.SEEK_SET)
            raise LocalFailure(f"{self._folder}: {error.strerror}", error.errno or 5) from None

    def _remove_strays(self) -> None:
        """Overlays of files that were never closed."""
        named = {flushed.file for flushed in self._live.values()}
        for path in self.overlays.iterdir():
            if path.name not in named:
                path.unlink()


def _encoded(record: Begun | Done) -> bytes:
    body = msgspec.msgpack.encode(record)
    return _HEAD.pack(len(body), blake3(body).digest()[:8]) + body


def _records(data: bytes) -> Iterator[tuple[Begun | Done, int]]:
    """Records and where they end, up to the first that is cut or damaged."""
    at = len(MAGIC)
    while at + _HEAD.size <= len(data):
        length, digest = _HEAD.unpack_from(data, at)
        begin = at + _HEAD.size
        body = data[begin : begin + length]
        if length > _RECORD_MAX_BYTES or len(body) != length or blake3(body).digest()[:8] != digest:
            return
        at = begin + length
        try:
            record = msgspec.msgpack.decode(body, type=Begun | Done)
        except msgspec.DecodeError as error:
            raise LocalFailure(
                f"the journal has a record that this version doesn't understand ({error}); it may hold unsent work: "
                "mount it with the version that wrote it"
            ) from None
        yield record, at


def _replace(path: Path, content: bytes) -> None:
    """Write a small file so that a crash leaves the old one or the new one."""
    temporary = path.with_name(path.name + ".new")
    with temporary.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    temporary.rename(path)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
