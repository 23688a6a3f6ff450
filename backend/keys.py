"""The keys of the mounted workspace, as far as this mount knows them.

A key that is added while it is mounted is learnt when it is met: when a block is sealed under an id that isn't known
here, or before something is sealed where a poll has said that there is a later one. What is learnt is remembered first,
so that whatever is sealed here can be opened by a mount that begins without its server.

An end-to-end workspace has the keys that its passphrase opened. A server is not asked for others: what came from it
would be a key that it has. Where there is a later one than is known, the passphrase has to open it on this machine once
more (``samedrive workspace unlock``), and what that leaves is read by mounts that run. Until then what the later key
sealed can't be read, and what is written is sealed under the last one that is known here, never under an earlier one.

A server that was restored from a backup may lack keys that are known here. They go on opening what they sealed, and
nothing more is sealed under them: what the server is sent has to open there.

Invariants: keys are only ever added; the one that the server called its last seals, and of an end-to-end workspace the
last one that is known. Who meets an unknown id asks once: what is still unknown then is damaged, or not unlocked.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from typing import Protocol

import trio

from backend.errors import DriveError, NotUnlocked, Unusable
from backend.threads import Threads
from protocol.ids import BlockId
from protocol.keys import WorkspaceKeys, derive, derive_end_to_end
from protocol.messages.accounts import Workspace
from protocol.sealing import key_id_of, seal, unseal

log = logging.getLogger(__name__)


def working_keys(workspace: Workspace) -> WorkspaceKeys:
    """Those of a workspace that has its keys. Raises Unusable."""
    try:
        if workspace.end_to_end:
            return derive_end_to_end(workspace.key, workspace.later_keys)
        return derive(workspace.key, workspace.later_keys, workspace.key_id)
    except ValueError as error:
        raise Unusable(f"the workspace's keys are none: {error}") from None


def for_server(keys: WorkspaceKeys, block: BlockId, sealed: bytes) -> bytes:
    """A sealed block that the server can open: sealed anew where it was under a key that came after its last one.

    Raises CorruptBlock and UnknownKey.
    """
    plain = unseal(keys, block, sealed)
    return bytes(seal(keys, block, plain)) if key_id_of(sealed) > keys.key_id else sealed


class WorkspaceSource(Protocol):
    """Who knows all keys."""

    async def workspace(self) -> Workspace:
        """The workspace with its keys; raises DriveError."""
        ...


class KeysRemote(WorkspaceSource, Protocol):
    """``backend.remote.WorkspaceRemote``."""

    @property
    def key_id(self) -> int:
        """Of the key that seals, as the last poll said."""
        ...


class Keys:
    """One mount's. ``now`` is read from worker threads, too: it is replaced and never changed."""

    def __init__(
        self,
        known: WorkspaceKeys,
        remote: KeysRemote,
        threads: Threads,
        remember: Callable[[Workspace], None] | None = None,
        recall: Callable[[], Workspace | None] | None = None,
        called: str = "WORKSPACE",
    ) -> None:
        """``remember`` keeps what the next mount begins with, and ``recall`` reads that. ``called`` is for people."""
        self.now = known
        self._remote = remote
        self._threads = threads
        self._remember = remember
        self._recall = recall
        self._called = called
        self._asking = trio.Lock()
        self._missed = 0
        """The last key that is known to be unknown here."""

    @property
    def is_behind(self) -> bool:
        """Whether an end-to-end workspace has a later key that isn't known here."""
        return self.now.end_to_end and self._remote.key_id > self.now.key_id

    @property
    def has_news(self) -> bool:
        """Whether there may be keys to learn: the server's last one is another, or (end-to-end) a later one."""
        now = self.now
        return self.is_behind if now.end_to_end else self._remote.key_id != now.key_id

    async def learn(self) -> None:
        """Keys that were added: of the server, or those that were unlocked on this machine; raises DriveError."""
        await self.learn_from(self._remote)

    async def learn_from(self, source: WorkspaceSource) -> None:
        """The same by other calls to the server: those that go on while the mount works apart."""
        async with self._asking:  # Who asked earlier replaces nothing that was learnt later.
            if self.now.end_to_end:
                await self._learn_unlocked()
                return
            told = await source.workspace()
            if told.key_id == self.now.key_id:
                return
            if self._remember is not None:
                await self._threads.run(partial(self._remember, told))
            self.now = working_keys(told).keeping(self.now)
            log.info("new content is sealed under key %d of the workspace from now on", told.key_id)

    async def _learn_unlocked(self) -> None:
        """What the passphrase opened on this machine meanwhile."""
        found = None if self._recall is None else await self._threads.run(self._recall)
        if found is not None and found.end_to_end and found.key:
            keys = working_keys(found)
            if keys.block_id_key == self.now.block_id_key and keys.key_id > self.now.key_id:
                self.now = keys.keeping(self.now)
                log.info("new content is sealed under key %d of the workspace from now on", keys.key_id)
        if self.is_behind and self._remote.key_id > self._missed:
            self._missed = self._remote.key_id
            log.warning("%s", self.not_unlocked())

    async def is_locked(self, key_id: int) -> bool:
        """Whether an end-to-end workspace has a key of this id that isn't known here; raises DriveError.

        What claims to be under one that it hasn't is damaged: a member can have made that.
        """
        if not self.now.end_to_end or key_id <= self.now.key_id:
            return False
        return key_id <= self._remote.key_id or key_id <= (await self._remote.workspace()).key_id

    def not_unlocked(self) -> NotUnlocked:
        """What is to be done where content is under a key that isn't known here."""
        return NotUnlocked(f"{self._called} has got another key: samedrive workspace unlock {self._called}")

    async def learn_to_seal(self) -> None:
        """Before something is sealed. Where the server can't be asked for its last key, the last known one seals."""
        if self.has_news:
            try:
                await self.learn()
            except DriveError as error:
                log.info("the workspace's last key isn't known here: %s", error)
