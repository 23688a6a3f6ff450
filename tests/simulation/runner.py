"""One seed from beginning to end: set up, disturb, heal, look at everything, check."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from random import Random
from typing import Any, Final

import trio
from trio.testing import MockClock

from tests.simulation.checker import Broken, check
from tests.simulation.faults import Faults
from tests.simulation.history import Event
from tests.simulation.parts import REAL, Parts
from tests.simulation.trace import Errors
from tests.simulation.workload import CONFLICT_MARK, Workload
from tests.simulation.world import World

WORK_S: Final = 1800.0
"""No program takes so long, whatever happens: who is not done by then waits for something that never comes."""

SETTLE_S: Final = 120.0


@dataclass(frozen=True, slots=True)
class Run:
    """What became of a seed."""

    seed: int
    history: list[Event]
    trace: list[str]
    failures: list[str]


def run(seed: int, parts: Parts = REAL) -> Run:
    """The whole of it, always the same for one seed."""
    with _scheduled(seed):
        return trio.run(_main, seed, parts, clock=MockClock(autojump_threshold=0))


@contextmanager
def _scheduled(seed: int) -> Iterator[None]:
    """Trio's scheduler by seed, as pytest-trio has it for Hypothesis."""
    scheduler: Any = sys.modules["trio._core._run"]
    before = scheduler._ALLOW_DETERMINISTIC_SCHEDULING, scheduler._r
    scheduler._ALLOW_DETERMINISTIC_SCHEDULING, scheduler._r = True, Random(seed)
    try:
        yield
    finally:
        scheduler._ALLOW_DETERMINISTIC_SCHEDULING, scheduler._r = before


async def _main(seed: int, parts: Parts) -> Run:
    async with parts.store() as store, trio.open_nursery() as nursery:
        world = World(seed, nursery, store, parts)
        errors = Errors(world.trace)
        log = logging.getLogger("backend")
        log.addHandler(errors)
        logging.getLogger("fs").addHandler(errors)
        try:
            await world.server.prepare()
            await world.server.start()
            for machine in world.machines:
                nursery.start_soon(machine.run)
            workload = Workload(world, Random(seed + 1), processes=2, operations=world.profile.operations)
            await world.machines[0].up.wait()
            await workload.prepare()
            faults = Faults(world, Random(seed + 2), pause_s=Random(seed + 3).choice(world.profile.fault_pause_s))
            async with trio.open_nursery() as disturbing:
                disturbing.start_soon(faults.run)
                with trio.move_on_after(WORK_S) as working:
                    await workload.run()
                disturbing.cancel_scope.cancel()
            if working.cancelled_caught:
                world.trace.fail(f"these never ended: {workload.under_way}")
                nursery.cancel_scope.cancel()
                return Run(seed, workload.history, world.trace.lines, world.trace.failures)
            await faults.heal()
            for machine in [*world.machines, *world.machines]:  # The first may have been waited for by a later one.
                with trio.move_on_after(SETTLE_S) as waiting:
                    await machine.settled()
                if waiting.cancelled_caught:
                    world.trace.fail(f"{machine.name} did not settle")
            workload.settled()
            await world.server.check()
            trees = [await workload.look_at_everything(machine) for machine in world.machines]
            try:
                check(workload.history, trees, CONFLICT_MARK)
            except Broken as error:
                world.trace.fail(str(error))
        finally:
            log.removeHandler(errors)
            logging.getLogger("fs").removeHandler(errors)
        nursery.cancel_scope.cancel()
    return Run(seed, workload.history, world.trace.lines, world.trace.failures)


def search(seeds: Iterable[int], parts: Parts = REAL) -> Run | None:
    """The first of the seeds that fails; None where all are well."""
    for seed in seeds:
        found = run(seed, parts)
        if found.failures:
            return found
    return None
