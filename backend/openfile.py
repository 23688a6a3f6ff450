"""A regular file that somebody has open: one version of it, and what has been written over it here.

Owns the file's overlay and its commit. Every handle of a node's present version shares one ``OpenFile``, as they share
the kernel's inode. When another device commits a new version, this one is *detached*: its handles go on reading
the version that they opened, and what they write is committed against that version, which the server answers with a
conflict copy.

Invariants:

- one commit of a file is under way at a time, and one that may have reached the server is never followed by another
  until its answer is known;
- what was written stays in the overlay until it is in a committed version.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import msgspec
import trio

from backend.blocks import Blocks, ReadAhead
from backend.errors import Corrupt, Deferred, DriveError, LocalFailure, Offline, Refused
from backend.filerecord import FileRecord
from backend.filerow import FileRow
from backend.journal import Journal
from backend.outbox import Outbox, Pending
from backend.overlay import UNWRITTEN, FromBase, Local, Mark, Overlay
from backend.records import Flushed
from backend.threads import Threads
from backend.upload import Uploaded
from protocol import manifest as manifests
from protocol.ids import NO_VERSION, ROOT_NODE, BlockId, NodeId, VersionNumber
from protocol.manifest import Manifest
from protocol.messages.batches import Applied, MissingBlocks
from protocol.messages.batches import Refused as RefusedAnswer
from protocol.messages.changes import Commit, Create, SetAttributes
from protocol.messages.nodes import Node

COMMIT_TRIES: Final = 5
"""A commit that still names missing blocks after so many uploads is reported: the server loses what it acknowledged."""

log = logging.getLogger(__name__)


class Uploads(Protocol):
    """Sends what an overlay holds."""

    async def upload(self, overlay: Overlay, mark: Mark) -> Uploaded | None:
        """The content's manifest, its blocks being at the server; None where the file was cut meanwhile."""
        ...

    def forget(self, blocks: Sequence[BlockId]) -> None:
        """The server lacks these after all."""
        ...


@dataclass(frozen=True, slots=True)
class Services:
    """What every open file of a mount works with."""

    blocks: Blocks
    outbox: Outbox
    uploads: Uploads
    journal: Journal
    threads: Threads
    new_overlay: Callable[[Manifest], Overlay]
    now_ns: Callable[[], int]
    committed: Callable[[NodeId, VersionNumber, Manifest], None]
    """Called after each commit: the content of the new version is known."""
    path_of: Callable[[NodeId], str]
    """A path for people."""
    is_shown: Callable[[OpenFile], bool]
    """Whether new opens get this file, and the kernel was told its attributes as the node's."""
    overtaken: Callable[[NodeId, VersionNumber], Awaitable[None]]
    """Called after a commit: who opens this node from now on must get that version of it, or a later one."""
    moved: Callable[[OpenFile, NodeId], None]
    """Called after a commit that became a conflict copy, with the node that the file was before."""


@dataclass(slots=True)
class _Commit:
    """A commit that may have reached the server."""

    pending: Pending
    manifest: Manifest
    mark: Mark


