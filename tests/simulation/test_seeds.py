"""Whole runs by seed. One that fails is replayed by ``python -m tests.simulation SEED``, which shows what happened."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.simulation.runner import Run, run

SEEDS_A_TEST = 10
SEEDS = 100
"""In the test run; the long search is ``scripts/soak sim``."""


def verdict(found: Run) -> str:
    return "\n".join((*found.failures, *found.trace[-40:], f"replay: python -m tests.simulation {found.seed}"))


@pytest.mark.parametrize("first", range(1, SEEDS + 1, SEEDS_A_TEST))
def test_every_seed_keeps_the_contract(first: int) -> None:
    for seed in range(first, first + SEEDS_A_TEST):
        found = run(seed)
        assert not found.failures, verdict(found)


def test_a_seed_makes_the_same_history_each_time() -> None:
    first, second = run(5), run(5)
    assert first.trace == second.trace
    assert first.history == second.history


def test_a_seed_makes_the_same_history_in_another_process() -> None:
    traces = [
        subprocess.run(
            [sys.executable, "-m", "tests.simulation", "6"],
            env={**os.environ, "PYTHONHASHSEED": "0"},
            capture_output=True,
            text=True,
            check=False,
        ).stdout.splitlines()[:-1]
        for _ in range(2)
    ]
    assert traces[0] == traces[1]
    assert len(traces[0]) > 20
