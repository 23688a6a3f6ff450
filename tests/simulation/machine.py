"""One device of a simulation: a kernel, a mount (the real ``Operations``, ``Drive`` and ``Session``), a disk, a clock.

Invariant: what a mount that crashed left running reaches neither the next one's disk nor the network or the kernel.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from random import Random
from typing import Final

import trio

from backend.assembly import FOLDERS, Kept, Sources, assemble
from backend.caller import Patience
from backend.disk import make_folders
from backend.drive import Drive
from backend.errors import DriveError
from backend.journal import Journal
from backend.reach import Reach
from fs.answering import DEADLINE_S, Deadlines
from fs.entries import Entries
from fs.inodes import Inodes
from fs.notices import Notices
from fs.operations import Operations
from protocol.ids import JOURNAL_ID_BYTES, SESSION_ID_BYTES, NodeId, SessionId
from tests.simulation.clock import Clock
from tests.simulation.conditions import MachineConditions
from tests.simulation.device import reply_entry
from tests.simulation.disk import ROOT, Crashed, SimDisk
from tests.simulation.history import FOREVER_S
from tests.simulation.kernel import Kernel
from tests.simulation.network import Link, Wire
from tests.simulation.parts import Parts
from tests.simulation.server import WORKSPACE
from tests.simulation.slowness import Threads
from tests.simulation.trace import Trace

CACHE: Final = ROOT / "cache"

NextDisk = Callable[[SimDisk, Callable[[], None]], SimDisk]
"""What a process finds of the disk of the one before: ``SimDisk.kill`` or ``SimDisk.power_loss``."""


class RecordingReach(Reach):
    """Records when a mount worked apart from its server."""

    def __init__(self, spells: list[tuple[float, float]], rejoined: list[float], *, strict: bool) -> None:
        super().__init__(strict=strict)
        self.apart_since_s = FOREVER_S
        self._spells = spells
        self._rejoined = rejoined

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


class Machine:
    """One device: kernel, mount, disk, clock."""

    def __init__(self, conditions: MachineConditions, parts: Parts, wire: Wire, random: Random, trace: Trace) -> None:
        self.name = conditions.name
        self.wire = wire
        self._clock = Clock(conditions.rate)
        self.kernel = Kernel(self._clock.boottime_s, random, has_epoch=conditions.has_epoch)
        """Answers from its caches, and fails what they lack, where no mount is up."""
        self.drive: Drive | None = None
        self.up = trio.Event()
        """The mount answers."""
        self.down_s = 1.0
        """How long the mount stays away after a crash."""
        self._parts = parts
        self._random = random
        self._trace = trace
        self._disk = SimDisk(random, self._crashed)
        self._next_disk: NextDisk = SimDisk.kill
        self._is_dead = False
        self._has_epoch = conditions.has_epoch
        self._strict = conditions.strict
        self._spells: list[tuple[float, float]] = []
        self._rejoined: list[float] = []
        self._inodes = Inodes()
        self._link: Link | None = None
        self._reach: RecordingReach | None = None
        self._life = trio.CancelScope()

    def was_apart(self, since_s: float) -> bool:
        """Whether a mount of this machine has worked apart from its server since."""
        return any(until_s >= since_s for _, until_s in self._spells)

    @property
    def apart_since_s(self) -> float:
        """Since when the mount works apart; FOREVER_S where it doesn't."""
        return FOREVER_S if self._reach is None else self._reach.apart_since_s

    def node_of(self, inode: int) -> int:
        """Which file a kernel's inode is of; the same for every mount."""
        try:
            return self._inodes[inode].node
        except KeyError:
            return inode

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
        link = self._link = self.wire.link()
        reach = self._reach = RecordingReach(self._spells, self._rejoined, strict=self._strict)
        for name in FOLDERS:
            make_folders(self._disk, CACHE / name)
        if not any(entry.name == "id" for entry in self._disk.entries(CACHE / "journal")):
            _write_id(self._disk, self._random.randbytes(JOURNAL_ID_BYTES))
        with self._parts.journal(self._disk, CACHE / "journal") as journal:
            drive = self._assembled(link, journal, reach)
            try:
                await drive.begin(reached=True)
            except DriveError as error:
                self._trace.note(self.name, f"can't mount: {error}")
                return
            async with trio.open_nursery() as nursery:
                inodes, deadlines = Inodes(), Deadlines(DEADLINE_S)
                self._inodes = inodes
                drive.watch_traffic(deadlines.moved)
                kernel = Kernel(self._clock.boottime_s, self._random, has_epoch=self._has_epoch)
                entries = Entries(inodes, None)
                operations = Operations(drive, inodes, entries, deadlines, reply_entry)
                notices = Notices(kernel.caches, inodes, Threads(self._random), drive.cache_timeout_s, use_epoch=True)
                keeping = self._parts.keeping(drive, notices, self._clock)
                entries.begin(notices, keeping)
                await nursery.start(drive.run, notices.tell)
                nursery.start_soon(notices.run)
                nursery.start_soon(keeping.run)
                kernel.device.connect(operations, nursery)
                self.kernel, self.drive = kernel, drive
                self._trace.note(self.name, "mounted")
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
        self._trace.note(self.name, "the mount's process is gone")
        self._is_dead = True
        if self._link is not None and self._reach is not None:
            self._link.die()
            self._reach.end()
        self.kernel.device.disconnect()
        self.drive = None
        self.up = trio.Event()
        self._life.cancel()

    def stop(self) -> None:
        """SIGSTOP to the mount's process."""
        if self._link is not None:
            self._link.stop()
            self.kernel.device.stop()

    def go_on(self) -> None:
        """SIGCONT."""
        if self._link is not None:
            self._link.go_on()
            self.kernel.device.go_on()

    def _assembled(self, link: Link, journal: Journal, reach: Reach) -> Drive:
        threads = Threads(self._random)
        kept = Kept.below(CACHE, journal, 1 << 30, threads)
        kept.cache.load()
        sources = Sources(
            clock=self._clock.boottime_s,
            now_ns=self._clock.now_ns,
            random=self._random,
            new_session=lambda: SessionId(self._random.randbytes(SESSION_ID_BYTES)),
            new_node=lambda: NodeId(self._random.randrange(1 << 32, 1 << 62)),
            remote=self._parts.remote,
            tree=self._parts.tree,
            session=self._parts.session,
        )
        patience = Patience(total_s=3.0)
        return assemble(link, self.name, WORKSPACE, kept, threads, reach, patience=patience, sources=sources)


def _write_id(disk: SimDisk, identity: bytes) -> None:
    """The journal's id, which would be of the machine's own randomness."""
    file = disk.create(CACHE / "journal" / "id")
    file.write(0, identity)
    file.sync()
    file.close()
    disk.sync_folder(CACHE / "journal")
