"""A server and several drives in one process, over ASGI and without a socket, a kernel, a thread or a real disk.

``AsgiHttp`` is the network: it can be cut, lose requests or replies, and counts.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from itertools import count
from random import Random
from typing import Any, Final

import msgspec
import trio
from starlette.applications import Starlette

from backend.blockcache import BlockCache
from backend.disk import make_folders
from backend.drive import Drive
from backend.errors import Offline
from backend.http import Lane, Response, Traffic
from backend.journal import Journal
from backend.opening import assemble
from backend.ownblocks import OwnBlocks
from backend.reach import Reach
from backend.remote import IMPATIENT, Account, Caller
from backend.threads import InlineThreads
from backend.tree import Outdated
from backend.treefile import TreeFile
from protocol import problems
from protocol.keys import new_key
from protocol.messages import PROBLEM_JSON, Problem, Workspace
from server.app import create_app
from server.blockcare import BlockCare
from server.blockstore.memory import MemoryBlockStore
from server.keyring import Keyring
from server.leases import Leases
from server.metadata import accounts
from server.metadata.sqlite import MemoryStore
from server.notifier import Notifier
from server.passwords import Passwords, hash_token, new_token
from server.routes.accounts import new_user
from server.service import Service
from server.threads import in_place
from tests.simulation.disk import ROOT, SimDisk

LEASE_S: Final = 10.0


class AsgiHttp:
    """``backend.http.Http`` to an application in this process."""

    def __init__(self, app: Starlette) -> None:
        self.traffic = Traffic()
        self.requests: list[str] = []
        """Method and path of each request but polls."""
        self.polls = 0
        """How many polls have been answered."""
        self.cut = False
        """Nothing gets through."""
        self.cut_polls = False
        """Anything but polls gets through."""
        self.lose_replies = 0
        """So many requests from now on arrive, and their answers don't."""
        self.cut_after_next = False
        """Cut when the next request that isn't a poll has arrived: its answer is lost."""
        self.lose_changes = False
        """Changes arrive, and their answers don't."""
        self.lost = trio.Event()
        """A change arrived whose answer was lost."""
        self.before_answer: Callable[[], Awaitable[None]] | None = None
        """Awaited, once, while the answer to a change is on its way."""
        self.hold: trio.Event | None = None
        """Where set, puts of blocks wait for it."""
        self.held = trio.Event()
        """Such a put is waiting."""
        self._full = False
        self._app = app

    async def request(
        self,
        method: str,
        path: str,
        *,
        lane: Lane = Lane.SMALL,
        headers: dict[str, str] | None = None,
        body: bytes | bytearray = b"",
        wait_s: float = 0.0,
    ) -> Response:
        await trio.lowlevel.checkpoint()
        if self.cut or (self.cut_polls and lane is Lane.POLL):
            raise Offline("cut")
        if lane is not Lane.POLL:
            self.requests.append(f"{method} {path.split('?')[0]}")
        if self._full and method == "POST" and path.endswith("/changes"):
            problem = Problem(title="no space", status=507, code=problems.NO_SPACE)
            return Response(507, PROBLEM_JSON, msgspec.json.encode(problem))
        if self.hold is not None and method == "PUT":
            self.held.set()
            await self.hold.wait()
        response = await self._call(method, path, headers or {}, bytes(body))
        if self.before_answer is not None and method == "POST" and path.endswith("/changes"):
            before_answer, self.before_answer = self.before_answer, None
            await before_answer()
        if self.cut_after_next and lane is not Lane.POLL:
            self.cut, self.cut_after_next = True, False
        if self.lose_changes and path.endswith("/changes"):
            self.lost.set()
            raise Offline("the reply was lost")
        if self.cut or (self.cut_polls and lane is Lane.POLL):
            raise Offline("cut")
        self.polls += lane is Lane.POLL
        if lane is not Lane.POLL and self.lose_replies > 0:
            self.lose_replies -= 1
            raise Offline("the reply was lost")
        return response

    @contextmanager
    def no_space(self) -> Iterator[None]:
        """No change is taken meanwhile: not a byte is free for the database."""
        self._full = True
        try:
            yield
        finally:
            self._full = False

    async def _call(self, method: str, path: str, headers: dict[str, str], body: bytes) -> Response:
        target, _, query = path.partition("?")
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": target,
            "raw_path": target.encode(),
            "query_string": query.encode(),
            "root_path": "",
            "headers": [
                *((name.lower().encode(), value.encode()) for name, value in headers.items()),
                (b"content-length", str(len(body)).encode()),
            ],
            "client": ("127.0.0.1", 1),
            "server": ("127.0.0.1", 80),
        }
        incoming = [{"type": "http.request", "body": body, "more_body": False}]
        status, content_type, parts = 0, "", []

        async def receive() -> dict[str, Any]:
            return incoming.pop() if incoming else await trio.sleep_forever()  # type: ignore[no-any-return]

        async def send(event: Any) -> None:
            nonlocal status, content_type
            if event["type"] == "http.response.start":
                status = event["status"]
                content_type = dict(event["headers"]).get(b"content-type", b"").decode()
            else:
                parts.append(event.get("body", b""))

        await self._app(scope, receive, send)
        return Response(status, content_type, b"".join(parts))


