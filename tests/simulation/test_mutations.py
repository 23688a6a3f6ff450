"""The simulation finds each rule of the leases when it is left out: else a run that finds nothing would say nothing."""

from __future__ import annotations

from itertools import chain

import pytest

from tests.simulation.mutations import MUTATIONS
from tests.simulation.runner import run, search

SHOWN_BY = {
    "S1 commits": 7,
    "S1 reads": 48,
    "S1 errors": 15,
    "S1 retries": 7,
    "S2": 33,
    "S3": 11,
    "C3": 36,
    "C6": 12,
    "compare-and-set": 4,
    "C2": 123,
    "fsync": 19,
}
"""A seed for each, where the search begins: whatever changes in the product can make another world of a seed."""

SEEDS_MOST = 1000


@pytest.mark.parametrize("mutation", SHOWN_BY)
def test_a_broken_rule_is_found(mutation: str) -> None:
    first = SHOWN_BY[mutation]
    step = 10 if first % 2 else 2  # The seeds of one profile: see ``profiles``.
    found = search(chain([first], range(first % step, SEEDS_MOST, step)), MUTATIONS[mutation])
    assert found is not None
    assert not run(found.seed).failures
