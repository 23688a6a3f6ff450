"""Kernel inode numbers: which node each stands for, and for which version's readers. Pure.

A node's first inode has the node's id as its number. When somebody else commits a new version of a regular file, its
inode is *retired*: the next look-up gives the node a new number, whose page cache is empty, and whoever has the old one
open goes on reading the old version from it. One number can't serve both, for all handles of an inode share its page
cache. The numbers of later inodes have bit 62 set, which node ids never have.

Invariants (``check``): a node has at most one inode that isn't retired; an inode is forgotten when the kernel
has forgotten it as often as it was told of it; the root's never is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from backend.openfile import OpenFile
from protocol.ids import ROOT_NODE, NodeId

_LATER: Final = 1 << 62


@dataclass(slots=True, eq=False)
class Inode:
    """One inode that the kernel may know."""

    number: int
    node: NodeId
    is_file: bool
    """A regular file, which has versions."""
    lookups: int = 0
    retired: bool = False
    file: OpenFile | None = None
    """What its open handles share; None where it has none."""
    handles: int = 0


class Inodes:
    """The table of one mount."""

    def __init__(self) -> None:
        root = Inode(ROOT_NODE, ROOT_NODE, False, lookups=1)
        self._by_number: dict[int, Inode] = {ROOT_NODE: root}
        self._current: dict[NodeId, Inode] = {ROOT_NODE: root}
        self._made = 0

    def __len__(self) -> int:
        return len(self._by_number)

    def __getitem__(self, number: int) -> Inode:
        """The inode that the kernel names; KeyError would be a fault of the kernel's or ours."""
        return self._by_number[number]

    def current(self, node: NodeId) -> Inode | None:
        """The node's inode, if the kernel may know it."""
        return self._current.get(node)

    def peek(self, node: NodeId, *, is_file: bool = False) -> Inode:
        """The inode that answers a look-up of this node; the kernel is not told yet."""
        inode = self._current.get(node)
        if inode is None:
            number = int(node)
            if number in self._by_number:
                self._made += 1
                number = _LATER | self._made
            inode = Inode(number, node, is_file)
            self._current[node] = inode
            self._by_number[number] = inode
        return inode

    def told(self, inode: Inode) -> None:
        """The kernel was told of it once more."""
        inode.lookups += 1

    def forget(self, number: int, times: int) -> None:
        """The kernel forgot it so often."""
        inode = self._by_number.get(number)
        if inode is None:
            return  # Nothing may leave the handler of forget, and there is nothing left to do.
        inode.lookups -= times
        self.drop_unknown(inode)

    def drop_unknown(self, inode: Inode) -> None:
        """Give up an inode that the kernel doesn't know."""
        if inode.lookups > 0 or inode.handles > 0 or inode.node == ROOT_NODE:
            return
        self._by_number.pop(inode.number, None)
        if self._current.get(inode.node) is inode:
            del self._current[inode.node]

    def retire(self, node: NodeId) -> Inode | None:
        """A new version by somebody else: the next look-up gets another inode. Returns the old one."""
        inode = self._current.get(node)
        if inode is None or node == ROOT_NODE:
            return None
        inode.retired = True
        del self._current[node]
        return inode

    def retired(self, node: NodeId) -> Inode:
        """An inode of its own for who has an older version of a file open than others see."""
        current = self._current.pop(node, None)
        inode = self.peek(node, is_file=True)
        self.retire(node)
        if current is not None:
            self._current[node] = current
        return inode

    def all_current(self) -> list[Inode]:
        """Every inode that isn't retired."""
        return list(self._current.values())

    def check(self) -> None:
        """Assert the invariants; for tests."""
        for number, inode in self._by_number.items():
            assert inode.number == number
            assert inode.retired == (self._current.get(inode.node) is not inode)
            assert inode.lookups >= 0
        for node, inode in self._current.items():
            assert inode.node == node
            assert self._by_number[inode.number] is inode
