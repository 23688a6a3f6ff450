"""How a mount hangs on its server: it begins with it or without it, parts from it, joins it again, and leaves.

Owns the session and the outbox, and the order in which the parts of a mount turn from one state to the other. Which one
it is, ``Reach`` says; when it turns, ``Session`` and ``Outbox`` find out.

Invariants:

- what is remembered for the next mount (``TreeFile``) is the server's word, without what was done apart;
- the kernel is told of what is outdated only after open files have been detached from it;
- the server's word goes again, in one step, when all that was done apart is there.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping, Set
from functools import partial
from typing import Final

import trio

from backend.apart import Apart
from backend.errors import Offline
from backend.outbox import Outbox
from backend.reach import Reach
from backend.remote import WorkspaceRemote
from backend.replay import Moved
from backend.session import Clock, Session
from backend.tree import Outdated, Tree
from backend.treefile import TreeFile
from protocol.ids import JournalId, NodeId, Seq
from protocol.messages.batches import AnyAnswer
from protocol.messages.changes import AnyChange

CACHE_TIMEOUT_MARGIN_S: Final = 0.2

REMEMBERED_EVERY_S: Final = 30.0
"""What is known of the tree is written down so often while it changes: a mount that begins after a crash and without
its server shows nothing that is older. With 100,000 nodes it takes 0.2 s."""

log = logging.getLogger(__name__)


class Attachment:
    """One mount's."""

    def __init__(
        self,
        remote: WorkspaceRemote,
        direct: WorkspaceRemote,
        reach: Reach,
        tree: Tree,
        apart: Apart,
        memory: TreeFile,
        journal: JournalId,
        answered: Callable[[AnyChange, AnyAnswer, Seq | None], None],
        detach: Callable[[Outdated], None],
        rejoined: Callable[[Mapping[NodeId, Moved], Set[NodeId]], None],
        clock: Clock,
        new_session: type[Session],
    ) -> None:
        """Calls of ``remote`` end when the mount parts from its server, those of ``direct`` don't.

        Without a checkpoint, ``answered`` takes each answer to a change, ``detach`` what is outdated, and ``rejoined``
        what became at the server of what was done apart.
        """
        self._reach = reach
        self._tree = tree
        self._apart = apart
        self._memory = memory
        self._detach = detach
        self._rejoined = rejoined
        self._outdated: Callable[[Outdated], Awaitable[None]] | None = None
        self.session = new_session(direct, tree, journal, reach, self._part, clock)
        self.outbox = Outbox(
            remote,
            journal,
            reach,
            apart,
            self.session.absorb_answer,
            answered,
            partial(self.tell, Outdated(names=True)),
            self._rejoin,
            self.session.note_apart,
        )

    async def begin(self, *, reached: bool) -> None:
        """Take up what an earlier mount knew and kept, and begin a session at the server.

        Where the server was not ``reached``, or changes are left that it must have first, the mount works apart; a
        strict one sends them here. Raises DriveError.
        """
        snapshot = await self._memory.load()
        if snapshot is not None:
            self.session.take_up(snapshot)
        self._apart.take_up()
        if reached:
            try:
                if self._reach.strict or len(self._apart) == 0:
                    await self._settle_earlier()
                    self.outbox.begin((await self.session.join()).last_number)
                    return
            except Offline:  # It was there a moment ago.
                if self._reach.strict:
                    raise
        self._reach.part()

    async def _settle_earlier(self) -> None:
        """Let the server have what an earlier mount left. Raises DriveError."""
        if not self._apart.is_settled:
            await self._apart.replay.send_all()
            self._apart.settle()

    async def remember(self) -> None:
        """Until cancelled, write down what is known, for a mount after a crash. What is done apart the journal has."""
        written: Seq | None = None
        while True:
            await trio.sleep(REMEMBERED_EVERY_S)
            if not self._reach.apart and self._tree.applied != written:
                written = self._tree.applied
                self._memory.save_soon(self._tree.snapshot())

    async def leave(self) -> None:
        """The kernel holds nothing of the mount any more: remember what is known, and say goodbye to the server."""
        if not self._reach.apart:
            await self._memory.save(self._tree.snapshot())
        await self.session.leave()

    def cache_timeout_s(self) -> float:
        """How long the kernel may keep names and attributes: 0 without a lease."""
        return max(0.0, self.session.lease_left_s() - CACHE_TIMEOUT_MARGIN_S)

    def connect(self, outdated: Callable[[Outdated], Awaitable[None]]) -> None:
        """``outdated`` tells the kernel from now on."""
        self._outdated = outdated

    async def tell(self, what: Outdated) -> None:
        """This is outdated, to open files and to the kernel."""
        self._detach(what)
        if self._outdated is not None:
            await self._outdated(what)

    def _part(self) -> None:
        """The lease is over and the server can't be reached. No checkpoint."""
        log.warning("the server can't be reached: what is done here is kept, and sent when it answers again")
        self._memory.save_soon(self._tree.snapshot())  # As it is without what is done apart.
        self._reach.part()
        self.outbox.part()

    async def _rejoin(self) -> None:
        """All that was done apart is at the server. No checkpoint before its word goes again."""
        moved, stranded = self._apart.replay.moved, self._apart.replay.stranded
        self._rejoined(moved, stranded)
        touched = self._apart.settle()
        self._reach.join()
        log.info("all that was done here is at the server")
        await self.tell(Outdated(frozenset(touched), frozenset(moved) | stranded, names=True))
