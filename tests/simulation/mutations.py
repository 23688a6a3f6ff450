"""The rules of leases, each broken alone: what the simulation must find, or it would find nothing.

Each is a subclass of the real thing that leaves one rule out; ``MUTATIONS`` names them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextvars import ContextVar
from typing import Final, TypeVar

import msgspec
import trio

from backend.errors import DriveError
from backend.journal import Journal
from backend.reach import Reach
from backend.remote import WorkspaceRemote
from backend.session import Clock, Session, SessionRemote
from backend.tree import Tree
from fs.keeping import CAP_S, Keeping
from protocol.ids import JournalId, Seq, SessionId, WorkspaceId
from protocol.messages.batches import Applied, Batch, BatchReply, JournalReply
from protocol.messages.changes import Commit
from protocol.messages.notices import Notices
from protocol.messages.sessions import JoinReply, PollReply
from server.leases import Leases, SessionRow
from server.metadata import tree
from server.metadata.store import Transaction, Work
from tests.simulation.parts import Parts
from tests.simulation.server import WORKSPACE
from tests.simulation.slowness import Store

T = TypeVar("T")

_about: ContextVar[str] = ContextVar("about", default="read")
"""What the reply that is being made tells: a new change, an old one once more, a refusal, or the tree."""


class _Telling(Store):
    """Says what the reply will be about."""

    async def read(self, work: Work[T]) -> T:
        try:
            found = await super().read(work)
        except Exception:
            _about.set("error")
            raise
        _about.set("read")
        return found

    async def write(self, work: Work[T]) -> T:
        def told(tx: Transaction) -> T:
            before = tree.head(tx, WORKSPACE.id)
            done = work(tx)
            if isinstance(done, BatchReply):
                if tree.head(tx, WORKSPACE.id) > before:
                    _about.set("commit")
                else:
                    _about.set("retry" if any(isinstance(one, Applied) for one in done.answers) else "error")
            return done

        return await super().write(told)


def _unsettled(about: str) -> Parts:
    """S1 without the wait before replies of one kind."""

    class Hasty(Leases):
        async def settled(self, workspace: WorkspaceId, seq: Seq, asking: SessionId | None) -> None:
            if _about.get() == about:
                await trio.lowlevel.checkpoint()
                return
            await super().settled(workspace, seq, asking)

    return Parts(leases=Hasty, store=_Telling)


class _LateGrant(Leases):
    """S2: the head is read before the grant, and not after."""

    def grant(self, workspace: WorkspaceId, session: SessionId) -> float:
        known = self._sessions.get(workspace, {}).get(session)
        if known is None or known.acknowledged < known.owes:
            return 0.0
        trio.lowlevel.spawn_system_task(self._grant_later, workspace, session)
        return self.lease_s

    async def _grant_later(self, workspace: WorkspaceId, session: SessionId) -> None:
        await trio.sleep(self.lease_s / 2)
        super().grant(workspace, session)


class _Forgetful(Leases):
    """S3: a server that comes back waits for nobody."""

    def recover(self, rows: Iterable[SessionRow]) -> None:
        return


class _EarlyRemote:
    """Renews its session's lease before the session has applied anything."""

    def __init__(self, remote: SessionRemote, renew: Callable[[float, float], None], clock: Clock) -> None:
        self.standing = remote.standing
        self._remote = remote
        self._renew = renew
        self._clock = clock

    @property
    def moves(self) -> int:
        return self._remote.moves

    async def join(self, journal: JournalId, after: Seq | None) -> JoinReply:
        return await self._remote.join(journal, after)

    async def poll(self, wait_s: float) -> PollReply:
        sent_s = self._clock()
        reply = await self._remote.poll(wait_s)
        self._renew(sent_s, reply.lease_s)
        return reply

    async def leave(self) -> None:
        await self._remote.leave()

    async def journal(self, journal: JournalId) -> JournalReply:
        return await self._remote.journal(journal)


class _Early(Session):
    """C2: a renewed lease counts before its answer has been applied."""

    def __init__(
        self,
        remote: SessionRemote,
        tree: Tree,
        journal: JournalId,
        reach: Reach,
        part: Callable[[], None],
        clock: Clock,
    ) -> None:
        super().__init__(remote, tree, journal, reach, part, clock)
        self._remote = _EarlyRemote(remote, self._renew, clock)

    async def _take(self, notices: Notices, *, acknowledge: bool) -> None:
        await trio.sleep(0.3)  # However long it takes: until then the lease must not count.
        await super()._take(notices, acknowledge=acknowledge)


class _Overtaken(Tree):
    """C3: a reply is kept although a change that it doesn't know of has been applied."""

    def _outdated(self, touched: Seq | None, seq: Seq) -> bool:
        return False


class _Timeless(Keeping):
    """C6: the kernel keeps names and attributes past the end of the lease."""

    def attributes_s(self) -> float:
        return CAP_S if super().attributes_s() > 0 else 0.0


class _Overwriting(WorkspaceRemote):
    """Commits name whatever version is the head, and so nothing is compared."""

    async def send(self, batch: Batch) -> BatchReply:
        changes = [await self._on_head(change) if isinstance(change, Commit) else change for change in batch.changes]
        return await super().send(Batch(batch.journal, batch.first, changes))

    async def _on_head(self, change: Commit) -> Commit:
        try:
            reply = await self.node(change.node)
        except DriveError:
            return change
        return msgspec.structs.replace(change, base=reply.node.version)


class _Unsynced(Journal):
    """The journal is written and never synced."""

    def sync(self) -> None:
        return


MUTATIONS: Final[dict[str, Parts]] = {
    "S1 commits": _unsettled("commit"),
    "S1 reads": _unsettled("read"),
    "S1 errors": _unsettled("error"),
    "S1 retries": _unsettled("retry"),
    "S2": Parts(leases=_LateGrant),
    "S3": Parts(leases=_Forgetful),
    "C2": Parts(session=_Early),
    "C3": Parts(tree=_Overtaken),
    "C6": Parts(keeping=_Timeless),
    "compare-and-set": Parts(remote=_Overwriting),
    "fsync": Parts(journal=_Unsynced),
}
