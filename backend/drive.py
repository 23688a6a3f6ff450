"""A workspace as a file system without a kernel: what ``fs`` calls, by node and name.

Owns the open files and puts the parts together: names (``names``), changes (``outbox``), the feed (``session``),
bytes (``blocks``, ``openfile``). Everything raises ``DriveError`` with an errno.

Invariants:

- ``_files`` holds the one ``OpenFile`` of a node's present version while it has handles or is dirty; a file whose node
  got a new version by somebody else is taken out (*detached*) and lives on with its handles;
- a file that could not be committed stays in ``_unsent`` (``unsent``) until it is.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Final, TypeVar

import trio
from cachetools import LRUCache

from backend import conflicts
from backend.apart import Apart
from backend.blocks import Blocks
from backend.errors import Deferred, DriveError, NotFound, Offline, ReadOnly, Refused
from backend.journal import Flushed, Journal
from backend.names import Names
from backend.openfile import OpenFile, Services
from backend.outbox import Outbox, Pending
from backend.overlay import Overlay
from backend.reach import Reach
from backend.remote import WorkspaceRemote
from backend.session import Clock, Session
from backend.siblings import Siblings
from backend.status import FileState, Status, Unsent, status_of
from backend.tree import Outdated, Tree
from backend.treefile import TreeFile
from backend.unsent import UnsentFiles
from backend.upload import Uploader
from protocol import manifest as manifests
from protocol.ids import NodeId, Seq, VersionNumber, new_node_id
from protocol.limits import NAME_MAX_BYTES
from protocol.manifest import EMPTY, BadManifest, Manifest
from protocol.messages import (
    AnyAnswer,
    AnyChange,
    Applied,
    Commit,
    ConflictCopy,
    Create,
    Entry,
    Keep,
    Kind,
    Link,
    Node,
    OnClash,
    RemoveXattr,
    Rename,
    RenameMode,
    Replaced,
    Rmdir,
    SetAttributes,
    SetXattr,
    State,
    Unlink,
    UsageReply,
    Workspace,
    XattrMode,
    xattr_name_to_wire,
)
from protocol.messages import Refused as RefusedAnswer

LAST_TRY_S: Final = 1.0
"""For what is still to be sent of a file that failed to be, when its only handle is given up."""

CACHE_TIMEOUT_MARGIN_S: Final = 0.2
MANIFEST_PIECES_MAX: Final = 200_000
"""Of the long manifests kept in memory, which never change: about 40 MB."""

log = logging.getLogger(__name__)

T = TypeVar("T")


class Drive:
    """One mounted workspace. ``run`` must be running for anything that changes or fetches."""

    def __init__(
        self,
        remote: WorkspaceRemote,
        direct: WorkspaceRemote,
        reach: Reach,
        tree: Tree,
        apart: Apart,
        memory: TreeFile,
        journal: Journal,
        blocks: Blocks,
        uploads: Uploader,
        new_overlay: Callable[[Manifest], Overlay],
        now_ns: Callable[[], int],
        clock: Clock,
        *,
        workspace: Workspace,
        read_only: bool,
        new_session: type[Session] = Session,
        new_node: Callable[[], NodeId] = new_node_id,
    ) -> None:
        """Calls of ``remote`` end when the mount parts from its server, those of ``direct`` don't."""
        self.workspace = workspace
        self.read_only = read_only
        self.reach = reach
        self._remote = remote
        self._journal = journal
        self._now_ns = now_ns
        self._tree = tree
        self._apart = apart
        self._memory = memory
        self._new_node = new_node
        self.session = new_session(direct, tree, journal.id, reach, self._part, clock)
        self.outbox = Outbox(
            remote,
            journal.id,
            reach,
            apart,
            self.session.absorb_answer,
            self._answered,
            self._rejoin,
            self.session.note_apart,
        )
        self._outdated: Callable[[Outdated], Awaitable[None]] | None = None
        self._usage = UsageReply(0, 0, 0)
        self._files: dict[NodeId, OpenFile] = {}
        self._names = Names(remote, tree, self.session, reach, self._files.get)
        self._siblings = Siblings(blocks)
        self._manifests: LRUCache[tuple[NodeId, VersionNumber], Manifest] = LRUCache(
            MANIFEST_PIECES_MAX, getsizeof=lambda manifest: len(manifest.pieces) + 1
        )
        self._open: set[OpenFile] = set()
        """Every file that has handles or is dirty, detached ones too."""
        self._unsent = UnsentFiles(reach, self._names.path_of, self._close_if_unused)
        self._new_versions = 0
        """Counts what may have made one: what was being opened meanwhile may be the version before."""
        self._services = Services(
            blocks=blocks,
            outbox=self.outbox,
            uploads=uploads,
            journal=journal,
            new_overlay=new_overlay,
            now_ns=now_ns,
            committed=self._committed,
            path_of=self._names.path_of,
            outdated=self._overtaken,
            moved=self._moved,
        )

    async def run(
        self,
        outdated: Callable[[Outdated], Awaitable[None]],
        *,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Hold the lease, send changes, take up what an earlier mount left. ``outdated`` tells the kernel."""
        self._outdated = outdated
        self._recover()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.session.run, self._listen)
            nursery.start_soon(self.outbox.run)
            nursery.start_soon(self._services.blocks.run)
            nursery.start_soon(self._unsent.run)
            nursery.start_soon(self._memory.run)
            task_status.started()

    async def begin(self, *, reached: bool) -> None:
        """Take up what an earlier mount knew and kept, and begin a session at the server; before ``run``.

        Where the server was not ``reached``, or changes are left that it must have first, the mount works apart; a
        strict one sends them here. Raises DriveError.
        """
        snapshot = await self._memory.load()
        if snapshot is not None:
            self.session.take_up(snapshot)
        if reached and not self._apart.is_settled and (self.reach.strict or len(self._apart) == 0):
            self._apart.take_up()
            await self._apart.send_all()
            self._apart.settle()
        if reached and len(self._apart) == 0:
            self.outbox.begin((await self.session.join()).last_number)
        else:
            self._apart.take_up()
            self.reach.part()

    async def leave(self) -> None:
        """The kernel holds nothing of the mount any more: remember what is known, and say goodbye to the server."""
        if not self.reach.apart:
            await self._memory.save(self._tree.snapshot())
        await self.session.leave()

    # ── with the server, and apart from it ──

    @property
    def strict(self) -> bool:
        """What can't be vouched for is refused, and the kernel keeps no names or attributes."""
        return self.reach.strict

    @property
    def is_apart(self) -> bool:
        """Whether it works without its server now: nothing can be sent."""
        return self.reach.apart

    def _part(self) -> None:
        """The lease is over and the server can't be reached. No checkpoint."""
        log.warning("the server can't be reached: what is done here is kept, and sent when it answers again")
        self._memory.save_soon(self._tree.snapshot())  # As it is without what is done apart.
        self.reach.part()
        self.outbox.part()

    async def _rejoin(self) -> None:
        """All that was done apart is at the server. No checkpoint before its word goes again."""
        moved, stranded = self._apart.moved, self._apart.stranded
        for file in list(self._open):
            if file.node in stranded:
                file.strand()
            version, copy = moved.get(file.node, (None, None))
            if copy is not None and file.base == version:  # Others may have an older version of it open.
                file.become(copy)
        touched = self._apart.settle()
        self.reach.join()
        log.info("all that was done here is at the server")
        await self._listen(Outdated(frozenset(touched), frozenset(moved) | stranded, names=True))

    async def _listen(self, what: Outdated) -> None:
        self._detach(what)
        if self._outdated is not None:
            await self._outdated(what)

    async def _surely(self, call: Callable[[], Awaitable[T]]) -> T:
        """A call that is made again where the mount turned out to work apart: then what is here answers."""
        was_apart = self.reach.apart
        try:
            return await call()
        except Offline:
            if was_apart or self.reach.strict:
                raise
            await self.reach.wait_verdict()
        return await call()

    def cache_timeout_s(self) -> float:
        """How long the kernel may keep names and attributes: 0 without a lease."""
        return max(0.0, self.session.lease_left_s() - CACHE_TIMEOUT_MARGIN_S)

    def watch_traffic(self, moved: Callable[[], None]) -> None:
        """Have ``moved`` called whenever bytes of a request's answer or content move."""
        self._remote.caller.traffic.moved = moved

    # ── questions ──

    async def lookup(self, parent: NodeId, name: bytes) -> Node | None:
        """The node of a name, or None."""
        return await self._surely(partial(self._names.lookup, parent, name))

    async def attributes(self, node: NodeId) -> Node:
        """A node's attributes; raises NotFound."""
        return await self._surely(partial(self._names.attributes, node))

    async def entries(self, folder: NodeId) -> Sequence[Entry]:
        """All of a folder in order of the names' bytes."""
        entries = await self._surely(partial(self._names.entries, folder))
        self._siblings.listed(entries)
        return entries

    async def usage(self) -> UsageReply:
        """For statfs; what was last heard where the server can't be asked."""
        try:
            self._usage = await self._surely(self._remote.usage)
        except Offline:
            if self.reach.strict:
                raise
        return self._usage

    # ── files ──

    async def open(self, node: NodeId) -> OpenFile:
        """A handle of the node's present version; needs a ``release``."""
        return await self._surely(partial(self._open_present, node))

    async def _open_present(self, node: NodeId) -> OpenFile:
        if (left := self._files.get(node)) is not None and left.was_left and not self.reach.apart:
            # What is written now has to be over what that commit made, if it had arrived, and not beside it.
            with contextlib.suppress(DriveError):
                await left.flush()
        if node in self._files and self.session.lease_left_s() == 0:
            await self._names.attributes(node)  # Where the reply tells of a new version, the file is detached.
        while (file := self._files.get(node)) is None:
            seen = self._new_versions
            row = await self._names.attributes(node)
            if row.kind is not Kind.FILE:
                raise Refused.named("EISDIR" if row.kind is Kind.FOLDER else "EINVAL", "not a regular file")
            manifest = await self._manifest_of(row)
            if node not in self._files and seen == self._new_versions:
                self._add(OpenFile(self._services, row, manifest))
                self._siblings.opened(row)
        file.handles += 1
        return file

    async def create(self, parent: NodeId, name: bytes, mode: int, uid: int, gid: int, *, exclusive: bool) -> OpenFile:
        """Make a file and open it. Without ``exclusive`` nobody waits for the server before the first flush."""
        change = self._creation(parent, name, Kind.FILE, mode, uid, gid, exclusive=exclusive)
        row = Node(
            id=change.node,
            kind=Kind.FILE,
            mode=mode & 0o7777,
            uid=uid,
            gid=gid,
            nlink=1,
            mtime_ns=change.time_ns,
            ctime_ns=change.time_ns,
            atime_ns=change.time_ns,
            state=State.PENDING,
        )
        pending = self.outbox.submit(change) if exclusive else self.outbox.submit_later(change)
        file = OpenFile(self._services, row, EMPTY, created=pending)
        self._files[row.id] = file  # Before the answer: a commit by another device to what was just made detaches it.
        if exclusive:
            try:
                await _applied(pending)
                file.refresh(await self._names.attributes(row.id))
            except BaseException:
                if self._files.get(row.id) is file:
                    del self._files[row.id]
                raise
        else:
            self._names.creating[parent, name] = file
        self._open.add(file)
        file.handles += 1
        return file

    async def release(self, file: OpenFile) -> None:
        """A handle is gone. What was dirtied after the last close (through a mapping) is committed."""
        file.handles -= 1
        if file.handles == 0 and file.is_dirty:
            try:
                await self._surely(file.flush)
            except DriveError as error:
                self._unsent.keep(file, error)
            except trio.Cancelled:
                self._unsent.keep(file, Offline("it took too long"))
                raise
        self._close_if_unused(file)

    async def flush(self, file: OpenFile) -> None:
        """Commit what was written; on an error it is kept and sent later."""
        try:
            await self._surely(file.flush)
        except Deferred as error:
            self._unsent.keep(file, error)
            return
        except DriveError as error:
            self._unsent.keep(file, error)
            raise
        except trio.Cancelled:
            self._unsent.keep(file, Offline("it took too long"))
            raise
        self._unsent.sent(file)

    async def truncate(self, node: NodeId, size: int) -> Node:
        """Truncate by path: a version of its own."""
        self._writable()
        file = await self.open(node)
        try:
            await file.truncate(size)
            await self.flush(file)
            return file.attributes()
        finally:
            with trio.move_on_after(LAST_TRY_S, shield=True):
                await self.release(file)

    # ── changes ──

    async def make(
        self,
        parent: NodeId,
        name: bytes,
        kind: Kind,
        mode: int,
        uid: int,
        gid: int,
        *,
        rdev: int = 0,
        target: bytes = b"",
    ) -> Node:
        """mkdir, mknod and symlink."""
        if kind is Kind.FILE:
            file = await self.create(parent, name, mode, uid, gid, exclusive=True)
            try:
                await self.flush(file)
                return file.attributes()
            finally:
                with trio.move_on_after(LAST_TRY_S, shield=True):
                    await self.release(file)
        change = self._creation(parent, name, kind, mode, uid, gid, exclusive=True, rdev=rdev, target=target)
        return await self._change(change, change.node)

    async def set_attributes(
        self,
        node: NodeId,
        *,
        mode: int | None = None,
        uid: int | None = None,
        gid: int | None = None,
        mtime_ns: int | None = None,
        atime_ns: int | None = None,
    ) -> Node:
        """chmod, chown, utimens. On a file that is new here nobody waits for it before the first flush."""
        self._writable()
        change = SetAttributes(
            time_ns=self._now_ns(), node=node, mode=mode, uid=uid, gid=gid, mtime_ns=mtime_ns, atime_ns=atime_ns
        )
        file = self._files.get(node)
        if file is not None and file.has_own_times:
            file.set_locally(change)
            if file.is_new:
                self.outbox.submit_later(change)
                return file.attributes()
        row = await self._change(change, node)
        return file.attributes() if file is not None else row

    async def link(self, node: NodeId, parent: NodeId, name: bytes) -> Node:
        """A second name."""
        self._writable(name)
        return await self._change(Link(time_ns=self._now_ns(), node=node, parent=parent, name=name), node)

    async def unlink(self, parent: NodeId, name: bytes) -> None:
        """Remove a name that is not a folder's."""
        self._writable()
        node = await self._named(parent, name)
        file = self._files.get(node.id)
        if file is not None and file.was_never_taken:
            del self._names.creating[parent, name]
            file.unlinked_here()
            return
        await self._do(Unlink(time_ns=self._now_ns(), parent=parent, name=name, node=node.id))

    async def rmdir(self, parent: NodeId, name: bytes) -> None:
        """Remove an empty folder."""
        self._writable()
        node = await self._named(parent, name)
        await self._do(Rmdir(time_ns=self._now_ns(), parent=parent, name=name, node=node.id))

    async def rename(self, parent: NodeId, name: bytes, new_parent: NodeId, new_name: bytes, mode: RenameMode) -> None:
        """Move a name; over what is there, it names what this mount saw."""
        self._writable(new_name)
        node = await self._named(parent, name)
        over = await self.lookup(new_parent, new_name)
        replaced = None if over is None else Replaced(over.id, over.version, _other_names(over))
        await self._do(
            Rename(
                time_ns=self._now_ns(),
                node=node.id,
                parent=parent,
                name=name,
                new_parent=new_parent,
                new_name=new_name,
                rename_mode=mode,
                replaced=replaced,
            )
        )

    async def set_xattr(self, node: NodeId, name: bytes, value: bytes, mode: XattrMode) -> Node:
        """setxattr(2)."""
        self._writable()
        change = SetXattr(
            time_ns=self._now_ns(), node=node, name=xattr_name_to_wire(name), value=value, xattr_mode=mode
        )
        return await self._change(change, node)

    async def remove_xattr(self, node: NodeId, name: bytes) -> Node:
        """removexattr(2)."""
        self._writable()
        change = RemoveXattr(time_ns=self._now_ns(), node=node, name=xattr_name_to_wire(name))
        return await self._change(change, node)

    # ── conflicts ──

    async def conflicts(self) -> list[ConflictCopy]:
        """The workspace's conflict copies, in order of their paths."""
        return await conflicts.listed(self._remote, self.session)

    async def resolve(self, path: Sequence[bytes], keep: Keep) -> None:
        """End the conflict of the copy at a path below the mount; raises DriveError."""
        self._writable()
        now_ns = self._now_ns()
        await self._do(await conflicts.decision(self._remote, self.session, self._names, path, keep, now_ns))

    # ── the barrier, and what is going on ──

    async def synced(self) -> None:
        """Return when everything written so far is committed; raises the error of what can't be."""
        was_apart = self.reach.apart
        trouble: DriveError | None = None
        for file in self._dirty_files():
            try:
                await self.flush(file)
            except DriveError as error:
                trouble = trouble or error
            self._close_if_unused(file)
        if trouble is not None:
            raise trouble
        await self.outbox.wait_idle()
        if was_apart or self._unsent.are_deferred(self._dirty_files()):
            await self.reach.wait_joined()
            await self.synced()

    def state_of(self, row: Node, file: OpenFile | None) -> FileState:
        """Where a node's content is; ``file`` is the version of it that is asked about, where it is open."""
        file = file or self._files.get(row.id)
        if file is not None and file.is_dirty:
            return FileState.UPLOADING if file.is_being_sent else FileState.LOCAL
        if row.id in self._apart.nodes():
            return FileState.UPLOADING if self._apart.is_sending else FileState.LOCAL
        if row.conflict_of is not None:
            return FileState.CONFLICT
        return FileState.UPLOADING if row.state is State.PENDING else FileState.SYNCED

    def path_of(self, node: NodeId) -> str:
        """A path for people."""
        return self._names.path_of(node)

    def status(self) -> Status:
        """A snapshot for people and scripts."""
        unsent = [
            Unsent(
                path=self._names.path_of(file.node),
                size_bytes=file.attributes().size,
                trouble="" if file.trouble is None else str(file.trouble),
            )
            for file in self._dirty_files()
        ]
        return status_of(
            self._remote, self._tree, self.session, self.outbox, self._apart, self._services.blocks, unsent
        )

    def _dirty_files(self) -> list[OpenFile]:
        return [file for file in self._open if file.is_dirty]

    # ── inside ──

    def _writable(self, name: bytes = b"") -> None:
        if self.read_only:
            raise ReadOnly("mounted read-only")
        if len(name) > NAME_MAX_BYTES:
            raise Refused.named("ENAMETOOLONG", "names have at most 255 bytes")

    def _creation(
        self,
        parent: NodeId,
        name: bytes,
        kind: Kind,
        mode: int,
        uid: int,
        gid: int,
        *,
        exclusive: bool,
        rdev: int = 0,
        target: bytes = b"",
    ) -> Create:
        self._writable(name)
        return Create(
            time_ns=self._now_ns(),
            parent=parent,
            name=name,
            node=self._new_node(),
            kind=kind,
            mode=mode & 0o7777,
            uid=uid,
            gid=gid,
            rdev=rdev,
            target=target,
            on_clash=OnClash.REFUSE if exclusive else OnClash.KEEP_BOTH,
        )

    async def _named(self, parent: NodeId, name: bytes) -> Node:
        node = await self.lookup(parent, name)
        if node is None:
            raise NotFound("no such name")
        return node

    async def _manifest_of(self, row: Node) -> Manifest:
        if row.version == 0:
            return EMPTY
        if row.manifest is not None:
            return manifests.decode(row.manifest)
        key = (row.id, row.version)
        manifest = self._manifests.get(key)
        if manifest is None:
            manifest = manifests.decode((await self._remote.manifest(*key)).manifest)
            self._keep_manifest(*key, manifest)
        return manifest

    def _committed(self, node: NodeId, version: VersionNumber, manifest: Manifest) -> None:
        self._new_versions += 1
        self._keep_manifest(node, version, manifest)

    def _keep_manifest(self, node: NodeId, version: VersionNumber, manifest: Manifest) -> None:
        if len(manifest.pieces) < self._manifests.maxsize:
            self._manifests[node, version] = manifest

    async def _do(self, change: AnyChange) -> tuple[Applied, Seq]:
        return await _applied(self.outbox.submit(change))

    async def _change(self, change: AnyChange, node: NodeId) -> Node:
        applied, _ = await self._do(change)
        for row in applied.nodes:
            if row.id == node:
                return row
        return await self._names.attributes(node)

    def _answered(self, change: AnyChange, answer: AnyAnswer, seq: Seq) -> None:
        """Take what an answer says into the caches; no checkpoint, and before anybody who waits sees it."""
        if isinstance(change, Create):
            self._names.creating.pop((change.parent, change.name), None)
        if not isinstance(answer, Applied):
            return
        if isinstance(change, SetAttributes) and (file := self._files.get(change.node)) is not None:
            file.settled(change)
        for row in answer.nodes:
            self._tree.keep_node(row, seq)
            file = self._files.get(row.id)
            if file is None or isinstance(change, Commit):
                continue
            file.refresh(row)
            if row.nlink == 0 and isinstance(change, Unlink | Rename):
                file.unlinked_here()
        self._names.learn(change, answer, seq)

    def _detach(self, what: Outdated) -> None:
        self._new_versions += 1
        for node in list(self._files) if what.everything else what.contents:
            if (file := self._files.pop(node, None)) is not None:
                file.detached = True

    async def _overtaken(self, file: OpenFile) -> None:
        if self._files.get(file.node) is file:
            node = frozenset({file.node})
            await self._listen(Outdated(attributes=node, contents=node, names=True))

    def _moved(self, file: OpenFile, before: NodeId) -> None:
        if self._files.get(before) is file:
            del self._files[before]
        self._files[file.node] = file

    def _add(self, file: OpenFile) -> None:
        self._files[file.node] = file
        self._open.add(file)

    def _close_if_unused(self, file: OpenFile) -> None:
        if file.handles == 0 and not file.is_dirty:
            self._open.discard(file)
            if self._files.get(file.node) is file:
                del self._files[file.node]
            file.close()

    # ── what an earlier mount left ──

    def _recover(self) -> None:
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
        return None if record.create is None else self.outbox.submit_later(record.create)


def _other_names(row: Node) -> int:
    return 0 if row.kind is Kind.FOLDER else row.nlink - 1


async def _applied(pending: Pending) -> tuple[Applied, Seq]:
    answer, seq = await pending.answer()
    match answer:
        case Applied():
            return answer, seq
        case RefusedAnswer(errno=name, reason=reason):
            raise Refused.named(name, reason)
        case _:
            raise DriveError("the server asks for blocks of a change that has none")
