"""Another key for an end-to-end workspace, by its owner: made here, and what is stored is sealed anew here.

The server takes part as it can: it keeps the envelope, says which blocks are under older keys, and exchanges each for
what it is sent. So the whole can be interrupted anywhere and gone on with.

Invariant: a block is sealed anew only from bytes that its id is the hash of.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Final, NamedTuple

import trio

from backend.account import Account
from backend.errors import DriveError, NotFound, Refused
from backend.threads import Threads
from protocol.ids import BlockId, WorkspaceId
from protocol.keys import WorkspaceKeys, new_key
from protocol.messages.accounts import Workspace
from protocol.passphrase import enclose
from protocol.sealing import CorruptBlock, seal, unseal

AT_ONCE: Final = 6
"""Blocks under way, of at most 12 MiB each: as it came, opened, and sealed anew."""


class Resealed(NamedTuple):
    """What became of the blocks under older keys."""

    done: int
    unreadable: int
    """Damaged, lost, or under a key that isn't known here: they stay as they are."""


async def add_key(
    account: Account, found: Workspace, keys: Mapping[int, bytes], passphrase: str, threads: Threads
) -> dict[int, bytes]:
    """Give a workspace a key after its last one; returns all of its keys by their ids. Raises DriveError.

    ``keys`` are those that are known, which may be more than the server has an envelope with: then it was restored
    from a backup, and gets these back, since what they sealed may be stored there, or on devices.
    """
    wanted = dict(keys)
    if max(wanted) <= found.key_id:
        wanted[found.key_id + 1] = new_key()
    envelope = await threads.run(partial(enclose, wanted, passphrase, found.id))
    while found.key_id < max(wanted):
        try:
            await account.add_key(found.id, found.key_id, envelope, found.envelope)
        except Refused:
            if (await account.workspace(found.id)).envelope != envelope:
                raise  # Else the answer to it was lost, and it came twice.
        found = await account.workspace(found.id)
    return wanted


async def reseal(
    account: Account,
    workspace: WorkspaceId,
    keys: WorkspaceKeys,
    threads: Threads,
    note: Callable[[int], None],
) -> Resealed:
    """Seal anew all that is stored under other keys than the last. ``note`` is told how many are done. Raises
    DriveError with some of it done."""
    done = unreadable = 0
    places = trio.CapacityLimiter(AT_ONCE)
    troubles: list[DriveError] = []

    async def one(block: BlockId) -> None:
        nonlocal done, unreadable
        try:
            async with places:
                sealed = await account.block(workspace, block)
                anew = await threads.run(partial(_anew, keys, block, sealed))
                await account.put_anew(workspace, block, anew)
            done += 1
        except (CorruptBlock, NotFound):
            unreadable += 1
        except DriveError as error:
            troubles.append(error)
            nursery.cancel_scope.cancel()
        note(done)

    after, more = BlockId(b""), True
    while more and not troubles:
        page = await account.old_blocks(workspace, after)
        async with trio.open_nursery() as nursery:
            for block in page.blocks:
                nursery.start_soon(one, block)
        after, more = page.blocks[-1] if page.blocks else after, page.more
    if troubles:
        raise troubles[0]
    return Resealed(done, unreadable)


def _anew(keys: WorkspaceKeys, block: BlockId, sealed: bytes) -> bytearray | bytes:
    return seal(keys, block, unseal(keys, block, sealed))
