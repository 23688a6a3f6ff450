"""The kernel's requests, answered by ``Drive``. Thin: take a request apart, delegate, translate.

Owns the handles. Only ``FUSEError`` leaves a handler; what nobody expected is logged and is EIO for that call alone.

Invariant: every answer that makes the kernel know an inode counts one look-up, without a checkpoint in between.
"""

from __future__ import annotations

import errno
import functools
import itertools
import logging
import os
import stat
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar, cast

import pyfuse3
import trio

from backend.drive import Drive
from backend.errors import DriveError
from backend.openfile import OpenFile
from fs.attributes import Owner, entry_of, kind_of, no_entry
from fs.inodes import Inode, Inodes
from fs.notices import Notices
from protocol.ids import NodeId
from protocol.limits import NAME_MAX_BYTES
from protocol.messages import (
    Entry,
    Kind,
    Node,
    RenameMode,
    UsageReply,
    XattrMode,
    xattr_name_from_wire,
    xattr_name_to_wire,
)

KERNEL_CACHE_MAX_S: Final = 3600.0
"""No name or attribute stays in the kernel longer without being asked for again, however long the feed is trusted."""

USAGE_FOR_S: Final = 1.0
_WRITES: Final = os.O_WRONLY | os.O_RDWR
_RENAME_MODES: Final = {
    0: RenameMode.REPLACE,
    pyfuse3.RENAME_NOREPLACE: RenameMode.NOREPLACE,
    pyfuse3.RENAME_EXCHANGE: RenameMode.EXCHANGE,
}
_UNSUPPORTED_XATTRS: Final = b"system."
_DOTS: Final = (b".", b"..")

log = logging.getLogger(__name__)
Handler = TypeVar("Handler", bound=Callable[..., Awaitable[Any]])
ReplyEntry = Callable[[pyfuse3.ReaddirToken, bytes, pyfuse3.EntryAttributes, int], bool]


def _answering(handler: Handler) -> Handler:
    """Translate what a handler raises."""

    @functools.wraps(handler)
    async def answered(*arguments: Any) -> Any:
        try:
            return await handler(*arguments)
        except pyfuse3.FUSEError:
            raise
        except DriveError as error:
            raise pyfuse3.FUSEError(error.errno) from error
        except Exception as error:
            log.exception("%s failed", handler.__name__)
            raise pyfuse3.FUSEError(errno.EIO) from error

    return cast(Handler, answered)


def _by_number(handler: Handler) -> Handler:
    """Of requests about an inode that was found by name before: one that is gone is ESTALE.

    The kernel then looks the name up again: a name that is renamed over is never seen missing.
    """

    @functools.wraps(handler)
    async def answered(*arguments: Any) -> Any:
        try:
            return await handler(*arguments)
        except DriveError as error:
            if error.errno == errno.ENOENT:
                raise pyfuse3.FUSEError(errno.ESTALE) from error
            raise

    return cast(Handler, answered)


@dataclass(slots=True)
class _FileHandle:
    """One open(2) of a regular file."""

    inode: Inode
    file: OpenFile
    commits: bool
    """close(2) waits for its commit: it may write, or it made the file."""


@dataclass(slots=True)
class _FolderHandle:
    """One opendir(3): the entries as they were when it began to read."""

    node: NodeId
    entries: Sequence[Entry] = field(default_factory=list)
    moment: tuple[int, int] = (0, 0)
    """When the entries were taken: see ``Operations._moment``."""
    folder: pyfuse3.EntryAttributes = field(default_factory=pyfuse3.EntryAttributes)


