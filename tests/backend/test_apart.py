"""Changes that are kept, and become the server's in order: whatever it answers, and whenever the mount dies."""

from __future__ import annotations

import errno
from collections.abc import Callable
from functools import cache
from random import Random

import pytest
from msgspec.structs import replace

from backend.apart import HELD_MAX_BYTES
from backend.errors import Deferred, DriveError, LocalFailure, NoSpace, Offline, Refused
from backend.replay import REPLAY_BATCH
from backend.upload import PUTS
from protocol import manifest as manifests
from protocol.ids import ROOT_NODE, BatchId, BlockId, NodeId, Seq, VersionNumber
from protocol.keys import WorkspaceKeys, derive
from protocol.manifest import Manifest, Piece
from protocol.messages.batches import AnyAnswer, Applied, Batch, Conflict, MissingBlocks
from protocol.messages.batches import Refused as RefusedAnswer
from protocol.messages.blocks import SealedBlock
from protocol.messages.changes import AnyChange, Commit, Create, OnClash, Rename, SetAttributes, Unlink
from protocol.messages.nodes import Kind, Node
from protocol.messages.tree import Entry
from protocol.sealing import seal, unseal
from tests.backend.parting import KEYS, Device, MemoryReplay
from tests.simulation.disk import ROOT, SimDisk

FILE, OTHER, NEW = NodeId(7), NodeId(8), NodeId(99)
BATCH = BatchId(b"a batch's name  ")


class World:
    """A device that knows two files in the root, and its server."""

    def __init__(self) -> None:
        self.disk = SimDisk(Random(1))
        self.server = MemoryReplay()
        self.device = self.opened()

    def opened(self, keys: WorkspaceKeys = KEYS) -> Device:
        made = Device(self.disk, self.server, keys)
        made.tree.keep_node(row(ROOT_NODE, Kind.FOLDER), Seq(0))
        made.tree.keep_listing(ROOT_NODE, [Entry(b"file", row(FILE)), Entry(b"other", row(OTHER))], Seq(0))
        return made

    def restart(self, how: str = "power_loss") -> None:
        self.disk = getattr(self.disk, how)()
        self.device = self.opened()
        self.device.apart.take_up()

    async def keep(self, *changes: AnyChange) -> list[AnyAnswer | DriveError]:
        return await self.device.apart.keep(changes)

    async def send_all(self) -> list[AnyChange]:
        """Returns what the server has applied so far."""
        await self.device.apart.replay.send_all()
        assert len(self.device.apart) == 0
        return self.server.applied

    def version(self, node: NodeId) -> int | None:
        known = self.device.tree.node(node)
        return None if known is None else known.version


@pytest.fixture
def world() -> World:
    return World()


def row(node: NodeId, kind: Kind = Kind.FILE, version: int = 1) -> Node:
    return Node(node, kind, 0o644, 0, 0, 1, 0, 0, 0, version=VersionNumber(version))


def chmod(node: NodeId, mode: int = 0o600) -> SetAttributes:
    return SetAttributes(time_ns=1, node=node, mode=mode)


def create(name: bytes = b"new", node: NodeId = NEW) -> Create:
    return Create(time_ns=1, parent=ROOT_NODE, name=name, node=node, kind=Kind.FILE, mode=0o600, uid=0, gid=0)


@cache
def block_of(plain: bytes) -> tuple[BlockId, bytes]:
    """The same each time, whatever nonce sealing draws."""
    block = KEYS.block_id(plain)
    return block, bytes(seal(KEYS, block, plain))


def commit(node: NodeId = FILE, base: int = 1, plain: bytes = b"plain", *, inline: bool = True) -> Commit:
    block, sealed = block_of(plain)
    return Commit(
        time_ns=1,
        node=node,
        base=VersionNumber(base),
        size=len(plain),
        manifest=manifests.encode(Manifest.of([Piece(block, len(plain))])),
        mtime_ns=1,
        blocks=[SealedBlock(block, sealed)] if inline else [],
    )


# ── keeping ──


async def test_what_is_kept_is_applied_here_and_survives(world: World) -> None:
    outcomes = await world.keep(create(), commit(NEW, 0), chmod(FILE))
    assert all(isinstance(outcome, Applied) for outcome in outcomes)
    world.restart()
    assert len(world.device.apart) == 3
    assert world.version(NEW) == 1
    assert world.device.apart.nodes() == {ROOT_NODE, NEW, FILE}


