"""Programs that use the mounts at random, and write down what they did: few names, so that they meet.

Processes of one machine don't write to one name at once: what they would see of each other is POSIX's affair, not the
drive's. What a process sees of its own machine's changes before these have returned is *excused* (rule C7).
"""

from __future__ import annotations

import errno
import os
from collections.abc import Awaitable, Callable
from dataclasses import replace
from itertools import count
from random import Random
from typing import Final

import trio

from tests.simulation.caches import PAGE_BYTES
from tests.simulation.checker import Tree
from tests.simulation.history import (
    ABSENT,
    CELL_BYTES,
    FOLDER,
    FOREVER_S,
    OK,
    UNREAD,
    Commit,
    Create,
    Event,
    List,
    Look,
    Mkdir,
    Open,
    Operation,
    Outcome,
    Rename,
    Rmdir,
    Unlink,
    cells,
    label_of,
)
from tests.simulation.kernel import Descriptor, Kernel
from tests.simulation.machine import Machine
from tests.simulation.place import Own, Place, is_excused
from tests.simulation.profiles import WATCHING
from tests.simulation.world import World

FOLDERS: Final = ("d", "e")
CONFLICT_MARK: Final = " (conflict from "

WATCHER_OPERATIONS_MAX: Final = 200
_LONG_CELLS: Final = 3 * PAGE_BYTES // CELL_BYTES
_GONE: Final = (errno.ENOTCONN, errno.ECONNABORTED)
_SAYS: Final = (errno.ENOENT, errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR, errno.EISDIR, errno.ESTALE)
"""Errors that say how the tree is; any other leaves open what became of a change."""


