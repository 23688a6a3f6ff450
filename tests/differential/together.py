"""Programs on a drive and a server in one process, without a real kernel, compared with a local folder."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import trio
import trio.testing

from tests.differential.comparing import CONTENTS_EVERY, Different
from tests.differential.look import Looks, contents, difference, statuses
from tests.differential.places import Local
from tests.differential.program import Profile, Step, program
from tests.differential.shrink import shrunk
from tests.differential.simulated import LocalCalls, SimulatedCalls
from tests.together.mounted import Machine
from tests.together.world import serving

LENGTH: Final = 150
SHRINKING_TRIES: Final = 600
_PROFILES: Final = tuple(Profile(privileged=False, with_kernel=False, parts=parts) for parts in (False, True))
_IN_THE_END: Final = (Step("join"), Step("remount"), Step("stat", (".",)))
_FOLDER: Final = "folder"


def check(seed: int, local: Local) -> None:
    """Run a seed's program; raises AssertionError with a short program where something differs."""
    steps = [*program(seed, LENGTH, _PROFILES[seed % 2]), *_IN_THE_END]
    found = _run(steps, local)
    if found is None:
        return
    short = shrunk(steps[: found.place + 1], lambda some: _run(some, local) is not None, tries=SHRINKING_TRIES)
    found = _run(short, local) or found
    raise AssertionError("\n".join([f"seed {seed}, made short:", *(f"  {step}" for step in short), *found.lines]))


def _run(steps: Sequence[Step], local: Local) -> Different | None:
    """Where the sides come apart, in a new folder and a new world."""
    folder = local.folder / _FOLDER
    folder.mkdir(mode=0o755)
    try:
        return trio.run(_compared, steps, folder, local.exact, clock=trio.testing.MockClock(autojump_threshold=0))
    finally:
        shutil.rmtree(folder)


async def _compared(steps: Sequence[Step], folder: Path, exact: bool) -> Different | None:
    expected, opened, looks = LocalCalls(folder), dict[str, int](), [Looks(exact=exact) for _ in range(2)]
    place = 0
    try:
        async with serving() as world:
            machine = Machine(world, "desk")
            while place < len(steps):
                async with machine.mounted() as kernel:
                    if place == 0:
                        await kernel.make(_FOLDER, "mkdir", 0o755)
                    tested = SimulatedCalls(machine, kernel, _FOLDER, opened)
                    for step in steps[place:]:
                        place += 1
                        if step.call == "remount":
                            expected.run(step)
                            break
                        if lines := await _step(step, expected, tested, looks, place):
                            return Different(place - 1, lines)
                    await tested.end()
        return None
    finally:
        expected.end()


async def _step(
    step: Step, expected: LocalCalls, tested: SimulatedCalls, looks: Sequence[Looks], place: int
) -> list[str]:
    one, other = expected.run(step), await tested.run(step)
    if one != other:
        return [f"  {step}", f"    expected {one}", f"    found    {other}"]
    in_the_end = step == _IN_THE_END[-1]
    try:
        found = await tested.statuses()
        inside = await tested.contents() if in_the_end or place % CONTENTS_EVERY == 0 else None
    except OSError as error:
        return [f"  looking: {error}"]
    lines = difference(
        looks[0].lines(statuses(expected.folder, expected.files), fine=True), looks[1].lines(found, fine=True)
    )
    return lines if lines or inside is None else difference(contents(expected.folder), inside)