async def test_what_is_refused_is_not_kept(world: World) -> None:
    (outcome,) = await world.keep(create(b"file"))
    assert isinstance(outcome, RefusedAnswer)
    assert outcome.errno == "EEXIST"
    assert len(world.device.apart) == 0


async def test_blocks_that_travel_in_a_commit_can_be_read_after_a_restart(world: World) -> None:
    block, sealed = block_of(b"plain")
    await world.keep(commit())
    assert world.device.own.get(block) == sealed
    world.restart()
    assert world.device.own.get(block) == sealed


async def test_beyond_a_bound_they_are_files_of_their_own(world: World) -> None:
    await world.keep(commit())
    world.device.own.held_bytes = HELD_MAX_BYTES
    await world.keep(commit(OTHER, plain=b"much"))
    block, sealed = block_of(b"much")
    assert [len(one.blocks) for _, one in world.device.journal.kept() if isinstance(one, Commit)] == [1, 0]
    world.restart()
    assert world.device.own.get(block) == sealed
    await world.send_all()
    assert world.server.blocks == {block: sealed}


@pytest.mark.parametrize("step", range(1, 4))
async def test_a_change_that_can_not_be_made_durable_has_not_been(world: World, step: int) -> None:
    await world.keep(chmod(FILE, 0o700))
    world.disk.fail_at(world.disk.steps + step, errno.ENOSPC)
    outcomes = await world.keep(create(), chmod(FILE))
    failed = [outcome for outcome in outcomes if isinstance(outcome, LocalFailure)]
    assert failed
    assert {one.errno for one in failed} == {errno.ENOSPC}
    mode = world.device.tree.node(FILE)
    assert mode is not None
    assert mode.mode == (0o700 if isinstance(outcomes[1], LocalFailure) else 0o600)
    assert (world.device.tree.node(NEW) is None) == isinstance(outcomes[0], LocalFailure)
    done = [one for one, outcome in zip((NEW, FILE), outcomes, strict=True) if isinstance(outcome, Applied)]
    assert [change.node for _, change in world.device.journal.kept()] == [FILE, *done]
    assert [change.node for change in await world.send_all()] == [FILE, *done]


async def test_content_over_a_newer_version_is_deferred_and_not_kept(world: World) -> None:
    (outcome,) = await world.keep(commit(base=0))
    assert isinstance(outcome, Deferred)
    assert len(world.device.apart) == 0


async def test_nobody_is_asked_when_it_is_sent(world: World) -> None:
    await world.keep(create(), Unlink(time_ns=1, parent=ROOT_NODE, name=b"file", node=FILE))
    made, removed = await world.send_all()
    assert isinstance(made, Create)
    assert made.on_clash is OnClash.KEEP_BOTH
    assert isinstance(removed, Unlink)
    assert removed.version == 1


# ── sending ──


async def test_changes_arrive_in_order_in_bounded_batches(world: World) -> None:
    for mode in range(2 * REPLAY_BATCH + 1):
        await world.keep(chmod(FILE, mode))
    assert [change.mode for change in await world.send_all() if isinstance(change, SetAttributes)] == list(
        range(2 * REPLAY_BATCH + 1)
    )
    assert [len(batch.changes) for batch in world.server.batches] == [REPLAY_BATCH, REPLAY_BATCH, 1]
    assert [batch.first for batch in world.server.batches] == [1, 1 + REPLAY_BATCH, 1 + 2 * REPLAY_BATCH]


async def test_a_batch_whose_answer_was_lost_is_sent_again_as_it_was(world: World) -> None:
    await world.keep(chmod(FILE))
    world.server.lose_replies = 1
    with pytest.raises(Offline):
        await world.device.apart.replay.send_all()
    await world.keep(chmod(OTHER))
    world.restart()
    assert [change.node for change in await world.send_all()] == [FILE, OTHER]
    assert [len(batch.changes) for batch in world.server.batches] == [1, 1, 1]


async def test_blocks_come_before_the_commits_that_name_them_and_several_at_once(world: World) -> None:
    contents = [b"%d" % number * 100 for number in range(20)]
    for plain in contents:
        world.device.own.put(*block_of(plain))
    for base, plain in enumerate(contents, start=1):
        await world.keep(commit(base=base, plain=plain, inline=False))
    await world.send_all()
    assert world.server.blocks == dict(map(block_of, contents))
    assert world.server.most_puts_at_once == PUTS