class Workload:
    """All processes, and the history that they make."""

    def __init__(self, world: World, random: Random, *, processes: int, operations: int) -> None:
        """``operations`` by each process; a watcher's go on until the others have ended."""
        self.history: list[Event] = []
        self.under_way: dict[str, str] = {}
        """What each process is doing."""
        self._world = world
        self._random = random
        self._processes = processes
        self._operations = operations
        self._tokens = count(1)
        self._handles = count(1)
        self._files = world.profile.files
        self._meet_s = random.choice(world.profile.meet_s)
        self._acting = 0
        """Processes that change something and have not ended."""
        self._places = [Place(machine) for machine in world.machines]

    async def run(self) -> None:
        """Return when every process has ended."""
        async with trio.open_nursery() as nursery:
            for place in self._places:
                watches = place.machine is self._world.watcher
                processes = self._world.profile.watchers if watches else self._processes
                self._acting += 0 if watches else processes
                for number in range(1, processes + 1):
                    process = self._watch if watches else self._process
                    nursery.start_soon(process, place, f"{place.machine.name}/{number}")

    async def _process(self, place: Place, process: str) -> None:
        random = self._random
        hurry = random.choice((0.02, 0.2, 0.6))
        acts, weights = list(self._world.profile.acts), list(self._world.profile.acts.values())
        await place.machine.up.wait()
        for _ in range(self._operations):
            await self._pause(hurry)
            while not place.machine.kernel.is_answered:
                await self._look_without_mount(place, process)
                await self._pause(0.5)
            await self._act(place, process, random.choices(acts, weights)[0])
            if self._meet_s and random.random() < 0.3:
                await self._look(place, process)
        self._acting -= 1

    async def _watch(self, place: Place, process: str) -> None:
        random = self._random
        acts, weights = list(WATCHING), list(WATCHING.values())
        pause_s = random.choice(self._world.profile.watch_pause_s)
        await place.machine.up.wait()
        for _ in range(WATCHER_OPERATIONS_MAX):
            if self._acting == 0:
                return
            await trio.sleep(random.expovariate(1 / pause_s))
            if place.machine.kernel.is_answered:
                await self._act(place, process, random.choices(acts, weights)[0])
            else:
                await self._look_without_mount(place, process)
                await trio.sleep(random.uniform(0, 0.3))

    async def _act(self, place: Place, process: str, name: str) -> None:
        acts: dict[str, Callable[[Place, str], Awaitable[None]]] = {
            "look": self._look,
            "list": self._list,
            "read": self._read,
            "write_new": self._write_new,
            "rewrite": self._rewrite,
            "write_blindly": self._write_blindly,
            "unlink": self._unlink,
            "rename": self._rename,
            "mkdir": self._mkdir,
            "rmdir": self._rmdir,
        }
        self.under_way[process] = f"{name} since {trio.current_time():.3f}"
        await acts[name](place, process)
        self.under_way.pop(process)

    async def prepare(self) -> None:
        """The folders that are there from the start."""
        await self._change(self._places[0], "setup", Mkdir("d"), lambda: self._places[0].machine.kernel.mkdir("d"), "d")

    def settled(self) -> None:
        """What was kept has arrived, whatever it was kept from."""
        now_s = trio.current_time()
        machines = {machine.name: machine for machine in self._world.machines}
        self.history = [
            event
            if event.outcome is not Outcome.KEPT
            else replace(
                event,
                return_s=now_s if event.told_s == FOREVER_S else machines[event.machine].rejoined_s(event.told_s),
            )
            for event in self.history
        ]

    async def look_at_everything(self, machine: Machine) -> Tree:
        """The whole tree of one mount, as events too."""
        paths: dict[str, str | None] = {}
        ahead = [""]
        while ahead:
            folder = ahead.pop()
            for name, is_folder in await self.list(machine, f"{machine.name}/end", folder):
                path = f"{folder}/{name}" if folder else name
                if is_folder:
                    paths[path] = None
                    ahead.append(path)
                    continue
                content = await self.read(machine, f"{machine.name}/end", path)
                if content is None:  # It shared a fetch that was lost before all was healed.
                    content = await self.read(machine, f"{machine.name}/end", path)
                paths[path] = "unreadable" if content is None else label_of(content)
        return Tree(machine.name, paths)

    # ── choices ──

    def _file(self) -> str:
        """A file's name; where processes meet, mostly the one of this moment."""
        if self._meet_s and self._random.random() < 0.7:
            return self._files[int(trio.current_time() / self._meet_s + 0.5) % len(self._files)]
        return self._random.choice(self._files)

    async def _pause(self, hurry_s: float) -> None:
        """Until this process does something again: when it likes, or when all do."""
        if self._meet_s and self._random.random() < 0.7:
            rounds = int(trio.current_time() / self._meet_s + 0.5) + 1
            await trio.sleep_until(rounds * self._meet_s + self._random.choice((0, 0, 0.002, 0.02)))
        else:
            await trio.sleep(self._random.expovariate(1 / hurry_s))

    # ── questions ──

    async def _look(self, place: Place, process: str) -> None:
        path = self._file() if self._random.random() < 0.8 else self._random.choice(FOLDERS)
        await self.look(place.machine, process, path, place)

    async def look(self, machine: Machine, process: str, path: str, place: Place | None = None) -> None:
        """stat(2)."""
        call_s, inode = trio.current_time(), 0
        try:
            status = await machine.kernel.stat(path)
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.ENOTDIR):
                return
            result = ABSENT
        else:
            result, inode = FOLDER if status.is_folder else str(status.size), status.inode
        self._record(process, machine, Look(path), call_s, result, excused=is_excused(place, path, call_s, inode))

    async def _look_without_mount(self, place: Place, process: str) -> None:
        """The mount is stopped or dead: what the kernel has kept it goes on answering."""
        known = [path for path in self._files + FOLDERS if place.machine.kernel.knows(path)]
        if known:
            await self.look(place.machine, process, self._random.choice(known), place)

    async def _list(self, place: Place, process: str) -> None:
        await self.list(place.machine, process, self._random.choice(("", "", *FOLDERS)), place)

    async def list(
        self, machine: Machine, process: str, folder: str, place: Place | None = None
    ) -> list[tuple[str, bool]]:
        """A whole folder; conflict copies are left out of what is recorded."""
        call_s = trio.current_time()
        found: list[tuple[str, bool]] = []
        try:
            found = await machine.kernel.listdir(folder)
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.ENOTDIR):
                return []
            result = ABSENT
        else:
            result = "".join(sorted(f"{name}/" for name, _ in found if CONFLICT_MARK not in name))
        self._record(process, machine, List(folder), call_s, result, excused=is_excused(place, folder, call_s))
        return found

    async def _read(self, place: Place, process: str) -> None:
        await self.read(place.machine, process, self._file(), place)

    async def read(self, machine: Machine, process: str, path: str, place: Place | None = None) -> bytes | None:
        """A whole file, now and then slowly."""
        call_s, kernel = trio.current_time(), machine.kernel
        is_copy = CONFLICT_MARK in path
        try:
            file = await kernel.open(path, os.O_RDONLY)
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.ENOTDIR):
                self._record(process, machine, Open(path, 0), call_s, ABSENT, excused=is_excused(place, path, call_s))
            return None
        opened_s = trio.current_time()
        undisturbed = place is not None and file.number not in place.written
        try:
            slowly = place is not None and self._random.random() < 0.3
            content = await self._whole(kernel, file, slowly=slowly)
            if not is_copy:
                excused = is_excused(place, path, call_s, file.number)
                if place is not None and undisturbed and file.number not in place.written and not place.emptying:
                    place.contents.setdefault(file.inode, label_of(content))
                self._record(
                    process, machine, Open(path, 0), call_s, label_of(content), return_s=opened_s, excused=excused
                )
            await kernel.close(file)
        except OSError:
            return None
        return content

    async def _whole(self, kernel: Kernel, file: Descriptor, *, slowly: bool) -> bytes:
        parts: list[bytes] = []
        at = 0
        while part := await kernel.read(file, at, PAGE_BYTES):
            parts.append(part)
            at += len(part)
            if slowly:
                await trio.sleep(self._random.expovariate(1 / 0.5))
        return b"".join(parts)

    # ── content ──

    async def _write_new(self, place: Place, process: str) -> None:
        """O_CREAT, and O_EXCL half of the time."""
        path, exclusive = self._file(), self._random.random() < 0.5
        async with place.lock(path):
            await self._write(place, process, path, os.O_RDWR | os.O_CREAT | (os.O_EXCL if exclusive else 0))

    async def _rewrite(self, place: Place, process: str) -> None:
        """Read what is there, and append or write anew."""
        path = self._file()
        async with place.lock(path):
            await self._write(place, process, path, os.O_RDWR)

    async def _write_blindly(self, place: Place, process: str) -> None:
        path = self._file()
        async with place.lock(path):
            await self._write(place, process, path, os.O_WRONLY | os.O_TRUNC)

    async def _write(self, place: Place, process: str, path: str, flags: int) -> None:
        machine, kernel, random = place.machine, place.machine.kernel, self._random
        handle, call_s = next(self._handles), trio.current_time()
        own = Own(path, call_s)
        creates, exclusive = bool(flags & os.O_CREAT), bool(flags & os.O_EXCL)
        if creates or flags & os.O_TRUNC:
            place.own.append(own)
        place.emptying += bool(flags & os.O_TRUNC)
        try:
            file = await kernel.open(path, flags)
        except OSError as error:
            if error.errno in _SAYS:
                own.return_s = trio.current_time()
                if not creates:
                    if error.errno in (errno.ENOENT, errno.ENOTDIR):
                        excused = machine.was_apart(call_s) or (place.is_excused(path, call_s) and own not in place.own)
                        self._record(process, machine, Open(path, handle), call_s, ABSENT, excused=excused)
                elif error.errno == errno.EEXIST and exclusive and not place.has_other_own(own):
                    self._record(process, machine, Create(path, handle, exclusive), call_s, "EEXIST")
            elif creates:
                self._unknown(process, machine, Create(path, handle, exclusive), call_s)
            return
        finally:
            place.emptying -= bool(flags & os.O_TRUNC)
        opened_s = trio.current_time()
        met_others = (others_done := place.written.get(file.number)) is not None
        if met_others:
            # Under another name somebody here writes to it: to write, or to close now, would mix.
            if flags & os.O_TRUNC:
                place.cut.add(file.inode)
            while others_done is not None:
                await others_done.wait()
                others_done = place.written.get(file.number)
            if file.inode not in place.cut:  # Else it is empty, and nobody has committed that.
                own.return_s = trio.current_time()
                await self._closed_quietly(kernel, file)
                return
            place.cut.discard(file.inode)
        done = place.written[file.number] = trio.Event()
        own.node = machine.node_of(file.number)
        if own not in place.own:
            place.own.append(own)
        try:
            content = b""
            if not file.was_created:
                others = met_others or place.has_other_own(own)  # Their commit may have returned by now.
                if flags & os.O_TRUNC:  # A new version by another machine would have another inode.
                    read = place.contents.get(file.inode, UNREAD)
                else:
                    content = await self._whole(kernel, file, slowly=random.random() < 0.2)
                    read = UNREAD if file.inode in place.cut else label_of(content)
                self._record(process, machine, Open(path, handle), call_s, read, return_s=opened_s, excused=others)
            elif exclusive and not machine.was_apart(call_s):
                self._record(process, machine, Create(path, handle, exclusive), call_s, OK, return_s=opened_s)
            elif exclusive:  # O_EXCL is checked locally: like any other create.
                self._unknown(process, machine, Create(path, handle, False), call_s)
            await self._fill(
                place,
                process,
                kernel,
                file,
                path,
                handle,
                content,
                call_s,
                own,
                made=file.was_created and not exclusive,
            )
        except OSError:
            if file.was_created and not exclusive:
                self._unknown(process, machine, Create(path, handle, exclusive), call_s)
        finally:
            if place.written.get(file.number) is done:
                del place.written[file.number]
            done.set()

    async def _fill(
        self,
        place: Place,
        process: str,
        kernel: Kernel,
        file: Descriptor,
        path: str,
        handle: int,
        content: bytes,
        call_s: float,
        own: Own,
        *,
        made: bool,
    ) -> None:
        """Write and close. ``made``: the create is not known to the server before the close."""
        machine, random = place.machine, self._random
        place.contents.pop(file.inode, None)
        token = next(self._tokens)
        new = cells(token, random.choice((1, 2, 5, _LONG_CELLS)))
        if content and random.random() < 0.5:
            await kernel.write(file, len(content), new)
            content += new
        else:
            if content:
                await kernel.truncate(file, 0)
            half = len(new) // 2 // CELL_BYTES * CELL_BYTES
            await kernel.write(file, 0, new[:half])
            if random.random() < 0.3:
                await trio.sleep(random.expovariate(1 / 0.5))
            await kernel.write(file, half, new[half:])
            content = new
        while file.inode in place.cut:
            place.cut.discard(file.inode)
            content = await self._whole(kernel, file, slowly=False)
        close_s = trio.current_time()
        commit = Commit(handle, label_of(content))
        try:
            await kernel.close(file)
        except OSError as error:
            outcome = Outcome.UNKNOWN if error.errno in _GONE else Outcome.KEPT
            if made:
                self._unknown(process, machine, Create(path, handle, False), call_s, outcome)
            self._unknown(process, machine, commit, close_s, outcome)
        else:
            if machine.was_apart(call_s):
                if made:
                    self._unknown(process, machine, Create(path, handle, False), call_s, Outcome.KEPT)
                told_s = trio.current_time() if machine.apart_since_s <= close_s else FOREVER_S
                self._unknown(process, machine, commit, close_s, Outcome.KEPT, told_s)
                place.contents[file.inode] = commit.content
                return
            own.return_s = trio.current_time()
            if made:
                self._record(process, machine, Create(path, handle, False), call_s, OK)
            self._record(process, machine, commit, close_s, OK)
            place.contents[file.inode] = commit.content

    async def _closed_quietly(self, kernel: Kernel, file: Descriptor) -> None:
        try:
            await kernel.close(file)
        except OSError:
            return

    # ── names ──

    async def _unlink(self, place: Place, process: str) -> None:
        path = self._file()
        async with place.lock(path):
            await self._change(place, process, Unlink(path), lambda: place.machine.kernel.unlink(path), path)

    async def _rename(self, place: Place, process: str) -> None:
        path, new_path = sorted(self._random.sample(self._files, 2))
        back = self._random.random() < 0.5
        async with place.lock(path), place.lock(new_path):
            if back:
                path, new_path = new_path, path
            await self._change(
                place,
                process,
                Rename(path, new_path),
                lambda: place.machine.kernel.rename(path, new_path),
                path,
                new_path,
            )

    async def _mkdir(self, place: Place, process: str) -> None:
        path = self._random.choice(FOLDERS)
        await self._change(place, process, Mkdir(path), lambda: place.machine.kernel.mkdir(path), path)

    async def _rmdir(self, place: Place, process: str) -> None:
        path = self._random.choice(FOLDERS)
        await self._change(place, process, Rmdir(path), lambda: place.machine.kernel.rmdir(path), path)

    async def _change(
        self, place: Place, process: str, what: Operation, change: Callable[[], Awaitable[None]], *paths: str
    ) -> None:
        call_s = trio.current_time()
        try:
            await change()
        except OSError as error:
            if error.errno not in _SAYS:
                self._unknown(process, place.machine, what, call_s)
            elif place.machine.was_apart(call_s):
                return
            elif not any(place.is_excused(path, call_s) for path in paths):
                self._record(process, place.machine, what, call_s, errno.errorcode[error.errno])
        else:
            if place.machine.was_apart(call_s):
                told_s = trio.current_time() if place.machine.apart_since_s <= call_s else FOREVER_S
                self._unknown(process, place.machine, what, call_s, told_s=told_s)
            else:
                self._record(process, place.machine, what, call_s, OK)

    # ── the history ──

    def _record(
        self,
        process: str,
        machine: Machine,
        what: Operation,
        call_s: float,
        result: str,
        *,
        return_s: float | None = None,
        excused: bool = False,
    ) -> None:
        until_s = trio.current_time() if return_s is None else return_s
        self._add(Event(process, machine.name, what, call_s, until_s, result, excused=excused))

    def _unknown(
        self,
        process: str,
        machine: Machine,
        what: Operation,
        call_s: float,
        outcome: Outcome = Outcome.UNKNOWN,
        told_s: float = FOREVER_S,
    ) -> None:
        self._add(Event(process, machine.name, what, call_s, FOREVER_S, OK, outcome, told_s=told_s))

    def _add(self, event: Event) -> None:
        self.history.append(event)
        self._world.trace.note(event.process, f"{event.what} -> {event.result} (called {event.call_s:.6f})")
