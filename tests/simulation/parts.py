"""Which classes a world is made of: the real ones, but where a mutation hands in a subclass that breaks one rule."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from backend.journal import Journal
from backend.remote import WorkspaceRemote
from backend.session import Session
from backend.tree import Tree
from fs.keeping import Keeping
from protocol.ids import Seq
from server.leases import Leases
from tests.simulation.slowness import Store


@dataclass(frozen=True, slots=True)
class Parts:
    """What a world is made of."""

    leases: type[Leases] = Leases
    store: type[Store] = Store
    tree: Callable[[Seq], Tree] = Tree
    session: type[Session] = Session
    keeping: type[Keeping] = Keeping
    journal: type[Journal] = Journal
    remote: type[WorkspaceRemote] = WorkspaceRemote


REAL: Final = Parts()
