"""Random requests to a server in this process, those of mounts included: each is answered, and none with a 5xx.

Bodies are made from the message types, of values that mean something here and of some that can't; now and then one
value or byte is something else. After all of them the invariants of the workspace's rows hold.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from random import Random
from typing import Any, Final, NamedTuple, cast

import httpx
import msgspec
import trio
import trio.testing
from msgspec import inspect
from starlette.routing import Mount, Route

from protocol import manifest as manifests
from protocol.manifest import Manifest, Piece
from protocol.messages.batches import Batch
from protocol.messages.blocks import BlockList
from protocol.messages.sessions import SESSION_HEADER, Join
from protocol.messages.wire import JSON, MSGPACK, Message
from server import tus
from server.app import create_app
from server.describing import Operation
from server.metadata import invariants
from tests.server.world import Client, World, a_world

REQUESTS: Final = 400
"""Of one seed."""

_OF_MOUNTS: Final[dict[str, type[Message]]] = {
    "POST /workspaces/{workspace}/changes": Batch,
    "POST /workspaces/{workspace}/join": Join,
    "POST /workspaces/{workspace}/blocks/missing": BlockList,
    "POST /workspaces/{workspace}/blocks/read": BlockList,
}
_WEIGHTS: Final = {"POST /workspaces/{workspace}/changes": 40}

_NUMBERS: Final = (0, 1, 2, 3, 100, 101, 102, 103, 255, 4096, 1 << 31, 1 << 32, (1 << 62) - 1, 1 << 62, 1 << 63, -1)
_NODES: Final = (1, 100, 101, 102, 103, 104)
_NAMES: Final = (b"a", b"b", b"c", b"d", b"", b".", b"..", b"a/b", b"\0", b"\xff", b"x" * 255, b"x" * 256)
_TEXTS: Final = (
    "a",
    "b",
    "a/b",
    "c",
    "",
    "/",
    "..",
    "%2F",
    "%FF",
    "%",
    "\0",
    "\u202e",
    "x" * 300,
    "-1",
    "1e999",
    "nan",
)
_OCTETS: Final = (b"", b"a", bytes(16), bytes(32), b"\xff" * 32, bytes(4096))
_QUERIES: Final = (
    "after", "limit", "generation", "version", "wait_s", "q", "recursive", "parents", "replace", "before", "download",
)  # fmt: skip
_HOSTILE: Final[Sequence[object]] = (None, -1, (1 << 64) - 1, 1.5, "", "x", b"", [], {}, [[]], {"a": 1}, True, "\ud7ff")


class Door(NamedTuple):
    """A request below /v1: its method, its path, and what it takes."""

    method: str
    path: str
    takes: type[Message] | None


def doors() -> list[Door]:
    """Those of workspaces and uploads: what an account is for is too dear to ask for often (passwords), or ends it."""
    mount = next(each for each in create_app(cast(Any, None)).routes if isinstance(each, Mount))
    found: list[Door] = []
    for route in mount.routes:
        if not isinstance(route, Route) or "{workspace}" not in route.path:
            continue
        takes = route.description.takes if isinstance(route, Operation) else None
        for method in sorted(route.methods or ()):
            body = _OF_MOUNTS.get(f"{method} {route.path}", takes if isinstance(takes, type) else None)
            found.append(Door(method, route.path, body))
    return found


class Making:
    """Values for messages, as builtins that can be encoded."""

    def __init__(self, random: Random, client: Client) -> None:
        self._random = random
        self._client = client
        pieces, self.blocks = [], []
        for plain in (b"hello", bytes(5000), bytes(range(256))):
            block, sealed = client.sealed(plain)
            pieces.append(Piece(block, len(plain)))
            self.blocks.append([block, sealed])
        self._manifests = [manifests.encode(Manifest.of(pieces[:count])) for count in range(4)]

    def body(self, takes: type[Message]) -> bytes:
        """Encoded as MessagePack."""
        made = self._of(inspect.type_info(takes), "")
        if self._random.random() < 0.15:
            made = self._damaged(made)
        encoded = msgspec.msgpack.encode(made)
        return self.bytes_damaged(encoded) if self._random.random() < 0.1 else encoded

    def bytes_damaged(self, given: bytes) -> bytes:
        """With another byte, or cut, or longer."""
        at = self._random.randrange(len(given) + 1)
        new = self._random.randbytes(self._random.choice((0, 1, 1, 8)))
        return given[:at] + new + given[at + self._random.choice((0, len(new), len(given))) :]

    def _of(self, kind: inspect.Type, field: str) -> Any:
        random = self._random
        match kind:
            case inspect.StructType():
                return self._struct(kind)
            case inspect.Metadata():
                return self._of(kind.type, field)
            case inspect.UnionType():
                return self._of(random.choice(kind.types), field)
            case inspect.ListType() | inspect.VarTupleType():
                return [self._of(kind.item_type, field) for _ in range(random.choice((0, 1, 1, 2, 3)))]
            case inspect.DictType():
                return {}
            case inspect.EnumType():
                return random.choice(list(kind.cls)).value
            case inspect.LiteralType():
                return random.choice(kind.values)
            case inspect.BoolType():
                return random.random() < 0.5
            case inspect.FloatType():
                return random.choice((0.0, 0.5, -1.0, 1e300))
            case inspect.NoneType():
                return None
            case inspect.IntType():
                return self._number(field)
            case inspect.BytesType():
                return self._octets(field)
            case inspect.StrType():
                return random.choice(_TEXTS)
        raise TypeError(f"no values for {kind}")

    def _struct(self, kind: inspect.StructType) -> Any:
        if kind.cls.__name__ == "SealedBlock" and self._random.random() < 0.9:
            return list(self._random.choice(self.blocks))
        made = {field.encode_name: self._of(field.type, field.name) for field in kind.fields}
        if kind.array_like:
            return list(made.values())
        return made if kind.tag is None else {kind.tag_field: kind.tag, **made}

    def _number(self, field: str) -> int:
        if field == "first" and self._random.random() < 0.9:
            return self._client.next_number
        if field in {"base", "version", "others"} and self._random.random() < 0.9:
            return self._random.randrange(3)
        return self._random.choice(_NODES if self._random.random() < 0.9 else _NUMBERS)

    def _octets(self, field: str) -> bytes:
        if field in {"journal", "session"} and self._random.random() < 0.9:
            return self._client.journal if field == "journal" else self._client.session
        if field == "id" and self._random.random() < 0.9:
            return b""
        if field == "manifest":
            given = self._random.choice(self._manifests)
            return self.bytes_damaged(given) if self._random.random() < 0.2 else given
        if field == "blocks" and self._random.random() < 0.5:
            return bytes(self._random.choice(self.blocks)[0])
        return self._random.choice(_OCTETS if self._random.random() < 0.1 else _NAMES)

    def _damaged(self, made: Any) -> Any:
        """With one value that is of no kind that is expected there."""
        keys = list(made) if isinstance(made, dict) else list(range(len(made))) if isinstance(made, list) else []
        if not keys or self._random.random() < 0.2:
            return self._random.choice(_HOSTILE)
        key = self._random.choice(keys)
        made[key] = self._damaged(made[key])
        return made


class Attack:
    """One seed's requests."""

    def __init__(self, random: Random, client: Client) -> None:
        self._random = random
        self._client = client
        self._making = Making(random, client)
        self._doors = doors()
        self._weights = [_WEIGHTS.get(f"{door.method} {door.path}", 1) for door in self._doors]

    async def one(self) -> tuple[Door, httpx.Response]:
        """A random request and its answer."""
        [door] = self._random.choices(self._doors, self._weights)
        response = await self._client.http.request(
            door.method, f"/v1{self._path(door)}", headers=self._headers(door), content=self._body(door)
        )
        if door.takes is Batch and response.status_code == 200:
            self._client.next_number = 1 + (await self._last_number())
        return door, response

    async def _last_number(self) -> int:
        path = f"/v1/workspaces/{self._client.workspace}/journals/{self._client.journal.hex()}"
        answer = await self._client.http.get(path, headers={"Authorization": f"Bearer {self._client.token}"})
        return int(answer.json()["last_number"])

    def _path(self, door: Door) -> str:
        random = self._random
        text, node = httpx.QueryParams({"": random.choice(_TEXTS)}), str(random.choice((*_NODES, *_NUMBERS)))
        path = door.path.replace("{workspace}", self._client.workspace)
        for name, value in {
            "{path:path}": random.choice(("a", "b", "a/b", "", "%FF", "..", "a//b", "%2F", "%")),
            "{node}": node,
            "{name}": str(text)[1:] or "a",
            "{block}": random.choice((*(block.hex() for block, _ in self._making.blocks), "00", "x" * 64)),
            "{journal}": random.choice((self._client.journal.hex(), "00" * 16, "00", "x")),
            "{user}": "bob",
            "{link}": random.choice(("0" * 16, "x")),
            "{upload}": random.choice(("0" * 32, "x")),
        }.items():
            path = path.replace(name, value)
        asked = random.sample(_QUERIES, random.choice((0, 0, 1, 2)))
        given = (*_TEXTS, *map(str, _NUMBERS))
        return path + (f"?{httpx.QueryParams({name: random.choice(given) for name in asked})}" if asked else "")

    def _headers(self, door: Door) -> dict[str, str]:
        random = self._random
        headers = {"Authorization": f"Bearer {self._client.token}", "Accept": random.choice((MSGPACK, JSON))}
        if door.takes is not None:
            headers["Content-Type"] = random.choice((MSGPACK,) * 9 + (JSON,))
        if random.random() < 0.3:
            numbers = [str(random.choice((0, 1, 5, *_NUMBERS))) for _ in range(2)]
            headers[SESSION_HEADER] = " ".join([self._client.session.hex(), *numbers])
        if door.path.startswith("/tus"):
            headers[tus.RESUMABLE] = tus.VERSION
            headers["Content-Type"] = tus.OFFSET_OCTETS
        for name in random.sample(("Range", "If-Match", "If-None-Match", "If-Range", *_TUS_HEADERS), 2):
            headers[name] = random.choice(_HEADER_VALUES)
        return headers

    def _body(self, door: Door) -> bytes | None:
        if door.takes is not None:
            return self._making.body(door.takes)
        if door.method not in {"PUT", "PATCH", "POST"}:
            return None
        sealed = bytes(self._random.choice(self._making.blocks)[1])
        return self._making.bytes_damaged(sealed) if self._random.random() < 0.3 else sealed


