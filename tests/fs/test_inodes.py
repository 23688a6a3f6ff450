"""Which inode number stands for which node."""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from fs.inodes import Inodes
from protocol.ids import ROOT_NODE, NodeId

FILE = NodeId(7)


def test_the_first_inode_of_a_node_has_its_number() -> None:
    assert Inodes().peek(FILE, is_file=True).number == FILE


def test_a_look_up_again_gives_the_same_inode() -> None:
    inodes = Inodes()
    first = inodes.peek(FILE, is_file=True)
    inodes.told(first)
    assert inodes.peek(FILE, is_file=True) is first


def test_who_has_an_older_version_open_than_others_see_gets_an_inode_of_its_own() -> None:
    inodes = Inodes()
    current = inodes.peek(FILE, is_file=True)
    inodes.told(current)
    older = inodes.retired(FILE)
    inodes.told(older)
    inodes.check()
    assert older.retired
    assert inodes.peek(FILE, is_file=True) is current
    assert older.number != current.number


def test_a_new_version_gets_a_new_inode_and_the_old_one_stays_for_who_has_it() -> None:
    inodes = Inodes()
    old = inodes.peek(FILE, is_file=True)
    inodes.told(old)
    inodes.retire(FILE)
    new = inodes.peek(FILE, is_file=True)
    assert new.number != old.number
    assert inodes[old.number] is old
    assert old.retired


def test_what_the_kernel_forgot_is_dropped() -> None:
    inodes = Inodes()
    inode = inodes.peek(FILE, is_file=True)
    inodes.told(inode)
    inodes.told(inode)
    inodes.forget(FILE, 1)
    assert inodes.current(FILE) is inode
    inodes.forget(FILE, 1)
    assert inodes.current(FILE) is None
    assert len(inodes) == 1


def test_the_root_is_never_forgotten() -> None:
    inodes = Inodes()
    inodes.forget(ROOT_NODE, 1)
    assert inodes[ROOT_NODE].node == ROOT_NODE


class Table(RuleBasedStateMachine):
    """Look-ups, retirements and forgets in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.inodes = Inodes()
        self.told: dict[int, int] = {}
        self.numbers: dict[int, int] = {}

    @rule(node=st.integers(2, 5))
    def look_up(self, node: int) -> None:
        inode = self.inodes.peek(NodeId(node), is_file=True)
        self.inodes.told(inode)
        self.told[inode.number] = self.told.get(inode.number, 0) + 1
        assert self.numbers.setdefault(inode.number, node) == node

    @rule(node=st.integers(2, 5))
    def retire(self, node: int) -> None:
        self.inodes.retire(NodeId(node))

    @rule(data=st.data())
    def forget(self, data: st.DataObject) -> None:
        known = sorted(number for number, times in self.told.items() if times)
        if known:
            number = data.draw(st.sampled_from(known))
            times = data.draw(st.integers(1, self.told[number]))
            self.inodes.forget(number, times)
            self.told[number] -= times
            if not self.told[number] and number < 1 << 62:
                del self.numbers[number]

    @invariant()
    def holds(self) -> None:
        self.inodes.check()
        assert len(self.inodes) == 1 + sum(times > 0 for times in self.told.values())


TestTable = Table.TestCase
