"""Random requests to a real server for as long as is given: ``python -m tests.fuzz MINUTES [SEED]``."""

from __future__ import annotations

import argparse
import itertools
import sys
import tempfile
import time
from pathlib import Path

from schemathesis.core.failures import FailureGroup

from tests.fuzz.api import ROUTED, target

EXAMPLES = 100


def main() -> int:
    """0 where nothing failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("minutes", type=float)
    parser.add_argument("seed", type=int, nargs="?", default=1)
    given = parser.parse_args()
    ends, asked = time.monotonic() + given.minutes * 60, 0
    with tempfile.TemporaryDirectory(prefix="fuzz-") as name, target(Path(name)) as server:
        for seed in itertools.count(given.seed):
            for operation in ROUTED:
                if time.monotonic() > ends:
                    print(f"seeds {given.seed} to {seed}: {asked} times {EXAMPLES} requests")
                    return _trouble(server.server.log.unexpected())
                try:
                    server.check(operation, EXAMPLES, seed)
                except (AssertionError, FailureGroup) as error:
                    print(f"seed {seed}, {operation}: {error}", flush=True)
                    return 1
                asked += 1
    return 0


def _trouble(lines: list[str]) -> int:
    print(*lines, sep="\n")
    return int(bool(lines))


if __name__ == "__main__":
    sys.exit(main())
