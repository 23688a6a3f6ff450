"""The server's master key, and the workspace keys that it opens.

A master key lies in a file of 32 bytes, mode 0600 (``masterkey.py`` says which). Who has that file and the database can
read everything: back it up apart from them.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from cachetools import LRUCache

from protocol import keys
from protocol.ids import WorkspaceId
from protocol.keys import FIRST_KEY, KEY_BYTES, WorkspaceKeys, WrongKey

CACHED: Final = 1_024
"""Workspaces whose derived keys are kept: some 300 bytes each."""


class Keyring:
    """Wraps and unwraps workspace keys. Used from several threads: each look-up and each entry is one step."""

    def __init__(self, master_key: bytes) -> None:
        self._master_key = master_key
        self._working: LRUCache[WorkspaceId, WorkspaceKeys] = LRUCache(CACHED)

    def wrap(self, workspace: WorkspaceId, key: bytes) -> bytes:
        """A workspace key, for the database."""
        return keys.wrap(key, self._master_key, workspace)

    def unwrap(self, workspace: WorkspaceId, wrapped: bytes) -> bytes:
        """The workspace key; raises WrongKey."""
        return keys.unwrap(wrapped, self._master_key, workspace)

    def working_keys(self, workspace: WorkspaceId, wrapped: Mapping[int, bytes]) -> WorkspaceKeys:
        """What is derived from all of a workspace's keys, which come by their ids; raises WrongKey."""
        opened = {key_id: self.unwrap(workspace, each) for key_id, each in wrapped.items()}
        return keys.derive(opened.pop(FIRST_KEY), opened)

    def remember(self, workspace: WorkspaceId, working: WorkspaceKeys) -> None:
        """Keep derived keys, on the event loop. Keys are only ever added: what was read before the last one was added
        replaces nothing."""
        known = self._working.get(workspace)
        if known is None or known.key_id < working.key_id:
            self._working[workspace] = working

    def remembered(self, workspace: WorkspaceId) -> WorkspaceKeys | None:
        """The derived keys of a workspace, where they were kept; says nothing of who may use them.

        There may be a later key by now.
        """
        return self._working.get(workspace)


def load(path: Path) -> Keyring | None:
    """The keyring of a data folder, None where it has none yet; raises WrongKey where the file is not a master key."""
    try:
        key = path.read_bytes()
    except FileNotFoundError:
        return None
    if len(key) != KEY_BYTES:
        raise WrongKey(f"{path} is not a master key: it has {len(key)} bytes, not {KEY_BYTES}")
    return Keyring(key)


def create(path: Path) -> Keyring:
    """A keyring with a new master key, which is on the disk when this returns."""
    key = keys.new_key()
    write_secret(path, key)
    return Keyring(key)


def write_secret(path: Path, content: bytes) -> None:
    """Write a file that only its owner may read, so that a crash leaves it whole or not at all."""
    temporary = path.with_name(path.name + ".new")
    temporary.unlink(missing_ok=True)
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with open(fd, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(fd)
    move_secret(temporary, path)


def move_secret(source: Path, path: Path) -> None:
    """Rename a file over another one, so that this is done on the disk, too, when it returns."""
    source.rename(path)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
