"""Putting a ``Drive`` together: from an address, a token and a cache folder to a workspace that can be mounted."""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from backend.blockcache import BlockCache
from backend.blocks import Blocks
from backend.drive import Drive
from backend.errors import LocalFailure, NotFound
from backend.http import HttpxClient
from backend.journal import Journal
from backend.overlay import Overlay
from backend.remote import IMPATIENT, PATIENT, Account, Caller, Patience, Standing, WorkspaceRemote
from backend.threads import WorkerThreads
from backend.upload import Uploader
from protocol import keys
from protocol.ids import new_session_id
from protocol.manifest import Manifest
from protocol.messages import Role, Workspace

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
    strict: bool = False,
    patience: Patience = PATIENT,
) -> AsyncIterator[Drive]:
    """A drive whose server has answered; ``Drive.run`` makes it live. Raises DriveError."""
    async with HttpxClient(url, ca_file) as http:
        account = Account(Caller(http, token, IMPATIENT))
        await account.health()
        chosen = await account.workspace(choose(await account.workspaces(), workspace).id)
        with Journal(_folder(cache_dir, "journal")) as journal:
            remote = WorkspaceRemote(Caller(http, token, patience), chosen.id, Standing(new_session_id()))
            threads = WorkerThreads(WORKERS)
            cache = BlockCache(_folder(cache_dir, "blocks"), cache_bytes)
            await threads.run(cache.load)
            working_keys = keys.derive(chosen.key, chosen.key_id)
            blocks = Blocks(remote, cache, working_keys, threads)
            numbers = itertools.count(time.time_ns())

            def new_overlay(base: Manifest) -> Overlay:
                return Overlay(base, journal.overlays / f"{next(numbers):x}")

            drive = Drive(
                remote,
                journal,
                blocks,
                Uploader(remote, blocks, cache, working_keys, threads),
                new_overlay,
                time.time_ns,
                workspace=chosen,
                read_only=read_only or chosen.role is Role.VIEWER,
                strict=strict,
            )
            await drive.join()
            yield drive


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


def _folder(parent: Path, name: str) -> Path:
    folder = parent / name
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        if not os.access(folder, os.W_OK | os.X_OK):
            raise PermissionError(13, "not writable")
    except OSError as error:
        raise LocalFailure(f"the cache folder {parent} can't be used: {error.strerror}", error.errno or 5) from None
    return folder
