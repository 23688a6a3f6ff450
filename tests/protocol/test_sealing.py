from __future__ import annotations

import struct
import zlib

import pytest
import zstandard
from blake3 import blake3
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.ids import BlockId
from protocol.keys import WorkspaceKeys, derive, derive_end_to_end
from protocol.limits import BLOCK_MAX_BYTES, KIB, SEALED_MAX_BYTES, SEALED_OVERHEAD_BYTES
from protocol.sealing import CorruptBlock, UnknownKey, header_of, key_id_of, plain_length, seal, unseal

KEYS = derive(bytes(range(32)))
NOISE = blake3(b"noise").digest(length=300 * KIB)
HEADER_BYTES = 24
END_TO_END = derive_end_to_end(bytes(range(32)))
BOTH = pytest.mark.parametrize("keys", [KEYS, END_TO_END], ids=["zstd", "DEFLATE"])


def deflate(plain: bytes) -> bytes:
    compressor = zlib.compressobj(9, zlib.DEFLATED, -15)
    return compressor.compress(plain) + compressor.flush()


def sealed(plain: bytes) -> tuple[BlockId, bytearray]:
    block = KEYS.block_id(plain)
    return block, seal(KEYS, block, plain)


def forged(block: BlockId, content: bytes, flags: int, length: int) -> bytes:
    """What a member with the key could make that ``seal`` would not."""
    header = struct.pack(">4sB3sI", b"SDB1", flags, (1).to_bytes(3, "big"), length)
    nonce = bytes(12)
    return header + nonce + AESGCM(KEYS.sealing_key).encrypt(nonce, content, header + block)


@given(st.binary(max_size=2000))
@settings(deadline=None)
def test_what_is_sealed_opens(plain: bytes) -> None:
    block, box = sealed(plain)
    assert unseal(KEYS, block, box) == plain


@BOTH
@pytest.mark.parametrize("plain", [b"", b"x", NOISE, b"text " * 200_000, bytes(BLOCK_MAX_BYTES), NOISE[:7] * 99_991])
def test_blocks_of_many_kinds_open(keys: WorkspaceKeys, plain: bytes) -> None:
    block = keys.block_id(plain)
    box = seal(keys, block, plain)
    assert unseal(keys, block, memoryview(box)) == plain
    assert plain_length(box) == len(plain)
    assert len(box) <= len(plain) + SEALED_OVERHEAD_BYTES


@BOTH
def test_what_can_be_compressed_is(keys: WorkspaceKeys) -> None:
    plain = b"text " * 200_000
    assert len(seal(keys, keys.block_id(plain), plain)) < 10 * KIB


def test_the_same_bytes_seal_differently_each_time() -> None:
    assert sealed(b"same")[1] != sealed(b"same")[1]


@pytest.mark.parametrize("plain", [b"some plain bytes", b"text " * 1000])
def test_a_change_of_any_bit_of_header_nonce_and_tag_is_found(plain: bytes) -> None:
    block, box = sealed(plain)
    for place in (*range(HEADER_BYTES + 1), *range(len(box) - 16, len(box))):
        for bit in range(8):
            box[place] ^= 1 << bit
            with pytest.raises(CorruptBlock):
                unseal(KEYS, block, box)
            box[place] ^= 1 << bit
    assert unseal(KEYS, block, box) == plain


def test_a_block_cut_at_any_byte_is_found() -> None:
    block, box = sealed(b"some plain bytes")
    for size in range(len(box)):
        with pytest.raises(CorruptBlock):
            unseal(KEYS, block, box[:size])


def test_bytes_behind_a_block_are_found() -> None:
    block, box = sealed(b"some plain bytes")
    with pytest.raises(CorruptBlock):
        unseal(KEYS, block, box + b"\0")


def test_another_key_does_not_open() -> None:
    block, box = sealed(b"mine")
    with pytest.raises(CorruptBlock):
        unseal(derive(bytes(32)), block, box)


def test_a_block_under_a_later_key_is_told_from_a_damaged_one() -> None:
    later = derive(bytes(range(32)), {2: bytes(32)})
    block = later.block_id(b"mine")
    with pytest.raises(UnknownKey):
        unseal(KEYS, block, seal(later, block, b"mine"))


def test_a_block_opens_under_each_key_that_is_known() -> None:
    block, first = sealed(b"mine")
    later = derive(bytes(range(32)), {2: bytes(32)})
    second = seal(later, block, b"mine")
    assert (key_id_of(first), key_id_of(second)) == (1, 2)
    assert unseal(later, block, first) == unseal(later, block, second) == b"mine"


