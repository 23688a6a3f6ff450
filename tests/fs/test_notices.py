"""What the kernel is told to drop."""

from __future__ import annotations

import trio
import trio.testing

from backend.threads import InlineThreads
from backend.tree import Outdated
from fs.inodes import Inodes
from fs.notices import Notices
from protocol.ids import NodeId

FILE, FOLDER = NodeId(7), NodeId(8)


class FakeKernel:
    def __init__(self, *, has_epoch: bool = True) -> None:
        self.has_epoch = has_epoch
        self.names_dropped = 0
        self.attributes_dropped: list[int] = []
        self.not_yet = 0
        """How often it says that it doesn't know an inode."""

    def forget_calls(self) -> None:
        self.names_dropped = 0
        self.attributes_dropped.clear()

    def drop_names(self) -> bool:
        self.names_dropped += self.has_epoch
        return self.has_epoch

    def drop_attributes(self, number: int) -> bool:
        if self.not_yet:
            self.not_yet -= 1
            return False
        self.attributes_dropped.append(number)
        return True


def lease_left_s() -> float:
    return 9.0


def known(inodes: Inodes, node: NodeId, *, is_file: bool) -> None:
    inodes.told(inodes.peek(node, is_file=is_file))


async def test_attributes_are_dropped_of_inodes_that_the_kernel_knows() -> None:
    kernel, inodes = FakeKernel(), Inodes()
    known(inodes, FOLDER, is_file=False)
    await Notices(kernel, inodes, InlineThreads(), lease_left_s, use_epoch=True).tell(
        Outdated(attributes=frozenset({FOLDER, NodeId(99)}))
    )
    assert kernel.attributes_dropped == [FOLDER]


async def test_names_go_all_at_once() -> None:
    kernel = FakeKernel()
    notices = Notices(kernel, Inodes(), InlineThreads(), lease_left_s, use_epoch=True)
    before = kernel.names_dropped
    await notices.tell(Outdated(names=True))
    assert kernel.names_dropped == before + 1


async def test_a_kernel_without_epochs_keeps_no_names() -> None:
    assert not Notices(FakeKernel(has_epoch=False), Inodes(), InlineThreads(), lease_left_s, use_epoch=True).keeps_names
    assert not Notices(FakeKernel(), Inodes(), InlineThreads(), lease_left_s, use_epoch=False).keeps_names
    assert Notices(FakeKernel(), Inodes(), InlineThreads(), lease_left_s, use_epoch=True).keeps_names


async def test_a_new_version_of_a_file_retires_its_inode_and_a_folder_keeps_its_own() -> None:
    kernel, inodes = FakeKernel(), Inodes()
    known(inodes, FILE, is_file=True)
    known(inodes, FOLDER, is_file=False)
    await Notices(kernel, inodes, InlineThreads(), lease_left_s, use_epoch=True).tell(
        Outdated(contents=frozenset({FILE, FOLDER}))
    )
    assert inodes[FILE].retired
    assert not inodes[FOLDER].retired


async def test_an_inode_whose_first_look_up_is_on_its_way_is_told_again(autojump_clock: trio.testing.MockClock) -> None:
    kernel, inodes = FakeKernel(), Inodes()
    known(inodes, FILE, is_file=True)
    kernel.not_yet = 3
    await Notices(kernel, inodes, InlineThreads(), lease_left_s, use_epoch=True).tell(
        Outdated(attributes=frozenset({FILE}))
    )
    assert kernel.attributes_dropped == [FILE]


async def test_a_notice_ends_with_the_lease_where_the_kernel_takes_no_notice(
    autojump_clock: trio.testing.MockClock,
) -> None:
    kernel, inodes = FakeKernel(), Inodes()
    known(inodes, FILE, is_file=True)
    kernel.not_yet = 10**6
    notices = Notices(kernel, inodes, InlineThreads(), lease_left_s, use_epoch=True)
    kernel.forget_calls()
    began_s = trio.current_time()
    await notices.tell(Outdated(attributes=frozenset({FILE})))
    assert 9.0 <= trio.current_time() - began_s < 9.1
    assert kernel.names_dropped == 1


async def test_an_inode_that_a_notice_gave_up_is_told_once_the_kernel_knows_it(
    autojump_clock: trio.testing.MockClock,
) -> None:
    kernel, inodes = FakeKernel(), Inodes()
    known(inodes, FILE, is_file=True)
    kernel.not_yet = 10**6
    notices = Notices(kernel, inodes, InlineThreads(), lease_left_s, use_epoch=True)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(notices.run)
        await notices.tell(Outdated(attributes=frozenset({FILE})))
        kernel.not_yet = 3
        await trio.sleep(1)
        nursery.cancel_scope.cancel()
    assert kernel.attributes_dropped == [FILE]


async def test_a_notice_does_not_wait_for_an_inode_that_the_kernel_has_forgotten(
    autojump_clock: trio.testing.MockClock,
) -> None:
    kernel, inodes = FakeKernel(), Inodes()
    known(inodes, FILE, is_file=True)
    kernel.not_yet = 10**6
    began_s = trio.current_time()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(
            Notices(kernel, inodes, InlineThreads(), lease_left_s, use_epoch=True).tell,
            Outdated(attributes=frozenset({FILE})),
        )
        await trio.sleep(1)
        inodes.forget(FILE, 1)
    assert trio.current_time() - began_s < 1.1


async def test_a_reset_retires_every_file_and_drops_every_attribute() -> None:
    kernel, inodes = FakeKernel(), Inodes()
    known(inodes, FILE, is_file=True)
    known(inodes, FOLDER, is_file=False)
    await Notices(kernel, inodes, InlineThreads(), lease_left_s, use_epoch=True).tell(Outdated(everything=True))
    assert inodes[FILE].retired
    assert sorted(kernel.attributes_dropped) == [1, FILE, FOLDER]
