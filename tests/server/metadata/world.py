"""One workspace in memory with two devices, and short words for what they do to it."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import count

from msgspec.structs import replace

from protocol import manifest as manifests
from protocol.ids import ROOT_NODE, BlockId, JournalId, NodeId, Seq, SessionId, VersionNumber, WorkspaceId
from protocol.manifest import Manifest, Piece
from protocol.messages.batches import AnyAnswer, Applied, Batch, BatchReply, Refused
from protocol.messages.blocks import SealedBlock
from protocol.messages.changes import (
    AnyChange,
    Commit,
    Create,
    Link,
    OnClash,
    Rename,
    RenameMode,
    Replaced,
    Rmdir,
    Unlink,
)
from protocol.messages.nodes import Kind, Node
from server.metadata import accounts, feed, invariants, tree
from server.metadata.accounts import Caller
from server.metadata.changes import apply_batch
from server.metadata.connection import SqliteTransaction, connect, migrate
from server.metadata.store import Transaction

SPACE = WorkspaceId("ab" * 16)
NOW_NS = 1_767_323_045 * 10**9
"""2026-01-02 03:04:05 UTC."""


class Device:
    """A device's journal: numbers its changes."""

    def __init__(self, world: World, caller: Caller, journal: JournalId) -> None:
        self.world = world
        self.caller = caller
        self.journal = journal
        self.session = SessionId(b"s" + journal[:15])
        self.last_number = 0
        self.seen = Seq(0)

    def send(self, *changes: AnyChange, verified: Mapping[BlockId, int] | None = None) -> BatchReply:
        """The next batch; commits' inline blocks count as verified with as many plain bytes as sealed ones."""
        batch = Batch(self.journal, self.last_number + 1, list(changes), session=self.session)
        reply = self.world.apply(self, batch, verified)
        self.last_number += len(changes)
        return reply

    def do(self, change: AnyChange) -> Applied:
        """One change that must be applied; returns its answer."""
        [answer] = self.send(change).answers
        assert isinstance(answer, Applied), answer
        return answer

    def refused(self, change: AnyChange) -> str:
        """One change that must be refused; returns the errno's name."""
        [answer] = self.send(change).answers
        assert isinstance(answer, Refused), answer
        return answer.errno

    def create(self, name: bytes, kind: Kind = Kind.FILE, parent: NodeId = ROOT_NODE) -> NodeId:
        """A new node's id."""
        change = self.world.creation(name, kind, parent)
        self.do(change)
        return change.node

    def write(self, node: NodeId, content: bytes, base: int = 0) -> Applied:
        """Commit content of one block."""
        return self.do(commit(node, content, base))


class World:
    """The rows, and how tests change and read them."""

    def __init__(self, quota_bytes: int | None = None) -> None:
        self.connection = connect(None)
        migrate(self.connection)
        self.tx: Transaction = SqliteTransaction(self.connection)
        self.now_ns = NOW_NS
        self._ids = count(1 << 32)
        user = accounts.add_user(self.tx, "ann", "hash", admin=False, now_ns=NOW_NS)
        accounts.create_workspace(self.tx, SPACE, user.id, "home", b"key", quota_bytes, is_default=True, now_ns=NOW_NS)
        self.user = user
        self.laptop = self.device("laptop")
        self.desk = self.device("desk")

    def fork(self, device: Device) -> tuple[World, Device]:
        """What a device sees while it is away: the same rows, of its own from now on, and itself in them."""
        fork = World()
        self.connection.backup(fork.connection)
        fork._ids = count(next(self._ids) << 16)
        alone = Device(fork, device.caller, device.journal)
        alone.last_number = device.last_number
        return fork, alone

    def device(self, name: str) -> Device:
        """A device that has joined."""
        token = name.encode()
        accounts.login_device(self.tx, self.user.id, name, token, NOW_NS)
        caller = accounts.caller_of(self.tx, token)
        assert caller is not None
        journal = JournalId(token[:16].ljust(16, b"."))
        feed.join(self.tx, SPACE, caller.device, journal, self.head(), NOW_NS)
        return Device(self, caller, journal)

    def apply(self, device: Device, batch: Batch, verified: Mapping[BlockId, int] | None = None) -> BatchReply:
        """Apply a batch as a store does: undone where it raises."""
        inline = [block for change in batch.changes if isinstance(change, Commit) for block in change.blocks]
        lengths = {block.id: len(block.sealed) for block in inline} if verified is None else verified
        return self.tx.attempt(
            lambda: apply_batch(self.tx, SPACE, device.caller, batch, lengths, device.seen, self.now_ns)
        )

    def new_id(self) -> NodeId:
        return NodeId(next(self._ids))

    def creation(self, name: bytes, kind: Kind = Kind.FILE, parent: NodeId = ROOT_NODE) -> Create:
        target = b"elsewhere" if kind is Kind.SYMLINK else b""
        return Create(self.now_ns, parent, name, self.new_id(), kind, 0o644, 1000, 1000, target=target)

    def node(self, identity: NodeId) -> Node:
        row = tree.node(self.tx, SPACE, identity)
        assert row is not None
        return row

    def named(self, name: bytes, parent: NodeId = ROOT_NODE) -> NodeId | None:
        row = tree.lookup(self.tx, SPACE, parent, name)
        return None if row is None else row.id

    def names(self, parent: NodeId = ROOT_NODE) -> list[bytes]:
        return [entry.name for entry in tree.listing(self.tx, SPACE, parent, b"", 10_000).entries]

    def head(self) -> Seq:
        return tree.head(self.tx, SPACE)

    def check(self) -> None:
        invariants.check(self.tx, SPACE)


def block_id(content: bytes) -> BlockId:
    return BlockId(content[:32].ljust(32, b"#"))


def commit(node: NodeId, content: bytes, base: int = 0, time_ns: int = NOW_NS) -> Commit:
    """A commit of one block, which travels in it; b"" is the empty file."""
    block = block_id(content)
    manifest = Manifest.of([Piece(block, len(content))])
    blocks = [SealedBlock(block, content)] if content else []
    return Commit(time_ns, node, VersionNumber(base), len(content), manifests.encode(manifest), time_ns, blocks)


def unlink(
    name: bytes, node: NodeId, parent: NodeId = ROOT_NODE, version: int | None = None, others: int = 0
) -> Unlink:
    return Unlink(NOW_NS, parent, name, node, None if version is None else VersionNumber(version), others)


def rmdir(name: bytes, node: NodeId, parent: NodeId = ROOT_NODE) -> Rmdir:
    return Rmdir(NOW_NS, parent, name, node)


def link(node: NodeId, name: bytes, parent: NodeId = ROOT_NODE) -> Link:
    return Link(NOW_NS, node, parent, name)


def rename(
    node: NodeId,
    name: bytes,
    new_name: bytes,
    *,
    parent: NodeId = ROOT_NODE,
    new_parent: NodeId = ROOT_NODE,
    mode: RenameMode = RenameMode.REPLACE,
    replaced: tuple[NodeId, int] | None = None,
    others: int = 0,
) -> Rename:
    seen = None if replaced is None else Replaced(replaced[0], VersionNumber(replaced[1]), others)
    return Rename(NOW_NS, node, parent, name, new_parent, new_name, mode, seen)


def clashing(change: Create) -> Create:
    """The same create, which keeps both where its name is taken."""
    return replace(change, on_clash=OnClash.KEEP_BOTH)


def errnos(answers: list[AnyAnswer]) -> list[str]:
    """Errno's name of each refused answer, "" of the others."""
    return [answer.errno if isinstance(answer, Refused) else "" for answer in answers]
