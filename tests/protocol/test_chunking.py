from __future__ import annotations

import random
from itertools import accumulate

import pytest
from blake3 import blake3

from protocol.chunking import HASH_BYTES, LOOKAHEAD_BYTES, cut
from protocol.keys import derive
from protocol.limits import BLOCK_MAX_BYTES, BLOCK_MIN_BYTES, MIB

NOISE = blake3(b"chunking").digest(length=16 * MIB)
SEED = derive(bytes(range(32))).chunk_seed


@pytest.mark.parametrize(
    ("seed", "lengths"),
    [
        (
            0,
            [
                1781653,
                1340170,
                921207,
                938706,
                1038105,
                887653,
                556103,
                882242,
                1270191,
                813239,
                840127,
                1326310,
                911348,
                999625,
                847644,
                951608,
                471285,
            ],
        ),
        (
            SEED,
            [
                826061,
                1242323,
                795818,
                1057991,
                1184166,
                792569,
                1100357,
                948679,
                1294721,
                915413,
                994751,
                756816,
                970607,
                914775,
                1544727,
                870937,
                566505,
            ],
        ),
        (
            (1 << 32) - 1,
            [
                817805,
                2074298,
                919431,
                318363,
                874576,
                893588,
                1163992,
                795329,
                1160758,
                796315,
                533819,
                991444,
                949120,
                1172479,
                850477,
                956668,
                649641,
                859113,
            ],
        ),
    ],
)
def test_cuts_are_frozen(seed: int, lengths: list[int]) -> None:
    """Blocks of one content would no longer be found again if these moved."""
    assert cut(NOISE, seed) == lengths


def test_blocks_keep_to_the_limits() -> None:
    lengths = cut(NOISE, SEED)
    assert sum(lengths) == len(NOISE)
    assert all(BLOCK_MIN_BYTES <= length <= BLOCK_MAX_BYTES for length in lengths[:-1])


def test_nothing_has_no_blocks() -> None:
    assert cut(b"", SEED) == []


def test_what_is_the_same_all_over_is_cut_at_the_limit() -> None:
    assert cut(bytes(9 * MIB), SEED) == [4 * MIB, 4 * MIB, MIB]


def test_cutting_begins_anew_at_every_cut() -> None:
    lengths = cut(NOISE, SEED)
    at = lengths[0] + lengths[1]
    assert cut(memoryview(NOISE)[at:], SEED) == lengths[2:]


def test_a_cut_is_found_once_the_lookahead_is_there_whatever_follows() -> None:
    begin = 0
    for end in list(accumulate(cut(NOISE, SEED)))[:-1]:
        for behind in (b"", b"other bytes"):
            assert cut(NOISE[begin : end + LOOKAHEAD_BYTES] + behind, SEED)[0] == end - begin
        begin = end


def test_no_cut_is_found_before_the_bytes_that_decide_on_it() -> None:
    length = cut(NOISE, SEED)[0]
    for size in (length, length - 1, length // 2, BLOCK_MIN_BYTES):
        assert cut(memoryview(NOISE)[:size], SEED) == [size]


def test_bytes_before_the_hash_s_reach_do_not_move_a_cut() -> None:
    length = cut(NOISE, SEED)[0]
    changed = bytearray(NOISE[: length + LOOKAHEAD_BYTES])
    changed[length - HASH_BYTES - 100 : length - HASH_BYTES] = random.Random(1).randbytes(100)
    assert cut(changed, SEED)[0] == length


def test_another_seed_cuts_elsewhere() -> None:
    assert cut(NOISE, SEED)[0] != cut(NOISE, SEED + 1)[0]