async def test_what_the_server_turns_out_to_lack_is_sent_again_behind_its_blocks(world: World) -> None:
    block, sealed = block_of(b"plain")
    world.device.own.put(block, sealed)
    await world.keep(commit(inline=False), chmod(OTHER))
    world.server.script = [MissingBlocks([block])]
    assert [change.node for change in await world.send_all()] == [OTHER, FILE]
    assert world.server.blocks == {block: sealed}


async def test_a_block_that_is_damaged_here_is_taken_from_the_cache(world: World) -> None:
    block, sealed = block_of(b"plain")
    world.device.own.put(block, sealed[:-1] + bytes([sealed[-1] ^ 1]))
    world.device.cache.put(block, sealed)
    await world.keep(commit(inline=False))
    await world.send_all()
    assert world.server.blocks == {block: sealed}


async def test_a_block_under_a_key_that_is_not_known_here_is_sent_when_the_server_was_asked_for_it(
    world: World,
) -> None:
    later = world.server.keys.add(2, b"2" * 32)
    block = KEYS.block_id(b"plain")
    sealed = bytes(seal(later, block, b"plain"))
    world.device.own.put(block, sealed)
    await world.keep(commit(inline=False))
    await world.send_all()
    assert world.server.blocks == {block: sealed}
    assert world.server.keys.questions == 1


async def test_a_block_under_an_unknown_key_is_kept_while_the_server_can_not_be_asked_for_it(world: World) -> None:
    later = world.server.keys.add(2, b"2" * 32)
    block = KEYS.block_id(b"plain")
    world.device.own.put(block, bytes(seal(later, block, b"plain")))
    await world.keep(commit(inline=False))
    world.server.keys.failure = Offline("cut")
    with pytest.raises(Offline):
        await world.device.apart.replay.send_all()
    assert len(world.device.apart) == 1
    world.server.keys.failure = None
    assert len(await world.send_all()) == 1


@pytest.mark.parametrize("inline", [True, False])
async def test_a_block_under_a_key_that_the_server_has_lost_is_sealed_anew(world: World, inline: bool) -> None:
    """A server that was restored from a backup knows no key that was added since, and this device nobody else's."""
    later = derive(bytes(32), {2: b"2" * 32})
    block = later.block_id(b"plain")
    sealed = bytes(seal(later, block, b"plain"))
    world.device.journal.close()
    world.device = world.opened(later)
    world.device.own.put(block, sealed)
    await world.keep(replace(commit(), blocks=[SealedBlock(block, sealed)] if inline else []))
    [sent] = await world.send_all()
    assert isinstance(sent, Commit)
    arrived = sent.blocks[0].sealed if inline else world.server.blocks[block]
    assert unseal(KEYS, block, arrived) == b"plain"


async def test_a_commit_whose_block_nobody_has_stops_nothing_else(world: World) -> None:
    await world.keep(commit(inline=False), chmod(OTHER))
    assert [change.node for change in await world.send_all()] == [OTHER]
    assert not any(isinstance(change, Commit) for batch in world.server.batches for change in batch.changes)


async def test_a_change_that_makes_the_server_refuse_the_batch_stops_nothing_else(world: World) -> None:
    await world.keep(chmod(FILE, 1), chmod(FILE, 2), chmod(FILE, 3))

    def refusal(batch: object) -> DriveError | None:
        modes = [change.mode for change in world.server.batches[-1].changes if isinstance(change, SetAttributes)]
        return Refused.named("EINVAL", "not a mode") if 2 in modes else None

    world.server.refusal = refusal
    assert [change.mode for change in await world.send_all() if isinstance(change, SetAttributes)] == [1, 3]


@pytest.mark.parametrize("trouble", [NoSpace("full"), Offline("gone")])
async def test_trouble_keeps_everything(world: World, trouble: DriveError) -> None:
    await world.keep(chmod(FILE), chmod(OTHER))
    world.server.failure = trouble
    with pytest.raises(type(trouble)):
        await world.device.apart.replay.send_all()
    world.server.failure = None
    assert [change.node for change in await world.send_all()] == [FILE, OTHER]


async def test_content_of_a_file_that_the_server_knows_nothing_of_is_made_anew(world: World) -> None:
    """It was restored from a backup, for instance."""
    await world.keep(commit())
    world.server.script = [RefusedAnswer("ENOENT", "there is no such file")]
    made, content = await world.send_all()
    assert isinstance(made, Create)
    assert (made.node, made.name, made.on_clash) == (FILE, b"file", OnClash.KEEP_BOTH)
    assert isinstance(content, Commit)
    assert (content.base, content.blocks) == (0, commit().blocks)


LOST = RefusedAnswer("ENOENT", "there is no such file")


