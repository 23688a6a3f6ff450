from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol import manifest as manifests
from protocol.ids import BlockId
from protocol.limits import BLOCK_MAX_BYTES, MANIFEST_MAX_PIECES
from protocol.manifest import EMPTY, HOLE, SIZE_MAX_BYTES, BadManifest, Manifest, Piece, Span

A, B = BlockId(b"a" * 32), BlockId(b"b" * 32)
PIECES = st.lists(
    st.one_of(
        st.builds(Piece, st.sampled_from([A, B]), st.integers(0, 50)),
        st.builds(Piece, st.just(HOLE), st.integers(0, 1 << 40)),
    )
)


def raw(*pieces: tuple[bytes, int]) -> bytes:
    return b"\x01" + b"".join(block + length.to_bytes(8, "big") for block, length in pieces)


@given(PIECES)
def test_what_is_encoded_decodes(pieces: list[Piece]) -> None:
    manifest = Manifest.of(pieces)
    assert manifests.decode(manifests.encode(manifest)) == manifest


@given(PIECES)
def test_sizes_add_up(pieces: list[Piece]) -> None:
    manifest = Manifest.of(pieces)
    assert manifest.size_bytes == sum(piece.length for piece in pieces)
    assert manifest.data_bytes == sum(piece.length for piece in pieces if not piece.is_hole)


@given(PIECES, st.integers(0, 1 << 41), st.integers(0, 1 << 41))
def test_spans_cover_a_range_in_order(pieces: list[Piece], offset: int, length: int) -> None:
    manifest = Manifest.of(pieces)
    at = min(offset, manifest.size_bytes)
    for span in manifest.spans(offset, length):
        assert span.offset + span.start == at
        assert 0 <= span.start < span.stop <= span.piece.length
        at = span.offset + span.stop
    assert at == max(min(offset, manifest.size_bytes), min(offset + length, manifest.size_bytes))


def test_spans_name_pieces_and_their_places() -> None:
    manifest = Manifest.of([Piece(A, 10), Piece(HOLE, 5), Piece(B, 10)])
    assert list(manifest.spans(8, 10)) == [
        Span(Piece(A, 10), 0, 8, 10),
        Span(Piece(HOLE, 5), 10, 0, 5),
        Span(Piece(B, 10), 15, 0, 3),
    ]


def test_holes_are_joined_and_empty_pieces_left_out() -> None:
    manifest = Manifest.of([Piece(HOLE, 1), Piece(A, 0), Piece(HOLE, 2), Piece(A, 3)])
    assert manifest.pieces == (Piece(HOLE, 3), Piece(A, 3))


def test_blocks_are_those_named_and_no_hole() -> None:
    assert Manifest.of([Piece(A, 1), Piece(HOLE, 1), Piece(B, 1), Piece(A, 1)]).blocks() == {A, B}


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x02",
        b"\x00" + bytes(40),
        raw((A, 1))[:-1],
        raw((A, 1)) + b"\0",
        raw((A, 0)),
        raw((A, BLOCK_MAX_BYTES + 1)),
        raw((HOLE, 1), (HOLE, 1)),
        raw((HOLE, SIZE_MAX_BYTES), (A, 1)),
        b"\x01" + (A + (1).to_bytes(8, "big")) * (MANIFEST_MAX_PIECES + 1),
    ],
    ids=[
        "nothing",
        "a later format",
        "format 0",
        "cut",
        "a byte too many",
        "an empty piece",
        "too long a block",
        "two holes in a row",
        "longer than a file can be",
        "too many pieces",
    ],
)
def test_a_broken_manifest_is_refused(data: bytes) -> None:
    with pytest.raises(BadManifest):
        manifests.decode(data)


def test_the_format_is_frozen() -> None:
    manifest = Manifest.of([Piece(A, 258), Piece(HOLE, 1 << 40), Piece(B, 1)])
    assert manifests.encode(manifest).hex() == (
        "01" + "61" * 32 + "0000000000000102" + "00" * 32 + "0000010000000000" + "62" * 32 + "0000000000000001"
    )
    assert manifests.encode(EMPTY) == b"\x01"
