from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import trio

from protocol.keys import new_key
from server.app import create_app
from server.blockcare import BlockCare
from server.blockstore.memory import MemoryBlockStore
from server.keyring import Keyring
from server.leases import Leases
from server.metadata import accounts
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

        async def issue_token(device: str) -> str:
            token = new_token()
            await metadata.write(lambda tx: accounts.login_device(tx, user.id, device, hash_token(token), 0))
            return token

        yield World(create_app(service), issue_token, store, workspace)
