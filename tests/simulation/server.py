"""The server of a simulation: a process that can crash and be stopped, and its disks, which outlive it."""

from __future__ import annotations

from itertools import count
from typing import Final

import trio

from backend.http import Response
from protocol.ids import WorkspaceId
from protocol.messages.accounts import Role, Workspace
from server.app import create_app
from server.blockcare import BlockCare
from server.blockstore.memory import MemoryBlockStore
from server.keyring import Keyring
from server.metadata import accounts, invariants, sessions
from server.metadata.store import Transaction
from server.notifier import Notifier
from server.passwords import Passwords, hash_token
from server.service import Service
from server.threads import in_place
from tests.asgi import call
from tests.simulation.clock import Clock
from tests.simulation.conditions import Conditions
from tests.simulation.network import Request
from tests.simulation.parts import Parts
from tests.simulation.slowness import Store
from tests.simulation.trace import Trace

WORKSPACE: Final = Workspace(WorkspaceId("5" * 32), "home", "user", Role.OWNER, key=bytes(range(32)))
"""The only one."""


class Server:
    """The server's process, and its disks, which outlive it."""

    def __init__(self, conditions: Conditions, parts: Parts, store: Store, trace: Trace) -> None:
        self.store = store
        self._conditions = conditions
        self._parts = parts
        self._trace = trace
        self._objects = MemoryBlockStore()
        self._keyring = Keyring(WORKSPACE.key)
        self._clock = Clock(conditions.server_rate)
        self._running = trio.Event()
        self._requests: dict[int, trio.CancelScope] = {}
        self._numbers = count()
        self.is_up = False

    async def prepare(self) -> None:
        """The workspace, and a device with a token for each machine."""

        def work(tx: Transaction) -> None:
            user = accounts.add_user(tx, "user", "no password", True, 0)
            wrapped = self._keyring.wrap(WORKSPACE.id, WORKSPACE.key)
            accounts.create_workspace(tx, WORKSPACE.id, user.id, WORKSPACE.name, wrapped, None, True, 0)
            for machine in self._conditions.machines:
                accounts.login_device(tx, user.id, machine.name, hash_token(machine.name), 0)

        await self.store.write(work)

    async def start(self) -> None:
        """Serve; what was in memory is lost."""
        notifier = Notifier()
        leases = self._parts.leases(self._conditions.lease_s, self._clock.boottime_s, notifier.nudge)
        leases.recover(await self.store.read(sessions.all_of))
        blocks = BlockCare(self._objects, self.store, self._keyring, trio.CapacityLimiter(2), run_sync=in_place)
        self._app = create_app(
            Service(self.store, blocks, self._keyring, Passwords(), notifier, leases, self._clock.now_ns)
        )
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
                response = await call(self._app, request.method, request.path, request.headers, request.body)
            finally:
                del self._requests[number]
        await self._running.wait()
        if response is not None and response.status == 500:
            self._trace.fail(f"the server failed at {request.method} {request.path}")
        if response is not None:
            self._trace.note(request.machine, f"{request.method} {request.path.split('/', 4)[-1]} -> {response.status}")
        return response

    async def check(self) -> None:
        """The tree's invariants."""
        try:
            await self.store.read(lambda tx: invariants.check(tx, WORKSPACE.id))
        except invariants.Broken as error:
            self._trace.fail(f"the server's tree: {error}")
