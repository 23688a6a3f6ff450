"""From paths to nodes, for who has no mount: the names from the root, one by one.

Symbolic links are not followed: a path means what is in the workspace, whoever asks.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from protocol.ids import ROOT_NODE, NodeId, WorkspaceId
from protocol.messages.nodes import Kind, Node
from server.metadata import tree
from server.metadata.store import Transaction
from server.metadata.tree import NoSuchNode


class Place(NamedTuple):
    """Where a path leads: a name in a folder, and what has it. The root is its own parent, with an empty name."""

    parent: NodeId
    name: bytes
    node: Node | None

    def taken(self) -> Node:
        """What is there; raises NoSuchNode."""
        if self.node is None:
            raise NoSuchNode("there is no such file or folder")
        return self.node


def place(tx: Transaction, workspace: WorkspaceId, names: Sequence[bytes], root: NodeId = ROOT_NODE) -> Place:
    """The place of a path below ``root``; raises NoSuchNode where a folder on the way is not there, or none."""
    found = Place(root, b"", tree.node(tx, workspace, root))
    for name in names:
        folder = found.taken()
        if folder.kind is not Kind.FOLDER or folder.nlink == 0:
            raise NoSuchNode("there is no such folder")
        found = Place(folder.id, name, tree.lookup(tx, workspace, folder.id, name))
    return found
