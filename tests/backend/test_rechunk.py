from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backend.overlay import FromBase, Layout, Local, Zeros
from backend.rechunk import HOLE_MIN_BYTES, WINDOW_BYTES, Fresh, Need, plan
from protocol.chunking import cut
from protocol.keys import derive
from protocol.limits import BLOCK_MAX_BYTES, KIB, MIB
from protocol.manifest import EMPTY, HOLE, Manifest, Piece

KEYS = derive(bytes(range(32)))
SEED = KEYS.chunk_seed
NOISE = random.Random(1).randbytes(24 * MIB)


class Outcome:
    """A plan carried out: its manifest, what was read of which source, and the blocks cut anew."""

    def __init__(self, base: Manifest, layout: list[Layout], content: bytes, seed: int = SEED) -> None:
        self.needs: list[Need] = []
        self.fresh: list[Piece] = []
        self.rebuilt = bytearray()
        pieces: list[Piece] = []
        steps = plan(base, layout, seed)
        data: memoryview | None = None
        while True:
            try:
                step = steps.send(data)
            except StopIteration:
                break
            data = None
            match step:
                case Need(offset, length):
                    self.needs.append(step)
                    data = memoryview(content)[offset : offset + length]
                case Fresh(view):
                    piece = Piece(KEYS.block_id(view), len(view))
                    assert view == content[len(self.rebuilt) : len(self.rebuilt) + len(view)]
                    self.rebuilt += view
                    self.fresh.append(piece)
                    pieces.append(piece)
                case Piece(block, length):
                    kept = content[len(self.rebuilt) : len(self.rebuilt) + length]
                    assert (kept == bytes(length)) if block == HOLE else (KEYS.block_id(kept) == block)
                    self.rebuilt += kept
                    pieces.append(step)
        self.manifest = Manifest.of(pieces)
        assert self.rebuilt == content

    def new_against(self, base: Manifest) -> set[Piece]:
        return set(self.fresh) - set(base.pieces)

    def base_blocks_read(self, base: Manifest, changed: tuple[int, int]) -> set[int]:
        """Which blocks of the base must be fetched for what was read outside of the changed range."""
        read: set[int] = set()
        for need in self.needs:
            end = need.offset + need.length
            for start, stop in ((need.offset, min(end, changed[0])), (max(need.offset, changed[1]), end)):
                if start < stop:
                    read |= {base.index_at(span.offset) for span in base.spans(start, stop - start)}
        return read


def written(content: bytes) -> Outcome:
    return Outcome(EMPTY, [Layout(0, len(content), Local)] if content else [], content)


def changed(content: bytes, base: Manifest, start: int, stop: int) -> Outcome:
    spans = [Layout(0, start, FromBase), Layout(start, stop, Local), Layout(stop, len(content), FromBase)]
    return Outcome(base, [span for span in spans if span.start < span.stop], content)


def test_a_fresh_file_is_cut_from_its_start() -> None:
    assert [piece.length for piece in written(NOISE).manifest.pieces] == cut(NOISE, SEED)


def test_an_empty_file_has_no_pieces() -> None:
    assert written(b"").manifest == EMPTY


def test_an_unchanged_file_is_kept_without_reading() -> None:
    base = written(NOISE).manifest
    outcome = Outcome(base, [Layout(0, len(NOISE), FromBase)], NOISE)
    assert (outcome.manifest, outcome.needs) == (base, [])


@pytest.mark.parametrize("block", [0, 3, 7])
def test_an_overwrite_inside_a_block_reads_that_block_alone(block: int) -> None:
    base = written(NOISE).manifest
    start = base.offset_of(block) + 100 * KIB
    content = NOISE[:start] + bytes(4 * KIB) + NOISE[start + 4 * KIB :]
    outcome = changed(content, base, start, start + 4 * KIB)
    assert outcome.base_blocks_read(base, (start, start + 4 * KIB)) == {block}
    assert len(outcome.new_against(base)) == 1


def test_an_overwrite_of_a_blocks_first_bytes_moves_the_cut_before_it() -> None:
    """The first byte after a cut took part in its decision."""
    base = written(NOISE).manifest
    start = base.offset_of(4)
    content = NOISE[:start] + bytes(4 * KIB) + NOISE[start + 4 * KIB :]
    outcome = changed(content, base, start, start + 4 * KIB)
    assert outcome.manifest == written(content).manifest
    assert outcome.manifest.pieces[:3] == base.pieces[:3]
    assert outcome.manifest.pieces[-10:] == base.pieces[-10:]


def test_a_byte_inserted_at_the_front_makes_few_new_blocks() -> None:
    base = written(NOISE).manifest
    assert len(written(b"!" + NOISE).new_against(base)) <= 2


def test_appending_cuts_the_last_block_again_alone() -> None:
    base = written(NOISE).manifest
    content = NOISE + b"more"
    outcome = changed(content, base, len(NOISE), len(content))
    assert outcome.base_blocks_read(base, (len(NOISE), len(content))) == {len(base.pieces) - 1}
    assert outcome.manifest == written(content).manifest


def test_a_huge_hole_is_one_piece() -> None:
    outcome_pieces = list(plan(EMPTY, [Layout(0, 100 << 30, Zeros)], SEED))
    assert outcome_pieces == [Piece(HOLE, 100 << 30)]


