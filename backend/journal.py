"""What was done here and is not at the server yet: a log that survives a crash at any byte.

It holds files that are about to be committed (``Flushed``), and the changes that were made while the server couldn't be
reached (``Kept``), which are sent in order and bear numbers of the server's from when they are sent (``Sending``).

Owns the journal folder: the journal's id, the lock that keeps a second mount out, the record file, and the
folder of overlay files that records name.

Invariants: a record's number is never used twice in one log; a log is only appended to, or replaced in one step by
another that holds all that is live. Soon after most of it is obsolete, ``compact`` does that, for whoever syncs it or
for ``Compaction``: so it is not much longer than twice what is live. What ``sync`` promised holds whichever process
comes next, and whatever that one's crash undoes. What is kept can be sent, however full the disk is: changes are kept
only while there is a reserve for what is written then.

``sync`` may run in a worker while records are appended: ``_turn`` guards the log and what is live, and is not held
while the disk syncs, but for a sync after one that failed; ``_sync_turn`` lets one of them or of ``compact`` run at a
time, since a failed sync is told to one caller alone.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Final

import msgspec

from backend.disk import Disk, File, make_folders, read_file
from backend.errors import LocalFailure
from backend.records import MAGIC, Answered, Begun, Done, Flushed, Kept, Record, Sending, Settled, encoded, records
from backend.reserve import FULL, Reserve
from protocol.ids import JOURNAL_ID_BYTES, JournalId, new_journal_id
from protocol.messages.batches import AnyAnswer, Refused
from protocol.messages.changes import AnyChange, Commit

_COMPACT_BYTES: Final = 4 << 20
"""A log is written anew when it is at least this long, and what is obsolete in it is this much more than the rest."""

_OVER_BYTES: Final = 1 << 20
"""Of a log that is written over itself, so much at once."""

log = logging.getLogger(__name__)


class Journal:
    """The journal of one mount. Use as a context manager; raises LocalFailure where the folder can't be used."""

    def __init__(self, disk: Disk, folder: Path, compact_bytes: int = _COMPACT_BYTES) -> None:
        self.overlays = folder / "overlays"
        self.disk = disk
        """Where the journal lies, and the overlays."""
        self.obsolete: Callable[[], None] = lambda: None
        """Called by ``end`` and ``settle`` when most of the log is obsolete: somebody is to ``compact`` it."""
        self._folder = folder
        self._compact_bytes = compact_bytes
        self._live: dict[int, Flushed] = {}
        self._kept: dict[int, AnyChange] = {}
        self._past: list[tuple[int, AnyChange, AnyAnswer]] = []
        """Kept changes that have been answered, until all are."""
        self._sending: Sending | None = None
        self._next = 1
        self._log: File | None = None
        self._sizes_bytes: dict[int, int] = {}
        """How much a new log would have of each record that is live, kept or past, by number."""
        self._rewritten_from_bytes = 0
        """After it could not be rewritten: from which length on it is tried again."""
        self._log_bytes = 0
        """Where the next record goes; what lies behind is the rest of one that could not be written."""
        self._in_doubt = False
        """Whether what was appended may be gone after a power loss although ``sync`` of the log has returned."""
        self._lock: File | None = None
        self._turn = threading.RLock()
        self._sync_turn = threading.Lock()
        self._being_synced: File | None = None
        try:
            make_folders(disk, folder)
            make_folders(disk, self.overlays)
            self._take_lock()
            self._reserve = Reserve(disk, folder / "reserve")
            self.id = self._load_id()
            self.boot = disk.boot()
            self._open_log()
            self._remove_strays()
        except OSError as error:
            self.close()
            raise LocalFailure(f"the folder {folder} can't be used: {error.strerror}", error.errno or 5) from None
        except LocalFailure:
            self.close()
            raise

    def live(self) -> list[tuple[int, Flushed]]:
        """Records that are not done, in order."""
        return sorted(self._live.items())

    def begin(self, flushed: Flushed) -> int:
        """Append a record; returns its number. ``sync`` makes it survive a power loss."""
        with self._turn:
            number, self._next = self._next, self._next + 1
            self._sizes_bytes[number] = self._append(Begun(number, flushed))
            self._live[number] = flushed
            return number

    def end(self, number: int) -> None:
        """A record is committed. Where that can't be written, the next mount commits it again, which does no harm."""
        with self._turn:
            if self._live.pop(number, None) is not None:
                del self._sizes_bytes[number]
                self._tidy(Done(number))

    def _tidy(self, record: Record) -> None:
        try:
            self._append_surely(record)
        except LocalFailure as error:
            log.warning("%s: the end of a record can't be written: %s", self._folder, error)
        if self._is_mostly_obsolete():
            self.obsolete()

    # ── changes that were made apart from the server ──

    @property
    def kept_count(self) -> int:
        """How many kept changes are not at the server."""
        return len(self._kept)

    def kept(self, most: int | None = None) -> list[tuple[int, AnyChange]]:
        """Those that are not at the server, in order; the first ``most`` of them."""
        return list(islice(self._kept.items(), most))

    def kept_as(self, numbers: Sequence[int]) -> list[AnyChange]:
        """The kept changes of these records."""
        return [self._kept[number] for number in numbers]

    @property
    def sending(self) -> Sending | None:
        """The batch that may have reached the server; it must be sent again as it was."""
        return self._sending if self._sending is not None and self._sending.numbers else None

    def room_bytes(self) -> tuple[int, int]:
        """Of the disk that changes are kept on: all of it, and what is free; 0 where that can't be said."""
        try:
            return self.disk.room_bytes(self._folder)
        except OSError:
            return 0, 0

    @property
    def has_reserve(self) -> bool:
        """Whether there is room to send what is kept, however full the disk becomes."""
        return self._reserve.is_held

    def hold_reserve(self) -> None:
        """Set that room aside, before something is kept; raises LocalFailure. For any thread."""
        with self._turn:
            try:
                self._reserve.hold()
            except OSError as error:
                raise LocalFailure(f"{self._folder}: {error.strerror}", error.errno or 5) from None

    def keep(self, change: AnyChange) -> int:
        """Append a change; returns its record's number. ``sync`` makes it survive a power loss."""
        with self._turn:
            number, self._next = self._next, self._next + 1
            self._sizes_bytes[number] = self._append(Kept(number, change))
            self._kept[number] = change
            return number

    def give_up(self, numbers: Sequence[int]) -> None:
        """These changes, just kept, were refused after all. The next ``sync`` writes a log without them.

        Until then a process that is killed leaves the word that they were; where that can't be written either, or the
        power goes, the next one may find them as if they had been kept.
        """
        with self._turn:
            for number in numbers:
                del self._kept[number], self._sizes_bytes[number]
            if self._sending is not None and not self._kept.keys() >= set(self._sending.numbers):
                self._sending = None
            self._in_doubt = True
            with contextlib.suppress(LocalFailure):
                self._append_surely(Answered(list(numbers), [Refused("EIO", "it could not be kept")] * len(numbers)))

    def send(self, sending: Sending) -> None:
        """These are about to be sent as one batch, or may have been; ``sync`` it before that."""
        with self._turn:
            self._append_surely(sending)
            self._sending = sending

    def send_anew(self) -> None:
        """The batch under way never reached the server, and never will: its changes may go under other numbers."""
        self.send(Sending(0, []))

    def past(self) -> list[tuple[AnyChange, AnyAnswer]]:
        """Kept changes that were answered before those that are left, in order."""
        return [(change, answer) for _, change, answer in self._past]

    def answered(self, numbers: list[int], answers: list[AnyAnswer]) -> None:
        """They are at the server; ``sync`` it before more is sent. Raises LocalFailure."""
        with self._turn:
            record = Answered(numbers, answers)
            self._append_surely(record)
            self._take_up(record)

    def settle(self) -> None:
        """Everything kept is at the server. Where that can't be written, the next mount finds that out again."""
        with self._turn:
            self._forget_past()
            self._sending = None
            self._tidy(Settled())

    def _forget_past(self) -> None:
        for number, _, _ in self._past:
            del self._sizes_bytes[number]
        self._past.clear()

    def sync(self) -> None:
        """Return when everything appended before survives a power loss; raises LocalFailure. For any thread.

        After a failure the next call writes what is live to a new file, or on a full disk over itself.
        """
        with self._sync_turn:
            try:
                with self._turn:
                    log_file = self._opened_log()
                    if self._in_doubt:
                        self._make_sure()
                        return
                    self._being_synced = log_file
                self._sync_file(log_file)
            except OSError as error:
                self._in_doubt = True  # The next fsync would not say what this one lost: fsync(2).
                raise LocalFailure(f"{self._folder}: {error.strerror}", error.errno or 5) from None
            self._compact_in_turn()

    def _is_mostly_obsolete(self) -> bool:
        if self._log_bytes < max(self._compact_bytes, self._rewritten_from_bytes):
            return False
        return self._log_bytes - self._compact_bytes >= 2 * sum(self._sizes_bytes.values())

    def compact(self) -> None:
        """Where most of the log is obsolete, write it anew. For any thread; records may be appended meanwhile."""
        with self._sync_turn:
            self._compact_in_turn()

    def _compact_in_turn(self) -> None:
        with self._turn:
            if self._log is None or self._in_doubt or not self._is_mostly_obsolete():
                return
            content, from_bytes = MAGIC + b"".join(map(encoded, self._live_records())), self._log_bytes
        path = self._folder / "log"
        try:
            made = self._write_beside(path, content)
        except OSError as error:  # On a full disk, for one: the present log goes on.
            log.warning("%s: what is obsolete in it stays for now: %s", self._folder, error)
            self._rewritten_from_bytes = 2 * from_bytes
            return
        try:
            self._go_over_to(made, path, len(content), from_bytes)
            self.disk.sync_folder(self._folder)
        except OSError as error:
            log.warning("%s: it could not be written anew: %s", self._folder, error)
            self._in_doubt = True

    def _go_over_to(self, made: File, path: Path, size_bytes: int, from_bytes: int) -> None:
        """Replace the log by this one and what was appended to that since: ``sync`` has not promised it yet.

        Raises OSError.
        """
        with self._turn:
            replaced = self._log
            if replaced is None or self._in_doubt:  # The next ``sync`` does it.
                self._drop_beside(made, path)
                return
            try:
                since = replaced.read(from_bytes, self._log_bytes - from_bytes)
                made.write(size_bytes, since)
                self.disk.rename(_beside(path), path)
            except OSError:
                self._drop_beside(made, path)
                raise
            self._log, self._log_bytes, self._rewritten_from_bytes = made, size_bytes + len(since), 0
            replaced.close()

    def _sync_file(self, log_file: File) -> None:
        try:
            log_file.sync()
        finally:
            with self._turn:
                self._being_synced = None
                if log_file is not self._log:  # Replaced meanwhile, and left to be closed here.
                    log_file.close()

    def close(self) -> None:
        """Let another mount have the folder."""
        with self._turn:
            for file in (self._log, self._lock):
                if file is not None and file is not self._being_synced:
                    file.close()
            self._log = self._lock = None

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _take_lock(self) -> None:
        try:
            self._lock = self.disk.lock(self._folder / "lock")
        except BlockingIOError:
            raise LocalFailure(
                f"another mount is using {self._folder.parent}; give this one a folder of its own with --cache"
            ) from None

    def _load_id(self) -> JournalId:
        path = self._folder / "id"
        with contextlib.suppress(FileNotFoundError):
            if len(data := read_file(self.disk, path)) == JOURNAL_ID_BYTES:
                return JournalId(data)
        self._replace(path, made := new_journal_id()).close()
        self.disk.sync_folder(self._folder)
        return made

    def _open_log(self) -> None:
        path = self._folder / "log"
        try:
            self._log = self.disk.open(path)
        except FileNotFoundError:
            self._begin_log()
            return
        magic, size = self._log.read(0, len(MAGIC)), self._log.size_bytes()
        if len(magic) < len(MAGIC):
            self._begin_log()
            return
        if magic != MAGIC:
            raise LocalFailure(f"{path} is not a journal that this version knows; it may hold unsent work")
        self._log_bytes = len(MAGIC)
        self._in_doubt = True  # Whether the earlier process could sync the log and its name, nobody knows.
        for record, stop in records(self._log):
            if isinstance(record, Begun | Kept):
                self._sizes_bytes[record.number] = stop - self._log_bytes
            self._log_bytes = stop
            self._take_up(record)
        if (torn := size - self._log_bytes) > 0:
            log.warning("%s: dropped %d bytes of a record that was never finished", path, torn)
            # Not cut in place: a power loss can undo the cut and keep what is appended then, and whole records of the
            # dropped tail would follow that.
            self._make_sure()

    def _take_up(self, record: Record) -> None:
        match record:
            case Begun(number=number, flushed=flushed):
                self._live[number] = flushed
                self._next = number + 1
            case Done(number=number):
                self._live.pop(number, None)
                self._sizes_bytes.pop(number, None)
            case Kept(number=number, change=change):
                self._kept[number] = change
                self._next = number + 1
            case Sending():
                self._sending = record
            case Answered(numbers=numbers, answers=answers):
                for number, answer in zip(numbers, answers, strict=True):
                    change = _without_blocks(self._kept.pop(number))
                    self._past.append((number, change, answer))
                    remain = Kept(number, change), Answered([number], [answer])
                    self._sizes_bytes[number] = sum(len(encoded(one)) for one in remain)
                if self._sending is not None and not set(numbers).isdisjoint(self._sending.numbers):
                    self._sending = None
            case Settled():
                self._forget_past()
                self._sending = None

    def _live_records(self) -> list[Record]:
        """What a new log has to hold, in order."""
        begun: list[Begun | Kept] = [Begun(*item) for item in self._live.items()]
        begun += [Kept(number, change) for number, change, _ in self._past]
        begun += [Kept(*item) for item in self._kept.items()]
        records: list[Record] = [*sorted(begun, key=lambda record: record.number)]
        if self._past:
            records.append(Answered([number for number, _, _ in self._past], [answer for _, _, answer in self._past]))
        return records if self._sending is None else [*records, self._sending]

    def _begin_log(self) -> None:
        """Replace the log by a new one that holds what is live. Raises OSError; what is live is in either log then."""
        content = MAGIC + b"".join(map(encoded, self._live_records()))
        replaced, self._log = self._log, self._replace(self._folder / "log", content)
        self._log_bytes, self._rewritten_from_bytes = len(content), 0
        self._in_doubt = True  # Until its name is safe, a power loss brings the replaced one back.
        if replaced is not None and replaced is not self._being_synced:
            replaced.close()
        self.disk.sync_folder(self._folder)
        self._in_doubt = False

    def _make_sure(self) -> None:
        """Let what stands in the log survive a power loss, whatever an earlier sync lost of it. Raises OSError."""
        try:
            self._begin_log()
        except OSError as error:
            if error.errno not in FULL:
                raise
            self._write_over()

    def _write_over(self) -> None:
        """The same without room for a new log: each byte is written again in its place.

        What a power loss leaves of that is the same bytes; and of a dropped tail, which becomes zeros, no record.
        """
        log_file = self._opened_log()
        tail_bytes = log_file.size_bytes() - self._log_bytes
        for at in range(0, self._log_bytes, _OVER_BYTES):
            log_file.write(at, log_file.read(at, min(_OVER_BYTES, self._log_bytes - at)))
        log_file.write(self._log_bytes, bytes(tail_bytes))
        log_file.sync()
        self.disk.sync_folder(self._folder)
        self._in_doubt = False

    def _replace(self, path: Path, content: bytes) -> File:
        """Write a small file so that a crash leaves the old one or the new one; its folder is yet to be synced."""
        file = self._write_beside(path, content)
        try:
            self.disk.rename(_beside(path), path)
        except OSError:
            self._drop_beside(file, path)
            raise
        return file

    def _write_beside(self, path: Path, content: bytes) -> File:
        """What a file is to be replaced by."""
        file = self.disk.create(_beside(path))
        try:
            file.write(0, content)
            file.sync()
        except OSError:
            self._drop_beside(file, path)
            raise
        return file

    def _drop_beside(self, file: File, path: Path) -> None:
        file.close()
        with contextlib.suppress(OSError):
            self.disk.remove(_beside(path))  # It would fill a disk that is full already.

    def _append(self, record: Record) -> int:
        """Returns how long the record is. Raises LocalFailure."""
        data = encoded(record)
        log_file = self._opened_log()
        try:
            log_file.write(self._log_bytes, data)
        except OSError as error:
            with contextlib.suppress(OSError):  # What stands there unfinished is dropped when the log is read.
                log_file.truncate(self._log_bytes)
            raise LocalFailure(f"{self._folder}: {error.strerror}", error.errno or 5) from None
        self._log_bytes += len(data)
        return len(data)

    def _append_surely(self, record: Record) -> None:
        """The same for what is written of changes that are kept: on a full disk in the room of the reserve."""
        try:
            self._append(record)
        except LocalFailure as error:
            if error.errno not in FULL or not self._reserve.give_up():
                raise
            self._append(record)

    def _opened_log(self) -> File:
        if self._log is None:
            raise LocalFailure(f"{self._folder}: the journal is closed")
        return self._log

    def _remove_strays(self) -> None:
        """Overlays of files that were never closed."""
        named = {flushed.file for flushed in self._live.values()}
        for entry in self.disk.entries(self.overlays):
            if entry.name not in named:
                self.disk.remove(self.overlays / entry.name)


def _beside(path: Path) -> Path:
    """Where what is to replace a file is written."""
    return path.with_name(path.name + ".new")


def _without_blocks(change: AnyChange) -> AnyChange:
    return msgspec.structs.replace(change, blocks=[]) if isinstance(change, Commit) else change
