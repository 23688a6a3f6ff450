"""Which blocks a changed file consists of: cut again around what changed, keep the rest. Pure.

A cut depends only on the bytes since the last cut and on LOOKAHEAD_BYTES after it (see ``protocol.chunking``). So
cutting begins at the last cut of the base version that a change can't have moved, and ends at the first new cut that
falls on one of the base's beyond the change: from there on the blocks are the same.

Invariant: the pieces are those that cutting the whole file from scratch gives, so that one content has one list
of blocks, whatever the order in which it was written.

Holes end a run of data: each run is cut by itself. Gaps shorter than ``HOLE_MIN_BYTES`` are data, as zeros.

``plan`` is a generator without I/O: it yields ``Need`` and is sent the bytes, and yields the pieces in order.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Generator, Iterator, Sequence
from typing import Final, NamedTuple

from backend.overlay import FromBase, Layout, Zeros
from protocol.chunking import HASH_BYTES, LOOKAHEAD_BYTES, cut
from protocol.limits import BLOCK_MAX_BYTES, KIB
from protocol.manifest import HOLE, Manifest, Piece

HOLE_MIN_BYTES: Final = 64 * KIB
WINDOW_BYTES: Final = 2 * BLOCK_MAX_BYTES
"""Read at once at the most: always more than one block."""


class Need(NamedTuple):
    """Send these bytes of the file."""

    offset: int
    length: int


class Fresh(NamedTuple):
    """A block that was cut anew: a part of the bytes that were sent last."""

    data: memoryview


Step = Need | Fresh | Piece


class _Run(NamedTuple):
    start: int
    stop: int
    is_hole: bool


def plan(
    base: Manifest, layout: Sequence[Layout], seed: int
) -> Generator[Step, bytes | bytearray | memoryview | None, None]:
    """The pieces of the file that ``layout`` describes: base's own as ``Piece``, new ones as ``Fresh``.

    ``seed`` is the workspace's ``chunk_seed``. A hole is a ``Piece`` too.
    """
    keepable = _Keepable(base, layout)
    for run in _runs(base, layout):
        if run.is_hole:
            yield Piece(HOLE, run.stop - run.start)
        else:
            yield from _cut_run(run, keepable, seed)


def _cut_run(run: _Run, keepable: _Keepable, seed: int) -> Generator[Step, bytes | bytearray | memoryview | None, None]:
    at, reach = run.start, 0
    while at < run.stop:
        if (piece := keepable.at(at, run.stop)) is not None:
            yield piece
            at += piece.length
            reach = 0
            continue
        stop = keepable.next_start(max(at, reach), run.stop)
        stop = min(stop, at + WINDOW_BYTES, run.stop)
        data = yield Need(at, stop - at)
        assert data is not None
        assert len(data) == stop - at
        view = memoryview(data)
        reach = stop
        for length in _lengths(view, at, run, keepable, seed):
            yield Fresh(view[:length])
            at, view = at + length, view[length:]
            if keepable.at(at, run.stop) is not None:
                break


def _lengths(data: memoryview, at: int, run: _Run, keepable: _Keepable, seed: int) -> list[int]:
    """The blocks of ``data``, which begins at a cut at offset ``at``: those that no byte after it can change."""
    lengths = cut(data, seed)
    stop = at + len(data)
    last = lengths[-1]
    if stop == run.stop or last == BLOCK_MAX_BYTES or keepable.confirms(stop - last, stop, run.stop):
        return lengths
    return lengths[:-1]


class _Keepable:
    """The base's blocks that still show whole, by where they begin, and the cuts that no change can have moved."""

    def __init__(self, base: Manifest, layout: Sequence[Layout]) -> None:
        self._base = base
        self._shown = [(start, stop) for start, stop, is_hole in _base_data(base, layout) if not is_hole]
        self._shown_starts = [start for start, _ in self._shown]
        self._whole: dict[int, int] = {}
        """Where a block begins that shows whole: its index."""
        self._starts: list[int] = []
        for start, stop in self._shown:
            self._add(start, stop)

    def _add(self, start: int, stop: int) -> None:
        index = self._base.index_at(start)
        at = self._base.offset_of(index)
        while index < len(self._base.pieces):
            end = at + self._base.pieces[index].length
            if end > stop:
                break
            if at >= start:
                self._whole[at] = index
                self._starts.append(at)
            at, index = end, index + 1

    def at(self, offset: int, run_stop: int) -> Piece | None:
        """The base's block that begins here, if cutting here would give it again."""
        index = self._whole.get(offset)
        if index is None:
            return None
        piece = self._base.pieces[index]
        end = offset + piece.length
        if end == run_stop or piece.length == BLOCK_MAX_BYTES or self._is_same_after(index, end, run_stop):
            return piece
        return None

    def confirms(self, start: int, stop: int, run_stop: int) -> bool:
        """Whether a block of the base reached from one of these offsets to the other, and nothing moved its end.

        That is so where the bytes that its end's hash took in are unchanged; those before it may have changed.
        """
        index = self._base.index_at(start)
        if index == len(self._base.pieces) or (self._base.offset_of(index), self._base.offset_of(index + 1)) != (
            start,
            stop,
        ):
            return False
        return self._shows(max(start, stop - HASH_BYTES), stop) and self._is_same_after(index, stop, run_stop)

    def next_start(self, after: int, run_stop: int) -> int:
        """Where the next block begins past ``after`` that shows whole, or the end of the run."""
        place = bisect_right(self._starts, after)
        return min(self._starts[place], run_stop) if place < len(self._starts) else run_stop

    def _is_same_after(self, index: int, end: int, run_stop: int) -> bool:
        """Whether what follows a block of the base decides its end as it did then: not where the data ended there."""
        pieces = self._base.pieces
        if index + 1 == len(pieces) or pieces[index + 1].is_hole:
            return False
        followed = 0
        for piece in pieces[index + 1 : index + 1 + LOOKAHEAD_BYTES]:
            if piece.is_hole:
                break
            followed += piece.length
        look = min(followed, LOOKAHEAD_BYTES)
        if look < LOOKAHEAD_BYTES and end + look != run_stop:
            return False
        return self._shows(end, end + look)

    def _shows(self, start: int, stop: int) -> bool:
        """Whether the base's data shows in all of this range."""
        place = bisect_right(self._shown_starts, start) - 1
        return place >= 0 and self._shown[place][1] >= stop


