"""A server and several drives in one process, over ASGI and without a socket, a kernel, a thread or a real disk.

``AsgiHttp`` is the network: it can be cut, lose requests or replies, and counts.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from itertools import count
from random import Random
from typing import Final

import msgspec
import trio
from starlette.applications import Starlette

from backend.account import Account
from backend.assembly import FOLDERS, Kept, Sources, assemble
from backend.caller import IMPATIENT, Caller
from backend.disk import make_folders
from backend.drive import Drive
from backend.errors import Offline
from backend.http import Lane, Response, Traffic
from backend.journal import Journal
from backend.reach import Reach
from backend.threads import InlineThreads, Threads
from backend.tree import Outdated
from protocol import problems
from protocol.keys import new_key
from protocol.messages.accounts import Role, Workspace
from protocol.messages.wire import PROBLEM_JSON
from server import resealing
from server.app import create_app
from server.blockcare import BlockCare
from server.blockstore.memory import MemoryBlockStore
from server.keyring import Keyring
from server.leases import Leases
from server.metadata import accounts, pruning, workspacekeys
from server.metadata.sqlite import MemoryStore
from server.metadata.store import Transaction
from server.notifier import Notifier
from server.passwords import Passwords, hash_token, new_token
from server.routes.accounts import new_user
from server.service import Service
from server.threads import in_place
from tests.asgi import call
from tests.simulation.disk import ROOT, SimDisk

LEASE_S: Final = 10.0
KEY: Final = bytes(range(32))
ENVELOPE: Final = b"an envelope"


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
        self.cut_before_join = False
        """Cut when a mount asks to join."""
        self.lose_changes = False
        """Changes arrive, and their answers don't."""
        self.lost = trio.Event()
        """A change arrived whose answer was lost."""
        self.before_answer: Callable[[], Awaitable[None]] | None = None
        """Awaited, once, while the answer to a change, or to what ``delayed`` says, is on its way."""
        self.delayed = "/changes"
        """The end of the path that ``before_answer`` is for."""
        self.hold: trio.Event | None = None
        """Where set, puts of blocks wait for it."""
        self.held = trio.Event()
        """Such a put is waiting."""
        self.withheld = ""
        """POSTs to paths with this end don't arrive; empty: all do."""
        self._last_posts: dict[str, Callable[[], Awaitable[Response]]] = {}
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
        if self.cut_before_join and path.endswith("/join"):
            self.cut, self.cut_before_join = True, False
        if self.cut or (self.cut_polls and lane is Lane.POLL):
            raise Offline("cut")
        if lane is not Lane.POLL:
            self.requests.append(f"{method} {path.split('?')[0]}")
        if self._full and method == "POST" and path.endswith("/changes"):
            problem = problems.Problem(title="no space", status=507, code=problems.NO_SPACE)
            return Response(507, PROBLEM_JSON, msgspec.json.encode(problem))
        if method == "POST":
            self._last_posts[path.rpartition("/")[2]] = partial(
                call, self._app, method, path, headers or {}, bytes(body)
            )
            if self.withheld and path.endswith(self.withheld):
                raise Offline("it takes long")
        if self.hold is not None and method == "PUT":
            self.held.set()
            await self.hold.wait()
        response = await call(self._app, method, path, headers or {}, bytes(body))
        if self.before_answer is not None and path.endswith(self.delayed):
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

    def last_post(self, end: str) -> Callable[[], Awaitable[Response]]:
        """The last POST to a path with this last part, to let it arrive late or once more: nobody waits for it."""
        return self._last_posts[end]

    @contextmanager
    def no_space(self) -> Iterator[None]:
        """No change is taken meanwhile: not a byte is free for the database."""
        self._full = True
        try:
            yield
        finally:
            self._full = False


class Place:
    """One device: a disk and a network of its own, and the drive that is mounted there."""

    def __init__(self, world: World, name: str) -> None:
        self.http = AsgiHttp(world.app)
        self.disk = SimDisk(Random(name))
        """After a crash it is replaced by what the next process finds."""
        self.folder = ROOT / "cache"
        self.threads: Threads = InlineThreads()
        self.outdated: list[Outdated] = []
        self.when_told: Callable[[Outdated], Awaitable[None]] | None = None
        """Awaited whenever the kernel would be told."""
        self.token: str | None = None
        """Of a login that several mounts share; else each logs in anew, which voids what its predecessor has."""
        self._stirred = trio.Event()
        self.world = world
        self._name = name
        self.remembered: Workspace | None = None
        """What a mount begins with where the network is cut, and what is unlocked on this machine."""
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
        token = self.token or await self.world.issue_token(self._name)
        reached = not self.http.cut
        if reached:
            told = await Account(Caller(self.http, token, IMPATIENT)).workspace(self.world.workspace.id)
            self.remembered = _opened(told, self.remembered)
        assert self.remembered is not None
        for name in FOLDERS:
            make_folders(self.disk, self.folder / name)
        with Journal(self.disk, self.folder / "journal") as journal:
            drive = self._assembled(token, self.remembered, journal, strict=strict)
            await drive.begin(reached=reached)
            async with trio.open_nursery() as nursery:
                await nursery.start(drive.run, self._note)
                yield drive
                nursery.cancel_scope.cancel()

    def _assembled(self, token: str, workspace: Workspace, journal: Journal, *, strict: bool) -> Drive:
        threads = self.threads
        kept = Kept.below(self.folder, journal, 1 << 30, threads)
        kept.cache.load()
        sources = Sources(
            clock=trio.current_time,
            now_ns=lambda: int((trio.current_time() + 1.8e9) * 1e9) + next(self._numbers),
        )
        return assemble(
            self.http,
            token,
            workspace,
            kept,
            threads,
            Reach(strict=strict),
            patience=IMPATIENT,
            sources=sources,
            remember=self._remember,
            recall=lambda: self.remembered,
        )

    def _remember(self, workspace: Workspace) -> None:
        self.remembered = workspace

    async def wait_outdated(self) -> None:
        """Until the kernel would have been told of the next change."""
        await self._stirred.wait()

    async def _note(self, outdated: Outdated) -> None:
        self.outdated.append(outdated)
        if self.when_told is not None:
            await self.when_told(outdated)
        self._stirred.set()
        self._stirred = trio.Event()


