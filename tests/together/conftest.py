from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import trio

from protocol.keys import new_key
from protocol.messages.accounts import Role
from server.app import create_app
from server.blockcare import BlockCare
from server.blockstore.memory import MemoryBlockStore
from server.keyring import Keyring
from server.leases import Leases
from server.metadata import accounts, pruning
from server.metadata.sqlite import MemoryStore
from server.notifier import Notifier
from server.passwords import Passwords, hash_token, new_token
from server.routes.accounts import new_user
from server.service import Service
from server.threads import in_place
from tests.together.world import LEASE_S, World


@pytest.fixture
async def world() -> AsyncIterator[World]:
    """A server with the user admin, in memory."""
    keyring, store = Keyring(new_key()), MemoryBlockStore()
    async with MemoryStore() as metadata:
        blocks = BlockCare(store, metadata, keyring, trio.CapacityLimiter(2), run_sync=in_place)
        notifier = Notifier()
        service = Service(
            metadata,
            blocks,
            keyring,
            Passwords(),
            notifier,
            Leases(LEASE_S, trio.current_time, notifier.nudge),
            lambda: 1_700_000_000_000_000_000,
        )
        user = await metadata.write(lambda tx: new_user(tx, service, "admin", "no password", is_admin=True))
        (workspace,) = await metadata.read(lambda tx: accounts.list_workspaces(tx, user.id))
        # The same key each time, and so the same cuts.
        wrapped = keyring.wrap(workspace.id, bytes(range(32)))
        await metadata.write(lambda tx: tx.execute("UPDATE workspaces SET wrapped_key = ?", (wrapped,)))

        member = await metadata.write(lambda tx: new_user(tx, service, "member", "no password", is_admin=False))

        async def issue_token(device: str, *, is_owner: bool = True) -> str:
            token, whose = new_token(), user.id if is_owner else member.id
            await metadata.write(lambda tx: accounts.login_device(tx, whose, device, hash_token(token), 0))
            return token

        async def share(role: Role | None) -> None:
            await metadata.write(lambda tx: accounts.share(tx, workspace.id, "member", role))

        async def prune() -> None:
            await metadata.write(lambda tx: pruning.prune(tx, workspace.id, 1 << 62, keep=1))

        yield World(create_app(service), issue_token, share, prune, store, workspace)