def _base_data(base: Manifest, layout: Sequence[Layout]) -> Iterator[tuple[int, int, bool]]:
    """Where the base shows: runs of its data, and of its holes."""
    run: tuple[int, int, bool] | None = None
    for span in layout:
        if span.source is not FromBase:
            continue
        for part in base.spans(span.start, span.stop - span.start):
            start, stop, is_hole = part.offset + part.start, part.offset + part.stop, part.piece.is_hole
            if run is not None and run[1:] == (start, is_hole):
                run = (run[0], stop, is_hole)
                continue
            if run is not None:
                yield run
            run = (start, stop, is_hole)
    if run is not None:
        yield run


def _runs(base: Manifest, layout: Sequence[Layout]) -> Iterator[_Run]:
    """The file as alternating runs of data and holes."""
    begin = end = 0
    for start, stop, is_hole in _extents(base, layout):
        if is_hole and stop - start >= HOLE_MIN_BYTES:
            if begin < start:
                yield _Run(begin, start, False)
            yield _Run(start, stop, True)
            begin = stop
        end = stop
    if begin < end:
        yield _Run(begin, end, False)


def _extents(base: Manifest, layout: Sequence[Layout]) -> Iterator[tuple[int, int, bool]]:
    """The layout with the base's holes told apart, adjacent holes joined."""
    hole_start: int | None = None
    end = 0
    for start, stop, is_hole in _raw_extents(base, layout):
        if is_hole:
            hole_start = start if hole_start is None else hole_start
        else:
            if hole_start is not None:
                yield hole_start, start, True
                hole_start = None
            yield start, stop, False
        end = stop
    if hole_start is not None:
        yield hole_start, end, True


def _raw_extents(base: Manifest, layout: Sequence[Layout]) -> Iterator[tuple[int, int, bool]]:
    for span in layout:
        if span.source is FromBase:
            for part in base.spans(span.start, span.stop - span.start):
                at = part.offset + part.start
                yield at, part.offset + part.stop, part.piece.is_hole
        else:
            yield span.start, span.stop, span.source is Zeros