_TUS_HEADERS: Final = (tus.LENGTH, tus.OFFSET, tus.METADATA, "Upload-Defer-Length", "Upload-Concat", "Upload-Checksum")
_HEADER_VALUES: Final = (
    "", "0", "1", "-1", "99999999999999999999", "bytes=0-0", "bytes=5-1,2-", "bytes=-", "*", '"x"', "partial", "final;",
    "filename YQ==", "path Li4=", "filename !", "sha1 AAAA", "crc32 AAAAAA==", "x" * 500,
)  # fmt: skip


def check(seed: int, requests: int = REQUESTS) -> Counter[int]:
    """How often each status was answered; raises an AssertionError that names the request that broke the server."""
    return trio.run(_check, seed, requests, clock=trio.testing.MockClock(autojump_threshold=0))


async def _check(seed: int, requests: int) -> Counter[int]:
    async with a_world() as world:
        client = await (await world.user("ada")).join()
        attack, statuses = Attack(Random(seed), client), Counter[int]()
        for _ in range(requests):
            door, response = await attack.one()
            assert response.status_code < 500, _said(seed, door, response)
            statuses[response.status_code] += 1
        await _check_rows(world, client)
        return statuses


async def _check_rows(world: World, client: Client) -> None:
    await world.metadata.read(lambda tx: invariants.check(tx, client.workspace))


def _said(seed: int, door: Door, response: httpx.Response) -> str:
    return f"seed {seed}: {door.method} {response.request.url} is answered {response.status_code}: {response.text}"
