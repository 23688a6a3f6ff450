"""Kinds of worlds: where a seed puts its stress. A user may have each of them, and the product survives them all.

Half of the seeds have the general mix. Each of the others makes one family of rules matter: few names, processes that
meet, and a *watcher* where stated: the last machine is far away from the server and does little but look, all
the time. What it sees too late, or too early, is what those rules forbid.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

_ACTS: Final = {
    "look": 20,
    "list": 10,
    "read": 22,
    "write_new": 14,
    "rewrite": 14,
    "write_blindly": 5,
    "unlink": 6,
    "rename": 8,
    "mkdir": 3,
    "rmdir": 3,
}
_FAULTS: Final = {
    "cut": 30,
    "crash_server": 10,
    "stop_server": 6,
    "kill_mount": 9,
    "lose_power": 8,
    "stop_mount": 20,
    "shrink": 6,
}
WATCHING: Final = {"look": 6, "list": 1, "read": 3}
"""What a watcher does."""


@dataclass(frozen=True, slots=True)
class Profile:
    """What the seed's choices are made from. Where there are several values, the seed chooses one."""

    name: str
    acts: Mapping[str, int] = field(default_factory=lambda: _ACTS)
    """What programs do, each so many times as often as another; by the names of ``workload``."""
    faults: Mapping[str, int] = field(default_factory=lambda: _FAULTS)
    """What goes wrong, likewise; by the names of ``faults``."""
    fault_pause_s: tuple[float, ...] = (1.0, 3.0, 10.0, 1000.0)
    """How long it takes on average until the next fault begins."""
    files: tuple[str, ...] = ("a", "b", "c", "d/x", "d/y")
    meet_s: tuple[float, ...] = (0.0, 0.3, 1.0)
    """Where not 0: most processes act at the same moments, and on the same name."""
    machines: tuple[int, ...] = (2, 3, 3, 3)
    operations: int = 12
    """By each process that isn't a watcher."""
    lease_s: tuple[float, ...] = (1.0, 2.0, 2.0, 5.0)
    loses: tuple[float, ...] = (0.0, 0.0, 0.01, 0.05)
    repeats: tuple[float, ...] = (0.0, 0.02, 0.1)
    far_s: tuple[float, ...] = ()
    """The watcher's way to the server; none where nobody is a watcher."""
    watchers: int = 4
    """Processes of the watcher."""
    watch_pause_s: tuple[float, ...] = (0.05,)
    """How long each of them waits on average before it looks."""
    store_s: float = 0.01
    """How long the database takes at the most, when it takes its time."""
    strict_share: float = 0.15


GENERAL: Final = Profile("general")

RESTARTS: Final = Profile(
    "restarts",
    acts={"write_new": 6, "rewrite": 12, "write_blindly": 6, "unlink": 4, "look": 2},
    faults={"restart_server": 10, "cut": 1},
    fault_pause_s=(1.0, 2.0),
    files=("a", "b"),
    machines=(3,),
    lease_s=(2.0, 5.0),
    far_s=(0.05, 0.2),
)
"""The server comes back at once, while mounts hold leases that it gave before, and are slow to be heard of (S3)."""

LAPSES: Final = Profile(
    "lapses",
    acts={"write_new": 6, "rewrite": 12, "write_blindly": 6, "unlink": 4, "look": 2},
    faults={"stop_watcher": 20, "cut": 2, "kill_mount": 2},
    fault_pause_s=(1.0, 2.0),
    files=("a", "b"),
    machines=(3,),
    meet_s=(0.0, 0.3),
    operations=25,
    lease_s=(0.6, 1.0, 2.0),
    loses=(0.0,),
    watchers=2,
    watch_pause_s=(0.05, 0.3),
    far_s=(0.03, 0.06),
    store_s=0.05,
)
"""Leases end while their mount is stopped, and it comes back amid changes (S2, C2)."""

COLLISIONS: Final = Profile(
    "collisions",
    acts={"write_new": 12, "unlink": 9, "mkdir": 5, "rmdir": 5, "look": 2},
    faults={"cut": 1, "stop_watcher": 1, "shrink": 1},
    fault_pause_s=(3.0, 1000.0),
    files=("a", "b"),
    meet_s=(0.3, 0.6),
    machines=(3,),
    lease_s=(2.0, 5.0),
    far_s=(0.1, 0.2),
)
"""Two make or remove one name at once, and who is told no may not know more than the third (S1 before errors)."""

RETRIES: Final = Profile(
    "retries",
    acts={"write_new": 6, "rewrite": 12, "write_blindly": 6, "unlink": 4, "mkdir": 2, "rmdir": 2, "look": 2},
    faults={"cut": 1, "restart_server": 3},
    fault_pause_s=(2.0, 10.0),
    files=("a", "b"),
    machines=(3,),
    lease_s=(2.0, 5.0),
    loses=(0.05,),
    repeats=(0.3,),
    far_s=(0.1, 0.2),
)
"""Changes arrive twice, and answers to them don't (S1 before the answers to retries)."""

POWER: Final = Profile(
    "power",
    acts={"write_new": 12, "rewrite": 4, "look": 2, "read": 2},
    faults={"lose_power_apart": 10, "lose_power": 2},
    fault_pause_s=(1.0, 3.0),
    files=tuple("abcdefghijkl"),
    meet_s=(0.0,),
    machines=(2,),
    operations=5,
    lease_s=(1.0, 2.0),
    strict_share=0.0,
)
"""Machines lose their power soon after a program was told that its bytes are kept (the journal's fsync)."""

_SPECIAL: Final = (RESTARTS, LAPSES, COLLISIONS, RETRIES, POWER)


def profile_of(seed: int) -> Profile:
    """The general one for even seeds, one after the other for the odd."""
    return _SPECIAL[seed // 2 % len(_SPECIAL)] if seed % 2 else GENERAL