class Operations(pyfuse3.Operations):
    """One mount."""

    supports_dot_lookup = False
    enable_writeback_cache = False

    def __init__(
        self, drive: Drive, inodes: Inodes, owner: Owner | None, reply_entry: ReplyEntry = pyfuse3.readdir_reply
    ) -> None:
        """``reply_entry`` gives the kernel one entry of a listing; False where it takes no more."""
        super().__init__()
        self.notices: Notices | None = None
        """Set when the mount has its device; until then the kernel keeps nothing."""
        self._drive = drive
        self._inodes = inodes
        self._owner = owner
        self._reply_entry = reply_entry
        self._numbers = itertools.count(1)
        self._files: dict[int, _FileHandle] = {}
        self._folders: dict[int, _FolderHandle] = {}
        self._usage: tuple[float, UsageReply] | None = None
        self._own_changes = 0

    # ── names ──

    @_answering
    async def lookup(self, parent_inode: int, name: bytes, ctx: pyfuse3.RequestContext) -> pyfuse3.EntryAttributes:
        """A name's inode; a name that isn't there is kept too, where names may be."""
        if len(name) > NAME_MAX_BYTES:
            raise pyfuse3.FUSEError(errno.ENAMETOOLONG)
        seen = self._seen()
        node = await self._drive.lookup(self._node(parent_inode), name)
        overtaken = seen != self._seen()
        if node is None:
            if (timeout_s := self._name_timeout_s()) > 0 and not overtaken:
                return no_entry(timeout_s)
            raise pyfuse3.FUSEError(errno.ENOENT)
        return self._told(node, keep=not overtaken)

    async def forget(self, inode_list: Sequence[tuple[int, int]]) -> None:
        """The kernel dropped inodes."""
        for number, times in inode_list:
            self._inodes.forget(number, times)

    @_answering
    async def mkdir(
        self, parent_inode: int, name: bytes, mode: int, ctx: pyfuse3.RequestContext
    ) -> pyfuse3.EntryAttributes:
        """mkdir(2)."""
        return await self._make(parent_inode, name, Kind.FOLDER, stat.S_IMODE(mode), ctx)

    @_answering
    async def mknod(
        self, parent_inode: int, name: bytes, mode: int, rdev: int, ctx: pyfuse3.RequestContext
    ) -> pyfuse3.EntryAttributes:
        """mknod(2)."""
        return await self._make(parent_inode, name, kind_of(mode), stat.S_IMODE(mode), ctx, rdev=rdev)

    @_answering
    async def symlink(
        self, parent_inode: int, name: bytes, target: bytes, ctx: pyfuse3.RequestContext
    ) -> pyfuse3.EntryAttributes:
        """symlink(2)."""
        return await self._make(parent_inode, name, Kind.SYMLINK, 0o777, ctx, target=target)

    @_answering
    async def link(
        self, inode: int, new_parent_inode: int, new_name: bytes, ctx: pyfuse3.RequestContext
    ) -> pyfuse3.EntryAttributes:
        """link(2)."""
        await self._settle(self._inodes[inode])
        return self._told(await self._drive.link(self._node(inode), self._node(new_parent_inode), new_name))

    @_answering
    async def unlink(self, parent_inode: int, name: bytes, ctx: pyfuse3.RequestContext) -> None:
        """unlink(2)."""
        await self._drive.unlink(self._node(parent_inode), name)
        self._own_changes += 1

    @_answering
    async def rmdir(self, parent_inode: int, name: bytes, ctx: pyfuse3.RequestContext) -> None:
        """rmdir(2)."""
        await self._drive.rmdir(self._node(parent_inode), name)
        self._own_changes += 1

    @_answering
    async def rename(
        self,
        parent_inode_old: int,
        name_old: bytes,
        parent_inode_new: int,
        name_new: bytes,
        flags: int,
        ctx: pyfuse3.RequestContext,
    ) -> None:
        """renameat2(2)."""
        if (mode := _RENAME_MODES.get(flags)) is None:
            raise pyfuse3.FUSEError(errno.EINVAL)
        await self._drive.rename(self._node(parent_inode_old), name_old, self._node(parent_inode_new), name_new, mode)
        self._own_changes += 1

    @_answering
    @_by_number
    async def readlink(self, inode: int, ctx: pyfuse3.RequestContext) -> bytes:
        """readlink(2)."""
        return (await self._drive.attributes(self._node(inode))).target

    # ── attributes ──

    @_answering
    @_by_number
    async def getattr(self, inode: int, ctx: pyfuse3.RequestContext) -> pyfuse3.EntryAttributes:
        """stat(2)."""
        known, seen = self._inodes[inode], self._seen()
        node = await self._attributes(known)
        return self._entry(node, known, keep=seen == self._seen())

    @_answering
    @_by_number
    async def setattr(
        self,
        inode: int,
        attr: pyfuse3.EntryAttributes,
        fields: pyfuse3.SetattrFields,
        fh: int | None,
        ctx: pyfuse3.RequestContext,
    ) -> pyfuse3.EntryAttributes:
        """chmod, chown, utimensat, truncate; a size set through a handle belongs to the handle."""
        known, seen = self._inodes[inode], self._seen()
        self._own_changes += 1
        if fields.update_size:
            if fh is not None:
                await self._files[fh].file.truncate(attr.st_size)
            else:
                await self._drive.truncate(self._live(known), attr.st_size)
        wanted = {
            "mode": stat.S_IMODE(attr.st_mode) if fields.update_mode else None,
            "uid": attr.st_uid if fields.update_uid else None,
            "gid": attr.st_gid if fields.update_gid else None,
            "mtime_ns": attr.st_mtime_ns if fields.update_mtime else None,
            "atime_ns": attr.st_atime_ns if fields.update_atime else None,
        }
        if any(value is not None for value in wanted.values()):
            await self._drive.set_attributes(self._node(inode), **wanted)
        node = await self._attributes(known)
        return self._entry(node, known, keep=seen == self._seen())

    @_answering
    @_by_number
    async def getxattr(self, inode: int, name: bytes, ctx: pyfuse3.RequestContext) -> bytes:
        """getxattr(2)."""
        node = await self._attributes(self._inodes[inode])
        value = node.xattrs.get(xattr_name_to_wire(name))
        if value is None:
            raise pyfuse3.FUSEError(pyfuse3.ENOATTR)
        return value

    @_answering
    @_by_number
    async def listxattr(self, inode: int, ctx: pyfuse3.RequestContext) -> list[bytes]:
        """listxattr(2)."""
        node = await self._attributes(self._inodes[inode])
        return [xattr_name_from_wire(name) for name in node.xattrs]

    @_answering
    async def setxattr(self, inode: int, name: bytes, value: bytes, ctx: pyfuse3.RequestContext) -> None:
        """setxattr(2); pyfuse3 has seen to CREATE and REPLACE by asking for the attribute first."""
        if name.startswith(_UNSUPPORTED_XATTRS):
            raise pyfuse3.FUSEError(errno.ENOTSUP)
        await self._settle(self._inodes[inode])
        await self._drive.set_xattr(self._node(inode), name, value, XattrMode.SET)

    @_answering
    async def removexattr(self, inode: int, name: bytes, ctx: pyfuse3.RequestContext) -> None:
        """removexattr(2)."""
        await self._settle(self._inodes[inode])
        await self._drive.remove_xattr(self._node(inode), name)

    @_answering
    async def statfs(self, ctx: pyfuse3.RequestContext) -> pyfuse3.StatvfsData:
        """statvfs(3), from the workspace's quota."""
        now_s = trio.current_time()
        if self._usage is None or now_s - self._usage[0] > USAGE_FOR_S:
            self._usage = (now_s, await self._drive.usage())
        usage = self._usage[1]
        data = pyfuse3.StatvfsData()
        data.f_bsize = data.f_frsize = 4096
        data.f_blocks = usage.total_bytes // 4096
        data.f_bfree = data.f_bavail = usage.free_bytes // 4096
        data.f_files = usage.nodes + (1 << 32)
        data.f_ffree = data.f_favail = 1 << 32
        data.f_namemax = NAME_MAX_BYTES
        return data

    # ── folders ──

    @_answering
    async def opendir(self, inode: int, ctx: pyfuse3.RequestContext) -> int:
        """opendir(3)."""
        number = next(self._numbers)
        self._folders[number] = _FolderHandle(self._node(inode))
        return number

    @_answering
    async def readdir(self, fh: int, start_id: int, token: pyfuse3.ReaddirToken) -> None:
        """Entries with attributes, from a snapshot that is taken anew when reading begins again."""
        handle = self._folders[fh]
        if start_id == 0:
            handle.moment = self._moment()
            handle.entries = await self._drive.entries(handle.node)
            handle.folder = self._entry(await self._drive.attributes(handle.node), self._inodes.peek(handle.node))
        for place, name in enumerate(_DOTS[start_id:], start=start_id + 1):
            # The kernel makes no inode of these two: they count as no look-up.
            if not self._reply_entry(token, name, handle.folder, place):
                return
        keep = handle.moment == self._moment()
        begin = max(0, start_id - len(_DOTS))
        for place, entry in enumerate(handle.entries[begin:], start=begin + len(_DOTS) + 1):
            inode = self._inodes.peek(entry.node.id, is_file=entry.node.kind is Kind.FILE)
            # The kernel takes a file's size from here, and appends at it: an open file's must be that of now.
            node = entry.node if inode.file is None else inode.file.attributes()
            if not self._reply_entry(token, entry.name, self._entry(node, inode, keep=keep), place):
                self._inodes.drop_unknown(inode)
                break
            self._inodes.told(inode)

    @_answering
    async def releasedir(self, fh: int) -> None:
        """closedir(3)."""
        del self._folders[fh]

    @_answering
    async def fsyncdir(self, fh: int, datasync: bool) -> None:
        """Changes of folders are durable when they return."""

    # ── files ──

    @_answering
    async def create(
        self, parent_inode: int, name: bytes, mode: int, flags: int, ctx: pyfuse3.RequestContext
    ) -> tuple[pyfuse3.FileInfo, pyfuse3.EntryAttributes]:
        """open(2) with O_CREAT, of a name that isn't there."""
        parent = await self._drive.attributes(self._node(parent_inode))
        mode, gid = _inherited(parent, Kind.FILE, stat.S_IMODE(mode), ctx.gid)
        file = await self._drive.create(parent.id, name, mode, ctx.uid, gid, exclusive=bool(flags & os.O_EXCL))
        self._own_changes += 1
        inode = self._inodes.peek(file.node, is_file=True)
        if file.detached or inode.file not in (None, file):  # There is a new version by another device already.
            inode = self._inodes.retired(file.node)
        info, entry = self._opened(inode, file, commits=True), self._entry(file.attributes(), inode)
        self._inodes.told(inode)
        return info, entry

    @_answering
    @_by_number
    async def open(self, inode: int, flags: int, ctx: pyfuse3.RequestContext) -> pyfuse3.FileInfo:
        """open(2). An outdated inode is refused with ESTALE: the kernel looks the name up again."""
        known = self._inodes[inode]
        file = await self._drive.open(self._live(known))
        if known.retired or (known.file is not None and known.file is not file):
            await self._drive.release(file)  # A new version came while the manifest was fetched.
            raise pyfuse3.FUSEError(errno.ESTALE)
        info = self._opened(known, file, commits=bool(flags & (_WRITES | os.O_TRUNC)))
        if flags & os.O_TRUNC:
            try:
                await file.truncate(0)
            except BaseException:
                with trio.CancelScope(shield=True):
                    await self.release(info.fh)
                raise
        return info

    @_answering
    async def read(self, fh: int, off: int, size: int) -> bytes:
        """pread(2)."""
        return await self._files[fh].file.read(off, size)

    @_answering
    async def write(self, fh: int, off: int, buf: bytes) -> int:
        """pwrite(2)."""
        return await self._files[fh].file.write(off, buf)

    @_answering
    async def flush(self, fh: int) -> None:
        """close(2), once per descriptor: returns when the content is committed."""
        handle = self._files[fh]
        if handle.commits:
            self._own_changes += 1
            await self._drive.flush(handle.file)

    @_answering
    async def fsync(self, fh: int, datasync: bool) -> None:
        """fsync(2)."""
        await self._drive.flush(self._files[fh].file)

    @_answering
    async def release(self, fh: int) -> None:
        """The last descriptor and mapping are gone."""
        handle = self._files.pop(fh)
        self._own_changes += 1
        handle.inode.handles -= 1
        if handle.inode.handles == 0:
            handle.inode.file = None
            self._inodes.drop_unknown(handle.inode)
        await self._drive.release(handle.file)

    # ── inside ──

    def _node(self, number: int) -> NodeId:
        inode = self._inodes[number]
        return inode.node if inode.file is None else inode.file.node

    def _live(self, inode: Inode) -> NodeId:
        if inode.retired:
            raise pyfuse3.FUSEError(errno.ESTALE)
        return inode.node

    async def _attributes(self, inode: Inode) -> Node:
        """Of an outdated inode, as those see it who have it open."""
        if inode.retired:
            if inode.file is None:
                raise pyfuse3.FUSEError(errno.ESTALE)
            return inode.file.attributes()
        return await self._drive.attributes(inode.node)

    async def _settle(self, inode: Inode) -> None:
        """Let the server know of a file that is new here, before a change that needs it to be there."""
        if inode.file is not None and inode.file.is_new:
            await self._drive.flush(inode.file)

    def _name_timeout_s(self) -> float:
        return self._attribute_timeout_s() if self.notices is not None and self.notices.keeps_names else 0.0

    def _attribute_timeout_s(self) -> float:
        return 0.0 if self.notices is None else min(KERNEL_CACHE_MAX_S, self._drive.cache_timeout_s())

    def _seen(self) -> int:
        """How many changes of others have come in."""
        return 0 if self.notices is None else self.notices.seen

    def _moment(self) -> tuple[int, int]:
        """How many changes there have been: others' and this mount's."""
        return self._seen(), self._own_changes

    def _entry(self, node: Node, inode: Inode, *, keep: bool = True) -> pyfuse3.EntryAttributes:
        """``keep`` False: a change came in while the answer was made, so the kernel must ask again."""
        if not keep:
            return entry_of(node, inode.number, self._owner, 0.0, 0.0)
        # A dirty file's commit sets its ctime, and the kernel would not hear of it.
        changing = inode.retired or (inode.file is not None and inode.file.is_dirty)
        attribute_timeout_s = 0.0 if changing else self._attribute_timeout_s()
        return entry_of(node, inode.number, self._owner, self._name_timeout_s(), attribute_timeout_s)

    def _told(self, node: Node, *, keep: bool = True) -> pyfuse3.EntryAttributes:
        inode = self._inodes.peek(node.id, is_file=node.kind is Kind.FILE)
        entry = self._entry(node, inode, keep=keep)
        self._inodes.told(inode)
        return entry

    def _opened(self, inode: Inode, file: OpenFile, *, commits: bool) -> pyfuse3.FileInfo:
        number = next(self._numbers)
        inode.handles += 1
        inode.file = file
        self._files[number] = _FileHandle(inode, file, commits)
        return pyfuse3.FileInfo(fh=number, keep_cache=True)

    async def _make(
        self,
        parent_inode: int,
        name: bytes,
        kind: Kind,
        mode: int,
        ctx: pyfuse3.RequestContext,
        *,
        rdev: int = 0,
        target: bytes = b"",
    ) -> pyfuse3.EntryAttributes:
        parent = await self._drive.attributes(self._node(parent_inode))
        mode, gid = _inherited(parent, kind, mode, ctx.gid)
        return self._told(await self._drive.make(parent.id, name, kind, mode, ctx.uid, gid, rdev=rdev, target=target))


def _inherited(parent: Node, kind: Kind, mode: int, gid: int) -> tuple[int, int]:
    """Mode and group of a new node: those of a folder with the sgid bit pass on (inode(7))."""
    if not parent.mode & stat.S_ISGID:
        return mode, gid
    return (mode | stat.S_ISGID if kind is Kind.FOLDER else mode), parent.gid
