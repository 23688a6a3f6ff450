"""Typed calls to the server: each method is one request of ``protocol.messages`` and its answer.

Knows paths, codecs and what each problem means; knows nothing of caches or retries of changes. Every call here may be
repeated without harm (changes carry numbers), so a call that gets no answer is sent again with growing pauses
while ``Patience`` lasts.
"""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Final, TypeVar
from urllib.parse import quote

import msgspec
import trio

from backend.errors import (
    DriveError,
    JournalTaken,
    NoSpace,
    NotFound,
    Offline,
    ReadOnly,
    Refused,
    Unauthorized,
    Unusable,
)
from backend.http import Http, HttpxClient, Lane, Response, Traffic
from backend.reach import Reach
from protocol import problems
from protocol.ids import (
    BLOCK_ID_BYTES,
    NO_CHANGE,
    BlockId,
    DeviceId,
    JournalId,
    NodeId,
    Seq,
    SessionId,
    VersionNumber,
    WorkspaceId,
)
from protocol.limits import LISTING_PAGE_ENTRIES
from protocol.messages import (
    API,
    MSGPACK,
    OCTETS,
    SESSION_HEADER,
    Batch,
    BatchReply,
    BlockList,
    ConflictsReply,
    Devices,
    Health,
    Join,
    JoinReply,
    JournalReply,
    ListingReply,
    Login,
    LoginReply,
    LookupReply,
    ManifestReply,
    Message,
    NewPassword,
    NewUser,
    NewWorkspace,
    NodeReply,
    PollReply,
    Problem,
    Role,
    Share,
    UsageReply,
    User,
    Users,
    Workspace,
    Workspaces,
)

M = TypeVar("M", bound=Message)
_NO_HEADERS: Final[Mapping[str, str]] = MappingProxyType({})


class SessionEnded(DriveError):
    """The server doesn't know this session any more: join again."""


class ListingChanged(DriveError):
    """The folder changed between two pages: begin again."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a call without an answer is repeated."""

    total_s: float = 10.0
    first_pause_s: float = 0.05
    most_pause_s: float = 2.0


PATIENT: Final = Patience()
IMPATIENT: Final = Patience(total_s=0.0)


class Caller:
    """Sends requests with a token, repeats unanswered ones, and turns problems into errors.

    After a call whose patience ran out, calls are tried once only until one is answered: a mount without its
    server fails at once, and not after the same wait for every file.
    """

    def __init__(
        self,
        http: Http,
        token: str | None,
        patience: Patience = PATIENT,
        random_source: random.Random | None = None,
        reach: Reach | None = None,
    ) -> None:
        """With a ``reach`` calls end when the mount begins to work apart from its server."""
        self._http = http
        self._reach = reach
        self._headers: dict[str, str] = {"Accept": MSGPACK}
        if token is not None:
            self._headers["Authorization"] = f"Bearer {token}"
        self._patience = patience
        self._random = random_source or random.Random()
        self._given_up = False

    @property
    def traffic(self) -> Traffic:
        """Counters of the connection below."""
        return self._http.traffic

    @property
    def reachable(self) -> bool:
        """False from a call whose patience ran out until one is answered."""
        return not self._given_up

    async def call(
        self,
        method: str,
        path: str,
        *,
        message: Message | None = None,
        octets: bytes | bytearray = b"",
        lane: Lane = Lane.SMALL,
        wait_s: float = 0.0,
        patience: Patience | None = None,
        headers: Mapping[str, str] = _NO_HEADERS,
    ) -> Response:
        """An answer with status 2xx; raises the error that the problem means."""
        sent, body = {**self._headers, **headers}, octets
        if message is not None:
            sent["Content-Type"], body = MSGPACK, msgspec.msgpack.encode(message)
        elif octets:
            sent["Content-Type"] = OCTETS
        request = partial(
            self._http.request, method, f"/{API}{path}", lane=lane, headers=sent, body=body, wait_s=wait_s
        )
        answer = partial(self._answer, request, patience or self._patience)
        response = await (answer() if self._reach is None else self._reach.guard(answer))
        if response.status >= 300:
            raise problem_of(response)
        return response

    async def _answer(self, request: Callable[[], Awaitable[Response]], patience: Patience) -> Response:
        """Send it until it is answered, or patience ends; raises Offline."""
        began, pause_s = trio.current_time(), patience.first_pause_s
        while True:
            try:
                response = await request()
                if response.status != problems.STATUS[problems.UNAVAILABLE]:
                    break
                failure = Offline("the server is stopping")
            except Offline as error:
                failure = error
            left_s = patience.total_s - (trio.current_time() - began)
            if self._given_up or left_s <= 0:
                self._given_up = self._given_up or patience.total_s > 0
                raise failure
            await trio.sleep(min(left_s, pause_s * self._random.uniform(0.5, 1.0)))
            pause_s = min(patience.most_pause_s, pause_s * 2)
        self._given_up = False
        return response

    async def ask(self, reply: type[M], method: str, path: str, message: Message | None = None) -> M:
        """A small call whose answer is a message."""
        return decode(reply, await self.call(method, path, message=message))


