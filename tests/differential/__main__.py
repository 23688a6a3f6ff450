"""Random programs for as long as is given: ``python -m tests.differential posix|fsx|together MINUTES [SEED]``.

posix: on names, attributes and contents of a real mount, compared with a local file system; together: the same without
a real kernel; fsx: on one file of a real mount, compared with a model of its bytes. 0 minutes run the one seed alone.
``--flag`` is for the mount.
"""

from __future__ import annotations

import argparse
import itertools
import logging
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.differential import together
from tests.differential.mountedfile import MountedFiles
from tests.differential.places import comparing, local, mounting


@contextmanager
def checking(kind: str, flags: list[str]) -> Iterator[Callable[[int], None]]:
    """What checks a seed."""
    with tempfile.TemporaryDirectory(prefix="differential-") as name:
        folder = Path(name)
        if kind == "posix":
            with comparing(folder, *flags) as comparison:
                yield comparison.check
        elif kind == "together":
            with local(folder / "local") as expected:
                yield lambda seed: together.check(seed, expected)
        else:
            with mounting(folder / "samedrive", *flags) as mount:
                yield MountedFiles(mount).check


def main() -> int:
    """0 where no seed failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.differential", description=__doc__)
    parser.add_argument("kind", choices=("posix", "fsx", "together"))
    parser.add_argument("minutes", type=float)
    parser.add_argument("seed", type=int, nargs="?", default=1)
    parser.add_argument("--flag", action="append", default=[], help="such as --flag=--no-epoch")
    parser.add_argument("--go-on", action="store_true", help="after a seed that failed, too")
    given = parser.parse_args()
    logging.disable(logging.WARNING)  # That the server is away is part of programs.
    failed, ends = 0, time.monotonic() + given.minutes * 60
    with checking(given.kind, given.flag) as check:
        for seed in itertools.count(given.seed):
            try:
                check(seed)
            except AssertionError as error:
                failed += 1
                print(error, f"replay: python -m tests.differential {given.kind} 0 {seed}", sep="\n", flush=True)
            if time.monotonic() > ends or (failed and not given.go_on):
                break
    print(f"seeds {given.seed} to {seed}: {failed} failed")
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