def contents_of(applied: list[AnyChange]) -> list[tuple[int, bytes]]:
    """Base and content of each commit of FILE that has an inline block."""
    return [
        (change.base, next(plain for plain in (b"1", b"2", b"3", b"4") if block_of(plain)[0] == change.blocks[0].id))
        for change in applied
        if isinstance(change, Commit) and change.node == FILE
    ]


@pytest.mark.parametrize("restarts", [False, True])
async def test_of_a_file_that_the_server_knows_nothing_of_each_version_is_kept(world: World, restarts: bool) -> None:
    await world.keep(commit(base=1, plain=b"1"), *[chmod(OTHER)] * (REPLAY_BATCH - 1))
    await world.keep(commit(base=2, plain=b"2"), commit(base=3, plain=b"3"))
    world.server.script = [LOST, *[Applied(Seq(1))] * (REPLAY_BATCH - 1), LOST, LOST]
    if restarts:
        world.server.refusal = lambda batch: Offline("cut") if len(world.server.batches) == 2 else None
        with pytest.raises(Offline):
            await world.device.apart.replay.send_all()
        world.restart()
    applied = await world.send_all()
    assert [change.node for change in applied if isinstance(change, Create)] == [FILE]
    assert contents_of(applied) == [(0, b"1"), (1, b"2"), (2, b"3")]


async def test_what_is_written_while_a_lost_file_is_made_anew_comes_after_it(world: World) -> None:
    await world.keep(commit(base=1, plain=b"1"), commit(base=2, plain=b"2"))
    world.server.script = [LOST, LOST]
    world.server.refusal = lambda batch: Offline("cut") if len(world.server.batches) == 2 else None
    with pytest.raises(Offline):
        await world.device.apart.replay.send_all()
    await world.keep(commit(base=3, plain=b"3"))
    assert contents_of(await world.send_all()) == [(0, b"1"), (1, b"2"), (2, b"3")]


async def test_content_that_is_refused_once_more_after_its_file_was_made_anew_stops_nothing_else(world: World) -> None:
    await world.keep(commit(), chmod(OTHER))
    world.server.script = [LOST, Applied(Seq(1)), LOST, LOST]
    assert [change.node for change in await world.send_all()] == [OTHER]


@pytest.mark.parametrize("step", range(1, 4))
async def test_content_of_a_lost_file_survives_a_disk_that_fails_meanwhile(world: World, step: int) -> None:
    await world.keep(commit(base=1, plain=b"1"), commit(base=2, plain=b"2"))
    world.server.script = [LOST, LOST]
    world.server.refusal = fail_at_step(world, step)
    with pytest.raises(LocalFailure):
        await world.device.apart.replay.send_all()
    assert contents_of(await world.send_all()) == [(0, b"1"), (1, b"2")]


def fail_at_step(world: World, step: int) -> Callable[[Batch], None]:
    """The disk fails at so manieth change after the first batch has come."""

    def refusal(batch: Batch) -> None:
        if len(world.server.batches) == 1:
            world.disk.fail_at(world.disk.steps + step, errno.EIO)

    return refusal


async def test_nothing_is_learnt_from_answers_that_can_not_be_written(world: World) -> None:
    await world.keep(
        create(), Rename(time_ns=1, node=NEW, parent=ROOT_NODE, name=b"new", new_parent=ROOT_NODE, new_name=b"x")
    )
    world.server.script = [Applied(Seq(1), conflict=Conflict(NEW, ROOT_NODE, b"new (conflict)")), Applied(Seq(2))]
    world.server.refusal = fail_at_step(world, 1)
    with pytest.raises(LocalFailure):
        await world.device.apart.replay.send_all()
    await world.send_all()
    first, again = world.server.batches
    assert first == again


async def test_a_journal_that_the_server_never_heard_of_joins(world: World) -> None:
    await world.keep(chmod(FILE))
    await world.send_all()
    assert world.server.joined


async def test_a_server_that_has_forgotten_a_batch_gets_it_under_other_numbers(world: World) -> None:
    world.server.last = 20
    await world.keep(chmod(FILE))
    world.server.lose_replies = 1
    with pytest.raises(Offline):
        await world.device.apart.replay.send_all()
    world.server = MemoryReplay()  # A backup of before.
    world.server.last = 5
    world.restart()
    assert [change.node for change in await world.send_all()] == [FILE]
    assert world.server.batches[-1].first == 6


