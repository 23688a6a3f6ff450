"""Machines and a server in one process on a virtual clock, all of it from one seed.

A machine has a kernel, a mount (the real ``Operations``, ``Drive`` and ``Session``), a cache folder and a clock of its
own rate. ``Parts`` says which classes they are made of: a mutation hands in a subclass that breaks one rule.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from random import Random
from typing import Final, TypeVar

import trio

from backend.blockcache import BlockCache
from backend.blocks import Blocks
from backend.drive import Drive
from backend.errors import DriveError
from backend.http import Response
from backend.journal import Journal
from backend.overlay import Overlay
from backend.remote import Caller, Patience, Standing, WorkspaceRemote
from backend.session import Session
from backend.tree import Tree
from backend.upload import Uploader
from fs.inodes import Inodes
from fs.notices import Notices
from fs.operations import Operations
from protocol import keys
from protocol.ids import JOURNAL_ID_BYTES, SESSION_ID_BYTES, JournalId, NodeId, Seq, SessionId, WorkspaceId
from protocol.manifest import Manifest
from protocol.messages import Role, Workspace
from server.app import create_app
from server.blockcare import BlockCare
from server.blockstore.memory import MemoryBlockStore
from server.keyring import Keyring
from server.leases import Leases
from server.metadata import accounts, invariants, sessions
from server.metadata.sqlite import MemoryStore
from server.metadata.store import Work
from server.notifier import Notifier
from server.passwords import Passwords, hash_token
from server.service import Service
from server.threads import in_place
from tests.simulation.kernel import Kernel, reply_entry
from tests.simulation.network import Link, Request, Weather, Wire, call

T = TypeVar("T")
WORKSPACE: Final = WorkspaceId("5" * 32)
_START_S: Final = 1.8e9
_KEY: Final = bytes(range(32))


@dataclass(frozen=True, slots=True)
class Conditions:
    """What a seed chooses before anything happens."""

    machines: int
    lease_s: float
    weather: Weather
    epochs: tuple[bool, ...]
    """Which machines' kernels can drop names."""
    rates: tuple[float, ...]
    """How fast the machines' clocks run, the server's first."""

    @classmethod
    def of(cls, random: Random) -> Conditions:
        """Some that a user may have."""
        machines = random.choice((2, 3, 3, 3))
        return cls(
            machines,
            lease_s=random.choice((2.0, 4.0, 10.0)),
            weather=Weather(
                delay_s=random.choice((0.0005, 0.005, 0.03)),
                straggles=random.choice((0.0, 0.02, 0.1)),
                straggle_s=random.choice((0.05, 0.5)),
                loses=random.choice((0.0, 0.0, 0.01, 0.05)),
                repeats=random.choice((0.0, 0.02, 0.1)),
            ),
            epochs=tuple(random.random() < 0.7 for _ in range(machines)),
            rates=tuple(random.choice((0.995, 1.0, 1.005)) for _ in range(machines + 1)),
        )


class Store(MemoryStore):
    """The metadata database, which takes its time now and then."""

    random: Random

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
            await trio.sleep(self.random.uniform(0, 0.01))


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
    operations: type[Operations] = Operations
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

        def work(tx: accounts.Transaction) -> None:
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
            self.store, blocks, self._keyring, Passwords(), notifier, leases, lambda: int((_START_S + self._clock()) * 1e9)
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


class Machine:
    """One device: kernel, mount, cache folder, clock."""

    def __init__(self, world: World, name: str, folder: Path, rate: float, wire: Wire, *, has_epoch: bool) -> None:
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
        self._folder = folder
        self._has_epoch = has_epoch
        self._link: Link | None = None
        self._killed = trio.Event()
        self._operations: Operations | None = None
        folder.mkdir()
        (folder / "journal").mkdir()
        (folder / "blocks").mkdir()
        (folder / "journal" / "id").write_bytes(world.random.randbytes(JOURNAL_ID_BYTES))

    async def run(self) -> None:
        """Mount, and mount again after each crash, until cancelled."""
        while True:
            await self._mounted()
            await trio.sleep(self.down_s)

    async def _mounted(self) -> None:
        world = self._world
        self._killed = trio.Event()
        link = self._link = self.wire.link()
        with Journal(self._folder / "journal") as journal:
            drive = self._assemble(link, journal)
            try:
                await drive.join()
            except DriveError as error:
                world.note(self.name, f"can't mount: {error}")
                return
            async with trio.open_nursery() as nursery:
                inodes = Inodes()
                kernel = Kernel(self.clock, world.random, has_epoch=self._has_epoch)
                operations = world.parts.operations(drive, inodes, None, reply_entry)
                operations.notices = Notices(kernel, inodes, Threads(world.random), use_epoch=True)
                await nursery.start(drive.run, operations.notices.tell)
                kernel.connect(operations, nursery)
                self.kernel, self.drive, self._operations = kernel, drive, operations
                world.note(self.name, "mounted")
                self.up.set()
                await self._killed.wait()
                nursery.cancel_scope.cancel()

    def kill(self) -> None:
        """SIGKILL to the mount's process."""
        assert self._link is not None
        self._link.die()
        self.kernel.disconnect()
        self.drive = None
        self.up = trio.Event()
        self._killed.set()

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

    def _assemble(self, link: Link, journal: Journal) -> Drive:
        world = self._world
        caller = Caller(link, self.name, Patience(total_s=3.0), world.random)
        standing = Standing(SessionId(world.random.randbytes(SESSION_ID_BYTES)))
        remote = world.parts.remote(caller, WORKSPACE, standing)
        cache, threads = BlockCache(self._folder / "blocks", 1 << 30), Threads(world.random)
        cache.load()
        working_keys = keys.derive(world.workspace.key, world.workspace.key_id)
        blocks = Blocks(remote, cache, working_keys, threads)

        def new_overlay(base: Manifest) -> Overlay:
            return Overlay(base, journal.overlays / f"{next(world.numbers)}")

        def new_session(remote: WorkspaceRemote, tree: Tree, journal: JournalId) -> Session:
            return world.parts.session(remote, tree, journal, self.clock)

        return Drive(
            remote,
            journal,
            blocks,
            Uploader(remote, blocks, cache, working_keys, threads),
            new_overlay,
            lambda: int((_START_S + self.clock()) * 1e9),
            workspace=world.workspace,
            read_only=False,
            new_tree=world.parts.tree,
            new_session=new_session,
            new_node=lambda: NodeId(world.random.randrange(1 << 32, 1 << 62)),
        )


class World:
    """Everything that a seed makes."""

    def __init__(self, seed: int, folder: Path, nursery: trio.Nursery, store: Store, parts: Parts = REAL) -> None:
        self.random = Random(seed)
        self.conditions = Conditions.of(self.random)
        self.parts = parts
        self.numbers = count(1)
        self.trace: list[str] = []
        self.failures: list[str] = []
        """What must never happen, whatever the history."""
        self.workspace = Workspace(WORKSPACE, "home", "user", Role.OWNER, key=_KEY)
        self.machines: list[Machine] = []
        store.random = self.random
        self.server = Server(self, store)
        for number in range(self.conditions.machines):
            name = ("desk", "laptop", "phone")[number]
            wire = Wire(name, self.conditions.weather, self.random, nursery, self.server.serve)
            self.machines.append(
                Machine(
                    self,
                    name,
                    folder / name,
                    self.conditions.rates[number + 1],
                    wire,
                    has_epoch=self.conditions.epochs[number],
                )
            )

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
        if record.levelno >= logging.ERROR:
            self._world.fail(self.format(record))
        else:
            self._world.note("log", record.getMessage())

