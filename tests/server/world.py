"""A server in this process: its application on in-memory engines, and clients that call it without a network."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, MutableMapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import httpx
import msgspec
import trio

from protocol import manifest as manifests
from protocol.ids import ROOT_NODE, BlockId, JournalId, NodeId, Seq, SessionId, VersionNumber, WorkspaceId
from protocol.keys import WorkspaceKeys, derive_end_to_end
from protocol.manifest import Manifest, Piece
from protocol.messages.accounts import NewWorkspace, Role, Workspace
from protocol.messages.batches import Batch, BatchReply
from protocol.messages.blocks import SealedBlock
from protocol.messages.changes import AnyChange, Commit, Create
from protocol.messages.nodes import Kind
from protocol.messages.notices import Notices
from protocol.messages.sessions import SESSION_HEADER, Join, JoinReply, PollReply
from protocol.messages.wire import MSGPACK, OCTETS, Message
from protocol.problems import Problem
from protocol.sealing import seal
from server.app import create_app
from server.blockcare import BlockCare
from server.blockstore.memory import MemoryBlockStore
from server.keyring import Keyring
from server.leases import Leases
from server.metadata import accounts, sessions
from server.metadata.sqlite import MemoryStore
from server.notifier import Notifier
from server.passwords import Passwords, hash_token
from server.routes.accounts import new_user, new_workspace
from server.service import Service
from server.space import RESERVE_BYTES, Space
from server.threads import in_place

M = TypeVar("M", bound=Message)

NOW_NS = 1_767_323_045 * 10**9
LEASE_S = 10.0
PASSWORD = "correct horse"
PART_BYTES = 1 << 20
NEARLY_FULL_BYTES = RESERVE_BYTES + 10


class Free:
    """What is free on the server's disks."""

    def __init__(self) -> None:
        self.data_bytes = 1 << 40


class World:
    """The parts of one server, and how to make users of it."""

    http: httpx.AsyncClient

    def __init__(self, service: Service, store: MemoryBlockStore, metadata: MemoryStore, free: Free) -> None:
        self.service = service
        self.store = store
        self.metadata = metadata
        self.free = free
        self.app = create_app(service)

    async def user(self, name: str, *, is_admin: bool = False, password_hash: str = "-") -> Client:
        """A new user's device, logged in, and the workspace that came with the user."""
        token = f"token of {name}"

        def work(tx: accounts.Transaction) -> WorkspaceId:
            user = new_user(tx, self.service, name, password_hash, is_admin=is_admin)
            accounts.login_device(tx, user.id, f"{name}s laptop", hash_token(token), NOW_NS)
            return accounts.list_workspaces(tx, user.id)[0].id

        return await self._client(name, token, await self.metadata.write(work))

    async def member(self, owner: Client, name: str, role: Role) -> Client:
        """A new user's device, speaking of a workspace that its owner shared."""
        client = await self.user(name)
        await self.metadata.write(lambda tx: accounts.share(tx, owner.workspace, name, role))
        return await self._client(name, client.token, owner.workspace)

    async def with_quota(self, name: str, quota_bytes: int) -> Client:
        """A new user's device, speaking of a workspace with a quota."""
        client = await self.user(name)

        def work(tx: accounts.Transaction) -> WorkspaceId:
            user = accounts.user_named(tx, name)
            return new_workspace(tx, self.service, user.id, "small", quota_bytes, is_default=False)

        return await self._client(name, client.token, await self.metadata.write(work))

    async def end_to_end(self, name: str) -> Client:
        """A new user's device, speaking of a workspace whose key it has made itself."""
        client = await self.user(name)
        identity, key = WorkspaceId(name.encode().hex().zfill(32)), bytes(range(32))
        await client.ask(Workspace, "POST", "/workspaces", NewWorkspace("secret", None, identity, b"an envelope"))
        return replace(client, workspace=identity, keys=derive_end_to_end(key))

    async def _client(self, name: str, token: str, workspace: WorkspaceId) -> Client:
        keys = await self.metadata.read(lambda tx: self.service.blocks.keys_in(tx, workspace))
        session, journal = (name.encode().ljust(16, fill) for fill in (b"s", b"j"))
        return Client(self.http, token, workspace, keys, SessionId(session), JournalId(journal))

    async def restart(self) -> None:
        """Forget what is in memory alone, as a restart of the server does."""
        notifier = Notifier()
        leases = Leases(LEASE_S, trio.current_time, notifier.nudge)
        leases.recover(await self.metadata.read(sessions.all_of))
        self.service = self.app.state.service = replace(self.service, leases=leases, notifier=notifier)


