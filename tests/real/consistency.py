"""The contract on real mounts: rounds of random use and a fault, each judged by the checker of the simulation.

Three mounts of three devices, each over a wire of its own, and several processes on each (``worker.py``). A round
ends with everything healed: what was done is sent, all mounts show the same tree, and the history of the round has an
order that the contract allows. The next begins with an empty drive.

``python -m tests.real.consistency MINUTES [SEED]`` goes on for that long. A failure leaves what was written down in a
folder that it names. A seed gives the same faults and the same programs; how they meet is the machine's.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from itertools import count
from pathlib import Path
from random import Random
from typing import Final

from tests.real.harness import REPOSITORY, Device, Failed, Log, Mount, Server
from tests.real.histories import Process as Written
from tests.real.histories import Record, Span, check_own, cut, history, without_own
from tests.real.proxy import Wire
from tests.real.worker import CONFLICT_MARK, OWN_MARK, listing
from tests.real.world import World
from tests.simulation.checker import Broken, Tree, check
from tests.simulation.history import FOREVER_S, OK, Event, List, Mkdir, Open, label_of

LEASE_S: Final = 2.0
DEADLINE_S: Final = 8.0
DEVICES: Final = (("desk", ()), ("laptop", ("--no-epoch",)), ("phone", ()))
PROCESSES: Final = 2
"""On each mount."""

QUIET_S: Final = 0.7
"""Of use before a fault and after it."""

WORK_ENDS_S: Final = 60.0
"""No operation takes so long, whatever happens."""

HEALS_S: Final = 60.0
ROUNDS_OF_EACH: Final = 6
"""Faults of a seed, before the next has a new server."""

APART: Final = "the server can't be reached: what is done here is kept"
JOINED: Final = "all that was done here is at the server"
EXPECTED: Final = (
    r"can't be reached|is not renewed|could not be sent|no progress|left unsent|took too long|has not answered"
)


@dataclass
class Site:
    """One mount, what it hangs on, and who uses it."""

    name: str
    mount: Mount
    wire: Wire
    locks: Path
    changes: list[tuple[float, str]] = field(default_factory=list)
    """When it was started and when it was online again, beside what its log says."""

    @contextmanager
    def unused(self) -> Iterator[None]:
        """While no worker is in the middle of something."""
        with (self.locks / "mount").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def wait_online(self) -> None:
        """Until it works with its server."""
        self.mount.until(lambda status: status["state"] == "online", HEALS_S, "online")
        self.changes.append((time.monotonic(), JOINED))

    def apart(self) -> list[Span]:
        """Times at which the mount may have worked apart."""
        ahead_s = time.time() - time.monotonic()
        changes = list(self.changes)
        for line in self.mount.log.text().splitlines():
            if APART in line or JOINED in line:
                at_s = datetime.strptime(line[:23], "%Y-%m-%d %H:%M:%S,%f").timestamp() - ahead_s
                changes.append((at_s, APART if APART in line else JOINED))
        spans: list[Span] = []
        since_s: float | None = None
        for at_s, what in sorted(changes):
            if what == APART and since_s is None:
                since_s = at_s
            elif what == JOINED and since_s is not None:
                spans.append(Span(since_s - 0.05, at_s + 0.05))
                since_s = None
        return [*spans, *([] if since_s is None else [Span(since_s - 0.05, FOREVER_S)])]


class Round:
    """What one fault is made of: pauses, and the sites to choose from."""

    def __init__(self, server: Server, sites: list[Site], random: Random) -> None:
        self.server = server
        self.sites = sites
        self.random = random
        self.one = random.choice(sites)
        self.cut_off: dict[str, Span] = {}
        """By machine, a time that it could not reach the server."""

    @contextmanager
    def _unreachable(self, *sites: Site) -> Iterator[None]:
        """Around the time between taking the server away and giving it back."""
        begin_s = time.monotonic()
        yield
        self.cut_off |= {site.name: Span(begin_s, time.monotonic()) for site in sites}

    @staticmethod
    def wait(seconds: float) -> None:
        """Let the programs run."""
        threading.Event().wait(seconds)

    def nothing(self) -> None:
        """Everybody is well."""
        self.wait(2)

    def delay(self) -> None:
        """50 ms to the server and back."""
        for site in self.sites:
            site.wire.set_rtt(0.05)
        self.wait(3)
        for site in self.sites:
            site.wire.set_rtt(0)

    def cut(self) -> None:
        """Connections end, and new ones are refused."""
        self.one.wire.cut()
        with self._unreachable(self.one):
            self.wait(self.random.choice((0.3, 1, LEASE_S + 2)))
        self.one.wire.heal()

    def short_hole(self) -> None:
        """Nothing arrives, and the lease is not over yet."""
        self.one.wire.swallow()
        with self._unreachable(self.one):
            self.wait(LEASE_S / 2)
        self.one.wire.heal()

    def long_hole(self) -> None:
        """Nothing arrives for longer than the lease."""
        self.one.wire.swallow()
        with self._unreachable(self.one):
            self.wait(LEASE_S + self.random.choice((1, 8)))
        self.one.wire.heal()

    def stop_mount(self) -> None:
        """A laptop whose lid is closed."""
        assert self.one.mount.process is not None
        self.one.mount.process.signal(signal.SIGSTOP)
        self.wait(self.random.choice((LEASE_S / 2, 2 * LEASE_S)))
        self.one.mount.process.signal(signal.SIGCONT)

    def kill_mount(self) -> None:
        """Started again with the same cache folder."""
        self.one.mount.kill()
        self.wait(self.random.choice((0, 1)))
        with self.one.unused():
            self.one.changes.append((time.monotonic(), APART))
            self.one.mount.start()
            self.one.wait_online()

    def kill_server(self) -> None:
        """Started again where it was."""
        self.server.kill()
        with self._unreachable(*self.sites):
            self.wait(self.random.choice((0, 1, LEASE_S + 3)))
        self.server.start()

    def stop_server(self) -> None:
        """It takes connections, and answers nothing."""
        assert self.server.process is not None
        self.server.process.signal(signal.SIGSTOP)
        with self._unreachable(*self.sites):
            self.wait(self.random.choice((LEASE_S / 2, LEASE_S + 3)))
        self.server.process.signal(signal.SIGCONT)


FAULTS: Final = (
    "nothing",
    "delay",
    "cut",
    "short_hole",
    "stop_mount",
    "kill_mount",
    "kill_server",
    "long_hole",
    "stop_server",
)


@dataclass
class Tally:
    """What has been run."""

    rounds: int = 0
    operations: int = 0
    whole: int = 0
    """Rounds whose whole history was checked for order."""


class Contract:
    """The mounts, and rounds on them."""

    def __init__(self, world: World, folder: Path, seed: int) -> None:
        self.tally = Tally()
        self._world = world
        self._folder = folder
        self._seeds = Random(seed)
        self.sites: list[Site] = []
        for name, flags in DEVICES:
            mount, wire = world.wired(name, "--deadline", f"{DEADLINE_S:g}", *flags)
            mount.log.expect(EXPECTED)
            locks = folder / f"{name}-locks"
            locks.mkdir(parents=True)
            self.sites.append(Site(name, mount, wire, locks))
        world.server_log.expect(EXPECTED)
        self.logs = [world.server_log, *(site.mount.log for site in self.sites)]

    def run(self, fault: str) -> None:
        """One round; raises Broken or Failed, and leaves what was written down in a folder that the error names."""
        self.tally.rounds += 1
        folder = self._folder / f"{self.tally.rounds} {fault}"
        folder.mkdir()
        random = Random(self._seeds.random())
        setup = self._set_up()
        workers = [
            _Worker(site, number, random.randrange(1 << 30), folder / f"{site.name}-{number}.jsonl")
            for number, site in zip(count(1), [site for site in self.sites for _ in range(PROCESSES)], strict=False)
        ]
        try:
            Round.wait(QUIET_S)
            disturbance = Round(self._world.server, self.sites, random)
            getattr(disturbance, fault)()
            Round.wait(QUIET_S)
        finally:
            for worker in workers:
                worker.end()
        self._settle()
        written = [worker.written() for worker in workers]
        self.tally.operations += sum(len(one.records) for one in written)
        apart = {site.name: site.apart() for site in self.sites}
        (folder / "apart.json").write_text(json.dumps({"apart": apart, "cut off": disturbance.cut_off}))
        self._judge(setup, written, apart, disturbance.cut_off, folder)
        shutil.rmtree(folder)

    def _set_up(self) -> Event:
        """The folder that is always there, and nothing else."""
        self._empty()
        call_s = time.monotonic()
        os.mkdir(self.sites[0].mount.path / "d")
        return Event("setup", self.sites[0].name, Mkdir("d"), call_s, time.monotonic(), OK)

    def _settle(self) -> None:
        for site in self.sites:
            site.wait_online()
        for site in self.sites:
            site.mount.wait()

    def _judge(
        self,
        setup: Event,
        written: list[Written],
        apart: Mapping[str, list[Span]],
        cut_off: Mapping[str, Span],
        folder: Path,
    ) -> None:
        looks, trees = [], []
        for site in self.sites:
            tree, events = _look_at_everything(site)
            trees.append(tree)
            looks += events
        (folder / "trees.json").write_text(json.dumps([[tree.machine, tree.paths] for tree in trees], indent=1))
        events = [setup, *history(written, apart, cut_off)]
        if cut(written, apart, cut_off) == FOREVER_S:
            events += looks
            self.tally.whole += 1
        try:
            check(events, trees, CONFLICT_MARK)
            check_own(written, trees)
        except Broken as error:
            raise Broken(f"{folder}: {error}") from None

    def _empty(self) -> None:
        path = self.sites[0].mount.path
        for name in os.listdir(path):
            if (path / name).is_dir():
                shutil.rmtree(path / name)
            else:
                os.unlink(path / name)
        for site in self.sites:
            if left := os.listdir(site.mount.path):
                raise Broken(f"{site.name} shows {left} after all was removed")


class _Worker:
    def __init__(self, site: Site, number: int, seed: int, output: Path) -> None:
        self._site = site
        self._output = output
        self._name = output.stem
        self._process = subprocess.Popen(
            (
                *(sys.executable, "-m", "tests.real.worker", str(site.mount.path), str(site.locks)),
                *(str(number), str(seed), str(output)),
            ),
            stdin=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=REPOSITORY,
            text=True,
        )

    def end(self) -> None:
        """Let it finish what it is doing; raises Failed where that never ends."""
        try:
            _, trouble = self._process.communicate("", timeout=WORK_ENDS_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            raise Failed(f"{self._name} waits for something that never comes") from None
        if self._process.returncode != 0:
            raise Failed(f"{self._name}: {trouble}")

    def written(self) -> Written:
        records: list[Record] = [json.loads(line) for line in self._output.read_text().splitlines()]
        return Written(self._name, self._site.name, records)


def _look_at_everything(site: Site) -> tuple[Tree, list[Event]]:
    """The whole tree of one mount, and the same as events."""
    paths: dict[str, str | None] = {}
    events: list[Event] = []
    ahead = [""]
    while ahead:
        folder = ahead.pop()
        call_s = time.monotonic()
        names = os.listdir(site.mount.path / folder)
        seen = without_own(listing(names))
        events.append(Event("end", site.name, List(folder), call_s, time.monotonic(), seen))
        for name in names:
            path, call_s = f"{folder}/{name}" if folder else name, time.monotonic()
            if (site.mount.path / path).is_dir():
                paths[path] = None
                ahead.append(path)
                continue
            label = label_of((site.mount.path / path).read_bytes())
            paths[path] = label
            if CONFLICT_MARK not in name and not name.startswith(OWN_MARK):
                events.append(Event("end", site.name, Open(path, 0), call_s, time.monotonic(), label))
    return Tree(site.name, paths), events


@contextmanager
def serving(folder: Path) -> Iterator[World]:
    """A server with a short lease, and what hangs on it."""
    server = Server(folder / "server", "--lease-s", f"{LEASE_S:g}").start()
    admin = Device(folder / "admin", "admin-desk", server.url)
    admin.login(server.admin_password_file)
    logs: list[Log] = []
    world = World(folder, server, admin, logs, server.log, "home")
    try:
        yield world
    finally:
        world.close()
        server.close()


def soak(minutes: float, seed: int) -> int:
    """Rounds until the time is over; the exit status. The folder of a seed that failed is left."""
    until_s = time.monotonic() + 60 * minutes
    failed = False
    while time.monotonic() < until_s:
        folder = Path(tempfile.mkdtemp(prefix="samedrive-soak-"))
        print(f"seed {seed}, in {folder}", flush=True)
        if _holds(seed, folder, until_s):
            shutil.rmtree(folder)
        else:
            failed = True
        seed += 1
    return 1 if failed else 0


def _holds(seed: int, folder: Path, until_s: float) -> bool:
    """Rounds of one seed: whether the contract held in them."""
    began_s, holds = time.monotonic(), True
    with serving(folder) as world:
        contract = Contract(world, folder / "rounds", seed)
        try:
            for fault in Random(seed).sample(FAULTS * ROUNDS_OF_EACH, ROUNDS_OF_EACH * len(FAULTS)):
                if time.monotonic() > until_s:
                    break
                contract.run(fault)
                print(f"  {contract.tally.rounds} {fault}", flush=True)
                if trouble := [line for log in contract.logs for line in log.unexpected()]:
                    raise Failed("in the logs: " + "\n".join(trouble))
        except (Broken, Failed, OSError) as error:
            holds = False
            print(f"FAILED: {error}", flush=True)
    tally = contract.tally
    print(
        f"seed {seed}: {tally.rounds} rounds, {tally.operations} operations in {time.monotonic() - began_s:.0f} s; "
        f"in {tally.whole} rounds nothing was changed offline",
        flush=True,
    )
    return holds


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # So that what was started is ended.
    sys.exit(soak(float(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else time.time_ns() % 1_000_000))
