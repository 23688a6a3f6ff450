"""Random programs on a mount and on a local folder (``tests/differential``), which must look the same all the time.

``scripts/soak posix`` goes on with other seeds.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.differential.places import comparing

SEEDS = 12


@pytest.mark.parametrize(("first", "flags"), [(1, ()), (1_000, ("--no-epoch",)), (2_000, ("--strict",))], ids=repr)
def test_random_programs_find_what_a_local_file_system_shows(
    tmp_path: Path, first: int, flags: tuple[str, ...]
) -> None:
    with comparing(tmp_path, *flags) as comparison:
        for seed in range(first, first + SEEDS):
            comparison.check(seed)
