"""The system calls that change names and attributes: each becomes a change, which is answered before the call returns.

Owns what a change says of what this mount saw. Content is another matter (``openfile``).

Invariant: on a read-only mount nothing is submitted.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from backend.errors import NotFound, ReadOnly, Refused
from backend.names import Names
from backend.openfile import OpenFile
from backend.openfiles import OpenFiles
from backend.outbox import Outbox
from backend.reach import Reach
from protocol.ids import NodeId
from protocol.limits import NAME_MAX_BYTES
from protocol.messages.changes import (
    AnyChange,
    Create,
    Link,
    OnClash,
    RemoveXattr,
    Rename,
    RenameMode,
    Replaced,
    Rmdir,
    SetAttributes,
    SetXattr,
    Unlink,
    XattrMode,
)
from protocol.messages.nodes import Kind, Node, xattr_name_to_wire


class Changes:
    """One mount's."""

    def __init__(
        self,
        names: Names,
        files: OpenFiles,
        outbox: Outbox,
        reach: Reach,
        now_ns: Callable[[], int],
        new_node: Callable[[], NodeId],
        *,
        read_only: bool,
    ) -> None:
        self._names = names
        self._files = files
        self._outbox = outbox
        self._reach = reach
        self._now_ns = now_ns
        self._new_node = new_node
        self._read_only = read_only

    def check_writable(self, name: bytes = b"") -> None:
        """Raises ReadOnly where nothing may be changed, and Refused where this can't be a name."""
        if self._read_only:
            raise ReadOnly("mounted read-only")
        if len(name) > NAME_MAX_BYTES:
            raise Refused.named("ENAMETOOLONG", "names have at most 255 bytes")

    async def submit(self, change: AnyChange) -> None:
        """Have a change applied; raises DriveError."""
        await self._outbox.submit(change).applied()

    async def create(self, parent: NodeId, name: bytes, mode: int, uid: int, gid: int, *, exclusive: bool) -> OpenFile:
        """Make a file and open it. Without ``exclusive`` nobody waits for the server before the first flush."""
        on_clash = OnClash.REFUSE if exclusive else OnClash.KEEP_BOTH
        return await self._files.create(self._creation(parent, name, Kind.FILE, mode, uid, gid, on_clash))

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
                await self._files.flush(file)
                return file.attributes()
            finally:
                await self._files.give_up(file)
        change = self._creation(parent, name, kind, mode, uid, gid, OnClash.REFUSE, rdev=rdev, target=target)
        return await self._changed(change, change.node)

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
        self.check_writable()
        change = SetAttributes(
            time_ns=self._now_ns(), node=node, mode=mode, uid=uid, gid=gid, mtime_ns=mtime_ns, atime_ns=atime_ns
        )
        file = self._files.present(node)
        if file is not None and file.has_own_times:
            file.set_locally(change)
            if file.is_new:
                self._outbox.submit_later(change)
                return file.attributes()
        row = await self._changed(change, node)
        return file.attributes() if file is not None else row

    async def link(self, node: NodeId, parent: NodeId, name: bytes) -> Node:
        """A second name."""
        self.check_writable(name)
        return await self._changed(Link(time_ns=self._now_ns(), node=node, parent=parent, name=name), node)

    async def unlink(self, parent: NodeId, name: bytes) -> None:
        """Remove a name that is not a folder's."""
        self.check_writable()
        node = await self._named(parent, name)
        file = self._files.present(node.id)
        if file is not None and file.was_never_taken and self._names.creating.get((parent, name)) is file:
            del self._names.creating[parent, name]
            file.unlinked_here()
            return
        await self.submit(Unlink(time_ns=self._now_ns(), parent=parent, name=name, node=node.id))

    async def rmdir(self, parent: NodeId, name: bytes) -> None:
        """Remove an empty folder."""
        self.check_writable()
        node = await self._named(parent, name)
        await self.submit(Rmdir(time_ns=self._now_ns(), parent=parent, name=name, node=node.id))

    async def rename(self, parent: NodeId, name: bytes, new_parent: NodeId, new_name: bytes, mode: RenameMode) -> None:
        """Move a name; over what is there, it names what this mount saw."""
        self.check_writable(new_name)
        node = await self._named(parent, name)
        over = await self._reach.surely(partial(self._names.lookup, new_parent, new_name))
        replaced = None if over is None else Replaced(over.id, over.version, _other_names(over))
        await self.submit(
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
        self.check_writable()
        change = SetXattr(
            time_ns=self._now_ns(), node=node, name=xattr_name_to_wire(name), value=value, xattr_mode=mode
        )
        return await self._changed(change, node)

    async def remove_xattr(self, node: NodeId, name: bytes) -> Node:
        """removexattr(2)."""
        self.check_writable()
        change = RemoveXattr(time_ns=self._now_ns(), node=node, name=xattr_name_to_wire(name))
        return await self._changed(change, node)

    def _creation(
        self,
        parent: NodeId,
        name: bytes,
        kind: Kind,
        mode: int,
        uid: int,
        gid: int,
        on_clash: OnClash,
        *,
        rdev: int = 0,
        target: bytes = b"",
    ) -> Create:
        self.check_writable(name)
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
            on_clash=on_clash,
        )

    async def _named(self, parent: NodeId, name: bytes) -> Node:
        node = await self._reach.surely(partial(self._names.lookup, parent, name))
        if node is None:
            raise NotFound("no such name")
        return node

    async def _changed(self, change: AnyChange, node: NodeId) -> Node:
        """A node as the change left it."""
        applied, _ = await self._outbox.submit(change).applied()
        for row in applied.nodes:
            if row.id == node:
                return row
        return await self._names.attributes(node)


def _other_names(row: Node) -> int:
    return 0 if row.kind is Kind.FOLDER else row.nlink - 1
