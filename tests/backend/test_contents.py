from __future__ import annotations

import msgspec
import pytest
import trio
import trio.testing

from backend.contents import Contents
from protocol import manifest as manifests
from protocol.ids import BlockId, NodeId, Seq, VersionNumber
from protocol.limits import INLINE_MANIFEST_PIECES
from protocol.manifest import HOLE, Manifest, Piece
from protocol.messages.nodes import Kind, Node, State
from protocol.messages.tree import ManifestReply

ROW = Node(
    id=NodeId(7),
    kind=Kind.FILE,
    mode=0o644,
    uid=0,
    gid=0,
    nlink=1,
    mtime_ns=1,
    ctime_ns=1,
    atime_ns=1,
    version=VersionNumber(2),
    state=State.UPLOADED,
)


BLOCK = BlockId(bytes(range(32)))
LONG = Manifest.of([Piece(BLOCK, 1)] * (INLINE_MANIFEST_PIECES + 1))


def content(size_bytes: int) -> Manifest:
    return Manifest.of([Piece(HOLE, size_bytes)])


class Remote:
    """Has files of one hole."""

    def __init__(self) -> None:
        self.size_bytes = 1
        self.hold: trio.Event | None = None
        """Where set, an answer is on its way until then."""

    async def manifest(self, node: NodeId, version: VersionNumber) -> ManifestReply:
        size_bytes = self.size_bytes
        if self.hold is not None:
            await self.hold.wait()
        return ManifestReply(Seq(1), node, version, size_bytes, manifests.encode(content(size_bytes)))


@pytest.fixture
def remote() -> Remote:
    return Remote()


@pytest.fixture
def contents(remote: Remote) -> Contents:
    return Contents(remote)


async def test_a_row_s_own_manifest_goes_before_what_is_kept(contents: Contents) -> None:
    contents.keep(ROW.id, ROW.version, LONG)
    row = msgspec.structs.replace(ROW, manifest=manifests.encode(content(2)))
    assert await contents.of(row) == content(2)


async def test_of_what_was_committed_here_only_long_manifests_are_kept(contents: Contents) -> None:
    """A short one is in its version's row: files that come and go by the thousand would fill memory with them."""
    contents.keep(ROW.id, ROW.version, LONG)
    assert await contents.of(ROW) == LONG
    short = Manifest.of([Piece(BLOCK, 1)] * INLINE_MANIFEST_PIECES)
    contents.keep(ROW.id, VersionNumber(3), short)
    assert await contents.of(msgspec.structs.replace(ROW, version=VersionNumber(3))) == content(1)


async def test_what_was_asked_for_once_is_kept(contents: Contents, remote: Remote) -> None:
    await contents.of(ROW)
    remote.size_bytes = 2
    assert await contents.of(ROW) == content(1)


async def test_what_is_forgotten_is_asked_for_again(contents: Contents, remote: Remote) -> None:
    await contents.of(ROW)
    remote.size_bytes = 2
    contents.forget()
    assert await contents.of(ROW) == content(2)


async def test_an_answer_from_before_a_forget_is_not_kept(contents: Contents, remote: Remote) -> None:
    async with trio.open_nursery() as nursery:
        remote.hold = trio.Event()
        nursery.start_soon(contents.of, ROW)
        await trio.testing.wait_all_tasks_blocked()
        contents.forget()
        remote.hold.set()
    remote.size_bytes = 2
    assert await contents.of(ROW) == content(2)
