"""Opening a ``Drive``: from an address, a token and a cache folder to a workspace that can be mounted."""

from __future__ import annotations

import logging
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

from backend import credentials
from backend.account import Account
from backend.assembly import FOLDERS, Kept, assemble
from backend.caller import IMPATIENT, PATIENT, Caller, Patience
from backend.disk import Disk, RealDisk, make_folders
from backend.drive import Drive
from backend.errors import LocalFailure, NotFound, Offline
from backend.http import HttpxClient
from backend.journal import Journal
from backend.reach import Reach
from backend.threads import WorkerThreads
from backend.workspacekey import keeping, with_key
from protocol.messages.accounts import Workspace

log = logging.getLogger(__name__)

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
    passphrase: str | None = None,
    strict: bool = False,
    patience: Patience = PATIENT,
) -> AsyncIterator[Drive]:
    """A drive that ``Drive.run`` makes live. Raises DriveError.

    Where the server can't be reached, a workspace that was mounted before is opened as it is ``remembered`` (a file, of
    this person alone), unless ``strict``. The key of an end-to-end workspace is there, too, once its ``passphrase`` has
    opened it.
    """
    disk, threads = RealDisk(), WorkerThreads(WORKERS)
    known = credentials.remembered_workspace(remembered)
    async with HttpxClient(url, ca_file) as http:
        remember = None if strict else partial(_remember, remembered)
        try:
            asked = await _asked(http, token, workspace)
        except Offline:
            if known is None or strict:
                raise
            chosen, reached = known, False
        else:
            chosen, reached = await threads.run(lambda: with_key(asked, known, passphrase)), True
            if remember is not None:
                remember(chosen)
        for name in FOLDERS:
            _make_folder(disk, cache_dir, name)
        with Journal(disk, cache_dir / "journal") as journal:
            kept = Kept.below(cache_dir, journal, cache_bytes, threads)
            await threads.run(kept.cache.load)
            drive = assemble(
                http,
                token,
                chosen,
                kept,
                threads,
                Reach(strict=strict),
                read_only=read_only,
                patience=patience,
                remember=remember,
                recall=partial(credentials.remembered_workspace, remembered),
            )
            await drive.begin(reached=reached)
            yield drive


def _remember(path: Path, told: Workspace) -> None:
    try:
        credentials.remember_workspace(path, keeping(told, credentials.remembered_workspace(path) or told))
    except LocalFailure as error:
        log.warning("a mount can't begin without the server: %s", error)


async def needs_passphrase(*, url: str, token: str, ca_file: Path | None, workspace: str | None) -> bool:
    """Whether a workspace is end-to-end encrypted, as far as a server that can be reached says; raises DriveError."""
    async with HttpxClient(url, ca_file) as http:
        try:
            return (await _asked(http, token, workspace)).end_to_end
        except Offline:
            return False


async def _asked(http: HttpxClient, token: str, workspace: str | None) -> Workspace:
    """The workspace that is meant, with its key or its envelope."""
    account = Account(Caller(http, token, IMPATIENT))
    await account.health()
    return await account.workspace(choose(await account.workspaces(), workspace).id)


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


def _make_folder(disk: Disk, parent: Path, name: str) -> None:
    folder = parent / name
    try:
        make_folders(disk, folder)
        if not os.access(folder, os.W_OK | os.X_OK):
            raise PermissionError(13, "not writable")
    except OSError as error:
        raise LocalFailure(f"the cache folder {parent} can't be used: {error.strerror}", error.errno or 5) from None
