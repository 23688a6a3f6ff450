"""Machines and a server in one process on a virtual clock, all of it from one seed.

A machine has a kernel, a mount (the real ``Operations``, ``Drive`` and ``Session``), a cache folder and a clock of its
own rate. ``Parts`` says which classes they are made of: a mutation hands in a subclass that breaks one rule.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import count
from random import Random
from typing import Final, TypeVar

import trio

import backend.apart
from backend.blockcache import BlockCache
from backend.blocks import Blocks
from backend.disk import make_folders
from backend.drive import Drive
from backend.errors import DriveError
from backend.http import Response
from backend.journal import Journal
from backend.overlay import Overlay
from backend.ownblocks import OwnBlocks, ReachedBlocks
from backend.reach import Reach
from backend.remote import IMPATIENT, Caller, Patience, Standing, WorkspaceRemote
from backend.session import Session
from backend.tree import Tree
from backend.treefile import TreeFile
from backend.upload import Uploader
from fs.answering import DEADLINE_S, Deadlines
from fs.entries import Entries
from fs.inodes import Inodes
from fs.keeping import Keeping
from fs.notices import Notices
from fs.operations import Operations
from protocol import keys
from protocol.ids import JOURNAL_ID_BYTES, NO_CHANGE, SESSION_ID_BYTES, NodeId, Seq, SessionId, WorkspaceId
from protocol.manifest import Manifest
from protocol.messages import Role, Workspace
from server.app import create_app
from server.blockcare import BlockCare
from server.blockstore.memory import MemoryBlockStore
from server.keyring import Keyring
from server.leases import Leases
from server.metadata import accounts, invariants, sessions
from server.metadata.sqlite import MemoryStore
from server.metadata.store import Transaction, Work
from server.notifier import Notifier
from server.passwords import Passwords, hash_token
from server.service import Service
from server.threads import in_place
from tests.simulation.disk import ROOT, Crashed, SimDisk
from tests.simulation.history import FOREVER_S
from tests.simulation.kernel import Kernel, reply_entry
from tests.simulation.network import Link, Request, Weather, Wire, call
from tests.simulation.profiles import Profile, profile_of

T = TypeVar("T")
WORKSPACE: Final = WorkspaceId("5" * 32)
CACHE: Final = ROOT / "cache"
_START_S: Final = 1.8e9
_KEY: Final = bytes(range(32))


@dataclass(frozen=True, slots=True)
class Conditions:
    """What a seed chooses before anything happens."""

    machines: int
    lease_s: float
    weathers: tuple[Weather, ...]
    """Each machine's network."""
    epochs: tuple[bool, ...]
    """Which machines' kernels can drop names."""
    rates: tuple[float, ...]
    """How fast the machines' clocks run, the server's first."""
    strict: tuple[bool, ...]
    """Which machines' mounts never work apart from the server."""
    store_s: float
    """How long the database takes at the most, when it takes its time."""

    @classmethod
    def of(cls, random: Random, profile: Profile) -> Conditions:
        """Some that a user may have."""
        machines = random.choice(profile.machines)
        lease_s = random.choice(profile.lease_s)
        weather = Weather(
            delay_s=random.choice((0.0005, 0.005, 0.03)),
            straggles=random.choice((0.0, 0.02, 0.1)),
            straggle_s=random.choice((0.05, 0.5)),
            loses=random.choice(profile.loses),
            repeats=random.choice(profile.repeats),
        )
        return cls(
            machines,
            lease_s=lease_s,
            epochs=tuple(random.random() < 0.7 for _ in range(machines)),
            rates=tuple(random.choice((0.995, 1.0, 1.005)) for _ in range(machines + 1)),
            strict=tuple(random.random() < profile.strict_share for _ in range(machines)),
            weathers=tuple(
                replace(weather, delay_s=random.choice(profile.far_s))
                if profile.far_s and number == machines - 1
                else weather
                for number in range(machines)
            ),
            store_s=profile.store_s,
        )


