"""A workspace as a file system without a kernel: what ``fs`` calls, by node and name.

Owns which part is given which, and no state beside: names (``names``), changes (``changes``), open files
(``openfiles``), bytes (``blocks``), and how the mount hangs on its server (``attachment``). Everything raises
``DriveError`` with an errno.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence, Set
from functools import partial

import trio

from backend import conflicts
from backend.apart import Apart
from backend.attachment import Attachment
from backend.blocks import Blocks
from backend.changes import Changes
from backend.compaction import Compaction
from backend.contents import Contents
from backend.errors import DriveError, Offline
from backend.journal import Journal
from backend.names import Names
from backend.openfile import OpenFile
from backend.openfiles import OpenFiles
from backend.overlay import Overlay
from backend.reach import Reach
from backend.remote import WorkspaceRemote
from backend.replay import Moved
from backend.session import Clock, Session
from backend.siblings import Siblings
from backend.status import FileState, Status, Unsent, state_of, status_of
from backend.threads import Threads
from backend.tree import Outdated, Tree
from backend.treefile import TreeFile
from backend.upload import Uploader
from protocol.ids import NodeId, Seq, new_node_id
from protocol.manifest import Manifest
from protocol.messages.accounts import Workspace
from protocol.messages.batches import AnyAnswer, Applied
from protocol.messages.changes import AnyChange, RenameMode, XattrMode
from protocol.messages.conflicts import ConflictCopy, Keep
from protocol.messages.nodes import Kind, Node
from protocol.messages.tree import Entry, UsageReply


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
        compaction: Compaction,
        blocks: Blocks,
        uploads: Uploader,
        threads: Threads,
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
        self._now_ns = now_ns
        self._tree = tree
        self._apart = apart
        self._memory = memory
        self._blocks = blocks
        self._journal = journal
        self._compaction = compaction
        self._attachment = Attachment(
            remote,
            direct,
            reach,
            tree,
            apart,
            memory,
            journal.id,
            self._answered,
            self._detach,
            self._rejoined,
            clock,
            new_session,
        )
        self.session = self._attachment.session
        self.outbox = self._attachment.outbox
        self._siblings = Siblings(blocks)
        self._names = Names(remote, tree, self.session, reach, self._present)
        self._files = OpenFiles(
            self._names,
            self.session,
            self.outbox,
            reach,
            Contents(remote),
            self._siblings,
            blocks,
            uploads,
            journal,
            threads,
            new_overlay,
            now_ns,
            self._attachment.tell,
        )
        self._changes = Changes(self._names, self._files, self.outbox, reach, now_ns, new_node, read_only=read_only)

    async def run(
        self,
        outdated: Callable[[Outdated], Awaitable[None]],
        *,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Hold the lease, send changes, take up what an earlier mount left. ``outdated`` tells the kernel."""
        self._attachment.connect(outdated)
        self._files.recover()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.session.run, self._attachment.tell)
            nursery.start_soon(self.outbox.run)
            nursery.start_soon(self._blocks.run)
            nursery.start_soon(self._files.run)
            nursery.start_soon(self._attachment.remember)
            nursery.start_soon(self._memory.run)
            self._compaction.watch(nursery)
            task_status.started()

    # ── with the server, and apart from it ──

    async def begin(self, *, reached: bool) -> None:
        """Before ``run``: see ``Attachment.begin``."""
        await self._attachment.begin(reached=reached)

    async def leave(self) -> None:
        """After ``run``: see ``Attachment.leave``."""
        await self._attachment.leave()

    @property
    def strict(self) -> bool:
        """What can't be vouched for is refused, and the kernel keeps no names or attributes."""
        return self.reach.strict

    @property
    def is_apart(self) -> bool:
        """Whether it works without its server now: nothing can be sent."""
        return self.reach.apart

    def cache_timeout_s(self) -> float:
        """How long the kernel may keep names and attributes: 0 without a lease."""
        return self._attachment.cache_timeout_s()

    def watch_traffic(self, moved: Callable[[], None]) -> None:
        """Have ``moved`` called whenever bytes of a request's answer or content move."""
        self._remote.caller.traffic.moved = moved

    # ── questions ──

    async def lookup(self, parent: NodeId, name: bytes) -> Node | None:
        """The node of a name, or None."""
        return await self.reach.surely(partial(self._names.lookup, parent, name))

    async def attributes(self, node: NodeId) -> Node:
        """A node's attributes; raises NotFound."""
        return await self.reach.surely(partial(self._names.attributes, node))

    async def entries(self, folder: NodeId) -> Sequence[Entry]:
        """All of a folder in order of the names' bytes."""
        entries = await self.reach.surely(partial(self._names.entries, folder))
        self._siblings.listed(entries)
        return entries

    @property
    def applied(self) -> Seq:
        """Changes up to this one are in what is answered from now on."""
        return self._tree.applied

    async def latest(self, row: Node, seq: Seq) -> Node:
        """A row of entries that were asked for at ``seq``, as it is now."""
        return await self.reach.surely(partial(self._names.latest, row, seq))

    async def usage(self) -> UsageReply:
        """For statfs; where the server can't be asked what was last heard, else what the disk here has room for."""
        try:
            self._tree.usage = await self.reach.surely(self._remote.usage)
        except Offline:
            if self.reach.strict:
                raise
        return self._tree.usage or UsageReply(*self._journal.room_bytes(), nodes=0)

    # ── files ──

    async def open(self, node: NodeId) -> OpenFile:
        """A handle of the node's present version; needs a ``release``."""
        return await self.reach.surely(partial(self._files.open, node))

    async def create(self, parent: NodeId, name: bytes, mode: int, uid: int, gid: int, *, exclusive: bool) -> OpenFile:
        """Make a file and open it. Without ``exclusive`` nobody waits for the server before the first flush."""
        return await self._changes.create(parent, name, mode, uid, gid, exclusive=exclusive)

    async def release(self, file: OpenFile) -> None:
        """A handle is gone. What was dirtied after the last close (through a mapping) is committed."""
        await self._files.release(file)

    async def flush(self, file: OpenFile) -> None:
        """Commit what was written; on an error it is kept and sent later."""
        await self._files.flush(file)

    async def truncate(self, node: NodeId, size: int) -> Node:
        """Truncate by path: a version of its own."""
        self._changes.check_writable()
        file = await self.open(node)
        try:
            await file.truncate(size)
            await self._files.flush(file)
            return file.attributes()
        finally:
            await self._files.give_up(file)

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
        return await self._changes.make(parent, name, kind, mode, uid, gid, rdev=rdev, target=target)

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
        return await self._changes.set_attributes(
            node, mode=mode, uid=uid, gid=gid, mtime_ns=mtime_ns, atime_ns=atime_ns
        )

    async def link(self, node: NodeId, parent: NodeId, name: bytes) -> Node:
        """A second name."""
        return await self._changes.link(node, parent, name)

    async def unlink(self, parent: NodeId, name: bytes) -> None:
        """Remove a name that is not a folder's."""
        await self._changes.unlink(parent, name)

    async def rmdir(self, parent: NodeId, name: bytes) -> None:
        """Remove an empty folder."""
        await self._changes.rmdir(parent, name)

    async def rename(self, parent: NodeId, name: bytes, new_parent: NodeId, new_name: bytes, mode: RenameMode) -> None:
        """Move a name; over what is there, it names what this mount saw."""
        await self._changes.rename(parent, name, new_parent, new_name, mode)

    async def set_xattr(self, node: NodeId, name: bytes, value: bytes, mode: XattrMode) -> Node:
        """setxattr(2)."""
        return await self._changes.set_xattr(node, name, value, mode)

    async def remove_xattr(self, node: NodeId, name: bytes) -> Node:
        """removexattr(2)."""
        return await self._changes.remove_xattr(node, name)

    # ── conflicts ──

    async def conflicts(self) -> list[ConflictCopy]:
        """The workspace's conflict copies, in order of their paths."""
        return await conflicts.listed(self._remote, self.session)

    async def resolve(self, path: Sequence[bytes], keep: Keep) -> None:
        """End the conflict of the copy at a path below the mount; raises DriveError."""
        self._changes.check_writable()
        now_ns = self._now_ns()
        decision = await conflicts.decision(self._remote, self.session, self._names, path, keep, now_ns)
        await self._changes.submit(decision)

    # ── the barrier, and what is going on ──

    async def synced(self) -> None:
        """Return when everything written so far is committed.

        Raises the error of what can't be; and where the server refuses this mount, why.
        """
        trouble: DriveError | None = None

        async def give_up() -> None:
            nonlocal trouble
            trouble = await self.session.wait_refused()
            nursery.cancel_scope.cancel()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(give_up)
            try:
                await self._all_committed()
            except DriveError as error:
                trouble = error
            nursery.cancel_scope.cancel()
        if trouble is not None:
            raise trouble

    async def _all_committed(self) -> None:
        was_apart = self.reach.apart
        await self._files.flush_all()
        await self.outbox.wait_idle()
        if was_apart or self._files.are_deferred():
            await self.reach.wait_joined()
            await self._all_committed()

    def state_of(self, row: Node, file: OpenFile | None) -> FileState:
        """Where a node's content is; ``file`` is the version of it that is asked about, where it is open."""
        return state_of(row, file or self._files.present(row.id), self._apart)

    def path_of(self, node: NodeId) -> str:
        """A path for people."""
        return self._names.path_of(node)

    async def look_for_keys(self) -> None:
        """Learn what was unlocked on this machine meanwhile, without asking the server."""
        await self._blocks.look_for_keys()

    def status(self) -> Status:
        """A snapshot for people and scripts."""
        unsent = [
            Unsent(
                path=self._names.path_of(file.node),
                size_bytes=file.attributes().size,
                trouble="" if file.trouble is None else str(file.trouble),
            )
            for file in self._files.dirty()
        ]
        return status_of(
            self._remote, self._tree, self.session, self.reach, self.outbox, self._apart, self._blocks, unsent
        )

    # ── what parts say to parts that are made after them ──

    def _present(self, node: NodeId) -> OpenFile | None:
        return self._files.present(node)

    def _answered(self, change: AnyChange, answer: AnyAnswer, seq: Seq | None) -> None:
        self._names.answered(change, answer, seq)
        if isinstance(answer, Applied):
            self._files.answered(change, answer)

    def _detach(self, what: Outdated) -> None:
        self._files.detach(what)

    def _rejoined(self, moved: Mapping[NodeId, Moved], stranded: Set[NodeId]) -> None:
        self._files.rejoined(moved, stranded)