def test_a_short_gap_is_data() -> None:
    content = b"a" * KIB + bytes(HOLE_MIN_BYTES - 1) + b"b" * KIB
    layout = [
        Layout(0, KIB, Local),
        Layout(KIB, len(content) - KIB, Zeros),
        Layout(len(content) - KIB, len(content), Local),
    ]
    assert Outcome(EMPTY, layout, content).manifest == written(content).manifest


def test_cutting_a_file_short_cuts_only_the_block_at_its_end() -> None:
    base = written(NOISE).manifest
    size = base.offset_of(5) + 300 * KIB
    outcome = Outcome(base, [Layout(0, size, FromBase)], NOISE[:size])
    assert outcome.manifest == written(NOISE[:size]).manifest
    assert outcome.base_blocks_read(base, (size, size)) == {5}


def test_bytes_of_zero_are_cut_at_the_limit() -> None:
    content = bytes(2 * BLOCK_MAX_BYTES + 5)
    outcome = written(content)
    assert [piece.length for piece in outcome.manifest.pieces] == [BLOCK_MAX_BYTES, BLOCK_MAX_BYTES, 5]
    start = len(content) - 2
    assert changed(content, outcome.manifest, start, start + 1).manifest == outcome.manifest


@pytest.mark.parametrize("seed", [1, 2])
def test_no_byte_is_lost_where_zeros_after_a_window_would_make_a_cut(seed: int) -> None:
    """A cut that the bytes at the end of a window make with zeros behind them is no cut of the file."""
    noise = random.Random(seed)
    window = bytearray(noise.randbytes(WINDOW_BYTES))
    open_bytes = cut(window, SEED)[-1]
    while not 800 * KIB < open_bytes < 3000 * KIB:
        window = bytearray(noise.randbytes(WINDOW_BYTES))
        open_bytes = cut(window, SEED)[-1]
    tail = window[-open_bytes:] + bytes(64)
    for _ in range(20_000):
        if open_bytes < cut(tail, SEED)[0] < len(tail):
            break
        tail[open_bytes - 64 : open_bytes] = noise.randbytes(64)
    window[-open_bytes:] = tail[:open_bytes]
    content = bytes(window) + NOISE[:MIB]
    assert [piece.length for piece in written(content).manifest.pieces] == cut(content, SEED)


EDITS = st.lists(
    st.tuples(
        st.sampled_from(["write", "cut", "extend"]),
        st.integers(0, 6 * MIB),
        st.one_of(st.integers(1, 9), st.integers(1, 100 * KIB), st.integers(1, MIB)),
        st.integers(0, 10),
    ),
    max_size=5,
)


class Model:
    """A file as bytes, with where each byte comes from: the base, here, or nowhere."""

    def __init__(self, base: bytes) -> None:
        self.content = bytearray(base)
        self.source = bytearray(b"B" * len(base))

    def write(self, offset: int, data: bytes) -> None:
        self.extend(offset)
        self.content[offset : offset + len(data)] = data
        self.source[offset : offset + len(data)] = b"L" * len(data)

    def extend(self, size: int) -> None:
        if size > len(self.content):
            self.source += b"Z" * (size - len(self.content))
            self.content += bytes(size - len(self.content))

    def cut(self, size: int) -> None:
        del self.content[size:]
        del self.source[size:]

    def layout(self) -> list[Layout]:
        spans: list[Layout] = []
        at = 0
        while at < len(self.source):
            kind = self.source[at : at + 1]
            stop = min(
                (place for other in b"BLZ" if other != kind[0] and (place := self.source.find(other, at)) >= 0),
                default=len(self.source),
            )
            spans.append(Layout(at, stop, {b"B": FromBase, b"L": Local, b"Z": Zeros}[bytes(kind)]))
            at = stop
        return spans

    def apply(self, kind: str, offset: int, length: int, near: int, base: Manifest) -> None:
        if near > 4 and base.pieces:  # Aim at where two blocks meet.
            offset = max(0, base.offset_of(offset % len(base.pieces)) + near - 7)
        if kind == "write":
            begin = (offset * 7) % (len(NOISE) - length)
            self.write(offset, NOISE[begin : begin + length])
        elif kind == "cut":
            self.cut(offset)
        else:
            self.extend(offset)


@given(st.integers(0, 5 * MIB), EDITS, EDITS)
@settings(max_examples=60, deadline=None)
def test_edits_give_the_pieces_of_cutting_from_scratch(
    size: int, edits: list[tuple[str, int, int, int]], more: list[tuple[str, int, int, int]]
) -> None:
    content = NOISE[:size]
    base = written(content).manifest
    for batch in (edits, more):
        model = Model(content)
        for edit in batch:
            model.apply(*edit, base)
        outcome = Outcome(base, model.layout(), bytes(model.content))
        # From scratch: the same data and holes, none of it from the base.
        holes = [
            Layout(base_span.offset + base_span.start, base_span.offset + base_span.stop, Zeros)
            for span in model.layout()
            if span.source is FromBase
            for base_span in base.spans(span.start, span.stop - span.start)
            if base_span.piece.is_hole
        ]
        scratch = bytearray(model.source.replace(b"B", b"L"))
        for hole in holes:
            scratch[hole.start : hole.stop] = b"Z" * (hole.stop - hole.start)
        alone = Model(b"")
        alone.content, alone.source = model.content, scratch
        assert outcome.manifest == Outcome(EMPTY, alone.layout(), bytes(model.content)).manifest
        content, base = bytes(model.content), outcome.manifest
