"""What a seed chooses before anything happens: how many machines, how good their networks, how long a lease."""

from __future__ import annotations

from dataclasses import dataclass, replace
from random import Random

from tests.simulation.network import Weather
from tests.simulation.profiles import Profile


@dataclass(frozen=True, slots=True)
class MachineConditions:
    """One device's."""

    name: str
    weather: Weather
    has_epoch: bool
    """Whether its kernel can drop names."""
    rate: float
    """How fast its clock runs."""
    strict: bool
    """Whether its mount never works apart from the server."""


@dataclass(frozen=True, slots=True)
class Conditions:
    """Some that users may have."""

    machines: tuple[MachineConditions, ...]
    lease_s: float
    server_rate: float
    """How fast the server's clock runs."""
    store_s: float
    """How long the database takes at the most, when it takes its time."""

    @classmethod
    def of(cls, random: Random, profile: Profile) -> Conditions:
        """By the profile's shares."""
        count = random.choice(profile.machines)
        lease_s = random.choice(profile.lease_s)
        weather = Weather(
            delay_s=random.choice((0.0005, 0.005, 0.03)),
            straggles=random.choice((0.0, 0.02, 0.1)),
            straggle_s=random.choice((0.05, 0.5)),
            loses=random.choice(profile.loses),
            repeats=random.choice(profile.repeats),
        )
        epochs = [random.random() < 0.7 for _ in range(count)]
        server_rate, *rates = (random.choice((0.995, 1.0, 1.005)) for _ in range(count + 1))
        strict = [random.random() < profile.strict_share for _ in range(count)]
        weathers = [weather] * count
        if profile.far_s:
            weathers[-1] = replace(weather, delay_s=random.choice(profile.far_s))
        machines = map(MachineConditions, ("desk", "laptop", "phone"), weathers, epochs, rates, strict)
        return cls(tuple(machines), lease_s, server_rate, profile.store_s)