async def test_later_changes_follow_what_became_of_earlier_ones_across_a_restart(world: World) -> None:
    await world.keep(*[commit(base=1, plain=b"1")], *[chmod(OTHER)] * (REPLAY_BATCH - 1))
    await world.keep(commit(base=2, plain=b"2"))
    copy = NodeId(500)
    world.server.script = [
        Applied(Seq(9), conflict=Conflict(copy, ROOT_NODE, b"file (conflict)"), version=VersionNumber(1))
    ]
    world.server.refusal = lambda batch: Offline("cut") if len(world.server.batches) == 2 else None
    with pytest.raises(Offline):
        await world.device.apart.replay.send_all()
    world.restart()
    last = (await world.send_all())[-1]
    assert isinstance(last, Commit)
    assert (last.node, last.base) == (copy, 1)


async def test_a_later_mount_shows_what_the_server_has_applied_and_nothing_that_it_refused(world: World) -> None:
    await world.keep(chmod(FILE), chmod(OTHER))
    world.server.script = [Applied(Seq(1)), RefusedAnswer("EPERM", "no")]
    await world.send_all()
    world.restart()
    modes = [known.mode for node in (FILE, OTHER) if (known := world.device.tree.node(node)) is not None]
    assert modes == [0o600, 0o644]


async def test_a_later_mount_shows_nothing_that_was_given_up(world: World) -> None:
    await world.keep(commit(inline=False), chmod(OTHER))
    await world.send_all()
    world.restart()
    assert world.version(FILE) == 1


# ── adopting ──


async def test_an_adopted_batch_is_applied_here_and_sent_again_under_its_numbers(world: World) -> None:
    await world.server.replay(batch_of(world, 1, create()))
    outcomes = await world.device.apart.adopt(1, BATCH, [create()])
    assert [isinstance(outcome, Applied) for outcome in outcomes] == [True]
    world.restart()
    assert [change.node for change in await world.send_all()] == [NEW]
    assert [batch.first for batch in world.server.batches] == [1, 1]


@pytest.mark.parametrize("restarts", [False, True])
async def test_an_adopted_change_that_was_refused_is_sent_again_as_it_is_kept(world: World, restarts: bool) -> None:
    """Whoever asked for it has been told that it is done."""
    world.server.script = [RefusedAnswer("EEXIST", "the name is taken")]
    await world.server.replay(batch_of(world, 1, create()))
    await world.device.apart.adopt(1, BATCH, [create()])
    if restarts:
        world.restart()
    (made,) = await world.send_all()
    assert isinstance(made, Create)
    assert made.on_clash is OnClash.KEEP_BOTH
    assert world.server.batches[-1].first == 2


async def test_of_a_batch_each_change_is_adopted_by_what_those_before_it_did(world: World) -> None:
    await world.device.apart.adopt(1, BATCH, [commit(), Unlink(time_ns=1, parent=ROOT_NODE, name=b"file", node=FILE)])
    _, removed = await world.send_all()
    assert isinstance(removed, Unlink)
    assert removed.version == 2


@pytest.mark.parametrize("step", range(1, 5))
async def test_a_batch_that_can_not_be_adopted_has_not_been(world: World, step: int) -> None:
    world.disk.fail_at(world.disk.steps + step, errno.ENOSPC)
    with pytest.raises(LocalFailure):
        await world.device.apart.adopt(1, BATCH, [create(), chmod(FILE)])
    assert len(world.device.apart) == 0
    assert world.device.journal.sending is None
    assert world.device.tree.node(NEW) is None
    outcomes = await world.device.apart.adopt(1, BATCH, [create(), chmod(FILE)])
    assert all(isinstance(outcome, Applied) for outcome in outcomes)
    assert [change.node for change in await world.send_all()] == [NEW, FILE]


def batch_of(world: World, first: int, *changes: AnyChange) -> Batch:
    return Batch(world.device.journal.id, first, list(changes), id=BATCH)


# ── when all is there ──


async def test_when_all_is_sent_the_local_rows_are_gone_but_for_what_the_answers_said(world: World) -> None:
    await world.keep(create(), commit(NEW, 0))
    world.device.own.put(*block_of(b"large"))
    await world.send_all()
    assert world.device.apart.settle() == {ROOT_NODE, NEW}
    assert world.device.tree.node(NEW) is None
    assert world.device.tree.lookup(ROOT_NODE, b"new") == NEW
    assert world.device.tree.lookup(ROOT_NODE, b"file") == FILE
    assert world.disk.entries(ROOT / "cache" / "own") == []
    world.restart("kill")
    assert world.device.apart.is_settled
