"""Random programs on a real mount for as long as is given: ``python -m tests.differential posix MINUTES [SEED]``.

0 minutes run the one seed alone.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

from tests.differential.places import comparing


def main() -> int:
    """0 where no seed failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.differential", description=__doc__)
    parser.add_argument("kind", choices=("posix",))
    parser.add_argument("minutes", type=float)
    parser.add_argument("seed", type=int, nargs="?", default=1)
    parser.add_argument("--go-on", action="store_true", help="after a seed that failed, too")
    given = parser.parse_args()
    failed, seed, ends = 0, given.seed, time.monotonic() + given.minutes * 60
    with tempfile.TemporaryDirectory(prefix="differential-") as folder, comparing(Path(folder)) as comparison:
        while True:
            try:
                comparison.check(seed)
            except AssertionError as error:
                failed += 1
                print(error, f"replay: python -m tests.differential posix 0 {seed}", sep="\n", flush=True)
                if not given.go_on:
                    break
            seed += 1
            if time.monotonic() > ends:
                break
    print(f"seeds {given.seed} to {seed - 1}: {failed} failed")
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