def test_a_block_that_names_another_key_than_its_own_does_not_open() -> None:
    later = derive(bytes(range(32)), {2: bytes(32)})
    block, box = sealed(b"mine")
    box[7] = 2
    with pytest.raises(CorruptBlock):
        unseal(later, block, box)


def test_a_block_does_not_open_as_another() -> None:
    _, box = sealed(b"one")
    with pytest.raises(CorruptBlock):
        unseal(KEYS, KEYS.block_id(b"two"), box)


def test_bytes_sealed_under_an_id_that_is_not_theirs_are_refused() -> None:
    block = KEYS.block_id(b"what everybody has")
    with pytest.raises(CorruptBlock, match="id"):
        unseal(KEYS, block, seal(KEYS, block, b"poison"))


@pytest.mark.parametrize("claimed", [1, 100, BLOCK_MAX_BYTES])
def test_a_frame_that_expands_past_the_header_s_length_is_refused(claimed: int) -> None:
    plain = bytes(2 * BLOCK_MAX_BYTES)
    block = KEYS.block_id(plain)
    with pytest.raises(CorruptBlock):
        unseal(KEYS, block, forged(block, zstandard.compress(plain), 1, claimed))


@pytest.mark.parametrize("claimed", [0, 1, 100, BLOCK_MAX_BYTES])
def test_deflated_content_that_expands_past_the_header_s_length_is_refused(claimed: int) -> None:
    plain = bytes(2 * BLOCK_MAX_BYTES)
    block = KEYS.block_id(plain)
    with pytest.raises(CorruptBlock):
        unseal(KEYS, block, forged(block, deflate(plain), 2, claimed))


@pytest.mark.parametrize("content", [b"", b"\xff\xff", deflate(b"frame")[:-1], deflate(b"frame") + b"x"])
def test_deflated_content_that_is_broken_is_refused(content: bytes) -> None:
    block = KEYS.block_id(b"frame")
    with pytest.raises(CorruptBlock):
        unseal(KEYS, block, forged(block, content, 2, 5))


def test_what_browsers_open_is_known_by_its_header() -> None:
    text, hello = b"text " * 2_000, b"hello"
    assert header_of(seal(END_TO_END, END_TO_END.block_id(text), text)).is_for_browsers
    assert header_of(seal(KEYS, KEYS.block_id(hello), hello)).is_for_browsers
    assert not header_of(seal(KEYS, KEYS.block_id(text), text)).is_for_browsers


@pytest.mark.parametrize("content", [b"", b"not a frame", zstandard.compress(b"frame")[:-1]])
def test_a_frame_that_is_broken_is_refused(content: bytes) -> None:
    block = KEYS.block_id(b"frame")
    with pytest.raises(CorruptBlock):
        unseal(KEYS, block, forged(block, content, 1, 5))


def test_a_frame_that_does_not_state_its_length_is_refused() -> None:
    frame = zstandard.ZstdCompressor(write_content_size=False).compress(b"frame" * 100)
    block = KEYS.block_id(b"frame" * 100)
    with pytest.raises(CorruptBlock):
        unseal(KEYS, block, forged(block, frame, 1, 500))


@pytest.mark.parametrize("flags", [3, 4, 128])
def test_unknown_flags_are_refused(flags: int) -> None:
    block = KEYS.block_id(b"plain")
    with pytest.raises(CorruptBlock):
        unseal(KEYS, block, forged(block, b"plain", flags, 5))


def test_too_long_a_block_is_refused_at_both_ends() -> None:
    plain = bytes(BLOCK_MAX_BYTES + 1)
    with pytest.raises(ValueError):
        seal(KEYS, KEYS.block_id(plain), plain)
    with pytest.raises(CorruptBlock):
        plain_length(bytes(SEALED_MAX_BYTES + 1))


GOLDEN = [
    (b"", "5344423100000001000000005d5977bbee3e0e8ba249f033c01d10eb70cd3bc21834834f06ce77ab"),
    (b"hello", "53444231000000010000000516a96bbe2cce857326c8efaf93342b8fc6fb2bee7ebe3933aaea2f84c04d971ff9"),
    (
        b"a" * 100,
        "53444231010000010000006442a1a32f82003e36d7f10a0fd03953f33a501abfc191739fc7cd3688e61c57212ad407e898f4b68b5559d8a2b5",
    ),
]


@pytest.mark.parametrize(("plain", "box"), GOLDEN)
def test_frozen_blocks_open(plain: bytes, box: str) -> None:
    assert unseal(KEYS, KEYS.block_id(plain), bytes.fromhex(box)) == plain
