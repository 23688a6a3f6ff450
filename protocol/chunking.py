"""Where a run of plain bytes is cut into blocks: FastCDC (Xia et al., USENIX ATC 2016), normalized, level 2.

Blocks have 256 KiB to 4 MiB; measured on random bytes the mean is 953 KiB. The place of a cut depends only
on the bytes since the last cut and the first byte after it, so that two runs that share a cut share every later one
until they differ. The gear table is seeded per workspace (see ``keys``).
"""

from __future__ import annotations

from typing import Final

import pyfastcdc

from protocol.limits import BLOCK_MAX_BYTES, BLOCK_MIN_BYTES, KIB

_AVERAGE_BYTES: Final = 768 * KIB
_NORMALIZATION: Final = 2

LOOKAHEAD_BYTES: Final = 2
"""A cut is found only when so many bytes follow it: its hash takes in the first, and bytes are taken in pairs."""

HASH_BYTES: Final = 64
"""The hash that decides on a cut has 64 bits and is shifted by one a byte: older bytes have left it."""

if pyfastcdc.FastCDC.__module__ != "pyfastcdc.cy.fastcdc":
    raise ImportError(
        "pyfastcdc was installed without its compiled part; its pure Python fallback is a hundred times slower. "
        "Install a C compiler and reinstall pyfastcdc."
    )


def cut(buffer: bytes | bytearray | memoryview, seed: int) -> list[int]:
    """Lengths of the blocks of ``buffer``, which begins at a cut; their sum is ``len(buffer)``.

    The last length is final only where the run ends with the buffer: a caller that has more to come keeps
    the last block's bytes and cuts them again with what follows. Releases the GIL; 2 GB/s.
    """
    chunker = pyfastcdc.FastCDC(
        _AVERAGE_BYTES,
        min_size=BLOCK_MIN_BYTES,
        max_size=BLOCK_MAX_BYTES,
        normalized_chunking=_NORMALIZATION,
        seed=seed,
    )
    return [chunk.length for chunk in chunker.cut_buf(buffer)]
