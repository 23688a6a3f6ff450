"""Random programs on a drive without a real kernel and on a local folder, compared after each step.

Those on real mounts are in ``tests/real/test_differential.py``. ``scripts/soak together`` goes on with other seeds.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.differential.places import local
from tests.differential.together import check

SEEDS_A_TEST = 6


@pytest.mark.parametrize("first", range(0, 12, SEEDS_A_TEST))
def test_random_programs_find_what_a_local_file_system_shows(tmp_path: Path, first: int) -> None:
    with local(tmp_path / "local") as expected:
        for seed in range(first, first + SEEDS_A_TEST):
            check(seed, expected)
