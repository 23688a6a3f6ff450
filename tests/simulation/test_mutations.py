"""The simulation finds each rule of the leases when it is left out: else a run that finds nothing would say nothing."""

from __future__ import annotations

import pytest

from tests.simulation.mutations import MUTATIONS
from tests.simulation.runner import run

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
    "C2": 173,
    "fsync": 19,
}
"""A seed for each. ``python -m tests.simulation 1 1000 --mutation NAME`` looks for others."""


@pytest.mark.parametrize("mutation", SHOWN_BY)
def test_a_broken_rule_is_found(mutation: str) -> None:
    seed = SHOWN_BY[mutation]
    assert run(seed, MUTATIONS[mutation]).failures
    assert not run(seed).failures
