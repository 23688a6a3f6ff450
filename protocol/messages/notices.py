"""Notices: what each committed change outdated.

Invariants:

- the notices of a ``Notices`` are in order of ``seq``, without gaps, and end at its ``seq``;
- a notice names all that who has cached the tree has to drop, and carries nothing that could be cached instead.
"""

from __future__ import annotations

from protocol.ids import NOBODY, NodeId, OriginId, Seq
from protocol.messages.nodes import State
from protocol.messages.texts import EntryName
from protocol.messages.wire import Message


class Touched(Message, array_like=True, frozen=True):
    """A node that a change outdated. ``content`` says whether its content changed, and not its attributes alone."""

    node: NodeId
    content: bool = False


class TouchedEntry(Message, array_like=True, frozen=True):
    """A name whose meaning a change outdated."""

    parent: NodeId
    name: EntryName


class Notice(Message, frozen=True):
    """One committed change: what it outdated, and of which session it is."""

    seq: Seq
    what: str
    """The change's tag, or "restore" and the like: for logs and people."""
    origin: OriginId = NOBODY
    nodes: list[Touched] = []
    entries: list[TouchedEntry] = []
    state: State | None = None
    """Of a file that was created (pending) or committed (uploaded)."""


class Notices(Message, frozen=True):
    """Changes after a number. ``seq`` is the last one's, or the head where there are none. ``reset`` says that the log
    does not reach back so far, or that there are too many: drop everything, and go on from ``seq``."""

    seq: Seq
    notices: list[Notice] = []
    reset: bool = False
