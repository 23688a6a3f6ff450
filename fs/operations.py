"""The kernel's requests, answered by ``Drive``. Thin: take a request apart, delegate, translate.

Owns the handles. What is around every handler is in ``fs/answering.py``, what it tells of a node in ``fs/entries.py``.
"""

from __future__ import annotations

import errno
import itertools
import os
import stat
from collections.abc import Callable, Sequence
from typing import Any, Final

import pyfuse3
import trio

from backend.drive import Drive
from backend.openfile import OpenFile
from backend.openfiles import LAST_TRY_S
from fs.answering import Deadlines, answering, answering_content, by_number
from fs.attributes import kept_ns, kind_of
from fs.entries import Entries
from fs.handles import FileHandle, FolderHandle
from fs.inodes import Inode, Inodes
from protocol.ids import NodeId
from protocol.limits import NAME_MAX_BYTES
from protocol.messages.changes import RenameMode, XattrMode
from protocol.messages.nodes import Kind, Node, xattr_name_from_wire, xattr_name_to_wire
from protocol.messages.tree import UsageReply

USAGE_FOR_S: Final = 1.0
_WRITES: Final = os.O_WRONLY | os.O_RDWR
_RENAME_MODES: Final = {
    0: RenameMode.REPLACE,
    pyfuse3.RENAME_NOREPLACE: RenameMode.NOREPLACE,
    pyfuse3.RENAME_EXCHANGE: RenameMode.EXCHANGE,
}
STATE_XATTR: Final = b"user.samedrive.state"
"""Read-only and made up: see ``FileState``. Listings leave it out, so that cp -a, rsync -X and tar don't copy it."""

_OWN_XATTRS: Final = b"user.samedrive."
_XATTR_SPACES: Final = (b"user.", b"trusted.", b"security.")
"""xattr(7). ENOTSUP for the others, and for our own, is what cp -a passes over in silence."""

_OF_FILES: Final = frozenset({"read", "write", "flush", "fsync", "release"})
_OF_FOLDERS: Final = frozenset({"readdir", "releasedir", "fsyncdir"})
"""Handlers whose first argument is a handle's number."""

_DOTS: Final = (b".", b"..")

ReplyEntry = Callable[[pyfuse3.ReaddirToken, bytes, pyfuse3.EntryAttributes, int], bool]


