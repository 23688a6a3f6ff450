"""The journal and the overlays through a crash or a failure at every single change of the disk."""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Iterator
from dataclasses import dataclass, field
from random import Random

import msgspec
import pytest

from backend import records
from backend.errors import LocalFailure
from backend.journal import Journal
from backend.overlay import IN_MEMORY_MAX_BYTES, Overlay
from backend.records import MAGIC, Flushed, Sending
from protocol.ids import NodeId, Seq
from protocol.manifest import EMPTY
from protocol.messages.batches import Applied
from protocol.messages.changes import SetAttributes
from tests.backend.test_journal import record
from tests.simulation.disk import ROOT, Crashed, SimDisk

SEEDS = range(12)
FEW_SEEDS = range(3)
FOLDER = ROOT / "journal"
LIFE = "begin a; begin b; sync; end a; begin c; sync; end b; end c; begin d; sync; reopen; begin e; sync; end d; end e"
"""Whenever nothing is live, the log is replaced: after c and after e."""
NEXT_LIFE = "begin f; sync"


def flushed(name: str) -> Flushed:
    return record(name.encode() * 300)


@dataclass
class Told:
    """What a process knew when it died."""

    tried: set[str] = field(default_factory=set)
    """Begun, or nearly."""
    live: dict[str, int] = field(default_factory=dict)
    """Begun, and nobody has called ``end``."""
    ended: set[str] = field(default_factory=set)
    safe: set[str] = field(default_factory=set)
    """Synced, and nobody has called ``end``."""


class Process:
    """Does what a life says, and goes on after a failure."""

    def __init__(self, disk: SimDisk, told: Told) -> None:
        self.told = told
        self._disk = disk
        self._journal: Journal | None = None

    def run(self, life: str) -> None:
        for step in life.split("; "):
            with contextlib.suppress(LocalFailure):
                self._do(*step.split())

    def _do(self, what: str, name: str = "") -> None:
        if self._journal is None or what == "reopen":
            self._open()
        assert self._journal is not None
        if what == "begin":
            self.told.tried.add(name)
            self.told.live[name] = self._journal.begin(flushed(name))
        elif what == "sync":
            self._journal.sync()
            self.told.safe |= self.told.live.keys()
        elif what == "end" and name in self.told.live:
            self.told.safe.discard(name)
            self._journal.end(self.told.live.pop(name))
            self.told.ended.add(name)

    def _open(self) -> None:
        journal, self._journal = self._journal, None
        if journal is not None:
            journal.close()
        self._journal = _open_journal(self._disk)


def _open_journal(disk: SimDisk) -> Journal:
    try:
        return Journal(disk, FOLDER, compact_bytes=1)
    except LocalFailure:
        return Journal(disk, FOLDER, compact_bytes=1)


def found(disk: SimDisk) -> set[str]:
    """The records that the next process finds, each of which is whole."""
    with Journal(disk, FOLDER, compact_bytes=1) as journal:
        records = [one for _, one in journal.live()]
    names = {(one.content or b"")[:1].decode() for one in records}
    assert sorted(names) == [(one.content or b"")[:1].decode() for one in records]
    assert records == [flushed(name) for name in sorted(names)]
    return names


def crashes(life: str, seeds: range = SEEDS) -> Iterator[tuple[SimDisk, Told]]:
    """The process, dead at each change of the disk, once a seed."""
    whole = SimDisk(Random(0))
    Process(whole, Told()).run(life)
    for step in range(1, whole.steps + 1):
        for seed in seeds:
            disk, told = SimDisk(Random(seed)), Told()
            disk.crash_at(step)
            with pytest.raises(Crashed):
                Process(disk, told).run(life)
            yield disk, told


def test_a_killed_process_leaves_each_record_that_it_began() -> None:
    for disk, told in crashes(LIFE):
        assert told.live.keys() <= found(disk.kill()) <= told.tried - told.ended


def test_a_power_loss_leaves_each_record_that_was_synced() -> None:
    for disk, told in crashes(LIFE):
        assert told.safe <= found(disk.power_loss()) <= told.tried


def test_a_power_loss_after_a_crash_leaves_what_either_process_synced() -> None:
    """The second one takes up a log of which nobody knows what is safe, and may die at each change, too."""
    for disk, told in crashes(LIFE, FEW_SEEDS):
        for after in (disk.kill(), disk.power_loss()):
            whole = after.kill()
            Process(whole, Told()).run(NEXT_LIFE)
            for step in range(1, whole.steps + 2):
                second = after.kill()
                second.crash_at(step)
                both = Told(tried=set(told.tried), safe=set(told.safe))
                with contextlib.suppress(Crashed):
                    Process(second, both).run(NEXT_LIFE)
                assert both.safe <= found(second.power_loss()) <= both.tried


def test_a_record_that_was_dropped_with_a_torn_tail_does_not_come_back() -> None:
    disk = SimDisk(Random(1))
    Process(disk, Told()).run("begin a; begin b; sync")
    disk = disk.kill()
    log = disk.open(FOLDER / "log")
    log.write(len(MAGIC) + 20, b"damage")
    log.sync()
    Process(disk, Told()).run("begin f")
    assert set().union(*(found(disk.power_loss()) for _ in range(50))) == {"f"}