class Store(MemoryStore):
    """The metadata database, which takes its time now and then."""

    random: Random
    slow_s: float

    async def read(self, work: Work[T]) -> T:
        """See ``MetadataStore``."""
        await self._pause()
        found = await super().read(work)
        await self._pause()
        return found

    async def write(self, work: Work[T]) -> T:
        """See ``MetadataStore``."""
        await self._pause()
        done = await super().write(work)
        await self._pause()
        return done

    async def _pause(self) -> None:
        if self.random.random() < 0.1:
            await trio.sleep(self.random.uniform(0, self.slow_s))


class Threads:
    """``backend.threads.Threads``: work is done in place, and takes a moment now and then."""

    def __init__(self, random: Random) -> None:
        self._random = random

    async def run(self, work: Callable[[], T]) -> T:
        """See ``Threads``."""
        if self._random.random() < 0.1:
            await trio.sleep(self._random.uniform(0, 0.02))
        else:
            await trio.lowlevel.checkpoint()
        return work()


@dataclass(frozen=True, slots=True)
class Parts:
    """What a world is made of."""

    leases: type[Leases] = Leases
    store: type[Store] = Store
    tree: Callable[[Seq], Tree] = Tree
    session: type[Session] = Session
    keeping: type[Keeping] = Keeping
    journal: type[Journal] = Journal
    remote: type[WorkspaceRemote] = WorkspaceRemote


REAL: Final = Parts()


def _clock(rate: float) -> Callable[[], float]:
    """A clock that is ``rate`` times as fast as the simulation's."""
    return lambda: trio.current_time() * rate


class Server:
    """The server's process, and its disks, which outlive it."""

    def __init__(self, world: World, store: Store) -> None:
        self.store = store
        self._world = world
        self._objects = MemoryBlockStore()
        self._keyring = Keyring(_KEY)
        self._clock = _clock(world.conditions.rates[0])
        self._running = trio.Event()
        self._service: Service | None = None
        self._life = trio.CancelScope()
        self._requests: dict[int, trio.CancelScope] = {}
        self._numbers = count()
        self.is_up = False

    async def prepare(self) -> None:
        """The workspace, and a device with a token for each machine."""

        def work(tx: Transaction) -> None:
            user = accounts.add_user(tx, "user", "no password", True, 0)
            wrapped = self._keyring.wrap(WORKSPACE, _KEY)
            accounts.create_workspace(tx, WORKSPACE, user.id, "home", wrapped, None, True, 0)
            for machine in self._world.machines:
                accounts.login_device(tx, user.id, machine.name, hash_token(machine.name), 0)

        await self.store.write(work)

    async def start(self) -> None:
        """Serve; what was in memory is lost."""
        world = self._world
        notifier = Notifier()
        leases = world.parts.leases(world.conditions.lease_s, self._clock, notifier.nudge)
        leases.recover(await self.store.read(sessions.all_of))
        blocks = BlockCare(self._objects, self.store, self._keyring, trio.CapacityLimiter(2), run_sync=in_place)
        self._service = Service(
            self.store,
            blocks,
            self._keyring,
            Passwords(),
            notifier,
            leases,
            lambda: int((_START_S + self._clock()) * 1e9),
        )
        self._app = create_app(self._service)
        self.is_up = True
        self._running.set()

    def crash(self) -> None:
        """The process is killed."""
        self.is_up = False
        for scope in self._requests.values():
            scope.cancel()

    def stop(self) -> None:
        """SIGSTOP."""
        if self._running.is_set():
            self._running = trio.Event()

    def go_on(self) -> None:
        """SIGCONT."""
        self._running.set()

    async def serve(self, request: Request) -> Response | None:
        """See ``network.Serve``."""
        await self._running.wait()
        if not self.is_up:
            return None
        number = next(self._numbers)
        response = None
        with trio.CancelScope() as scope:
            self._requests[number] = scope
            try:
                response = await call(self._app, request)
            finally:
                del self._requests[number]
        await self._running.wait()
        if response is not None and response.status == 500:
            self._world.fail(f"the server failed at {request.method} {request.path}")
        if response is not None:
            self._world.note(request.machine, f"{request.method} {request.path.split('/', 4)[-1]} -> {response.status}")
        return response


