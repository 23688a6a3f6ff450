"""A program is run on two folders, and what comes of it is compared after each step.

Some programs are *watched*: after each step all attributes are compared, and contents now and then. The others are not
looked at before they have ended: looking fills caches, which hides what lies in none.
"""

from __future__ import annotations

import itertools
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.differential.calls import Calls
from tests.differential.look import Looks, contents, difference, statuses
from tests.differential.program import Profile, Step, program
from tests.differential.shrink import shrunk

LENGTH: Final = 120
CONTENTS_EVERY: Final = 10
SHRINKING_TRIES: Final = 600


@dataclass(frozen=True, slots=True)
class Different:
    """Where two sides came apart."""

    place: int
    """Of the step in its program."""
    lines: Sequence[str]


class Comparison:
    """A folder on the file system that is tested and one on another, whose behaviour is expected."""

    def __init__(
        self, expected: Path, tested: Path, profile: Profile, remount: Callable[[], None], *, exact: bool
    ) -> None:
        """``exact``: access times are compared, and what moves times; else only what programs set them to."""
        self._expected = expected
        self._tested = tested
        self._profile = profile
        self._remount = remount
        self._exact = exact
        self._numbers = itertools.count()

    def check(self, seed: int) -> None:
        """Run a seed's program; raises AssertionError with a short program where something differs."""
        steps, watched = program(seed, LENGTH, self._profile), seed % 4 != 0
        found = self.run(steps, watched=watched)
        if found is None:
            return
        short = shrunk(
            steps[: found.place + 1], lambda some: self.run(some, watched=watched) is not None, tries=SHRINKING_TRIES
        )
        found = self.run(short, watched=watched) or found
        steps = [f"  {step}" for step in short]
        raise AssertionError("\n".join([f"seed {seed}, made short:", *steps, "differs:", *found.lines]))

    def run(self, steps: Sequence[Step], *, watched: bool) -> Different | None:
        """Where the sides come apart, in new folders."""
        name = f"program {next(self._numbers)}"
        mask = os.umask(0)
        for folder in (self._expected / name, self._tested / name):
            folder.mkdir(mode=0o777)
        os.umask(0o022)
        expected, tested = Calls(self._expected / name), Calls(self._tested / name, self._remount)
        try:
            return self._compared(steps, expected, tested, watched=watched)
        finally:
            expected.end()
            tested.end()
            os.umask(mask)
            for folder in (self._expected / name, self._tested / name):
                shutil.rmtree(folder)

    def _compared(self, steps: Sequence[Step], expected: Calls, tested: Calls, *, watched: bool) -> Different | None:
        looks = [Looks(exact=self._exact) for _ in range(2)]
        for place, step in enumerate(steps):
            one, other = expected.run(step), tested.run(step)
            if one != other:
                return Different(place, [f"  {step}", f"    expected {one}", f"    found    {other}"])
            if not watched and place < len(steps) - 1:
                continue
            try:
                lines = self._differences(expected, tested, looks, fine=watched)
                if not lines and (place % CONTENTS_EVERY == 0 or place == len(steps) - 1):
                    lines = difference(*(contents(side.folder) for side in (expected, tested)))
            except OSError as error:
                lines = [f"  looking: {error}"]
            if lines:
                return Different(place, lines)
        return None

    def _differences(self, expected: Calls, tested: Calls, looks: Sequence[Looks], *, fine: bool) -> list[str]:
        sides = zip(looks, (expected, tested), strict=True)
        return difference(*(look.lines(statuses(side.folder, side.files), fine=fine) for look, side in sides))
