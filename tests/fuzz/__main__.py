"""Random requests for as long as is given: ``python -m tests.fuzz api|wire MINUTES [SEED]``.

api: by the OpenAPI document, to a real server; wire: messages as mounts send them, to one in this process.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from schemathesis.core.failures import FailureGroup

from tests.fuzz import wire
from tests.fuzz.api import ROUTED, target

EXAMPLES = 100


def main() -> int:
    """0 where nothing failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("kind", choices=("api", "wire"))
    parser.add_argument("minutes", type=float)
    parser.add_argument("seed", type=int, nargs="?", default=1)
    given = parser.parse_args()
    ends = time.monotonic() + given.minutes * 60
    return by_the_document(ends, given.seed) if given.kind == "api" else as_mounts(ends, given.seed)


def by_the_document(ends: float, first: int) -> int:
    """Until a time of ``time.monotonic``."""
    asked = 0
    with tempfile.TemporaryDirectory(prefix="fuzz-") as name, target(Path(name)) as server:
        for seed in itertools.count(first):
            for operation in ROUTED:
                if time.monotonic() > ends:
                    print(f"seeds {first} to {seed}: {asked} times {EXAMPLES} requests")
                    return _trouble(server.server.log.unexpected())
                try:
                    server.check(operation, EXAMPLES, seed)
                except (AssertionError, FailureGroup) as error:
                    print(f"seed {seed}, {operation}: {error}", flush=True)
                    return 1
                asked += 1
    return 0


def as_mounts(ends: float, first: int) -> int:
    """The same."""
    statuses = Counter[int]()
    for seed in itertools.count(first):
        try:
            statuses += wire.check(seed)
        except AssertionError as error:
            print(error)
            return 1
        if time.monotonic() > ends:
            break
    print(f"seeds {first} to {seed}: {statuses.total()} requests; by status {dict(sorted(statuses.items()))}")
    return 0


def _trouble(lines: list[str]) -> int:
    print(*lines, sep="\n")
    return int(bool(lines))


if __name__ == "__main__":
    sys.exit(main())
