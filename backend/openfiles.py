"""The regular files that programs have open on one mount, and those that are still to be committed.

Owns which ``OpenFile`` stands for a node: opening, making, committing and closing files, and what an earlier mount left
to be committed.

Invariants:

- ``_present`` holds the one ``OpenFile`` of a node's present version while it has handles or is dirty; a file whose
  node got a new version by somebody else is taken out (*detached*) and lives on with its handles;
- a file that could not be committed stays in ``_unsent`` (``unsent``) until it is.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Awaitable, Callable, Mapping, Set
from typing import Final

import trio

from backend.blocks import Blocks
from backend.contents import Contents
from backend.errors import Deferred, DriveError, Offline, Refused
from backend.journal import Journal
from backend.names import Names
from backend.openfile import OpenFile, Services
from backend.outbox import Outbox, Pending
from backend.overlay import Overlay
from backend.reach import Reach
from backend.records import Flushed
from backend.replay import Moved
from backend.session import Session
from backend.siblings import Siblings
from backend.threads import Threads
from backend.tree import Outdated
from backend.unsent import UnsentFiles
from backend.upload import Uploader
from protocol.ids import NodeId, VersionNumber
from protocol.manifest import EMPTY, BadManifest, Manifest
from protocol.messages.batches import Applied
from protocol.messages.changes import AnyChange, Commit, Create, OnClash, Rename, SetAttributes, Unlink
from protocol.messages.nodes import Kind, Node, State

LAST_TRY_S: Final = 1.0
"""For what is still to be sent of a file that failed to be, when its only handle is given up."""

log = logging.getLogger(__name__)


class OpenFiles:
    """One mount's."""

    def __init__(
        self,
        names: Names,
        session: Session,
        outbox: Outbox,
        reach: Reach,
        contents: Contents,
        siblings: Siblings,
        blocks: Blocks,
        uploads: Uploader,
        journal: Journal,
        threads: Threads,
        new_overlay: Callable[[Manifest], Overlay],
        now_ns: Callable[[], int],
        tell: Callable[[Outdated], Awaitable[None]],
    ) -> None:
        """``tell`` detaches what is outdated and tells the kernel."""
        self._names = names
        self._session = session
        self._outbox = outbox
        self._reach = reach
        self._contents = contents
        self._siblings = siblings
        self._journal = journal
        self._tell = tell
        self._present: dict[NodeId, OpenFile] = {}
        self._all: set[OpenFile] = set()
        """Every file that has handles or is dirty, detached ones too."""
        self._unsent = UnsentFiles(reach, names.path_of, self._close_if_unused)
        self._new_versions = 0
        """Counts what may have made one: what was being opened meanwhile may be the version before."""
        self._services = Services(
            blocks=blocks,
            outbox=outbox,
            uploads=uploads,
            journal=journal,
            threads=threads,
            new_overlay=new_overlay,
            now_ns=now_ns,
            committed=self._committed,
            path_of=names.path_of,
            is_shown=lambda file: self._present.get(file.node) is file,
            overtaken=self._overtaken,
            moved=self._moved,
        )

    async def run(self) -> None:
        """Try again what could not be sent, until cancelled."""
        await self._unsent.run()

    def present(self, node: NodeId) -> OpenFile | None:
        """The file of a node's present version, where it is open or still to be committed."""
        return self._present.get(node)

    def dirty(self) -> list[OpenFile]:
        """Those with bytes that are in no committed version."""
        return [file for file in self._all if file.is_dirty]

    # ── handles ──

    async def open(self, node: NodeId) -> OpenFile:
        """A handle of the node's present version; needs a ``release``."""
        if (left := self._present.get(node)) is not None and left.was_left:
            await self._settle_left(left)
        if node in self._present and self._session.lease_left_s() == 0:
            await self._names.attributes(node)  # Where the reply tells of a new version, the file is detached.
        while (file := self._present.get(node)) is None:
            seen = self._new_versions
            row = await self._names.attributes(node)
            if row.kind is not Kind.FILE:
                raise Refused.named("EISDIR" if row.kind is Kind.FOLDER else "EINVAL", "not a regular file")
            manifest = await self._contents.of(row)
            if node not in self._present and seen == self._new_versions:
                self._add(OpenFile(self._services, row, manifest))
                self._siblings.opened(row)
        file.handles += 1
        return file

    async def _settle_left(self, left: OpenFile) -> None:
        """Before a file that an earlier mount left is opened. What is written then has to be over what that mount's
        commit made, if it had arrived, and not beside it."""
        if not self._reach.apart:
            with contextlib.suppress(DriveError):
                if await left.flush_what_was_closed():
                    self._unsent.sent(left)
        with contextlib.suppress(DriveError):
            row = await self._names.attributes(left.node)
            if self._present.get(row.id) is left and left.is_overtaken_by(row):
                await self._overtaken(row.id, row.version)

    async def create(self, change: Create) -> OpenFile:
        """Make a file and open it. Unless another of its name is refused, nobody waits before the first flush."""
        exclusive = change.on_clash is OnClash.REFUSE
        row = Node(
            id=change.node,
            kind=Kind.FILE,
            mode=change.mode,
            uid=change.uid,
            gid=change.gid,
            nlink=1,
            mtime_ns=change.time_ns,
            ctime_ns=change.time_ns,
            atime_ns=change.time_ns,
            state=State.PENDING,
        )
        pending = self._outbox.submit(change) if exclusive else self._outbox.submit_later(change)
        file = OpenFile(self._services, row, EMPTY, created=pending)
        self._present[row.id] = file  # Before the answer: a commit by another device to what was made detaches it.
        if exclusive:
            try:
                await pending.applied()
                file.refresh(await self._names.attributes(row.id))
            except BaseException:
                if self._present.get(row.id) is file:
                    del self._present[row.id]
                raise
        else:
            self._names.creating[change.parent, change.name] = file
        self._all.add(file)
        file.handles += 1
        return file

    async def release(self, file: OpenFile) -> None:
        """A handle is gone. What was dirtied after the last close (through a mapping) is committed.

        Not what a program is in the middle of writing that opens the file meanwhile: its close commits the rest, too.
        """
        file.handles -= 1
        if file.handles == 0 and file.is_dirty:
            with contextlib.suppress(DriveError):  # It is kept.
                await self._flush(file, file.flush_what_was_closed)
        self._close_if_unused(file)

    async def give_up(self, file: OpenFile) -> None:
        """The same for a handle that no program has got, in the time that is left."""
        with trio.move_on_after(LAST_TRY_S, shield=True):
            await self.release(file)

    async def flush(self, file: OpenFile) -> None:
        """Commit what was written; on an error it is kept and sent later."""
        await self._flush(file, file.flush)

    async def _flush(self, file: OpenFile, commit: Callable[[], Awaitable[bool]]) -> None:
        """``commit`` tells whether everything is committed."""
        try:
            is_committed = await self._reach.surely(commit)
        except Deferred as error:
            self._unsent.keep(file, error)
            return
        except DriveError as error:
            self._unsent.keep(file, error)
            raise
        except trio.Cancelled:
            self._unsent.keep(file, Offline("it took too long"))
            raise
        if is_committed:
            self._unsent.sent(file)

    async def flush_all(self) -> None:
        """Commit all that is dirty now; raises the first error when all have been tried."""
        trouble: DriveError | None = None
        for file in self.dirty():
            try:
                await self.flush(file)
            except DriveError as error:
                trouble = trouble or error
            self._close_if_unused(file)
        if trouble is not None:
            raise trouble

    def are_deferred(self) -> bool:
        """Whether any that is dirty waits for the server to say what becomes of it."""
        return self._unsent.are_deferred(self.dirty())

    # ── what the server says ──

    def answered(self, change: AnyChange, answer: Applied) -> None:
        """A change of this mount was applied. No checkpoint."""
        if isinstance(change, SetAttributes) and (file := self._present.get(change.node)) is not None:
            file.settled(change)
        for row in answer.nodes:
            file = self._present.get(row.id)
            if file is None or isinstance(change, Commit):
                continue
            if not file.is_overtaken_by(row):
                file.refresh(row)
            if row.nlink == 0 and isinstance(change, Unlink | Rename):
                file.unlinked_here()

    def detach(self, what: Outdated) -> None:
        """Somebody else made new versions: who opens them from now on gets those. No checkpoint."""
        self._new_versions += 1
        if what.everything:
            self._contents.forget()
        for node in list(self._present) if what.everything else what.contents:
            if (file := self._present.pop(node, None)) is not None:
                file.detached = True

    def rejoined(self, moved: Mapping[NodeId, Moved], stranded: Set[NodeId]) -> None:
        """All that was done apart is at the server, and this became of it: see ``Replay``. No checkpoint."""
        for file in list(self._all):
            file.take_applied()  # Its version is one of those that are told of here.
            if file.node in stranded:
                file.strand()
            became = moved.get(file.node)
            if became is None:
                continue
            if file.stands_on(became.here, became.content):
                file.become(became.row, became.version)
            else:  # Another version of the file, or one whose last commit was put off.
                file.take_deferred(became.row, became.version, became.content)
        self._contents.forget()

    def _committed(self, node: NodeId, version: VersionNumber, manifest: Manifest) -> None:
        self._new_versions += 1
        if not self._reach.apart:  # Rows of what is done apart carry their content, and another may get the number.
            self._contents.keep(node, version, manifest)

    async def _overtaken(self, node: NodeId, version: VersionNumber) -> None:
        present = self._present.get(node)
        if present is None or present.base < version:
            nodes = frozenset({node})
            await self._tell(Outdated(attributes=nodes, contents=nodes, names=True))

    def _moved(self, file: OpenFile, before: NodeId) -> None:
        if self._present.get(before) is file:
            del self._present[before]
        if file.node in self._present:
            file.detached = True  # Who opens the copy goes on getting the one that was opened before.
        elif not file.detached:
            self._present[file.node] = file

    def _add(self, file: OpenFile) -> None:
        self._present[file.node] = file
        self._all.add(file)

    def _close_if_unused(self, file: OpenFile) -> None:
        if file.handles == 0 and not file.is_dirty:
            self._all.discard(file)
            if self._present.get(file.node) is file:
                del self._present[file.node]
            file.close()

    # ── what an earlier mount left ──

    def recover(self) -> None:
        """Take up the commits that an earlier mount of this cache folder left in its journal."""
        for number, record in self._journal.live():
            path = self._names.path_of(record.row.id)
            if not record.synced and record.boot != self._journal.boot:
                # Its close never returned, and which of its bytes survived the power loss nobody knows.
                log.warning("%s: what was being sent when the power went is given up", path)
                self._journal.end(number)
                continue
            try:
                file = OpenFile.recovered(self._services, record, number, self._create_again(record))
            except (OSError, BadManifest, DriveError) as error:
                log.error("%s: what an earlier mount left can't be taken up, its record is kept: %s", path, error)
                continue
            self._add(file)
            self._unsent.take_up(file)

    def _create_again(self, record: Flushed) -> Pending | None:
        return None if record.create is None else self._outbox.submit_later(record.create)