class Place:
    """One device: a disk and a network of its own, and the drive that is mounted there."""

    def __init__(self, world: World, name: str) -> None:
        self.http = AsgiHttp(world.app)
        self.disk = SimDisk(Random(name))
        """After a crash it is replaced by what the next process finds."""
        self.folder = ROOT / "cache"
        self.outdated: list[Outdated] = []
        self._stirred = trio.Event()
        self.world = world
        self._name = name
        self._remembered: Workspace | None = None
        self._numbers = count()

    @asynccontextmanager
    async def drive(self, *, strict: bool = False) -> AsyncIterator[Drive]:
        """The workspace, mounted until the block ends."""
        async with self.crashing_drive(strict=strict) as drive:
            yield drive
        if not self.http.cut:
            await drive.leave()

    @asynccontextmanager
    async def crashing_drive(self, *, strict: bool = False) -> AsyncIterator[Drive]:
        """The workspace, mounted, as it was remembered where the network is cut. The block's end is its crash."""
        token = await self.world.issue_token(self._name)
        reached = not self.http.cut
        if reached:
            caller = Caller(self.http, token, IMPATIENT)
            self._remembered = await Account(caller).workspace(self.world.workspace.id)
        assert self._remembered is not None
        with Journal(self.disk, self.folder / "journal") as journal:
            drive = self._assembled(token, self._remembered, journal, strict=strict)
            await drive.begin(reached=reached)
            async with trio.open_nursery() as nursery:
                await nursery.start(drive.run, self._note)
                yield drive
                nursery.cancel_scope.cancel()

    def _assembled(self, token: str, workspace: Workspace, journal: Journal, *, strict: bool) -> Drive:
        for name in ("blocks", "own"):
            make_folders(self.disk, self.folder / name)
        threads, cache = InlineThreads(), BlockCache(self.disk, self.folder / "blocks", 1 << 30)
        cache.load()
        return assemble(
            self.http,
            token,
            workspace,
            journal,
            OwnBlocks(self.disk, self.folder / "own"),
            cache,
            TreeFile(self.disk, self.folder / "tree", threads),
            threads,
            Reach(strict=strict),
            patience=IMPATIENT,
            clock=trio.current_time,
            now_ns=lambda: int((trio.current_time() + 1.8e9) * 1e9) + next(self._numbers),
        )

    async def wait_outdated(self) -> None:
        """Until the kernel would have been told of the next change."""
        await self._stirred.wait()

    async def _note(self, outdated: Outdated) -> None:
        self.outdated.append(outdated)
        self._stirred.set()
        self._stirred = trio.Event()


class World:
    """A server; ``place`` makes devices."""

    def __init__(
        self,
        app: Starlette,
        issue_token: Callable[[str], Awaitable[str]],
        store: MemoryBlockStore,
        workspace: Workspace,
    ) -> None:
        """``issue_token`` takes a device's name."""
        self.app = app
        self.issue_token = issue_token
        self.workspace = workspace
        self._store = store

    def place(self, name: str) -> Place:
        return Place(self, name)

    def damage_blocks(self) -> None:
        """Change a byte of each stored object."""
        for name, content in self._store.objects.items():
            self._store.objects[name] = content[:-1] + bytes([content[-1] ^ 1])

    @contextmanager
    def full(self) -> Iterator[None]:
        """The server has no room meanwhile."""
        room_bytes, self._store.room_bytes = self._store.room_bytes, 0
        try:
            yield
        finally:
            self._store.room_bytes = room_bytes


@asynccontextmanager
async def serving() -> AsyncIterator[World]:
    """A server with the user admin, in memory."""
    keyring, store = Keyring(new_key()), MemoryBlockStore()
    async with MemoryStore() as metadata:
        blocks = BlockCare(store, metadata, keyring, trio.CapacityLimiter(2), run_sync=in_place)
        notifier = Notifier()
        service = Service(
            metadata,
            blocks,
            keyring,
            Passwords(),
            notifier,
            Leases(LEASE_S, trio.current_time, notifier.nudge),
            lambda: 1_700_000_000_000_000_000,
        )
        user = await metadata.write(lambda tx: new_user(tx, service, "admin", "no password", is_admin=True))
        (workspace,) = await metadata.read(lambda tx: accounts.list_workspaces(tx, user.id))
        # The same key each time, and so the same cuts.
        wrapped = keyring.wrap(workspace.id, bytes(range(32)))
        await metadata.write(lambda tx: tx.execute("UPDATE workspaces SET wrapped_key = ?", (wrapped,)))

        async def issue_token(device: str) -> str:
            token = new_token()
            await metadata.write(lambda tx: accounts.login_device(tx, user.id, device, hash_token(token), 0))
            return token

        yield World(create_app(service), issue_token, store, workspace)