NextDisk = Callable[[SimDisk, Callable[[], None]], SimDisk]
"""What a process finds of the disk of the one before: ``SimDisk.kill`` or ``SimDisk.power_loss``."""


class Apart(Reach):
    """Knows when the mount worked apart from its server."""

    def __init__(self, spells: list[tuple[float, float]], rejoined: list[float], *, strict: bool) -> None:
        super().__init__(strict=strict)
        self._spells = spells
        self._rejoined = rejoined
        self.apart_since_s = FOREVER_S

    def part(self) -> None:
        """See ``Reach``."""
        if not self.apart:
            self.apart_since_s = trio.current_time()
            self._spells.append((self.apart_since_s, FOREVER_S))
        super().part()

    def join(self) -> None:
        """See ``Reach``."""
        self.end()
        self._rejoined.append(trio.current_time())
        super().join()

    def end(self) -> None:
        """It works with its server, or is gone."""
        if self.apart:
            began_s, _ = self._spells.pop()
            self._spells.append((began_s, trio.current_time()))
            self.apart_since_s = FOREVER_S


class MachineClock:
    """``fs.clock.MachineClock`` of a machine that never sleeps."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock

    def boottime_s(self) -> float:
        """See ``MachineClock``."""
        return self._clock()

    async def wait_set(self) -> None:
        """See ``MachineClock``."""
        await trio.sleep_forever()


class Machine:
    """One device: kernel, mount, disk, clock."""

    def __init__(self, world: World, name: str, rate: float, wire: Wire, *, has_epoch: bool, strict: bool) -> None:
        self.name = name
        self.wire = wire
        self.clock = _clock(rate)
        self.kernel = Kernel(self.clock, world.random, has_epoch=has_epoch)
        """Answers from its caches, and fails what they lack, where no mount is up."""
        self.drive: Drive | None = None
        self.up = trio.Event()
        """The mount answers."""
        self.down_s = 1.0
        """How long the mount stays away after a crash."""
        self._world = world
        self._disk = SimDisk(world.random, self._crashed)
        self._next_disk: NextDisk = SimDisk.kill
        self._is_dead = False
        self._has_epoch = has_epoch
        self._strict = strict
        self._spells: list[tuple[float, float]] = []
        self._rejoined: list[float] = []
        self._link: Link | None = None
        self._reach: Apart | None = None
        self._life = trio.CancelScope()

    def was_apart(self, since_s: float) -> bool:
        """Whether a mount of this machine has worked apart from its server since."""
        return any(until_s >= since_s for _, until_s in self._spells)

    @property
    def apart_since_s(self) -> float:
        """Since when the mount works apart; FOREVER_S where it doesn't."""
        return FOREVER_S if self._reach is None else self._reach.apart_since_s

    def rejoined_s(self, since_s: float) -> float:
        """When all that was made apart by then was at the server; now, where it is only now."""
        return min((at_s for at_s in self._rejoined if at_s >= since_s), default=trio.current_time())

    async def run(self) -> None:
        """Mount, and mount again after each crash, until cancelled."""
        while True:
            try:
                with trio.CancelScope() as self._life:
                    await self._mounted()
            except* Crashed:
                pass
            if self._is_dead:
                self._disk, self._is_dead = self._next_disk(self._disk, self._crashed), False
            await trio.sleep(self.down_s)

    async def _mounted(self) -> None:
        world = self._world
        link = self._link = self.wire.link()
        reach = self._reach = Apart(self._spells, self._rejoined, strict=self._strict)
        make_folders(self._disk, CACHE / "journal")
        if not any(entry.name == "id" for entry in self._disk.entries(CACHE / "journal")):
            _write_id(self._disk, world.random.randbytes(JOURNAL_ID_BYTES))
        with world.parts.journal(self._disk, CACHE / "journal") as journal:
            drive = self._assembled(link, journal, reach)
            try:
                await drive.begin(reached=True)
            except DriveError as error:
                world.note(self.name, f"can't mount: {error}")
                return
            async with trio.open_nursery() as nursery:
                inodes, deadlines = Inodes(), Deadlines(DEADLINE_S)
                drive.watch_traffic(deadlines.moved)
                kernel = Kernel(self.clock, world.random, has_epoch=self._has_epoch)
                entries = Entries(inodes, None)
                operations = Operations(drive, inodes, entries, deadlines, reply_entry)
                notices = Notices(kernel, inodes, Threads(world.random), drive.cache_timeout_s, use_epoch=True)
                keeping = world.parts.keeping(drive, notices, MachineClock(self.clock))
                entries.begin(notices, keeping)
                await nursery.start(drive.run, notices.tell)
                nursery.start_soon(notices.run)
                nursery.start_soon(keeping.run)
                kernel.connect(operations, nursery)
                self.kernel, self.drive = kernel, drive
                world.note(self.name, "mounted")
                self.up.set()
                await trio.sleep_forever()

    async def settled(self) -> None:
        """Return when the mount works with its server and has nothing left to send; nothing is wrong any more."""
        while True:
            await self.up.wait()
            assert self.drive is not None
            with contextlib.suppress(DriveError):
                await self.drive.synced()
            # What was lost on the way before may still have to be given up: a lease says that it has been.
            if self.drive.session.lease_left_s() > 0 and not self.drive.is_apart and not self.drive.status().sending:
                return
            await trio.sleep(1)

    def kill(self) -> None:
        """SIGKILL to the mount's process."""
        self._next_disk = SimDisk.kill
        self._disk.crash()

    def lose_power(self) -> None:
        """The machine goes off, and comes back."""
        self._next_disk = SimDisk.power_loss
        self._disk.crash()

    def lose_power_within(self, changes: int) -> None:
        """The same inside one of the next changes of its disk."""
        self._next_disk = SimDisk.power_loss
        self._disk.crash_at(self._disk.steps + changes)

    def keep_power(self) -> None:
        """Nothing is planned any more."""
        self._disk.crash_at(0)

    def _crashed(self) -> None:
        self._world.note(self.name, "the mount's process is gone")
        self._is_dead = True
        if self._link is not None and self._reach is not None:
            self._link.die()
            self._reach.end()
        self.kernel.disconnect()
        self.drive = None
        self.up = trio.Event()
        self._life.cancel()

    def stop(self) -> None:
        """SIGSTOP to the mount's process."""
        if self._link is not None:
            self._link.stop()
            self.kernel.stop()

    def go_on(self) -> None:
        """SIGCONT."""
        if self._link is not None:
            self._link.go_on()
            self.kernel.go_on()

    def _assembled(self, link: Link, journal: Journal, reach: Reach) -> Drive:
        """As ``backend.opening.assemble`` does it, of the world's parts."""
        world, disk = self._world, self._disk
        for name in ("blocks", "own"):
            make_folders(disk, CACHE / name)
        standing = Standing(SessionId(world.random.randbytes(SESSION_ID_BYTES)))
        patient = Caller(link, self.name, Patience(total_s=3.0), world.random, reach)
        remote = world.parts.remote(patient, WORKSPACE, standing)
        direct = world.parts.remote(Caller(link, self.name, IMPATIENT, world.random), WORKSPACE, standing)
        cache, threads = BlockCache(disk, CACHE / "blocks", 1 << 30), Threads(world.random)
        cache.load()
        working_keys = keys.derive(world.workspace.key, world.workspace.key_id)
        own = OwnBlocks(disk, CACHE / "own")
        reached = ReachedBlocks(remote, own, reach, threads)
        blocks = Blocks(reached, cache, working_keys, threads)
        tree = world.parts.tree(NO_CHANGE)

        def new_overlay(base: Manifest) -> Overlay:
            return Overlay(base, journal.disk, journal.overlays / f"{next(world.numbers)}")

        return Drive(
            remote,
            direct,
            reach,
            tree,
            backend.apart.Apart(direct, tree, journal, own, cache, working_keys, threads),
            TreeFile(disk, CACHE / "tree", threads),
            journal,
            blocks,
            Uploader(reached, blocks, cache, working_keys, threads),
            new_overlay,
            lambda: int((_START_S + self.clock()) * 1e9),
            self.clock,
            workspace=world.workspace,
            read_only=False,
            new_session=world.parts.session,
            new_node=lambda: NodeId(world.random.randrange(1 << 32, 1 << 62)),
        )


