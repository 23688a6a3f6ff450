"""How a ``Drive`` is put together of its parts, real ones or a simulation's.

Knows which part is given which; opens nothing and starts nothing.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Final

from backend.apart import Apart
from backend.blockcache import BlockCache
from backend.blocks import Blocks
from backend.caller import IMPATIENT, PATIENT, Caller, Patience
from backend.codec import PlainCodec, SealedCodec
from backend.compaction import Compaction
from backend.drive import Drive
from backend.http import Http
from backend.journal import Journal
from backend.keys import Keys, working_keys
from backend.overlay import Overlay
from backend.ownblocks import OwnBlocks, ReachedBlocks
from backend.reach import Reach
from backend.remote import WorkspaceRemote
from backend.session import Clock, Session, boottime_s
from backend.standing import Standing
from backend.threads import Threads
from backend.tree import Tree
from backend.treefile import TreeFile
from backend.upload import Uploader
from protocol.ids import NO_CHANGE, NodeId, Seq, SessionId, new_node_id, new_session_id
from protocol.manifest import Manifest
from protocol.messages.accounts import Role, Workspace
from protocol.sealednames import NameSealer

FOLDERS: Final = ("journal", "own", "blocks")
"""Of a cache folder."""


@dataclass(frozen=True, slots=True)
class Sources:
    """Where a drive has time, randomness and new ids from, and which classes keep the lease's rules."""

    clock: Clock = boottime_s
    now_ns: Callable[[], int] = time.time_ns
    random: Random = field(default_factory=Random)
    new_session: Callable[[], SessionId] = new_session_id
    new_node: Callable[[], NodeId] = new_node_id
    remote: type[WorkspaceRemote] = WorkspaceRemote
    tree: Callable[[Seq], Tree] = Tree
    session: type[Session] = Session


@dataclass(frozen=True, slots=True)
class Kept:
    """What lies in a mount's cache folder, below which ``FOLDERS`` have been made."""

    journal: Journal
    own: OwnBlocks
    cache: BlockCache
    memory: TreeFile

    @classmethod
    def below(cls, folder: Path, journal: Journal, cache_bytes: int, threads: Threads) -> Kept:
        """With a block cache that has still to be loaded."""
        disk = journal.disk
        return cls(
            journal,
            OwnBlocks(disk, folder / "own"),
            BlockCache(disk, folder / "blocks", cache_bytes),
            TreeFile(disk, folder / "tree", threads),
        )


def assemble(
    http: Http,
    token: str,
    workspace: Workspace,
    kept: Kept,
    threads: Threads,
    reach: Reach,
    *,
    read_only: bool = False,
    patience: Patience = PATIENT,
    sources: Sources | None = None,
    remember: Callable[[Workspace], None] | None = None,
    recall: Callable[[], Workspace | None] | None = None,
) -> Drive:
    """A drive of these parts; with the machine's own clocks and randomness where there are no other sources.

    ``workspace`` has its keys, also where they came in an envelope. ``remember`` keeps it, where it has got another
    key, for a mount that begins without the server, and ``recall`` reads what was kept.
    """
    sources = sources or Sources()
    standing = Standing(sources.new_session())
    derived = working_keys(workspace)
    codec = SealedCodec(NameSealer(derived.names_key)) if derived.end_to_end else PlainCodec()
    remote = sources.remote(Caller(http, token, patience, sources.random, reach), workspace.id, standing, codec)
    direct = sources.remote(Caller(http, token, IMPATIENT, sources.random), workspace.id, standing, codec)
    known = Keys(derived, remote, threads, remember, recall, f"{workspace.owner}/{workspace.name}")
    journal, own, cache = kept.journal, kept.own, kept.cache
    reached = ReachedBlocks(remote, own, reach, threads)
    blocks = Blocks(reached, cache, known, threads)
    tree = sources.tree(NO_CHANGE)
    numbers = itertools.count(sources.now_ns())

    def new_overlay(base: Manifest) -> Overlay:
        return Overlay(base, journal.disk, journal.overlays / f"{next(numbers):x}")

    return Drive(
        remote,
        direct,
        reach,
        tree,
        Apart(direct, tree, journal, own, cache, known, threads),
        kept.memory,
        journal,
        Compaction(journal, threads),
        blocks,
        Uploader(reached, blocks, cache, known, threads),
        threads,
        new_overlay,
        sources.now_ns,
        sources.clock,
        workspace=workspace,
        read_only=read_only or workspace.role is Role.VIEWER,
        new_session=sources.session,
        new_node=sources.new_node,
    )