def decode(kind: type[M], response: Response) -> M:
    """The message in an answer; raises Unusable."""
    try:
        return msgspec.msgpack.decode(response.body, type=kind)
    except msgspec.DecodeError as error:
        raise Unusable(
            f"the server's answer is not what this version of samedrive expects ({error}); are both up to date?"
        ) from None


def problem_of(response: Response) -> DriveError:
    """The error that an answer with status 300 and above means."""
    try:
        problem = msgspec.json.decode(response.body, type=Problem)
    except msgspec.DecodeError:
        text = f"the server answered with status {response.status}; is this a samedrive server?"
        # A proxy's word about a server that it can't reach: what became of the request is not known.
        return Offline(text) if response.status >= 500 else Unusable(text)
    text = problem.detail or problem.title
    match problem.code:
        case problems.UNAUTHORIZED:
            return Unauthorized(text)
        case problems.FORBIDDEN:
            return ReadOnly(text)
        case problems.NOT_FOUND:
            return NotFound(text)
        case problems.NO_SPACE | problems.QUOTA:
            return NoSpace(text)
        case problems.SESSION_ENDED:
            return SessionEnded(text)
        case problems.LISTING_CHANGED:
            return ListingChanged(text)
        case problems.CONFLICT:
            return Refused.named("EEXIST", text)
        case problems.TOO_MANY_ATTEMPTS:
            return Refused.named("EAGAIN", text)
        case problems.BAD_REQUEST | problems.BODY_TOO_LARGE:
            return Refused.named("EINVAL", text)
        case problems.OUT_OF_ORDER:
            return JournalTaken(text)
        case problems.UNAVAILABLE | problems.INTERNAL:
            return Offline(text)
        case _:
            return Unusable(f"{problem.title}: {text}")


class Account:
    """What a person does with accounts, devices and workspaces."""

    def __init__(self, caller: Caller) -> None:
        self.caller = caller

    async def health(self) -> Health:
        """Is this a server that we can speak with?"""
        try:
            health = await self.caller.ask(Health, "GET", "/health")
        except (NotFound, Unusable):
            raise Unusable("there is a web server at that address, but it is not samedrive's") from None
        if health.program != "samedrive" or health.api != API:
            raise Unusable(
                f"the server speaks {health.api or 'another protocol'} (version {health.version}), this program {API}: "
                "install the same version on both"
            )
        return health

    async def login(self, user: str, password: str, device: str) -> LoginReply:
        """A token for this device."""
        return await self.caller.ask(LoginReply, "POST", "/login", Login(user, password, device))

    async def logout(self) -> None:
        """Revoke the token in use."""
        await self.caller.call("POST", "/logout")

    async def workspaces(self) -> list[Workspace]:
        """Those that the user is a member of."""
        return (await self.caller.ask(Workspaces, "GET", "/workspaces")).workspaces

    async def workspace(self, workspace: WorkspaceId) -> Workspace:
        """One, with its key."""
        return await self.caller.ask(Workspace, "GET", f"/workspaces/{workspace}")

    async def create_workspace(self, name: str, quota_bytes: int | None = None) -> Workspace:
        """A new one, owned by the user."""
        return await self.caller.ask(Workspace, "POST", "/workspaces", NewWorkspace(name, quota_bytes))

    async def share(self, workspace: WorkspaceId, user: str, role: Role | None) -> None:
        """Make somebody a member, or no longer one."""
        await self.caller.call("POST", f"/workspaces/{workspace}/members", message=Share(user, role))

    async def users(self) -> list[User]:
        """Everybody; for admins."""
        return (await self.caller.ask(Users, "GET", "/users")).users

    async def add_user(self, name: str, password: str, *, admin: bool = False) -> User:
        """For admins."""
        return await self.caller.ask(User, "POST", "/users", NewUser(name, password, admin))

    async def remove_user(self, name: str) -> None:
        """For admins."""
        await self.caller.call("DELETE", f"/users/{quote(name, safe='')}")

    async def set_password(self, name: str, password: str) -> None:
        """One's own, or anybody's for admins."""
        await self.caller.call("PUT", f"/users/{quote(name, safe='')}/password", message=NewPassword(password))

    async def devices(self, *, of_everybody: bool = False) -> Devices:
        """One's own devices, or (for admins) all."""
        return await self.caller.ask(Devices, "GET", "/devices?all=1" if of_everybody else "/devices")

    async def revoke(self, device: DeviceId) -> None:
        """Its token is refused from now on."""
        await self.caller.call("DELETE", f"/devices/{device}")