def _write_id(disk: SimDisk, identity: bytes) -> None:
    """The journal's id, which would be of the machine's own randomness."""
    file = disk.create(CACHE / "journal" / "id")
    file.write(0, identity)
    file.sync()
    file.close()
    disk.sync_folder(CACHE / "journal")


class World:
    """Everything that a seed makes."""

    def __init__(self, seed: int, nursery: trio.Nursery, store: Store, parts: Parts = REAL) -> None:
        self.random = Random(seed)
        self.profile = profile_of(seed)
        self.conditions = Conditions.of(self.random, self.profile)
        self.parts = parts
        self.numbers = count(1)
        self.trace: list[str] = []
        self.failures: list[str] = []
        """What must never happen, whatever the history."""
        self.workspace = Workspace(WORKSPACE, "home", "user", Role.OWNER, key=_KEY)
        self.machines: list[Machine] = []
        store.random, store.slow_s = self.random, self.conditions.store_s
        self.server = Server(self, store)
        for number in range(self.conditions.machines):
            name = ("desk", "laptop", "phone")[number]
            wire = Wire(name, self.conditions.weathers[number], self.random, nursery, self.server.serve)
            self.machines.append(
                Machine(
                    self,
                    name,
                    self.conditions.rates[number + 1],
                    wire,
                    has_epoch=self.conditions.epochs[number],
                    strict=self.conditions.strict[number],
                )
            )

    @property
    def watcher(self) -> Machine | None:
        """The machine that is far away and looks, where there is one."""
        return self.machines[-1] if self.profile.far_s else None

    def note(self, who: str, what: str) -> None:
        """A line of the trace."""
        self.trace.append(f"{trio.current_time():12.6f}  {who:<10} {what}")

    def fail(self, what: str) -> None:
        """Something that must never happen has."""
        self.note("FAILURE", what)
        self.failures.append(what)

    async def check_server(self) -> None:
        """The tree's invariants."""
        try:
            await self.server.store.read(lambda tx: invariants.check(tx, WORKSPACE))
        except invariants.Broken as error:
            self.fail(f"the server's tree: {error}")


class Errors(logging.Handler):
    """Errors that the product logs are failures of the world."""

    def __init__(self, world: World) -> None:
        super().__init__(logging.WARNING)
        self._world = world

    def emit(self, record: logging.LogRecord) -> None:
        """See ``logging.Handler``."""
        if record.exc_info is not None and _is_of_the_dead(record.exc_info[1]):
            return
        if record.levelno >= logging.ERROR and "no progress" not in record.msg:
            self._world.fail(self.format(record))
        else:
            self._world.note("log", record.getMessage())


def _is_of_the_dead(error: BaseException | None) -> bool:
    """Whether this was raised in a process that is gone."""
    if error is None or isinstance(error, Crashed):
        return error is not None
    inside = error.exceptions if isinstance(error, BaseExceptionGroup) else ()
    return any(map(_is_of_the_dead, (*inside, error.__cause__, error.__context__)))