@pytest.mark.parametrize("code", [errno.EIO, errno.ENOSPC])
def test_a_failure_at_any_change_loses_no_record_that_is_called_safe(code: int) -> None:
    """Whenever the crash comes, and whether or not another process syncs what a failed sync may have lost."""
    life = f"{LIFE}; {NEXT_LIFE}"
    whole = SimDisk(Random(0))
    Process(whole, Told()).run(life)
    for failing in range(1, whole.steps + 1):
        for step in range(failing + 1, whole.steps + 2):
            disk, told = SimDisk(Random(failing)), Told()
            disk.fail_at(failing, code)
            disk.crash_at(step)
            with contextlib.suppress(Crashed):
                Process(disk, told).run(life)
            assert told.safe <= found(disk.power_loss()) <= told.tried
            left, after = found(disk.kill()), disk.kill()
            assert told.live.keys() <= left <= told.tried
            second = Told(told.tried | {"g"}, dict.fromkeys(left, 0))
            Process(after, second).run("begin g; sync")
            assert second.safe == left | {"g"} == found(after.power_loss())


# ── changes that are kept ──


@dataclass
class Kept:
    """What a process knew of its kept changes when it died, by node."""

    tried: list[int] = field(default_factory=list)
    safe: list[int] = field(default_factory=list)
    """``sync`` has returned after them."""
    sending: list[int] = field(default_factory=list)
    """May have been sent: its ``sync`` has returned."""
    answered: list[int] = field(default_factory=list)
    """``sync`` has returned after their answers."""
    answering: list[int] = field(default_factory=list)
    """They are at the server, and their answers may be in the log."""
    settling: bool = False


def keep_and_send(disk: SimDisk, told: Kept) -> None:
    """Changes are kept, a part of them is sent and answered, more are kept, and the rest is sent; then all again."""
    journal = _open_journal(disk)
    for nodes, batch in (((1, 2, 3), (1, 2)), ((4,), (3,)), ((), (4,))):
        for node in nodes:
            told.tried.append(node)
            journal.keep(change(node))
        journal.sync()
        told.safe = list(told.tried)
        numbers = [number for number, one in journal.kept() if one.node in batch]
        journal.send(Sending(batch[0], numbers))
        journal.sync()
        told.sending = list(batch)
        told.answering += batch
        journal.answered(numbers, [Applied(Seq(node)) for node in batch])
        journal.end(journal.begin(flushed("a")))
        journal.sync()
        told.sending, told.answered = [], list(told.answering)
    told.settling = True
    journal.settle()
    journal.sync()


def change(node: int) -> SetAttributes:
    return SetAttributes(time_ns=1, node=NodeId(node), mode=0o600)


def check_kept(disk: SimDisk, told: Kept) -> None:
    with Journal(disk, FOLDER) as journal:
        kept, past = [one.node for _, one in journal.kept()], [one.node for one, _ in journal.past()]
        sending = journal.sending
        on_the_way = [] if sending is None else [one.node for one in journal.kept_as(sending.numbers)]
    assert told.settling or past + kept == told.tried[: len(past) + len(kept)], "each is there once, in order"
    assert told.settling or len(past) + len(kept) >= len(told.safe)
    assert not set(kept) & set(told.answered)
    assert set(past) <= set(told.answering)
    assert told.settling or past[: len(told.answered)] == told.answered
    assert set(told.sending) <= set(on_the_way) | set(past)


@pytest.mark.parametrize("how", ["kill", "power_loss"])
def test_kept_changes_are_there_in_order_and_once_after_a_crash_at_any_change(how: str) -> None:
    whole = SimDisk(Random(0))
    keep_and_send(whole, Kept())
    for step in range(1, whole.steps + 1):
        for seed in FEW_SEEDS:
            disk, told = SimDisk(Random(seed)), Kept()
            disk.crash_at(step)
            with pytest.raises(Crashed):
                keep_and_send(disk, told)
            after = getattr(disk, how)()
            check_kept(after, told)
            check_kept(after.power_loss() if how == "power_loss" else after.kill(), told)


@pytest.mark.parametrize("code", [errno.EIO, errno.ENOSPC])
def test_kept_changes_whose_sync_returned_are_there_after_a_failure_at_any_change(code: int) -> None:
    whole = SimDisk(Random(0))
    keep_and_send(whole, Kept())
    for step in range(1, whole.steps + 1):
        disk, told = SimDisk(Random(step)), Kept()
        disk.fail_at(step, code)
        with contextlib.suppress(LocalFailure):
            keep_and_send(disk, told)
        for after in (disk.kill(), disk.power_loss()):
            check_kept(after, told)


