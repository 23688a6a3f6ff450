from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import pytest
import trio
from msgspec.structs import replace

from backend.errors import Offline
from backend.keys import Keys, for_server, working_keys
from backend.threads import InlineThreads
from protocol.ids import WorkspaceId
from protocol.keys import derive, derive_end_to_end
from protocol.messages.accounts import Role, Workspace
from protocol.sealing import seal, unseal
from tests.backend.memory_remote import MemoryKeys

T = TypeVar("T")

KEYS = derive(bytes(range(32)))


async def test_a_key_is_remembered_before_it_seals() -> None:
    remote = MemoryKeys()
    remote.add(2, bytes(32))
    remembered: list[tuple[Workspace, int]] = []
    keys = Keys(KEYS, remote, InlineThreads(), lambda told: remembered.append((told, keys.now.key_id)))
    await keys.learn()
    assert remembered == [(remote.told, 1)]
    assert keys.now.key_id == 2


async def test_what_is_remembered_has_the_last_key_however_long_an_earlier_one_takes(autojump_clock: object) -> None:
    class SlowAtFirst(InlineThreads):
        """Whose first piece of work takes longer than the next one."""

        delay_s = 1.0

        async def run(self, work: Callable[[], T]) -> T:
            delay_s, self.delay_s = self.delay_s, 0.0
            await trio.sleep(delay_s)
            return work()

    remote = MemoryKeys()
    remote.add(2, bytes(32))
    remembered: list[int] = []
    keys = Keys(KEYS, remote, SlowAtFirst(), lambda told: remembered.append(told.key_id))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(keys.learn)
        await trio.testing.wait_all_tasks_blocked()
        remote.add(3, bytes(32))
        nursery.start_soon(keys.learn)
    assert (keys.now.key_id, remembered[-1]) == (3, 3)


async def test_where_nothing_was_added_nothing_is_remembered() -> None:
    remembered: list[Workspace] = []
    keys = Keys(KEYS, MemoryKeys(), InlineThreads(), remembered.append)
    await keys.learn()
    assert (keys.now, remembered) == (KEYS, [])


async def test_the_server_is_asked_before_sealing_where_it_has_said_that_there_is_a_later_key() -> None:
    remote = MemoryKeys()
    remote.add(2, bytes(32))
    keys = Keys(KEYS, remote, InlineThreads())
    await keys.learn_to_seal()
    assert remote.questions == 0
    remote.key_id = 2
    await keys.learn_to_seal()
    await keys.learn_to_seal()
    assert (keys.now.key_id, remote.questions) == (2, 1)


async def test_without_the_server_the_last_known_key_seals() -> None:
    remote = MemoryKeys()
    remote.key_id, remote.failure = 2, Offline("the server can't be reached")
    keys = Keys(KEYS, remote, InlineThreads())
    await keys.learn_to_seal()
    assert keys.now.key_id == 1
    with pytest.raises(Offline):
        await keys.learn()


async def test_a_server_that_has_lost_a_key_is_sent_nothing_under_it_and_what_is_here_still_opens() -> None:
    both = derive(bytes(range(32)), {2: bytes(32)})
    block = both.block_id(b"plain")
    remote = MemoryKeys()
    keys = Keys(both, remote, InlineThreads())
    await keys.learn_to_seal()
    sealed = bytes(seal(both, block, b"plain"))
    assert keys.now.key_id == 1
    assert unseal(keys.now, block, sealed) == b"plain"
    assert unseal(KEYS, block, for_server(keys.now, block, sealed)) == b"plain"
    assert for_server(both, block, sealed) == sealed


async def test_no_key_of_an_end_to_end_workspace_is_learnt_from_the_server() -> None:
    remote = MemoryKeys()
    remote.add(2, bytes(32))
    remote.key_id = 2
    remembered: list[Workspace] = []
    known = derive_end_to_end(bytes(range(32)))
    keys = Keys(known, remote, InlineThreads(), remembered.append)
    await keys.learn()
    await keys.learn_to_seal()
    assert (keys.now, remembered) == (known, [])


def test_a_mount_of_an_end_to_end_workspace_works_with_the_keys_of_its_passphrase() -> None:
    told = Workspace(
        WorkspaceId("5" * 32),
        "home",
        "ann",
        Role.OWNER,
        key=bytes(range(32)),
        later_keys={2: bytes(32)},
        end_to_end=True,
    )
    assert working_keys(told) == derive_end_to_end(bytes(range(32)), {2: bytes(32)})


TOLD = Workspace(WorkspaceId("5" * 32), "home", "ann", Role.OWNER, key=bytes(range(32)), end_to_end=True)
END_TO_END = derive_end_to_end(TOLD.key)


async def test_what_was_unlocked_on_this_machine_is_learnt() -> None:
    remote, remembered = MemoryKeys(), [TOLD]
    keys = Keys(END_TO_END, remote, InlineThreads(), recall=lambda: remembered[-1], called="ann/home")
    await keys.learn()
    assert (keys.now, keys.is_behind) == (END_TO_END, False)
    remote.key_id = 2
    await keys.learn_to_seal()
    assert (keys.now.key_id, keys.is_behind) == (1, True)
    assert str(keys.not_unlocked()) == "ann/home has got another key: samedrive workspace unlock ann/home"
    remembered.append(replace(TOLD, later_keys={2: bytes(32)}))
    await keys.learn_to_seal()
    assert (keys.now.key_id, keys.is_behind, remote.questions) == (2, False, 0)


@pytest.mark.parametrize(
    "other",
    [
        replace(TOLD, key=bytes(32), later_keys={2: bytes(32)}),
        replace(TOLD, end_to_end=False, later_keys={2: bytes(32)}),
        replace(TOLD, key=b"", later_keys={2: bytes(32)}),
    ],
    ids=["of another workspace", "of one that the server opens", "of one that is not unlocked"],
)
async def test_other_keys_are_not_taken_for_the_workspace_s(other: Workspace) -> None:
    remote = MemoryKeys()
    remote.key_id = 2
    keys = Keys(END_TO_END, remote, InlineThreads(), recall=lambda: other)
    await keys.learn()
    assert keys.now == END_TO_END


@pytest.mark.parametrize(("key_id", "is_locked"), [(1, False), (2, True), (3, True), (4, False)])
async def test_what_is_under_a_key_that_the_server_knows_of_is_locked(key_id: int, is_locked: bool) -> None:
    """And damaged where it knows of none: it is asked where the last poll may have been before the rotation."""
    remote = MemoryKeys()
    remote.key_id = 2
    remote.told = replace(TOLD, key_id=3)
    assert await Keys(END_TO_END, remote, InlineThreads()).is_locked(key_id) is is_locked
