"""A folder of a hundred thousand names."""

from __future__ import annotations

import pytest
import trio

from protocol.ids import ROOT_NODE, new_node_id
from protocol.messages.changes import Create
from protocol.messages.nodes import Kind
from tests.together.mounted import Machine
from tests.together.world import World

NAMES = 100_000


@pytest.mark.slow
async def test_it_is_listed_whole_and_in_parts(world: World, autojump_clock: trio.abc.Clock) -> None:
    async with Machine(world, "desk").drive() as drive:
        for number in range(NAMES):
            name = f"{number:06}".encode()
            made = Create(1, parent=ROOT_NODE, name=name, node=new_node_id(), kind=Kind.FIFO, mode=0o600, uid=0, gid=0)
            drive.outbox.submit_later(made)
        await drive.outbox.wait_idle()
    async with Machine(world, "laptop").mounted() as kernel:
        names = [name for name, _ in await kernel.listdir("")]
        assert names == [f"{number:06}" for number in range(NAMES)]
        await kernel.unlink("050000")
        assert len(await kernel.listdir("")) == NAMES - 1