def test_a_disk_without_room_for_a_second_log_goes_on_with_the_first() -> None:
    disk = SimDisk(Random(0))
    journal = Journal(disk, FOLDER, compact_bytes=1)
    journal.sync()
    journal.keep(change(1))
    for _ in range(9):
        journal.end(journal.begin(flushed("a")))
    disk.fail_at(disk.steps + 2, errno.ENOSPC)
    journal.sync()
    assert "log.new" not in [entry.name for entry in disk.entries(FOLDER)]
    with Journal(disk.power_loss(), FOLDER) as journal:
        assert [one.node for _, one in journal.kept()] == [1]


def test_a_disk_without_room_for_a_new_log_has_the_old_one_made_sure() -> None:
    """After a crash that tore its tail nobody knows what of it is safe."""
    disk = SimDisk(Random(1))
    with Journal(disk, FOLDER) as journal:
        numbers = [journal.keep(change(node)) for node in range(1, 40)]
    log_file = disk.open(FOLDER / "log")
    torn = records.encoded(records.Kept(99, change(99)))[:-1]
    log_file.write(log_file.size_bytes(), torn + records.encoded(records.Kept(100, change(1))))
    disk = disk.kill()
    disk.capacity_bytes = disk.used_bytes
    with Journal(disk, FOLDER) as journal:
        journal.sync()
    for _ in SEEDS:
        with Journal(disk.power_loss(), FOLDER) as journal:
            assert [number for number, _ in journal.kept()] == numbers


def test_a_change_whose_sync_failed_does_not_come_back_when_the_process_is_killed() -> None:
    disk = SimDisk(Random(0))
    journal = Journal(disk, FOLDER)
    journal.sync()
    kept = journal.keep(change(1))
    refused = journal.keep(change(2))
    journal.send(Sending(1, [refused]))
    disk.fail_at(disk.steps + 1, errno.EIO)
    with pytest.raises(LocalFailure):
        journal.sync()
    journal.give_up([refused])
    with Journal(disk.kill(), FOLDER) as journal:
        assert journal.kept() == [(kept, change(1))]
        assert journal.sending is None


def test_a_change_whose_sync_failed_takes_no_batch_with_it_that_is_being_sent() -> None:
    disk = SimDisk(Random(0))
    journal = Journal(disk, FOLDER)
    kept = journal.keep(change(1))
    sending = Sending(1, [kept])
    journal.send(sending)
    journal.sync()
    journal.give_up([journal.keep(change(2))])
    with Journal(disk.kill(), FOLDER) as journal:
        assert journal.kept() == [(kept, change(1))]
        assert journal.sending == sending


# ── overlays ──

CONTENT = Random(3).randbytes(IN_MEMORY_MAX_BYTES + 1000)


def keep_a_file(disk: SimDisk) -> None:
    """What a flush does that could not reach the server, tried again after a failure."""
    journal = _open_journal(disk)
    overlay = Overlay(EMPTY, disk, journal.overlays / "file")
    for begin in (0, 1000):
        with contextlib.suppress(LocalFailure):
            overlay.write(begin, CONTENT[begin : begin + IN_MEMORY_MAX_BYTES])
    with contextlib.suppress(LocalFailure):
        journal.begin(record_of(overlay, synced=False))
    for _ in range(2):
        with contextlib.suppress(LocalFailure):
            overlay.sync()
            journal.begin(record_of(overlay, synced=True))
            journal.sync()


def record_of(overlay: Overlay, *, synced: bool) -> Flushed:
    return msgspec.structs.replace(
        record(overlay.inline_bytes(), overlay.path.name),
        size=overlay.size_bytes,
        segments=[(segment.start, segment.stop) for segment in overlay.segments],
        synced=synced,
    )


def check_files(disk: SimDisk, records: list[Flushed]) -> None:
    for one in records:
        overlay = Overlay.recovered(EMPTY, disk, FOLDER / "overlays" / one.file, one.size, 0, one.segments, one.content)
        assert overlay.is_whole()
        assert all(overlay.local(start, stop - start) == CONTENT[start:stop] for start, stop in one.segments)


def test_bytes_that_are_called_synced_are_there_after_a_crash_at_any_change() -> None:
    whole = SimDisk(Random(0))
    keep_a_file(whole)
    for step in range(1, whole.steps + 2):
        disk = SimDisk(Random(step))
        disk.crash_at(step)
        with contextlib.suppress(Crashed):
            keep_a_file(disk)
        _check_both(disk)


@pytest.mark.parametrize("code", [errno.EIO, errno.ENOSPC])
def test_bytes_that_are_called_synced_are_there_after_a_failure_at_any_change(code: int) -> None:
    whole = SimDisk(Random(0))
    keep_a_file(whole)
    for step in range(1, whole.steps + 1):
        disk = SimDisk(Random(step))
        disk.fail_at(step, code)
        keep_a_file(disk)
        _check_both(disk)


def _check_both(disk: SimDisk) -> None:
    """After a kill all bytes are there; after a power loss those of the records that say so."""
    killed, powered_off = disk.kill(), disk.power_loss()
    with Journal(killed, FOLDER) as journal:
        check_files(killed, [one for _, one in journal.live()])
    with Journal(powered_off, FOLDER) as journal:
        check_files(powered_off, [one for _, one in journal.live() if one.synced])
