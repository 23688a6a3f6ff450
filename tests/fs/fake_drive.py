"""An in-memory ``Drive``: the same methods, one tree, no server.

``by_another`` plays another device: it changes the tree and then says what is outdated, as ``Drive.run`` does.
"""

from __future__ import annotations

import itertools
from collections.abc import Awaitable, Callable
from types import SimpleNamespace

import msgspec
import trio

from backend.errors import NotFound, Refused
from backend.status import FileState
from backend.tree import Outdated
from protocol.ids import ROOT_NODE, NodeId, Seq, VersionNumber
from protocol.messages.changes import RenameMode, XattrMode
from protocol.messages.nodes import Kind, Node, xattr_name_to_wire
from protocol.messages.tree import Entry, UsageReply

START_NS = 1_700_000_000_000_000_000


class FakeFile:
    """One version of a file, as its handles see it."""

    def __init__(self, drive: FakeDrive, row: Node, content: bytes, *, created: bool = False) -> None:
        self.handles = 0
        self.detached = False
        self.is_new = created
        self._drive = drive
        self._row = row
        self._content = bytearray(content)
        self._written = created

    @property
    def node(self) -> NodeId:
        return self._row.id

    @property
    def is_dirty(self) -> bool:
        return self._written

    def attributes(self) -> Node:
        row = self._row if self.detached else self._drive.nodes.get(self._row.id, self._row)
        return msgspec.structs.replace(row, size=len(self._content), data_bytes=len(self._content))

    async def read(self, offset: int, length: int) -> bytes:
        await trio.lowlevel.checkpoint()
        return bytes(self._content[offset : offset + length])

    async def write(self, offset: int, data: bytes) -> int:
        await trio.lowlevel.checkpoint()
        self._content.extend(bytes(max(0, offset - len(self._content))))
        self._content[offset : offset + len(data)] = data
        self._written = True
        return len(data)

    async def truncate(self, size: int) -> None:
        await trio.lowlevel.checkpoint()
        self._content = self._content[:size].ljust(size, b"\0")
        self._written = True

    def commit(self) -> None:
        if self._written and not self.detached and self._drive.nodes[self._row.id].nlink:
            self._drive.put(self._row.id, bytes(self._content))
        self._written = self.is_new = False


