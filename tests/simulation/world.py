"""Machines and a server in one process on a virtual clock, all of it from one seed."""

from __future__ import annotations

from random import Random

import trio

from tests.simulation.conditions import Conditions
from tests.simulation.machine import Machine
from tests.simulation.network import Wire
from tests.simulation.parts import REAL, Parts
from tests.simulation.profiles import profile_of
from tests.simulation.server import Server
from tests.simulation.slowness import Store
from tests.simulation.trace import Trace


class World:
    """Everything that a seed makes."""

    def __init__(self, seed: int, nursery: trio.Nursery, store: Store, parts: Parts = REAL) -> None:
        random = Random(seed)
        self.profile = profile_of(seed)
        self.conditions = Conditions.of(random, self.profile)
        self.trace = Trace()
        store.random, store.slow_s = random, self.conditions.store_s
        self.server = Server(self.conditions, parts, store, self.trace)
        self.machines: list[Machine] = []
        for machine in self.conditions.machines:
            wire = Wire(machine.name, machine.weather, random, nursery, self.server.serve)
            self.machines.append(Machine(machine, parts, wire, random, self.trace))

    @property
    def watcher(self) -> Machine | None:
        """The machine that is far away and looks, where there is one."""
        return self.machines[-1] if self.profile.far_s else None
