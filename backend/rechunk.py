"""Which blocks a changed file consists of: cut again around what changed, keep the rest. Pure.

Cuts depend only on the bytes since the last cut. So cutting begins at the last cut of the base version before a change, and
ends at the first new cut that falls on one of the base's beyond it: from there on the blocks are the same. Whether
a cut falls on a given offset depends on no byte after it, so the bytes behind that offset aren't needed: in their
place stand ``_LOOKAHEAD_BYTES`` of zeros, which the chunker must see to make a cut before them.

Holes end a run of data: each run is cut by itself. Gaps shorter than ``HOLE_MIN_BYTES`` are data, as zeros.

``plan`` is a generator without I/O: it yields ``Need`` and is sent the bytes, and yields the pieces in order.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Generator, Iterator, Sequence
from typing import Final, NamedTuple

from backend.overlay import FromBase, Layout, Zeros
from protocol.chunking import cut
from protocol.limits import BLOCK_MAX_BYTES, KIB
from protocol.manifest import HOLE, Manifest, Piece

HOLE_MIN_BYTES: Final = 64 * KIB
WINDOW_BYTES: Final = 2 * BLOCK_MAX_BYTES
"""Read at once at the most: always more than one block."""

_LOOKAHEAD_BYTES: Final = 64


class Need(NamedTuple):
    """Send these bytes of the file."""

    offset: int
    length: int


class Fresh(NamedTuple):
    """A block that was cut anew; the view is valid until the next step."""

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
            continue
        stop = keepable.next_cut(max(at, reach), run.stop)
        stop = min(stop, at + WINDOW_BYTES, run.stop)
        data = yield Need(at, stop - at)
        assert data is not None
        assert len(data) == stop - at
        ended = stop == run.stop
        lengths = cut(data if ended else bytes(data) + bytes(_LOOKAHEAD_BYTES), seed)
        if not ended:
            lengths.pop()  # It holds the bytes after the last cut and the zeros.
        view, begin = memoryview(data), 0
        for length in lengths:
            if begin and keepable.at(at + begin, run.stop) is not None:
                break
            yield Fresh(view[begin : begin + length])
            begin += length
        at += begin
        reach = 0 if begin else stop


class _Keepable:
    """The base's blocks that still show whole, by where they begin."""

    def __init__(self, base: Manifest, layout: Sequence[Layout]) -> None:
        self._base = base
        self._whole: dict[int, Piece] = {}
        self._last_of_run: set[int] = set()
        self._starts: list[int] = []
        for span in layout:
            if span.source is FromBase:
                self._add(span.start, span.stop)

    def _add(self, start: int, stop: int) -> None:
        pieces = self._base.pieces
        index = self._base.index_at(start)
        if self._base.offset_of(index) < start:
            index += 1
        while index < len(pieces) and (at := self._base.offset_of(index)) + pieces[index].length <= stop:
            if not pieces[index].is_hole:
                self._whole[at] = pieces[index]
                self._starts.append(at)
                if index + 1 == len(pieces) or pieces[index + 1].is_hole:
                    self._last_of_run.add(at)
            index += 1

    def at(self, offset: int, run_stop: int) -> Piece | None:
        """The base's block that begins here, if cutting here would give it again.

        The last block of a run ended because the data did, so it is kept only where the data still ends there.
        """
        piece = self._whole.get(offset)
        if piece is None or (offset in self._last_of_run and offset + piece.length != run_stop):
            return None
        return piece

    def next_cut(self, after: int, run_stop: int) -> int:
        """Where the next keepable block begins past ``after``, or the end of the run."""
        for start in self._starts[bisect_right(self._starts, after) :]:
            if start >= run_stop:
                break
            if self.at(start, run_stop) is not None:
                return start
        return run_stop


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
