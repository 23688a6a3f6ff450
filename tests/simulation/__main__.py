"""Run seeds: ``python -m tests.simulation FIRST [LAST] [--minutes N] [--mutation NAME]``. One seed alone is shown."""

from __future__ import annotations

import argparse
import itertools
import os
import sys
import time

from tests.simulation.mutations import MUTATIONS
from tests.simulation.parts import REAL
from tests.simulation.runner import run


def main() -> int:
    """0 where every seed was well."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("first", type=int)
    parser.add_argument("last", type=int, nargs="?")
    parser.add_argument("--minutes", type=float, help="go on from FIRST for so long")
    parser.add_argument("--step", type=int, default=1, help="only every so many seeds")
    parser.add_argument("--mutation", choices=MUTATIONS, help="with this rule broken")
    given = parser.parse_args()
    if os.environ.get("PYTHONHASHSEED") != "0":  # Sets of bytes have the same order then, in every process.
        os.execve(
            sys.executable,
            [sys.executable, "-m", "tests.simulation", *sys.argv[1:]],
            {**os.environ, "PYTHONHASHSEED": "0"},
        )
    parts = MUTATIONS[given.mutation] if given.mutation else REAL
    began_s, failed, count = time.monotonic(), [], 0
    alone = given.last is None and given.minutes is None
    seeds = (
        itertools.count(given.first, given.step)
        if given.minutes
        else range(given.first, (given.last or given.first) + 1, given.step)
    )
    for seed in seeds:
        if given.minutes and time.monotonic() - began_s > given.minutes * 60:
            break
        found = run(seed, parts)
        count += 1
        if alone:
            print("\n".join(found.trace))
        if found.failures:
            failed.append(seed)
            print(f"seed {seed}:", *found.failures, sep="\n", flush=True)
            print(
                f"replay: python -m tests.simulation {seed}"
                + (f" --mutation {given.mutation!r}" if given.mutation else "")
            )
    print(f"{count} seeds in {time.monotonic() - began_s:.0f} s; failed: {failed or 'none'}")
    return 1 if failed else 0


sys.exit(main())
