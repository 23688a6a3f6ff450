"""What goes wrong while programs work: one trouble at a time or several, each ended after a while.

Every trouble ends, and ``Faults.heal`` ends what is left.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from random import Random

import trio

from tests.simulation.machine import Machine
from tests.simulation.network import Fault, Weather
from tests.simulation.world import World


class Faults:
    """The troubles of one world."""

    def __init__(self, world: World, random: Random, *, pause_s: float) -> None:
        """``pause_s`` is how long it takes on average until the next one begins."""
        self._world = world
        self._random = random
        self._pause_s = pause_s

    async def run(self) -> None:
        """Disturb until cancelled; what is under way then goes on until ``heal``."""
        begin: dict[str, Callable[[], Awaitable[None]]] = {
            "cut": self._cut,
            "crash_server": self._crash_server,
            "restart_server": self._restart_server,
            "stop_server": self._stop_server,
            "kill_mount": self._kill_mount,
            "lose_power": self._lose_power,
            "lose_power_apart": self._lose_power_apart,
            "stop_mount": self._stop_mount,
            "stop_watcher": self._stop_watcher,
            "shrink": self._shrink,
        }
        kinds, shares = list(self._world.profile.faults), list(self._world.profile.faults.values())
        async with trio.open_nursery() as nursery:
            while True:
                await trio.sleep(self._random.expovariate(1 / self._pause_s))
                nursery.start_soon(begin[self._random.choices(kinds, shares)[0]])

    async def heal(self) -> None:
        """Everything is as it should be."""
        world = self._world
        if not world.server.is_up:
            await world.server.start()
        world.server.go_on()
        for machine in world.machines:
            machine.wire.fault = Fault.NONE
            machine.wire.weather = Weather(delay_s=machine.wire.weather.delay_s, straggles=0.0)
            machine.go_on()
            machine.keep_power()
        world.trace.note("faults", "healed")

    def _while_s(self) -> float:
        """Shorter than a lease, about one, or much longer."""
        return self._random.choice((0.2, 1.0, 2.5)) * self._world.conditions.lease_s * self._random.uniform(0.5, 1.2)

    def _machine(self) -> Machine:
        return self._random.choice(self._world.machines)

    async def _cut(self) -> None:
        machine = self._machine()
        fault = self._random.choice((Fault.REFUSED, Fault.BLACK_HOLE, Fault.BLACK_HOLE, Fault.MUTE, Fault.DEAF))
        machine.wire.fault = fault
        self._world.trace.note("faults", f"{machine.name}'s network: {fault.name}")
        await trio.sleep(self._while_s())
        machine.wire.fault = Fault.NONE
        self._world.trace.note("faults", f"{machine.name}'s network is well")

    async def _crash_server(self) -> None:
        await self._server_away(self._random.choice((0.05, 1.0)) * self._while_s())

    async def _restart_server(self) -> None:
        await self._server_away(self._random.uniform(0.01, 0.2))

    async def _server_away(self, while_s: float) -> None:
        server = self._world.server
        if not server.is_up:
            return
        self._world.trace.note("faults", "the server crashes")
        server.crash()
        await trio.sleep(while_s)
        if not server.is_up:
            await server.start()
            self._world.trace.note("faults", "the server is back")

    async def _stop_server(self) -> None:
        self._world.trace.note("faults", "the server is stopped")
        self._world.server.stop()
        await trio.sleep(self._while_s())
        self._world.server.go_on()
        self._world.trace.note("faults", "the server goes on")

    async def _kill_mount(self) -> None:
        await trio.lowlevel.checkpoint()
        machine = self._machine()
        if machine.drive is not None:
            machine.down_s = self._random.choice((0.05, 1.0)) * self._while_s()
            self._world.trace.note("faults", f"{machine.name}'s mount is killed")
            machine.kill()

    async def _lose_power(self) -> None:
        await trio.lowlevel.checkpoint()
        apart = [one for one in self._world.machines if one.drive is not None and one.drive.is_apart]
        machine = self._random.choice(apart) if apart else self._machine()
        if machine.drive is not None:
            machine.down_s = self._random.choice((0.05, 1.0)) * self._while_s()
            if self._random.random() < 0.5:
                self._world.trace.note("faults", f"{machine.name} loses its power")
                machine.lose_power()
            else:
                self._world.trace.note("faults", f"{machine.name} is about to lose its power")
                machine.lose_power_within(self._random.randint(1, 12))

    async def _lose_power_apart(self) -> None:
        """Cut off for long enough to work apart, and off before the server is back."""
        machine, lease_s = self._machine(), self._world.conditions.lease_s
        machine.wire.fault = Fault.REFUSED
        self._world.trace.note("faults", f"{machine.name}'s network: {Fault.REFUSED.name}")
        await trio.sleep(lease_s * self._random.uniform(1.5, 5))
        if machine.drive is not None:
            machine.down_s = self._random.uniform(0, lease_s)
            self._world.trace.note("faults", f"{machine.name} loses its power")
            machine.lose_power()
        machine.wire.fault = Fault.NONE
        self._world.trace.note("faults", f"{machine.name}'s network is well")

    async def _stop_mount(self) -> None:
        await self._stop(self._machine(), self._while_s())

    async def _stop_watcher(self) -> None:
        """Until its lease is over."""
        while_s = self._world.conditions.lease_s * self._random.uniform(1, 3)
        await self._stop(self._world.watcher or self._machine(), while_s)

    async def _stop(self, machine: Machine, while_s: float) -> None:
        self._world.trace.note("faults", f"{machine.name}'s mount is stopped")
        machine.stop()
        await trio.sleep(while_s)
        machine.go_on()
        self._world.trace.note("faults", f"{machine.name}'s mount goes on")

    async def _shrink(self) -> None:
        await trio.lowlevel.checkpoint()
        self._machine().kernel.caches.shrink()
