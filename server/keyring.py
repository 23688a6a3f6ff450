"""The server's master key, and the workspace keys that it opens.

Owns ``DATA/master-key`` (32 bytes, mode 0600). Who has that file and the database can read everything: back it up
apart from them.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Final

from cachetools import LRUCache

from protocol import keys
from protocol.ids import WorkspaceId
from protocol.keys import KEY_BYTES, WorkspaceKeys, WrongKey

CACHED: Final = 1_024


class Keyring:
    """Wraps and unwraps workspace keys."""

    def __init__(self, master_key: bytes) -> None:
        self._master_key = master_key
        self._working: LRUCache[bytes, WorkspaceKeys] = LRUCache(CACHED)

    def wrap(self, workspace: WorkspaceId, key: bytes) -> bytes:
        """A workspace key, for the database."""
        return keys.wrap(key, self._master_key, workspace)

    def unwrap(self, workspace: WorkspaceId, wrapped: bytes) -> bytes:
        """The workspace key; raises WrongKey."""
        return keys.unwrap(wrapped, self._master_key, workspace)

    def working_keys(self, workspace: WorkspaceId, wrapped: bytes, key_id: int) -> WorkspaceKeys:
        """The keys derived from a workspace key; raises WrongKey."""
        found = self._working.get(wrapped)
        if found is None:
            found = self._working[wrapped] = keys.derive(self.unwrap(workspace, wrapped), key_id)
        return found


def load_or_create(path: Path) -> Keyring:
    """The keyring of a data folder; raises WrongKey where the file is not a master key."""
    with contextlib.suppress(FileNotFoundError):
        key = path.read_bytes()
        if len(key) != KEY_BYTES:
            raise WrongKey(f"{path} is not a master key: it has {len(key)} bytes, not {KEY_BYTES}")
        return Keyring(key)
    key = keys.new_key()
    write_secret(path, key)
    return Keyring(key)


def write_secret(path: Path, content: bytes) -> None:
    """Write a file that only its owner may read, so that a crash leaves it whole or not at all."""
    temporary = path.with_name(path.name + ".new")
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        os.write(fd, content)
        os.fsync(fd)
    finally:
        os.close(fd)
    temporary.rename(path)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