class FakeDrive:
    """See the head of this module."""

    read_only = False

    def __init__(self, trust_s: float = 10.0, *, strict: bool = False) -> None:
        self.strict = strict
        self.is_apart = False
        self.trust_s = trust_s
        self.nodes: dict[NodeId, Node] = {}
        self.names: dict[NodeId, dict[bytes, NodeId]] = {}
        self.contents: dict[NodeId, bytes] = {}
        self.files: dict[NodeId, FakeFile] = {}
        self.before_answer: Callable[[str], Awaitable[None]] | None = None
        """Called with the operation's name when its answer is made but not returned: what overtakes an answer."""
        self.calls: list[str] = []
        self._numbers = itertools.count(2**32)
        self._ticks = itertools.count(START_NS)
        self._outdated: Callable[[Outdated], Awaitable[None]] | None = None
        self._add(ROOT_NODE, Kind.FOLDER, 0o755, 0, 0)

    # ── what the tree is ──

    def _add(self, node: NodeId, kind: Kind, mode: int, uid: int, gid: int, rdev: int = 0, target: bytes = b"") -> Node:
        now = next(self._ticks)
        row = Node(
            id=node, kind=kind, mode=mode & 0o7777, uid=uid, gid=gid, nlink=2 if kind is Kind.FOLDER else 1,
            mtime_ns=now, ctime_ns=now, atime_ns=now, size=len(target), rdev=rdev, target=target,
        )  # fmt: skip
        self.nodes[node] = row
        if kind is Kind.FOLDER:
            self.names[node] = {}
        if kind is Kind.FILE:
            self.contents[node] = b""
        return row

    def _change(self, node: NodeId, **changes: object) -> Node:
        row = msgspec.structs.replace(self.nodes[node], ctime_ns=next(self._ticks), **changes)
        self.nodes[node] = row
        return row

    def put(self, node: NodeId, content: bytes) -> None:
        self.contents[node] = content
        row = self.nodes[node]
        self._change(
            node, size=len(content), data_bytes=len(content), mtime_ns=next(self._ticks),
            version=VersionNumber(row.version + 1),
        )  # fmt: skip

    def _folder(self, node: NodeId) -> dict[bytes, NodeId]:
        if node not in self.names:
            raise NotFound("no such folder")
        return self.names[node]

    def _named(self, parent: NodeId, name: bytes) -> NodeId:
        node = self._folder(parent).get(name)
        if node is None:
            raise NotFound("no such name")
        return node

    def _unname(self, parent: NodeId, name: bytes) -> None:
        node = self.names[parent].pop(name)
        if not any(node in names.values() for names in self.names.values()):
            self._change(node, nlink=0)  # The server keeps the row, and so the inode lives on in its handles.
            self.names.pop(node, None)

    # ── another device ──

    async def by_another(self, name: bytes, content: bytes) -> None:
        """Another device writes a file in the root, new or not; returns when the kernel has been told."""
        known = self.names[ROOT_NODE].get(name)
        node = NodeId(next(self._numbers)) if known is None else known
        if known is None:
            self._add(node, Kind.FILE, 0o644, 0, 0)
            self.names[ROOT_NODE][name] = node
        if (file := self.files.pop(node, None)) is not None:
            file.detached = True
        self.put(node, content)
        await self.tell(
            Outdated(attributes=frozenset({node, ROOT_NODE}), contents=frozenset({node}), names=known is None)
        )

    async def removed_by_another(self, name: bytes) -> None:
        node = self._named(ROOT_NODE, name)
        self._unname(ROOT_NODE, name)
        await self.tell(Outdated(attributes=frozenset({node, ROOT_NODE}), names=True))

    async def chmod_by_another(self, name: bytes, mode: int) -> None:
        node = self._named(ROOT_NODE, name)
        self._change(node, mode=mode)
        await self.tell(Outdated(attributes=frozenset({node})))

    async def tell(self, what: Outdated) -> None:
        if self._outdated is not None:
            await self._outdated(what)

    async def run(
        self,
        outdated: Callable[[Outdated], Awaitable[None]],
        *,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        self._outdated = outdated
        task_status.started()
        await trio.sleep_forever()

    # ── what fs asks ──

    async def _answering(self, what: str) -> None:
        self.calls.append(what)
        await trio.lowlevel.checkpoint()
        if self.before_answer is not None:
            await self.before_answer(what)

    def cache_timeout_s(self) -> float:
        return self.trust_s

    def watch_traffic(self, moved: Callable[[], None]) -> None:
        self.moved = moved

    def state_of(self, row: Node, file: FakeFile | None) -> FileState:
        return FileState.LOCAL if file is not None and file.is_dirty else FileState.SYNCED

    def path_of(self, node: NodeId) -> str:
        return f"node {node}"

    def status(self) -> SimpleNamespace:
        return SimpleNamespace(sending=[])

    async def lookup(self, parent: NodeId, name: bytes) -> Node | None:
        node = self._folder(parent).get(name)
        row = None if node is None else self._row(node)
        await self._answering("lookup")
        return row

    def _row(self, node: NodeId) -> Node:
        if node not in self.nodes:
            raise NotFound("gone")
        file = self.files.get(node)
        return self.nodes[node] if file is None else file.attributes()

    async def attributes(self, node: NodeId) -> Node:
        row = self._row(node)
        await self._answering("attributes")
        return row

    async def entries(self, folder: NodeId) -> list[Entry]:
        entries = [Entry(name, self._row(node)) for name, node in sorted(self._folder(folder).items())]
        await self._answering("entries")
        return entries

    @property
    def applied(self) -> Seq:
        return Seq(0)

    async def latest(self, row: Node, seq: Seq) -> Node:
        latest = self.nodes.get(row.id, row)
        await self._answering("latest")
        return latest

    async def usage(self) -> UsageReply:
        await self._answering("usage")
        return UsageReply(total_bytes=1 << 30, free_bytes=1 << 29, nodes=len(self.nodes))

    async def open(self, node: NodeId) -> FakeFile:
        row = self._row(node)
        file = self.files.get(node) or FakeFile(self, row, self.contents[node])
        await self._answering("open")
        file = self.files.setdefault(node, file)
        file.handles += 1
        return file

    async def create(self, parent: NodeId, name: bytes, mode: int, uid: int, gid: int, *, exclusive: bool) -> FakeFile:
        if name in self._folder(parent):
            raise Refused.named("EEXIST", "taken")
        row = self._add(NodeId(next(self._numbers)), Kind.FILE, mode, uid, gid)
        self.names[parent][name] = row.id
        file = self.files[row.id] = FakeFile(self, row, b"", created=True)
        file.handles = 1
        await self._answering("create")
        return file

    async def flush(self, file: FakeFile) -> None:
        await self._answering("flush")
        file.commit()

    async def release(self, file: FakeFile) -> None:
        await self._answering("release")
        file.handles -= 1
        if file.handles == 0:
            file.commit()
            if self.files.get(file.node) is file:
                del self.files[file.node]

    async def truncate(self, node: NodeId, size: int) -> Node:
        file = await self.open(node)
        await file.truncate(size)
        await self.flush(file)
        await self.release(file)
        return self._row(node)

    async def make(
        self, parent: NodeId, name: bytes, kind: Kind, mode: int, uid: int, gid: int,
        *, rdev: int = 0, target: bytes = b"",
    ) -> Node:  # fmt: skip
        if name in self._folder(parent):
            raise Refused.named("EEXIST", "taken")
        row = self._add(NodeId(next(self._numbers)), kind, mode, uid, gid, rdev, target)
        self.names[parent][name] = row.id
        await self._answering("make")
        return row

    async def set_attributes(self, node: NodeId, **wanted: int | None) -> Node:
        self._row(node)
        await self._answering("set_attributes")
        return self._change(node, **{name: value for name, value in wanted.items() if value is not None})

    async def link(self, node: NodeId, parent: NodeId, name: bytes) -> Node:
        if name in self._folder(parent):
            raise Refused.named("EEXIST", "taken")
        self.names[parent][name] = node
        await self._answering("link")
        return self._change(node, nlink=self.nodes[node].nlink + 1)

    async def unlink(self, parent: NodeId, name: bytes) -> None:
        self._named(parent, name)
        await self._answering("unlink")
        self._unname(parent, name)

    async def rmdir(self, parent: NodeId, name: bytes) -> None:
        if self.names[self._named(parent, name)]:
            raise Refused.named("ENOTEMPTY", "not empty")
        await self._answering("rmdir")
        self._unname(parent, name)

    async def rename(self, parent: NodeId, name: bytes, new_parent: NodeId, new_name: bytes, mode: RenameMode) -> None:
        node, over = self._named(parent, name), self._folder(new_parent).get(new_name)
        await self._answering("rename")
        if over is not None and mode is RenameMode.NOREPLACE:
            raise Refused.named("EEXIST", "taken")
        if mode is RenameMode.EXCHANGE:
            self.names[parent][name], self.names[new_parent][new_name] = self._named(new_parent, new_name), node
            return
        if over is not None:
            self._unname(new_parent, new_name)
        del self.names[parent][name]
        self.names[new_parent][new_name] = node

    async def set_xattr(self, node: NodeId, name: bytes, value: bytes, mode: XattrMode) -> Node:
        await self._answering("set_xattr")
        return self._change(node, xattrs={**self._row(node).xattrs, xattr_name_to_wire(name): value})

    async def remove_xattr(self, node: NodeId, name: bytes) -> Node:
        wire = xattr_name_to_wire(name)
        if wire not in self._row(node).xattrs:
            raise Refused.named("ENODATA", "no such attribute")
        await self._answering("remove_xattr")
        return self._change(node, xattrs={key: value for key, value in self._row(node).xattrs.items() if key != wire})

    async def leave(self) -> None:
        await trio.lowlevel.checkpoint()

    async def synced(self) -> None:
        await trio.lowlevel.checkpoint()
        for file in list(self.files.values()):
            file.commit()