@asynccontextmanager
async def connect(
    url: str, token: str | None = None, ca_file: Path | None = None, patience: Patience = IMPATIENT
) -> AsyncIterator[Account]:
    """An account at a server, for a command that a person waits for."""
    async with HttpxClient(url, ca_file) as http:
        yield Account(Caller(http, token, patience))


@dataclass(slots=True)
class Standing:
    """What a mount tells the server of itself with each request; written by ``backend.session`` alone."""

    session: SessionId
    applied: Seq = NO_CHANGE
    """Changes up to this one have been applied to what is cached here."""
    acknowledged: Seq = NO_CHANGE
    """And up to this one the kernel has dropped what they outdated."""

    @property
    def header(self) -> dict[str, str]:
        """See SESSION_HEADER."""
        return {SESSION_HEADER: f"{self.session.hex()} {self.applied} {self.acknowledged}"}


class WorkspaceRemote:
    """One workspace at the server: its tree, its changes, its blocks. Implements ``backend.blocks.BlockRemote``."""

    def __init__(self, caller: Caller, workspace: WorkspaceId, standing: Standing) -> None:
        self.caller = caller
        self.standing = standing
        self._path = f"/workspaces/{workspace}"
        self.blocks_up = 0
        self.blocks_down = 0

    # ── tree ──

    async def node(self, node: NodeId) -> NodeReply:
        """Attributes; raises NotFound."""
        return await self._ask(NodeReply, f"/nodes/{node}")

    async def lookup(self, folder: NodeId, name: bytes) -> LookupReply:
        """What a name means; raises NotFound where there is no such folder."""
        return await self._ask(LookupReply, f"/nodes/{folder}/entries/{_quoted(name)}")

    async def listing_page(self, folder: NodeId, after: bytes = b"", generation: int | None = None) -> ListingReply:
        """A page of a folder; raises ListingChanged where ``generation`` is given and no longer true."""
        query = f"limit={LISTING_PAGE_ENTRIES}&after={_quoted(after)}"
        if generation is not None:
            query += f"&generation={generation}"
        return await self._ask(ListingReply, f"/nodes/{folder}/entries?{query}")

    async def conflicts_page(self, after: NodeId, limit: int | None = None) -> ConflictsReply:
        """Conflict copies with ids past ``after``, in order of ids."""
        query = f"after={after}" if limit is None else f"after={after}&limit={limit}"
        return await self._ask(ConflictsReply, f"/conflicts?{query}")

    async def manifest(self, node: NodeId, version: VersionNumber) -> ManifestReply:
        """The content of one version."""
        response = await self.caller.call(
            "GET", f"{self._path}/nodes/{node}/manifest?version={version}", lane=Lane.BULK
        )
        return decode(ManifestReply, response)

    async def usage(self) -> UsageReply:
        """For statfs."""
        return await self.caller.ask(UsageReply, "GET", f"{self._path}/usage")

    async def send(self, batch: Batch) -> BatchReply:
        """Numbered changes."""
        response = await self.caller.call(
            "POST", f"{self._path}/changes", message=self._of_session(batch), headers=self.standing.header
        )
        try:
            return decode(BatchReply, response)
        except Unusable as error:
            raise Offline(str(error)) from error  # It may have been applied: only an answer ends a batch.

    async def replay(self, batch: Batch) -> BatchReply:
        """Numbered changes that were made apart from the server: outside of any session, so with no news of others."""
        response = await self.caller.call("POST", f"{self._path}/changes", message=self._of_session(batch))
        return decode(BatchReply, response)

    def _of_session(self, batch: Batch) -> Batch:
        return msgspec.structs.replace(batch, session=self.standing.session)

    async def journal(self, journal: JournalId) -> JournalReply:
        """The last batch of a journal that the server applied."""
        return await self.caller.ask(JournalReply, "GET", f"{self._path}/journals/{journal.hex()}")

    async def take_journal(self, journal: JournalId) -> JournalReply:
        """The same; from now on no earlier mount's batch is applied, however late it arrives."""
        path = f"{self._path}/journals/{journal.hex()}"
        return decode(JournalReply, await self.caller.call("POST", path, headers=self.standing.header))

    async def _ask(self, reply: type[M], path: str) -> M:
        """A question about the tree."""
        return decode(reply, await self.caller.call("GET", self._path + path, headers=self.standing.header))

    # ── the session ──

    async def join(self, journal: JournalId, after: Seq | None) -> JoinReply:
        """Begin, with what is cached as it was at ``after``, or with nothing (None)."""
        return await self.caller.ask(
            JoinReply, "POST", f"{self._path}/join", Join(self.standing.session, journal, after)
        )

    async def poll(self, wait_s: float) -> PollReply:
        """Acknowledge, renew the lease, and wait for changes. Not repeated; raises SessionEnded."""
        response = await self.caller.call(
            "GET",
            f"{self._path}/changes?wait_s={wait_s:g}",
            headers=self.standing.header,
            lane=Lane.POLL,
            wait_s=wait_s,
            patience=IMPATIENT,
        )
        return decode(PollReply, response)

    async def leave(self) -> None:
        """Nothing is cached here any more. Not repeated: a lease that isn't given back runs out."""
        await self.caller.call("POST", f"{self._path}/leave", headers=self.standing.header, patience=IMPATIENT)

    # ── blocks ──

    async def missing(self, ids: Sequence[BlockId]) -> list[BlockId]:
        """Those of the ids that the server lacks."""
        reply = await self.caller.ask(BlockList, "POST", f"{self._path}/blocks/missing", BlockList(list(ids)))
        return reply.blocks

    async def put(self, block: BlockId, sealed: bytes | bytearray) -> None:
        """Store a sealed block."""
        await self.caller.call("PUT", f"{self._path}/blocks/{block.hex()}", octets=sealed, lane=Lane.BULK)
        self.blocks_up += 1

    async def get(self, block: BlockId) -> bytes:
        """A sealed block; raises NotFound."""
        response = await self.caller.call("GET", f"{self._path}/blocks/{block.hex()}", lane=Lane.BULK)
        self.blocks_down += 1
        return response.body

    async def get_many(self, ids: Sequence[BlockId]) -> list[tuple[BlockId, bytes]]:
        """Sealed blocks: as many of those asked for, in their order, as fit one answer, at least one."""
        response = await self.caller.call(
            "POST", f"{self._path}/blocks/read", message=BlockList(list(ids)), lane=Lane.BULK
        )
        blocks = _framed(response.body)
        if not blocks or [block for block, _ in blocks] != list(ids[: len(blocks)]):
            raise Unusable("the server answered with other blocks than were asked for")
        self.blocks_down += len(blocks)
        return blocks


def _quoted(name: bytes) -> str:
    """A name for a path: every byte that is not unreserved, percent-encoded; dots too, or "." would be removed."""
    return quote(name, safe="").replace(".", "%2E")


def _framed(body: bytes) -> list[tuple[BlockId, bytes]]:
    """Each block as 32 bytes of id, 4 bytes of length (big-endian), its bytes."""
    blocks: list[tuple[BlockId, bytes]] = []
    at, head = 0, BLOCK_ID_BYTES + 4
    while at < len(body):
        length = int.from_bytes(body[at + BLOCK_ID_BYTES : at + head], "big")
        sealed = body[at + head : at + head + length]
        if len(sealed) != length or at + head > len(body):
            raise Unusable("the server's answer was cut short")
        blocks.append((BlockId(body[at : at + BLOCK_ID_BYTES]), sealed))
        at += head + length
    return blocks