class World:
    """A server; ``place`` makes devices."""

    def __init__(
        self,
        app: Starlette,
        issue_token: Callable[..., Awaitable[str]],
        share: Callable[[Role | None], Awaitable[None]],
        prune: Callable[[], Awaitable[None]],
        rotate_key: Callable[[], Awaitable[None]],
        reseal: Callable[[], Awaitable[None]],
        old_blocks: Callable[[], Awaitable[int]],
        forget_keys: Callable[[], Awaitable[None]],
        store: MemoryBlockStore,
        workspace: Workspace,
    ) -> None:
        """``issue_token`` takes a device's name, and whose it is: the owner's, or the member's."""
        self.app = app
        self.share = share
        """Give the member a role, or take it."""
        self.prune = prune
        """Of the change log only the last change is left."""
        self.rotate_key = rotate_key
        """The workspace gets another key."""
        self.reseal = reseal
        """All stored blocks are sealed under the last key."""
        self.old_blocks = old_blocks
        """How many stored blocks are under older keys."""
        self.forget_keys = forget_keys
        """As a server that was restored from a backup of before the first key was added to an end-to-end workspace."""
        self.issue_token = issue_token
        self.workspace = workspace
        self._store = store
        self._shell_token: str | None = None

    def place(self, name: str) -> Place:
        return Place(self, name)

    async def place_of_member(self, name: str) -> Place:
        """A device of the member, who may edit."""
        await self.share(Role.EDITOR)
        place = self.place(name)
        place.token = await self.issue_token(name, is_owner=False)
        return place

    async def account(self, place: Place) -> Account:
        """What commands of the owner on this machine ask the server by."""
        if self._shell_token is None:
            self._shell_token = await self.issue_token("shell")
        return Account(Caller(place.http, self._shell_token, IMPATIENT))

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


def _opened(told: Workspace, known: Workspace | None) -> Workspace:
    """With the keys that an end-to-end workspace's members have and its server has not."""
    if not told.end_to_end:
        return told
    later_keys = {} if known is None else known.later_keys
    return msgspec.structs.replace(told, key=KEY, later_keys=later_keys)


@asynccontextmanager
async def serving(*, end_to_end: bool = False) -> AsyncIterator[World]:
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
        wrapped = keyring.wrap(workspace.id, KEY)

        def give_key(tx: Transaction) -> None:
            if end_to_end:
                tx.execute("DELETE FROM workspace_keys")
                tx.execute("UPDATE workspaces SET envelope = ?", (ENVELOPE,))
            else:
                tx.execute("UPDATE workspace_keys SET wrapped = ?", (wrapped,))

        await metadata.write(give_key)

        member = await metadata.write(lambda tx: new_user(tx, service, "member", "no password", is_admin=False))

        async def issue_token(device: str, *, is_owner: bool = True) -> str:
            token, whose = new_token(), user.id if is_owner else member.id
            await metadata.write(lambda tx: accounts.login_device(tx, whose, device, hash_token(token), 0))
            return token

        async def share(role: Role | None) -> None:
            await metadata.write(lambda tx: accounts.share(tx, workspace.id, "member", role))

        async def prune() -> None:
            await metadata.write(lambda tx: pruning.prune(tx, workspace.id, 1 << 62, keep=1))

        async def rotate_key() -> None:
            def add(tx: Transaction) -> None:
                last = workspacekeys.last_id(tx, workspace.id)
                workspacekeys.add(tx, workspace.id, keyring.wrap(workspace.id, new_key()), last, 0)

            await metadata.write(add)

        async def reseal() -> None:
            await resealing.work_once(metadata, blocks)

        async def old_blocks() -> int:
            return (await metadata.read(lambda tx: accounts.workspace_for(tx, workspace.id, user.id))).old_blocks

        async def forget_keys() -> None:
            await metadata.write(lambda tx: tx.execute("UPDATE workspaces SET key_id = 1, envelope = ?", (ENVELOPE,)))

        keys = (rotate_key, reseal, old_blocks, forget_keys)
        yield World(create_app(service), issue_token, share, prune, *keys, store, workspace)
