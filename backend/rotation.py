"""Another key for an end-to-end workspace, by its owner: made here, and what is stored is sealed anew here.

The server takes part as it can: it keeps the envelope, says which blocks are under older keys, and exchanges each for
what it is sent. So the whole can be interrupted anywhere and gone on with.

Invariant: a block is sealed anew only from bytes that its id is the hash of.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Final

import trio
from msgspec.structs import replace

from backend.account import Account
from backend.errors import DriveError, NotFound, Refused
from backend.threads import Threads
from backend.workspacekey import keys_of
from protocol.ids import BlockId, WorkspaceId
from protocol.keys import WorkspaceKeys, new_key
from protocol.limits import READ_MANY_BLOCKS
from protocol.messages.accounts import Workspace
from protocol.passphrase import enclose
from protocol.sealing import CorruptBlock, UnknownKey, seal, unseal

AT_ONCE: Final = 6
"""Blocks under way, of at most 12 MiB each: as it came, opened, and sealed anew."""


@dataclass(slots=True)
class Resealed:
    """What became of the blocks under other keys than the last."""

    done: int = 0
    damaged: int = 0
    """The server was told: it has devices that have their content send them again."""
    locked: int = 0
    """Under keys that aren't known here."""


async def add_key(account: Account, opened: Workspace, passphrase: str, threads: Threads) -> Workspace:
    """Give a workspace a key after its last one, in an envelope for this passphrase; returns it with all its keys.

    ``opened`` has those that are known, which may be more than the server has an envelope with: then it was restored
    from a backup, and gets these back, since what they sealed may be stored there, or on devices. Raises DriveError.
    """
    keys = keys_of(opened)
    added = 1 + max(opened.key_id, *keys)
    keys[added] = new_key()
    envelope = await threads.run(partial(enclose, keys, passphrase, opened.id))
    found = opened
    while found.key_id < added:
        try:
            await account.add_key(found.id, found.key_id, envelope, found.envelope)
        except Refused:
            if (await account.workspace(found.id)).envelope != envelope:
                raise  # Else the answer to it was lost, and it came twice.
        found = await account.workspace(found.id)
    return replace(found, key=opened.key, later_keys={**opened.later_keys, added: keys[added]})


async def reseal(
    account: Account,
    workspace: WorkspaceId,
    keys: WorkspaceKeys,
    threads: Threads,
    note: Callable[[int], None],
) -> Resealed:
    """Seal anew all that is stored under other keys than the last. ``note`` is told how many are done. Raises
    DriveError with some of it done."""
    resealed = Resealed()
    places = trio.CapacityLimiter(AT_ONCE)
    troubles: list[DriveError] = []
    damaged: list[BlockId] = []

    async def one(block: BlockId) -> None:
        try:
            async with places:
                sealed = await account.block(workspace, block)
                anew = await threads.run(partial(_anew, keys, block, sealed))
                await account.put_anew(workspace, block, anew)
            resealed.done += 1
        except NotFound:
            pass  # It is gone, with what it was in.
        except UnknownKey:
            resealed.locked += 1
        except CorruptBlock:
            damaged.append(block)
        except DriveError as error:
            troubles.append(error)
            nursery.cancel_scope.cancel()
        note(resealed.done)

    after, more = BlockId(b""), True
    while more and not troubles:
        page = await account.old_blocks(workspace, after)
        async with trio.open_nursery() as nursery:
            for block in page.blocks:
                nursery.start_soon(one, block)
        for at in range(0, len(damaged), READ_MANY_BLOCKS):
            await account.report_damaged(workspace, damaged[at : at + READ_MANY_BLOCKS])
        resealed.damaged += len(damaged)
        damaged.clear()
        after, more = page.blocks[-1] if page.blocks else after, page.more
    if troubles:
        raise troubles[0]
    return resealed


def _anew(keys: WorkspaceKeys, block: BlockId, sealed: bytes) -> bytearray | bytes:
    return seal(keys, block, unseal(keys, block, sealed))