@dataclass
class Client:
    """A device that speaks of one workspace, in MessagePack."""

    http: httpx.AsyncClient
    token: str
    workspace: WorkspaceId
    keys: WorkspaceKeys
    session: SessionId
    journal: JournalId
    next_number: int = 1
    standing: tuple[Seq, Seq] | None = None
    """What its requests say that it has applied and acknowledged; None: they name no session."""

    async def call(self, method: str, path: str, body: Message | bytes | None = None) -> httpx.Response:
        """One request; paths beginning with a dot are below the workspace."""
        if path.startswith("."):
            path = f"/workspaces/{self.workspace}{path[1:]}"
        headers = {"Authorization": f"Bearer {self.token}", "Accept": MSGPACK, "Content-Type": OCTETS}
        if isinstance(body, Message):
            headers["Content-Type"] = MSGPACK
            body = msgspec.msgpack.encode(body)
        if self.standing is not None:
            headers[SESSION_HEADER] = " ".join([self.session.hex(), *map(str, self.standing)])
        return await self.http.request(method, f"/v1{path}", headers=headers, content=body)

    async def ask(self, kind: type[M], method: str, path: str, body: Message | None = None) -> M:
        """A request that must be answered well."""
        return good(kind, await self.call(method, path, body))

    async def join(self, after: Seq | None = None) -> Client:
        """Begin a session, or begin it anew."""
        reply = await self.ask(JoinReply, "POST", "./join", Join(self.session, self.journal, after))
        self.absorb(reply.notices)
        return self

    async def leave(self) -> Client:
        """End the session; what it sent and sends is the journal's."""
        assert (await self.call("POST", "./leave")).status_code == 204
        self.standing = None
        return self

    def absorb(self, news: Notices) -> None:
        """Apply what came, and acknowledge it with the next request."""
        self.standing = news.seq, news.seq

    def batch(self, *changes: AnyChange) -> Batch:
        """The next batch of this device."""
        return Batch(self.journal, self.next_number, list(changes), session=self.session)

    async def send(self, *changes: AnyChange) -> BatchReply:
        """The next batch of this device, sent."""
        reply = await self.ask(BatchReply, "POST", "./changes", self.batch(*changes))
        self.next_number += len(changes)
        return reply

    async def poll(self, wait_s: float = 0) -> PollReply:
        """The long poll of its session."""
        assert self.standing is not None
        return await self.ask(PollReply, "GET", f"./changes?wait_s={wait_s}")

    async def follow(self, after: int, wait_s: float) -> Notices:
        """The long poll of somebody without a session."""
        assert self.standing is None
        return (await self.ask(PollReply, "GET", f"./changes?after={after}&wait_s={wait_s}")).notices

    def sealed(self, plain: bytes) -> tuple[BlockId, bytes]:
        """A block."""
        block = self.keys.block_id(plain)
        return block, bytes(seal(self.keys, block, plain))

    async def key(self) -> bytes:
        """What the server says that the workspace's key is."""
        return (await self.ask(Workspace, "GET", ".")).key


def create(name: bytes, node: int, kind: Kind = Kind.FILE) -> Create:
    """A node in the root."""
    return Create(NOW_NS, ROOT_NODE, name, NodeId(node), kind, 0o644, 0, 0)


def commit(client: Client, node: int, plain: bytes, base: int = 0, sealed: bytes | None = None) -> Commit:
    """A file's content in one block that travels along."""
    block, right = client.sealed(plain)
    manifest = manifests.encode(Manifest.of([Piece(block, len(plain))]))
    blocks = [SealedBlock(block, right if sealed is None else sealed)]
    return Commit(NOW_NS, NodeId(node), VersionNumber(base), len(plain), manifest, NOW_NS, blocks)


def good(kind: type[M], response: httpx.Response) -> M:
    """The message of an answer that is no problem."""
    assert response.status_code in (200, 201), response.content
    return msgspec.msgpack.decode(response.content, type=kind)


def problem(response: httpx.Response) -> tuple[int, str]:
    """Status and code of a problem."""
    assert response.headers["content-type"] == "application/problem+json"
    found = msgspec.json.decode(response.content, type=Problem)
    assert found.status == response.status_code
    return found.status, found.code


@asynccontextmanager
async def a_world(clock: Callable[[], float] = trio.current_time) -> AsyncIterator[World]:
    """A server with no users."""
    notifier = Notifier()
    store, free, keyring = MemoryBlockStore(), Free(), Keyring(bytes(range(32)))
    async with MemoryStore() as metadata:
        service = Service(
            metadata=metadata,
            blocks=BlockCare(
                store,
                metadata,
                keyring,
                trio.CapacityLimiter(1),
                Space(store.free_bytes, lambda: free.data_bytes),
                in_place,
            ),
            keyring=keyring,
            passwords=Passwords(clock, in_place),
            notifier=notifier,
            leases=Leases(LEASE_S, clock, notifier.nudge),
            now_ns=lambda: NOW_NS,
        )
        world = World(service, store, metadata, free)
        transport = httpx.ASGITransport(world.app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://server") as world.http:
            yield world


async def happened(world: World, client: Client, method: str, path: str, headers: dict[str, str]) -> list[str]:
    """What the application does, up to its answer, with a request whose body never ends."""
    events: list[str] = []
    raw = f"/v1/workspaces/{client.workspace}{path.removeprefix('.')}".encode()
    given = {"Authorization": f"Bearer {client.token}", **headers}

    async def receive() -> dict[str, Any]:
        await trio.lowlevel.checkpoint()
        events.append("took a part")
        return {"type": "http.request", "body": bytes(PART_BYTES), "more_body": True}

    async def send(message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            events.append(f"answered {message['status']}")
            cut.cancel()

    scope = {
        "type": "http",
        "method": method,
        "path": raw.decode(),
        "raw_path": raw,
        "query_string": b"",
        "headers": [(name.lower().encode(), value.encode()) for name, value in given.items()],
        "client": ("127.0.0.1", 1),
    }
    with trio.CancelScope() as cut:
        await create_app(world.service)(scope, receive, send)
    return events
