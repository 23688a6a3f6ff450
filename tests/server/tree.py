"""A workspace's tree for tests of the API without a mount: a mount's client makes files, another asks by paths."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count
from typing import Any

import httpx
import msgspec

from protocol.ids import ROOT_NODE, JournalId, NodeId, SessionId
from protocol.keys import derive
from protocol.messages.accounts import Login, LoginReply, Workspace, Workspaces
from protocol.messages.batches import Applied
from protocol.messages.changes import Create, Rmdir, Unlink
from protocol.messages.items import Item
from protocol.messages.nodes import Kind
from tests.server.world import NOW_NS, Client, commit


class Tree:
    """``client``, who has no session, speaks in JSON as people do; ``maker`` is the same without it."""

    def __init__(self, client: Client, mode: int = 0o640) -> None:
        """``mode`` is that of new files."""
        self.client = client
        self._mode = mode
        self._ids = count(100)
        self._nodes: dict[str, NodeId] = {"": ROOT_NODE}

    async def get(self, path: str) -> httpx.Response:
        return await self.call("GET", path)

    async def call(self, method: str, path: str, body: object = None, **headers: str) -> httpx.Response:
        """A request below the workspace, in JSON."""
        given = {"Authorization": f"Bearer {self.client.token}"} | {
            name.replace("_", "-"): value for name, value in headers.items()
        }
        content = None if body is None else msgspec.json.encode(body)
        url = f"/v1/workspaces/{self.client.workspace}/{path}"
        return await self.client.http.request(method, url, headers=given, content=content)

    async def ask(self, path: str, **query: object) -> Any:
        """The JSON of an answer that is no problem."""
        parts = "&".join(f"{name}={value}" for name, value in query.items())
        return ok(await self.get(f"{path}?{parts}" if parts else path))

    async def item(self, path: str) -> Item:
        return msgspec.json.decode((await self.get(f"items/{path}")).content, type=Item)

    async def names(self, folder: str = "") -> list[str]:
        return [item["name"] for item in (await self.ask(f"folders/{folder}"))["items"]]

    async def folder(self, path: str) -> NodeId:
        """A new folder, by a mount."""
        return await self._create(path, Kind.FOLDER)

    async def file(self, path: str, *contents: bytes) -> NodeId:
        """A new file, by a mount, with a version for each of the contents."""
        node = await self._create(path, Kind.FILE)
        for base, content in enumerate(contents):
            await self._do(commit(self.client, node, content, base))
        return node

    async def write(self, node: NodeId, content: bytes, base: int) -> None:
        await self._do(commit(self.client, node, content, base))

    async def _create(self, path: str, kind: Kind, target: bytes = b"") -> NodeId:
        folder, _, name = path.rpartition("/")
        node = NodeId(next(self._ids))
        mode = 0o750 if kind is Kind.FOLDER else self._mode
        parent = self._nodes[folder]
        await self._do(Create(NOW_NS, parent, name.encode(), node, kind, mode, 7, 8, target=target))
        self._nodes[path] = node
        return node

    async def symlink(self, path: str, target: bytes) -> NodeId:
        return await self._create(path, Kind.SYMLINK, target)

    async def unlink(self, path: str, time_ns: int = NOW_NS) -> None:
        """By a mount."""
        folder, _, name = path.rpartition("/")
        await self._do(Unlink(time_ns, self._nodes[folder], name.encode(), self._nodes[path]))

    async def rmdir(self, path: str, time_ns: int = NOW_NS) -> None:
        """By a mount."""
        folder, _, name = path.rpartition("/")
        await self._do(Rmdir(time_ns, self._nodes[folder], name.encode(), self._nodes[path]))

    async def _do(self, change: Any) -> None:
        [answer] = (await self.client.send(change)).answers
        assert isinstance(answer, Applied), answer


async def new_token(http: httpx.AsyncClient, password: str, device: str) -> str:
    """Of a device of a real server's admin."""
    login = msgspec.json.encode(Login("admin", password, device))
    return msgspec.json.decode((await http.post("/v1/login", content=login)).content, type=LoginReply).token


async def by_a_mount(http: httpx.AsyncClient, password: str, device: str) -> Tree:
    """The default workspace of a real server's admin; files get mode 0o644."""
    token = await new_token(http, password, device)
    ask = {"Authorization": f"Bearer {token}"}
    spaces = msgspec.json.decode((await http.get("/v1/workspaces", headers=ask)).content, type=Workspaces).workspaces
    [space] = [space.id for space in spaces if space.default]
    key = msgspec.json.decode((await http.get(f"/v1/workspaces/{space}", headers=ask)).content, type=Workspace).key
    mount = Client(http, token, space, derive(key), SessionId(bytes(16)), JournalId(bytes(16)))
    return Tree(await (await mount.join()).leave(), mode=0o644)


def ok(response: httpx.Response, *statuses: int) -> Any:
    """The JSON of an answer."""
    assert response.status_code in (statuses or (200, 201)), response.content
    return msgspec.json.decode(response.content)


def paths(items: Sequence[dict[str, Any]]) -> list[str]:
    return [item["path"] for item in items]
