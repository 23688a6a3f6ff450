from __future__ import annotations

import random
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from backend.disk import RealDisk
from backend.errors import LocalFailure
from backend.overlay import IN_MEMORY_MAX_BYTES, FromBase, Local, Mark, Overlay, Zeros
from protocol.ids import BlockId
from protocol.limits import KIB, MIB
from protocol.manifest import EMPTY, Manifest, Piece


def base_of(size: int) -> Manifest:
    return Manifest.of([Piece(BlockId(b"b" * 32), size)])


def content(overlay: Overlay, base: bytes, size: int | None = None) -> bytes:
    out = bytearray()
    for part in overlay.parts(0, overlay.size_bytes if size is None else size):
        match part:
            case Local(data):
                out += data
            case FromBase(offset, length):
                assert offset + length <= len(base)
                out += base[offset : offset + length]
            case Zeros(length):
                out += bytes(length)
    return bytes(out)


@contextmanager
def files_no_longer_than(size_bytes: int) -> Iterator[None]:
    """The kernel's own limit: a write past it fails (setrlimit(2))."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_an_untouched_overlay_shows_its_base(tmp_path: Path) -> None:
    overlay = Overlay(base_of(10), RealDisk(), tmp_path / "o")
    assert overlay.parts(2, 100) == [FromBase(2, 8)]
    assert not overlay.is_dirty


def test_a_file_that_was_cut_and_extended_reads_zeros_where_the_base_was(tmp_path: Path) -> None:
    overlay = Overlay(base_of(10), RealDisk(), tmp_path / "o")
    overlay.truncate(4)
    overlay.truncate(8)
    assert overlay.parts(0, 10) == [FromBase(0, 4), Zeros(4)]


def test_bytes_that_were_cut_off_do_not_come_back(tmp_path: Path) -> None:
    overlay = Overlay(EMPTY, RealDisk(), tmp_path / "o")
    overlay.write(0, b"secret")
    overlay.truncate(1)
    overlay.write(4, b"!")
    assert content(overlay, b"") == b"s\0\0\0!"


def test_a_write_past_the_end_leaves_a_hole(tmp_path: Path) -> None:
    overlay = Overlay(base_of(3), RealDisk(), tmp_path / "o")
    overlay.write(1 << 40, b"x")
    assert overlay.parts(0, 10) == [FromBase(0, 3), Zeros(7)]
    assert overlay.size_bytes == (1 << 40) + 1


def test_a_small_file_needs_no_local_file(tmp_path: Path) -> None:
    overlay = Overlay(EMPTY, RealDisk(), tmp_path / "o")
    overlay.write(0, bytes(IN_MEMORY_MAX_BYTES))
    assert not (tmp_path / "o").exists()


def test_a_file_that_outgrows_memory_keeps_its_bytes(tmp_path: Path) -> None:
    overlay = Overlay(EMPTY, RealDisk(), tmp_path / "o")
    overlay.write(0, b"begin")
    overlay.write(MIB, b"end")
    assert content(overlay, b"") == b"begin" + bytes(MIB - 5) + b"end"
    overlay.delete()
    assert not (tmp_path / "o").exists()


def test_where_the_disk_is_full_what_was_written_before_is_kept(tmp_path: Path) -> None:
    overlay = Overlay(EMPTY, RealDisk(), tmp_path / "o")
    overlay.write(0, b"k" * 200 * KIB)
    with files_no_longer_than(100 * KIB), pytest.raises(LocalFailure):
        overlay.write(200 * KIB, b"x" * 100 * KIB)
    assert content(overlay, b"") == b"k" * 200 * KIB
    overlay.write(200 * KIB, b"y" * 100 * KIB)
    assert content(overlay, b"") == b"k" * 200 * KIB + b"y" * 100 * KIB
    overlay.delete()


def test_what_is_written_during_a_flush_stays_dirty(tmp_path: Path) -> None:
    overlay = Overlay(EMPTY, RealDisk(), tmp_path / "o")
    overlay.write(0, b"aaaa")
    mark = overlay.mark()
    overlay.write(1, b"bb")
    overlay.rebase(base_of(4), mark)
    assert overlay.parts(0, 4) == [FromBase(0, 1), Local(b"bb"), FromBase(3, 1)]
    assert overlay.is_dirty


def test_after_a_flush_of_everything_it_is_clean_and_takes_no_space(tmp_path: Path) -> None:
    overlay = Overlay(EMPTY, RealDisk(), tmp_path / "o")
    overlay.write(0, bytes(MIB))
    overlay.rebase(base_of(MIB), overlay.mark())
    assert not overlay.is_dirty
    assert (tmp_path / "o").stat().st_blocks == 0
    overlay.delete()


def test_a_change_of_size_during_a_flush_is_seen(tmp_path: Path) -> None:
    overlay = Overlay(base_of(9), RealDisk(), tmp_path / "o")
    overlay.truncate(8)
    mark = overlay.mark()
    assert not overlay.resized_since(mark.generation)
    overlay.truncate(5)
    assert overlay.resized_since(mark.generation)


def test_an_overlay_is_taken_up_from_a_record(tmp_path: Path) -> None:
    overlay = Overlay(base_of(10), RealDisk(), tmp_path / "o")
    overlay.truncate(6)
    overlay.write(1, b"ab")
    overlay.write(8, b"c")
    again = Overlay.recovered(
        overlay.base,
        RealDisk(),
        overlay.path,
        overlay.size_bytes,
        overlay.base_visible,
        [(segment.start, segment.stop) for segment in overlay.segments],
        overlay.inline_bytes(),
    )
    assert content(again, b"0123456789") == content(overlay, b"0123456789") == b"0ab345\0\0c"
    assert again.is_dirty


def test_thousands_of_random_writes_make_one_map(tmp_path: Path) -> None:
    overlay = Overlay(EMPTY, RealDisk(), tmp_path / "o")
    places = list(range(20_000))
    random.Random(3).shuffle(places)
    for place in places:
        overlay.write(place * 512, bytes(512))
    assert len(overlay.segments) == 1
    overlay.delete()


class AgainstAModel(RuleBasedStateMachine):
    """Whatever is written, cut, flushed and written meanwhile reads as in a plain array of bytes."""

    overlay: Overlay
    base: bytes
    model: bytearray
    mark: Mark | None
    marked: bytes

    @initialize(size=st.integers(0, 50))
    def begin(self, size: int) -> None:
        self.base = bytes(range(1, size + 1))
        self.model = bytearray(self.base)
        self.overlay = Overlay(base_of(size) if size else EMPTY, RealDisk(), Path("/nonexistent"))
        self.mark = None

    @rule(offset=st.integers(0, 80), data=st.binary(min_size=1, max_size=20))
    def write(self, offset: int, data: bytes) -> None:
        self.overlay.write(offset, data)
        self.model.extend(bytes(max(0, offset - len(self.model))))
        self.model[offset : offset + len(data)] = data

    @rule(size=st.integers(0, 90))
    def truncate(self, size: int) -> None:
        self.overlay.truncate(size)
        del self.model[size:]
        self.model.extend(bytes(size - len(self.model)))

    @rule()
    def begin_flush(self) -> None:
        self.mark = self.overlay.mark()
        self.marked = bytes(self.model)

    @precondition(lambda self: self.mark is not None and not self.overlay.resized_since(self.mark.generation))
    @rule()
    def end_flush(self) -> None:
        assert self.mark is not None
        self.base = self.marked
        self.overlay.rebase(base_of(len(self.base)) if self.base else EMPTY, self.mark)
        assert self.overlay.is_dirty or bytes(self.model) == self.base
        self.mark = None

    @invariant()
    def reads_like_the_model(self) -> None:
        self.overlay.check()
        assert self.overlay.size_bytes == len(self.model)
        assert content(self.overlay, self.base) == self.model


TestAgainstAModel = AgainstAModel.TestCase
TestAgainstAModel.settings = settings(max_examples=150, stateful_step_count=25, deadline=None)