class Operations(pyfuse3.Operations):
    """One mount."""

    supports_dot_lookup = False
    enable_writeback_cache = False

    def __init__(
        self,
        drive: Drive,
        inodes: Inodes,
        entries: Entries,
        deadlines: Deadlines,
        reply_entry: ReplyEntry = pyfuse3.readdir_reply,
    ) -> None:
        """``reply_entry`` gives the kernel one entry of a listing; False where it takes no more."""
        super().__init__()
        self._reply_entry = reply_entry
        self.deadlines = deadlines
        self._drive = drive
        self._inodes = inodes
        self._entries = entries
        self._numbers = itertools.count(1)
        self._files: dict[int, FileHandle] = {}
        self._folders: dict[int, FolderHandle] = {}
        self._usage: tuple[float, UsageReply] | None = None

    # ── names ──

    @answering
    async def lookup(self, parent_inode: int, name: bytes, ctx: pyfuse3.RequestContext) -> pyfuse3.EntryAttributes:
        """A name's inode; a name that isn't there is kept too, where names may be."""
        if len(name) > NAME_MAX_BYTES:
            raise pyfuse3.FUSEError(errno.ENAMETOOLONG)
        seen = self._entries.seen
        node = await self._drive.lookup(self._node(parent_inode), name)
        overtaken = seen != self._entries.seen
        if node is None:
            return self._entries.absent(keep=not overtaken)
        return self._entries.told(node, keep=not overtaken)

    async def forget(self, inode_list: Sequence[tuple[int, int]]) -> None:
        """The kernel dropped inodes."""
        for number, times in inode_list:
            self._inodes.forget(number, times)

    @answering
    async def mkdir(
        self, parent_inode: int, name: bytes, mode: int, ctx: pyfuse3.RequestContext
    ) -> pyfuse3.EntryAttributes:
        """mkdir(2)."""
        return await self._make(parent_inode, name, Kind.FOLDER, stat.S_IMODE(mode), ctx)

    @answering
    async def mknod(
        self, parent_inode: int, name: bytes, mode: int, rdev: int, ctx: pyfuse3.RequestContext
    ) -> pyfuse3.EntryAttributes:
        """mknod(2)."""
        return await self._make(parent_inode, name, kind_of(mode), stat.S_IMODE(mode), ctx, rdev=rdev)

    @answering
    async def symlink(
        self, parent_inode: int, name: bytes, target: bytes, ctx: pyfuse3.RequestContext
    ) -> pyfuse3.EntryAttributes:
        """symlink(2)."""
        return await self._make(parent_inode, name, Kind.SYMLINK, 0o777, ctx, target=target)

    @answering_content
    async def link(
        self, inode: int, new_parent_inode: int, new_name: bytes, ctx: pyfuse3.RequestContext
    ) -> pyfuse3.EntryAttributes:
        """link(2)."""
        await self._settle(self._inodes[inode])
        seen = self._entries.seen
        node = await self._drive.link(self._node(inode), self._node(new_parent_inode), new_name)
        self._entries.changed_here()
        return self._entries.told(node, keep=seen == self._entries.seen)

    @answering
    async def unlink(self, parent_inode: int, name: bytes, ctx: pyfuse3.RequestContext) -> None:
        """unlink(2)."""
        await self._drive.unlink(self._node(parent_inode), name)
        self._entries.changed_here()

    @answering
    async def rmdir(self, parent_inode: int, name: bytes, ctx: pyfuse3.RequestContext) -> None:
        """rmdir(2)."""
        await self._drive.rmdir(self._node(parent_inode), name)
        self._entries.changed_here()

    @answering
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
        self._entries.changed_here()

    @answering
    @by_number
    async def readlink(self, inode: int, ctx: pyfuse3.RequestContext) -> bytes:
        """readlink(2)."""
        return (await self._drive.attributes(self._node(inode))).target

    # ── attributes ──

    @answering
    @by_number
    async def getattr(self, inode: int, ctx: pyfuse3.RequestContext) -> pyfuse3.EntryAttributes:
        """stat(2)."""
        known, seen = self._inodes[inode], self._entries.seen
        node = await self._attributes(known)
        return self._entries.of(node, known, keep=seen == self._entries.seen)

    @answering_content
    @by_number
    async def setattr(
        self,
        inode: int,
        attr: pyfuse3.EntryAttributes,
        fields: pyfuse3.SetattrFields,
        fh: int | None,
        ctx: pyfuse3.RequestContext,
    ) -> pyfuse3.EntryAttributes:
        """chmod, chown, utimensat, truncate; a size set through a handle belongs to the handle."""
        known, seen = self._inodes[inode], self._entries.seen
        self._entries.changed_here()
        if fields.update_size:
            if fh is not None:
                await self._files[fh].file.truncate(attr.st_size)
            else:
                await self._drive.truncate(self._live(known), attr.st_size)
        wanted = {
            "mode": stat.S_IMODE(attr.st_mode) if fields.update_mode else None,
            "uid": attr.st_uid if fields.update_uid else None,
            "gid": attr.st_gid if fields.update_gid else None,
            "mtime_ns": kept_ns(attr.st_mtime_ns) if fields.update_mtime else None,
            "atime_ns": kept_ns(attr.st_atime_ns) if fields.update_atime else None,
        }
        if any(value is not None for value in wanted.values()):
            await self._drive.set_attributes(self._node(inode), **wanted)
        node = await self._attributes(known)
        return self._entries.of(node, known, keep=seen == self._entries.seen)

    @answering
    @by_number
    async def getxattr(self, inode: int, name: bytes, ctx: pyfuse3.RequestContext) -> bytes:
        """getxattr(2)."""
        _check_xattr_name(name)
        known = self._inodes[inode]
        node = await self._attributes(known)
        if name == STATE_XATTR:
            return self._drive.state_of(node, known.file).encode()
        value = node.xattrs.get(xattr_name_to_wire(name))
        if value is None:
            raise pyfuse3.FUSEError(pyfuse3.ENOATTR)
        return value

    @answering
    @by_number
    async def listxattr(self, inode: int, ctx: pyfuse3.RequestContext) -> list[bytes]:
        """listxattr(2)."""
        node = await self._attributes(self._inodes[inode])
        return [xattr_name_from_wire(name) for name in node.xattrs]

    @answering_content
    async def setxattr(self, inode: int, name: bytes, value: bytes, ctx: pyfuse3.RequestContext) -> None:
        """setxattr(2); pyfuse3 has seen to CREATE and REPLACE by asking for the attribute first."""
        _check_xattr_name(name)
        if name.startswith(_OWN_XATTRS):
            raise pyfuse3.FUSEError(errno.ENOTSUP)
        await self._settle(self._inodes[inode])
        await self._drive.set_xattr(self._node(inode), name, value, XattrMode.SET)

    @answering_content
    async def removexattr(self, inode: int, name: bytes, ctx: pyfuse3.RequestContext) -> None:
        """removexattr(2)."""
        _check_xattr_name(name)
        if name.startswith(_OWN_XATTRS):
            raise pyfuse3.FUSEError(errno.ENOTSUP)
        await self._settle(self._inodes[inode])
        await self._drive.remove_xattr(self._node(inode), name)

    @answering
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

    @answering
    async def opendir(self, inode: int, ctx: pyfuse3.RequestContext) -> int:
        """opendir(3)."""
        number = next(self._numbers)
        self._folders[number] = FolderHandle(self._node(inode))
        return number

    @answering
    async def readdir(self, fh: int, start_id: int, token: pyfuse3.ReaddirToken) -> None:
        """Entries with attributes, from a snapshot that is taken anew when reading begins again."""
        self._entries.asked_on_folder(fh)
        handle = self._folders[fh]
        if start_id == 0:
            handle.moment, handle.seq = self._entries.moment, self._drive.applied
            handle.entries = await self._drive.entries(handle.node)
            handle.folder = self._entries.of(await self._drive.attributes(handle.node), self._inodes.peek(handle.node))
        for place, name in enumerate(_DOTS[start_id:], start=start_id + 1):
            # The kernel makes no inode of these two: they count as no look-up.
            if not self._reply_entry(token, name, handle.folder, place):
                return
        begin = max(0, start_id - len(_DOTS))
        keep = handle.moment == self._entries.moment
        told: list[Inode] = []
        try:
            await self._reply_entries(handle, begin, token, told, keep=keep)
        except BaseException:  # The kernel gets an error instead, and knows of none of them.
            for inode in told:
                self._inodes.forget(inode.number, 1)
            raise
        if keep and begin < len(handle.entries):
            self._entries.listed(fh)

    async def _reply_entries(
        self, handle: FolderHandle, begin: int, token: pyfuse3.ReaddirToken, told: list[Inode], *, keep: bool
    ) -> None:
        """From the ``begin``-th on, as many as the answer has room for; ``told`` gets those that are in it."""
        for place, entry in enumerate(handle.entries[begin:], start=begin + len(_DOTS) + 1):
            # The kernel takes the size from here, and appends at it, whatever the time-out: it must be that of now.
            node = entry.node if keep else await self._drive.latest(entry.node, handle.seq)
            inode = self._inodes.peek(node.id, is_file=node.kind is Kind.FILE)
            node = node if inode.file is None else inode.file.attributes()
            if not self._reply_entry(token, entry.name, self._entries.of(node, inode, keep=keep), place):
                self._inodes.drop_unknown(inode)
                return
            self._inodes.told(inode)
            told.append(inode)

    @answering
    async def releasedir(self, fh: int) -> None:
        """closedir(3)."""
        self._entries.asked_on_folder(fh)
        del self._folders[fh]

    @answering
    async def fsyncdir(self, fh: int, datasync: bool) -> None:
        """Changes of folders are durable when they return."""

    # ── files ──

    @answering
    async def create(
        self, parent_inode: int, name: bytes, mode: int, flags: int, ctx: pyfuse3.RequestContext
    ) -> tuple[pyfuse3.FileInfo, pyfuse3.EntryAttributes]:
        """open(2) with O_CREAT, of a name that isn't there."""
        parent = await self._drive.attributes(self._node(parent_inode))
        mode, gid = _inherited(parent, Kind.FILE, stat.S_IMODE(mode), ctx.gid)
        file = await self._drive.create(parent.id, name, mode, ctx.uid, gid, exclusive=bool(flags & os.O_EXCL))
        self._entries.changed_here()
        inode = self._inodes.peek(file.node, is_file=True)
        if file.detached or inode.file not in (None, file):  # There is a new version by another device already.
            inode = self._inodes.retired(file.node)
        info = self._opened(inode, file, commits=True)
        entry = self._entries.of(file.attributes(), inode, is_made_now=True)
        self._inodes.told(inode)
        return info, entry

    @answering_content
    @by_number
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
                await self._take_suid(file, ctx)
            except BaseException:
                with trio.move_on_after(LAST_TRY_S, shield=True):
                    await self.release(info.fh)
                raise
        return info

    @answering_content
    async def read(self, fh: int, off: int, size: int) -> bytes:
        """pread(2)."""
        return await self._files[fh].file.read(off, size)

    @answering_content
    async def write(self, fh: int, off: int, buf: bytes) -> int:
        """pwrite(2)."""
        return await self._files[fh].file.write(off, buf)

    @answering_content
    async def flush(self, fh: int) -> None:
        """close(2), once per descriptor: returns when the content is committed."""
        handle = self._files[fh]
        if handle.commits:
            self._entries.changed_here()
            await self._drive.flush(handle.file)

    @answering_content
    async def fsync(self, fh: int, datasync: bool) -> None:
        """fsync(2)."""
        await self._drive.flush(self._files[fh].file)

    @answering_content
    async def release(self, fh: int) -> None:
        """The last descriptor and mapping are gone."""
        handle = self._files.pop(fh)
        self._entries.changed_here()
        handle.inode.handles -= 1
        if handle.inode.handles == 0:
            handle.inode.file = None
            self._inodes.drop_unknown(handle.inode)
        await self._drive.release(handle.file)

    # ── inside ──

    def subject(self, handler: str, arguments: tuple[Any, ...]) -> str:
        """See ``fs.answering.Answers``."""
        match arguments:
            case (int(number), bytes(name), *_) if handler not in _OF_FILES:
                return f"{self._path(number)}: {name.decode(errors='backslashreplace')}"
            case (int(number), *_) if handler in _OF_FILES:
                return self._drive.path_of(self._files[number].file.node) if number in self._files else "a closed file"
            case (int(number), *_) if handler in _OF_FOLDERS:
                return self._drive.path_of(self._folders[number].node) if number in self._folders else "a closed folder"
            case (int(number), *_):
                return self._path(number)
            case _:
                return "the drive"

    def _path(self, number: int) -> str:
        return self._drive.path_of(self._node(number))

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

    async def _take_suid(self, file: OpenFile, ctx: pyfuse3.RequestContext) -> None:
        """What somebody empties by opening it runs as nobody else any more, if that wasn't root (inode(7)).

        Of other writes the kernel takes care.
        """
        mode = file.attributes().mode
        kept = mode & ~stat.S_ISUID & ~(stat.S_ISGID if mode & stat.S_IXGRP else 0)
        if kept != mode and ctx.uid != 0:
            await self._drive.set_attributes(file.node, mode=kept)

    async def _settle(self, inode: Inode) -> None:
        """Let the server know of a file that is new here, before a change that needs it to be there."""
        if inode.file is not None and inode.file.is_new:
            await self._drive.flush(inode.file)

    def _opened(self, inode: Inode, file: OpenFile, *, commits: bool) -> pyfuse3.FileInfo:
        number = next(self._numbers)
        inode.handles += 1
        inode.file = file
        self._files[number] = FileHandle(inode, file, commits)
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
        seen = self._entries.seen
        node = await self._drive.make(parent.id, name, kind, mode, ctx.uid, gid, rdev=rdev, target=target)
        self._entries.changed_here()
        return self._entries.told(node, keep=seen == self._entries.seen)


def _inherited(parent: Node, kind: Kind, mode: int, gid: int) -> tuple[int, int]:
    """Mode and group of a new node: those of a folder with the sgid bit pass on (inode(7))."""
    if not parent.mode & stat.S_ISGID:
        return mode, gid
    return (mode | stat.S_ISGID if kind is Kind.FOLDER else mode), parent.gid


def _check_xattr_name(name: bytes) -> None:
    """Raises FUSEError for a name that is in no name space, or nothing but one, as file systems that know theirs do."""
    if not name.startswith(_XATTR_SPACES):
        raise pyfuse3.FUSEError(errno.ENOTSUP)
    if name in _XATTR_SPACES:
        raise pyfuse3.FUSEError(errno.EINVAL)
