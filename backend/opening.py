"""Putting a ``Drive`` together: from an address, a token and a cache folder to a workspace that can be mounted."""

from __future__ import annotations

import itertools
import os
import random
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from backend import credentials
from backend.account import Account
from backend.apart import Apart
from backend.blockcache import BlockCache
from backend.blocks import Blocks
from backend.caller import IMPATIENT, PATIENT, Caller, Patience
from backend.disk import Disk, RealDisk, make_folders
from backend.drive import Drive
from backend.errors import LocalFailure, NotFound, Offline
from backend.http import Http, HttpxClient
from backend.journal import Journal
from backend.overlay import Overlay
from backend.ownblocks import OwnBlocks, ReachedBlocks
from backend.reach import Reach
from backend.remote import WorkspaceRemote
from backend.session import Clock, boottime_s
from backend.standing import Standing
from backend.threads import Threads, WorkerThreads
from backend.tree import Tree
from backend.treefile import TreeFile
from backend.upload import Uploader
from protocol import keys
from protocol.ids import Seq, new_session_id
from protocol.manifest import Manifest
from protocol.messages.accounts import Role, Workspace

WORKERS = 3
"""Threads for cutting, hashing, sealing and opening blocks: two cores' worth and one that waits for the disk."""


@asynccontextmanager
async def open_drive(
    *,
    url: str,
    token: str,
    ca_file: Path | None,
    workspace: str | None,
    cache_dir: Path,
    cache_bytes: int,
    read_only: bool,
    remembered: Path,
    strict: bool = False,
    patience: Patience = PATIENT,
) -> AsyncIterator[Drive]:
    """A drive that ``Drive.run`` makes live. Raises DriveError.

    Where the server can't be reached, a workspace that was mounted before is opened as it is ``remembered`` (a file, of
    this person alone), unless ``strict``.
    """
    async with HttpxClient(url, ca_file) as http:
        try:
            chosen, reached = await _asked(http, token, workspace), True
            if not strict:
                credentials.remember_workspace(remembered, chosen)
        except Offline:
            known = None if strict else credentials.remembered_workspace(remembered)
            if known is None:
                raise
            chosen, reached = known, False
        disk, threads = RealDisk(), WorkerThreads(WORKERS)
        with Journal(disk, _folder(disk, cache_dir, "journal")) as journal:
            cache = BlockCache(disk, _folder(disk, cache_dir, "blocks"), cache_bytes)
            await threads.run(cache.load)
            drive = assemble(
                http,
                token,
                chosen,
                journal,
                OwnBlocks(disk, _folder(disk, cache_dir, "own")),
                cache,
                TreeFile(disk, cache_dir / "tree", threads),
                threads,
                Reach(strict=strict),
                read_only=read_only,
                patience=patience,
            )
            await drive.begin(reached=reached)
            yield drive


async def _asked(http: HttpxClient, token: str, workspace: str | None) -> Workspace:
    """The workspace that is meant, with its key."""
    account = Account(Caller(http, token, IMPATIENT))
    await account.health()
    return await account.workspace(choose(await account.workspaces(), workspace).id)


def assemble(
    http: Http,
    token: str,
    workspace: Workspace,
    journal: Journal,
    own: OwnBlocks,
    cache: BlockCache,
    memory: TreeFile,
    threads: Threads,
    reach: Reach,
    *,
    read_only: bool = False,
    patience: Patience = PATIENT,
    clock: Clock = boottime_s,
    now_ns: Callable[[], int] = time.time_ns,
    random_source: random.Random | None = None,
) -> Drive:
    """A drive of these parts; real ones or a simulation's."""
    standing = Standing(new_session_id())
    remote = WorkspaceRemote(Caller(http, token, patience, random_source, reach), workspace.id, standing)
    direct = WorkspaceRemote(Caller(http, token, IMPATIENT, random_source), workspace.id, standing)
    working_keys = keys.derive(workspace.key, workspace.key_id)
    reached = ReachedBlocks(remote, own, reach, threads)
    blocks = Blocks(reached, cache, working_keys, threads)
    tree = Tree(Seq(0))
    numbers = itertools.count(now_ns())

    def new_overlay(base: Manifest) -> Overlay:
        return Overlay(base, journal.disk, journal.overlays / f"{next(numbers):x}")

    return Drive(
        remote,
        direct,
        reach,
        tree,
        Apart(direct, tree, journal, own, cache, working_keys, threads),
        memory,
        journal,
        blocks,
        Uploader(reached, blocks, cache, working_keys, threads),
        new_overlay,
        now_ns,
        clock,
        workspace=workspace,
        read_only=read_only or workspace.role is Role.VIEWER,
    )


def choose(workspaces: list[Workspace], wanted: str | None) -> Workspace:
    """The workspace called NAME or OWNER/NAME, or the default one; raises NotFound with the choices."""
    if wanted is None:
        found = [workspace for workspace in workspaces if workspace.default]
    else:
        found = [
            workspace
            for workspace in workspaces
            if wanted in (workspace.name, f"{workspace.owner}/{workspace.name}", workspace.id)
        ]
    names = ", ".join(sorted(f"{workspace.owner}/{workspace.name}" for workspace in workspaces)) or "none"
    match found:
        case [one]:
            return one
        case []:
            what = "default workspace" if wanted is None else f"workspace {wanted!r}"
            raise NotFound(f"there is no {what} for this user; there are: {names}")
        case _:
            raise NotFound(f"{wanted!r} can mean several workspaces; say OWNER/NAME, one of: {names}")


def _folder(disk: Disk, parent: Path, name: str) -> Path:
    folder = parent / name
    try:
        make_folders(disk, folder)
        if not os.access(folder, os.W_OK | os.X_OK):
            raise PermissionError(13, "not writable")
    except OSError as error:
        raise LocalFailure(f"the cache folder {parent} can't be used: {error.strerror}", error.errno or 5) from None
    return folder