class OpenFile:
    """See the head of this module. Made by ``OpenFiles`` alone."""

    def __init__(self, services: Services, row: Node, manifest: Manifest, created: Pending | None = None) -> None:
        """``created`` is the create that has not been answered yet, of a file that was made here."""
        self.handles = 0
        self.detached = False
        self.was_left = False
        """An earlier mount was committing it, and what became of that is not known."""
        self.trouble: DriveError | None = None
        """Why the last commit failed; None when what was written has been committed."""
        self._services = services
        self._row = FileRow(row)
        self._base = row.version
        self._manifest = manifest
        self._overlay: Overlay | None = None
        self._created = created
        self._unlinked = False
        self._commit: _Commit | None = None
        self._deferred: _Commit | None = None
        """One that was put off when the mount parted, and may have reached the server before."""
        self._mark = UNWRITTEN
        """What was written by then has been closed."""
        self._flushing: trio.Event | None = None
        self._record = FileRecord(services.journal, services.threads)
        self._refused_tries = 0
        self._ahead = ReadAhead()

    @classmethod
    def recovered(cls, services: Services, flushed: Flushed, record: int, created: Pending | None) -> OpenFile:
        """The file that an earlier process was about to commit."""
        file = cls(services, flushed.row, manifests.decode(flushed.manifest), created)
        file._overlay = Overlay.recovered(
            file._manifest,
            services.journal.disk,
            services.journal.overlays / flushed.file,
            flushed.size,
            flushed.base_visible,
            flushed.segments,
            flushed.content,
        )
        if not file._overlay.is_whole():
            raise Corrupt("the file of its bytes is shorter than it was")
        file._row.recovered(flushed.mtime_ns, services.now_ns())
        file._record.take_up(record, flushed)
        file._mark = file._overlay.mark()
        file.was_left = True
        return file

    # ── what it is ──

    @property
    def node(self) -> NodeId:
        """Its node; a conflict copy's after a lost compare-and-set."""
        return self._row.node

    @property
    def base(self) -> VersionNumber:
        """The version that it reads, and that what is written is written over."""
        return self._base

    @property
    def made_ns(self) -> int:
        """When it was made, of a file that is new here; 0 of others."""
        return 0 if self._created is None else self._created.change.time_ns

    @property
    def is_new(self) -> bool:
        """Made here, and the server has not said yet that it knows of it."""
        return self._created is not None and self._created.final is None

    @property
    def was_never_taken(self) -> bool:
        """Made here, and the server did not take it: it is sent again with its content."""
        return self._created is not None and isinstance(self._created.final, DriveError)

    @property
    def is_dirty(self) -> bool:
        """Whether something was written that is in no committed version."""
        if self._unlinked:
            return False
        return self._created is not None or (self._overlay is not None and self._overlay.is_dirty)

    @property
    def has_own_times(self) -> bool:
        """Whether its times are what was done here, be that ever committed or not."""
        return self.is_dirty or self._row.mtime_ns is not None

    @property
    def is_being_sent(self) -> bool:
        """Whether a commit is under way."""
        return self._flushing is not None

    def attributes(self) -> Node:
        """Its node as its readers see it, with what was written here."""
        return self._row.shown(self._overlay)

    def refresh(self, row: Node) -> None:
        """The server said this of the node. Content is another matter: the file stays on its version."""
        if not self.detached and self.node == row.id:
            self._row.refresh(row, self._base)

    def is_overtaken_by(self, row: Node) -> bool:
        """Whether a row of the server's tells of a later version of a file that an earlier mount left, and that nobody
        has open: by another device, or that mount's own commit. Either way who looks at the node now sees that."""
        return self.was_left and self.handles == 0 and row.version > self._base

    def set_locally(self, change: SetAttributes) -> None:
        """Attributes of a file that is new or dirty, before the server knows of them."""
        self._row.set_locally(change)

    def settled(self, change: SetAttributes) -> None:
        """The server has answered a change of attributes, or one equal to it: what it says goes from now on."""
        self._row.settled(change)

    def stands_on(self, version: VersionNumber, content: bytes) -> bool:
        """Whether it is this version, with this content (a manifest)."""
        return self._base == version and manifests.encode(self._manifest) == content

    def become(self, copy: Node, version: VersionNumber) -> None:
        """What was written here apart from the server came second there, and is this version of a conflict copy."""
        before = self.node
        self._stand_on(copy, version, self._manifest)
        self._services.moved(self, before)

    def take_deferred(self, copy: Node, version: VersionNumber, content: bytes) -> None:
        """What was put off had reached the server, where that is this content (a manifest), and is a conflict copy."""
        commit, self._deferred = self._deferred, None
        if commit is not None and manifests.encode(commit.manifest) == content:
            self._rebase(copy, version, commit)

    def _stand_on(self, row: Node, version: VersionNumber, content: Manifest) -> None:
        """``content`` is this version; the row may be of a later one, by somebody else, where the answer is late."""
        before = self.node
        is_old = self._row.stand_on(row, version, content)
        self.detached = is_old or (self.detached and self.node == before)
        self._base, self._manifest = version, content

    def strand(self) -> None:
        """The server has no such version: what is written over it must not pass for a change of one that it has."""
        self._base, self.detached = NO_VERSION, True

    def unlinked_here(self) -> None:
        """Its last name was removed on this mount: what is written from now on is nobody's."""
        self._unlinked = True
        self._record.forget()

    # ── bytes ──

    async def read(self, offset: int, length: int) -> bytes:
        """Up to ``length`` bytes; fewer at the end of the file."""
        try:
            return await self._read(offset, length)
        except Corrupt as error:
            log.error("%s can't be read at %d: %s", self._services.path_of(self.node), offset, error)
            raise

    async def _read(self, offset: int, length: int) -> bytes:
        overlay = self._overlay
        if overlay is None or not overlay.is_dirty:
            return await self._services.blocks.read(self._manifest, offset, length, self._ahead)
        base, out = self._manifest, []
        for part in overlay.parts(offset, length):
            match part:
                case Local(data):
                    out.append(data)
                case FromBase(base_offset, base_length):
                    out.append(await self._services.blocks.read(base, base_offset, base_length, self._ahead))
                case zeros:
                    out.append(bytes(zeros.length))
        return out[0] if len(out) == 1 else b"".join(out)

    async def write(self, offset: int, data: bytes) -> int:
        """Write to the overlay; committed by ``flush``. Raises LocalFailure where the local disk is full."""
        self._writable().write(offset, data)
        self._row.written(self._services.now_ns())
        return len(data)

    async def truncate(self, size: int) -> None:
        """Cut or extend; committed by ``flush``. It is a change where the size stays, too (ftruncate(2), O_TRUNC)."""
        self._writable().truncate(size)
        self._row.written(self._services.now_ns())

    def _writable(self) -> Overlay:
        if self._overlay is None:
            self._overlay = self._services.new_overlay(self._manifest)
        return self._overlay

    # ── commits ──

    async def flush(self) -> bool:
        """Return (True) when everything written so far is in a committed version.

        Raises DriveError, and keeps what was written.
        Several programs may close one file at once: the second waits for the first one's commit and commits the rest.
        """
        return await self._flush(lambda: True)

    async def flush_what_was_closed(self) -> bool:
        """The same, unless (False) who has it open has written since the last close: their close commits that."""
        return await self._flush(lambda: not self._is_being_written())

    def _is_being_written(self) -> bool:
        return self.handles > 0 and self._overlay is not None and self._overlay.changed_since(self._mark)

    async def _flush(self, may_commit: Callable[[], bool]) -> bool:
        """Whether everything is committed; ``may_commit`` is asked each time before what is there is taken."""
        while self._flushing is not None:
            await self._flushing.wait()
        if not self.is_dirty:
            return True
        if not may_commit():
            return False
        self._flushing = trio.Event()
        try:
            await self._settle_earlier()
            while self.is_dirty:
                if not may_commit():
                    return False
                if await self._commit_once():
                    break
            self.trouble = None
            return True
        except DriveError as error:
            self.trouble = error
            await self._keep_through_power_loss()
            raise
        except trio.Cancelled:
            self.trouble = Offline("it took too long")
            try:
                await self._keep_through_power_loss()
            except LocalFailure as error:
                path = self._services.path_of(self.node)
                log.error("%s could not be sent in time, and a power loss would take it: %s", path, error)
            raise
        finally:
            self._flushing.set()
            self._flushing = None

    async def _settle_earlier(self) -> None:
        """Learn what became of a commit whose answer was not waited for to the end."""
        if self._commit is not None:
            await self._take_answer(self._commit)

    async def _commit_once(self) -> bool:
        """Commit what is dirty now, not what is written meanwhile; False where it has to be done again."""
        services = self._services
        overlay = self._writable()
        mark = self._mark = overlay.mark()
        await self._record.begin(overlay, self._as_record)
        uploaded = await services.uploads.upload(overlay, mark)
        if uploaded is None:
            return False  # The file was cut meanwhile: what was read may be of both lengths.
        if self._unlinked:
            return True  # Removed here during the upload: a commit would bring it back.
        node = await self._known_node()
        change = Commit(
            time_ns=self._row.ctime_ns,
            node=node,
            base=self._base,
            size=uploaded.manifest.size_bytes,
            manifest=manifests.encode(uploaded.manifest),
            mtime_ns=self.attributes().mtime_ns,
            blocks=uploaded.inline,
        )
        self._commit = _Commit(services.outbox.submit(change), uploaded.manifest, mark)
        return await self._take_answer(self._commit)

    async def _known_node(self) -> NodeId:
        """The node's id, after a refused create was repeated where it can't be refused: in the root."""
        if self._created is not None and isinstance(self._created.final, DriveError):
            self._created = self._services.outbox.submit_later(self._created.change)
        elif self._created is not None and isinstance(self._created.final, tuple):
            answer, _ = self._created.final
            if isinstance(answer, RefusedAnswer):
                log.warning("a new file's folder is gone (%s): it goes to the root", answer.reason)
                self._created = self._services.outbox.submit_later(
                    msgspec.structs.replace(self._created.change, parent=ROOT_NODE)
                )
        return self.node

    async def _take_answer(self, commit: _Commit) -> bool:
        """Whether it was applied; False where blocks are missing, which the next upload sends."""
        try:
            answer, _ = await commit.pending.answer()
        except DriveError:
            if commit.pending.final is not None:
                self._commit = None
                self._deferred = commit if isinstance(commit.pending.final, Deferred) else None
            raise
        if self._commit is not commit:
            return True  # Taken meanwhile: see ``take_applied``.
        self._commit = None  # Not where who waits is cancelled: the answer may be there by then, and is taken later.
        match answer:
            case Applied():
                row = self._row_after(commit, answer)
                if row is None:
                    raise Refused.named("EPROTO", "the server applied a commit and did not say what became of it")
                before, was_shown = self.node, self._services.is_shown(self)
                self._rebase(row, answer.version, commit)
                if was_shown and self.node != before:
                    await self._services.overtaken(before, NO_VERSION)
                if self.detached:
                    await self._services.overtaken(self.node, row.version)
                return True
            case MissingBlocks(blocks=blocks):
                self._services.uploads.forget(blocks)
                self._refused_tries += 1
                if self._refused_tries > COMMIT_TRIES:
                    raise Refused.named("EIO", "the server keeps losing blocks that it has acknowledged")
                return False
            case RefusedAnswer(errno=name, reason=reason):
                raise Refused.named(name, reason)

    def take_applied(self) -> None:
        """Take the answer that nobody waited for to the end, where it says that the commit was applied. No checkpoint.

        For when numbers of versions that were given apart are about to mean the server's.
        """
        commit = self._commit
        if commit is None or not isinstance(commit.pending.final, tuple):
            return
        answer, _ = commit.pending.final
        if isinstance(answer, Applied) and (row := self._row_after(commit, answer)) is not None:
            self._commit = None
            self._rebase(row, answer.version, commit)

    def _row_after(self, commit: _Commit, answer: Applied) -> Node | None:
        """The node that the content is of now, as the answer tells it."""
        node = self.node if answer.conflict is None else answer.conflict.node
        row = next((row for row in answer.nodes if row.id == node), None)
        if row is None and not answer.nodes and answer.conflict is None and answer.version:
            # Kept here, apart from the server: nobody but this file knows of its node.
            size, data = commit.manifest.size_bytes, commit.manifest.data_bytes
            row = msgspec.structs.replace(self._row.row, version=answer.version, size=size, data_bytes=data)
        return row

    def _rebase(self, row: Node, version: VersionNumber, commit: _Commit) -> None:
        """``version`` is what was committed. No checkpoint: readers see the old map or the new one."""
        moved_from = self.node
        self._stand_on(row, version, commit.manifest)
        self.was_left = False
        self._created = self._deferred = None
        self._refused_tries = 0
        self._services.committed(row.id, version, commit.manifest)
        if self._overlay is not None:
            if not self._overlay.changed_since(commit.mark):
                self._row.committed()
                self._record.forget()  # Before the bytes that it names are given up.
            self._overlay.rebase(commit.manifest, commit.mark)
        if row.id != moved_from:
            self._services.moved(self, moved_from)

    # ── the journal ──

    def _as_record(self, synced: bool) -> Flushed:
        """What is about to be committed; ``synced`` says that it survives a power loss when it is in the journal."""
        overlay = self._writable()
        return Flushed(
            create=self._created.change
            if self._created is not None and isinstance(self._created.change, Create)
            else None,
            row=self._row.row,
            manifest=manifests.encode(self._manifest),
            mtime_ns=self.attributes().mtime_ns,
            size=overlay.size_bytes,
            base_visible=overlay.base_visible,
            segments=[(segment.start, segment.stop) for segment in overlay.segments],
            boot=self._services.journal.boot,
            synced=synced,
            file=overlay.path.name,
            content=overlay.inline_bytes(),
        )

    async def _keep_through_power_loss(self) -> None:
        """Before the error is told: what was closed is kept, and sent when the trouble is over. Raises LocalFailure."""
        if self._overlay is not None:
            await self._record.keep(self._overlay, self._as_record)

    def close(self) -> None:
        """Nobody has it open and nothing is dirty: give up the local bytes."""
        self._record.forget()
        if self._overlay is not None:
            self._overlay.delete()
            self._overlay = None
