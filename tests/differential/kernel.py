"""What else Linux does with names and attributes, above the simulation's model of a kernel: links, modes, attributes.

For one program at a time, by root: permissions and what others do meanwhile are left out.
"""

from __future__ import annotations

import errno
import os
import stat
from collections import deque
from collections.abc import Callable
from contextlib import AsyncExitStack
from random import Random
from types import SimpleNamespace
from typing import Any, Final

import pyfuse3

from tests.differential.program import NOW, OMIT
from tests.real.renameat2 import EXCHANGE, NOREPLACE
from tests.simulation.caches import Caches, Inode
from tests.simulation.kernel import Descriptor, Kernel

_ROOT: Final = SimpleNamespace(uid=0, gid=0, pid=1, umask=0o022)
_LINKS_MAX: Final = 40
_USER: Final = "user."


def _refused(number: int, path: str = "") -> OSError:
    return OSError(number, os.strerror(number), path)


class _FullCaches(Caches):
    """With all the attributes that were kept last."""

    def __init__(self, clock: Callable[[], float], random: Random, forget: Callable[[int, int], None]) -> None:
        super().__init__(clock, random, forget, has_epoch=True)
        self.entries: dict[int, pyfuse3.EntryAttributes] = {}
        """By inode number."""

    def keep_attributes(self, inode: Inode, entry: pyfuse3.EntryAttributes, version: int) -> None:
        """See ``Caches``."""
        if inode.version <= version:
            self.entries[inode.number] = entry
        super().keep_attributes(inode, entry, version)


class FullKernel(Kernel):
    """System calls that ``Kernel`` lacks; those that it has know of symlinks here."""

    def __init__(self, clock: Callable[[], float], random: Random, now_ns: Callable[[], int]) -> None:
        """``now_ns`` is the time that is set where a program asks for that of now."""
        super().__init__(clock, random, has_epoch=True, context=_ROOT)
        self.caches: _FullCaches = _FullCaches(clock, random, self.device.forget)
        self._now_ns = now_ns

    # ── attributes ──

    async def lstat(self, path: str) -> pyfuse3.EntryAttributes:
        """lstat(2)."""
        return await self._retried(lambda again: self._attributes_at(path, again))

    async def attributes(self, path: str) -> pyfuse3.EntryAttributes:
        """stat(2)."""

        async def once(again: bool) -> pyfuse3.EntryAttributes:
            return await self._attributes(await self._walk(path, again))

        return await self._retried(once)

    async def fstat(self, file: Descriptor) -> pyfuse3.EntryAttributes:
        """fstat(2)."""
        return await self._attributes(file.inode)

    async def set_attributes(self, path: str, *, follow: bool = True, **wanted: int | str) -> None:
        """chmod, chown, utimensat: ``mode``, ``uid``, ``gid``, ``atime``, ``mtime``."""
        if all(value == OMIT for value in wanted.values()):
            return

        async def once(again: bool) -> None:
            await self._set(await self._walk(path, again, follow=follow), None, wanted)

        await self._retried(once)

    async def set_file_attributes(self, file: Descriptor, **wanted: int | str) -> None:
        """fchmod, futimens."""
        await self._set(file.inode, file.handle, wanted)

    async def truncate_at(self, path: str, size: int) -> None:
        """truncate(2)."""

        async def once(again: bool) -> None:
            inode = await self._walk(path, again)
            if not stat.S_ISREG(self._mode(inode)):
                raise _refused(errno.EISDIR if inode.is_folder else errno.EINVAL, path)
            await self._set(inode, None, {"size": size})
            self.caches.cut(inode, size)

        await self._retried(once)

    async def set_xattr(self, path: str, name: str, value: bytes, flags: int) -> None:
        """setxattr(2); pyfuse3 asks for the attribute first where there are flags."""

        async def once(again: bool) -> None:
            inode = await self._walk(path, again)
            self._check_xattr(inode, name, errno.EPERM)
            if flags:
                try:
                    await self.device.ask("getxattr", inode.number, name.encode(), self._context)
                except OSError as error:
                    if error.errno != errno.ENODATA or flags & os.XATTR_REPLACE:
                        raise
                else:
                    if flags & os.XATTR_CREATE:
                        raise _refused(errno.EEXIST)
            await self.device.ask("setxattr", inode.number, name.encode(), value, self._context)
            self.caches.outdate(inode)

        await self._retried(once)

    async def get_xattr(self, path: str, name: str) -> bytes:
        """getxattr(2)."""

        async def once(again: bool) -> bytes:
            inode = await self._walk(path, again)
            self._check_xattr(inode, name, errno.ENODATA)
            got: bytes = await self.device.ask("getxattr", inode.number, name.encode(), self._context)
            return got

        return await self._retried(once)

    async def remove_xattr(self, path: str, name: str) -> None:
        """removexattr(2)."""

        async def once(again: bool) -> None:
            inode = await self._walk(path, again)
            self._check_xattr(inode, name, errno.EPERM)
            await self.device.ask("removexattr", inode.number, name.encode(), self._context)
            self.caches.outdate(inode)

        await self._retried(once)

    async def list_xattrs(self, path: str) -> list[str]:
        """llistxattr(2)."""

        async def once(again: bool) -> list[str]:
            inode = await self._walk(path, again, follow=False)
            return [name.decode() for name in await self.device.ask("listxattr", inode.number, self._context)]

        return await self._retried(once)

    async def fsync(self, file: Descriptor) -> None:
        """fsync(2)."""
        await self.device.ask("fsync", file.handle, False)

    async def quiet(self) -> None:
        """Return when every request has been answered."""
        await self.device.wait_quiet()

    # ── names ──

    async def open(self, path: str, flags: int, mode: int = 0o644) -> Descriptor | None:
        """open(2); None for what is no regular file."""

        async def once(again: bool) -> Descriptor | None:
            followed = path
            exclusive = flags & os.O_CREAT and flags & os.O_EXCL
            if not exclusive and not flags & os.O_NOFOLLOW:
                followed = await self._followed(path, again)
            folder, name = await self._walk_to_parent(followed, again)
            async with folder.lock:
                inode = await self._resolved(folder, name, ask=again)
                if inode is None and flags & os.O_CREAT:
                    return await self._made_file(folder, name, flags, mode)
            if inode is None:
                raise _refused(errno.ENOENT, path)
            if exclusive:
                raise _refused(errno.EEXIST, path)
            if stat.S_ISLNK(self._mode(inode)):
                raise _refused(errno.ELOOP, path)
            if not stat.S_ISREG(self._mode(inode)):
                return None
            return await self._open(followed, flags & ~os.O_CREAT, again)

        return await self._retried(once)

    async def make(self, path: str, request: str, *arguments: object) -> None:
        """mkdir(2), mknod(2), symlink(2)."""

        async def once(again: bool) -> None:
            folder, name = await self._walk_to_parent(path, again)
            async with folder.lock:
                if await self._resolved(folder, name, ask=True) is not None:
                    raise _refused(errno.EEXIST, path)
                epoch = self.caches.epoch
                entry = await self.device.ask(request, folder.number, name, *arguments, self._context)
                self.caches.keep_name(folder, name, entry, epoch, self.caches.made(entry))
                self.caches.outdate(folder)

        await self._retried(once)

    async def link(self, path: str, new_path: str) -> None:
        """link(2)."""

        async def once(again: bool) -> None:
            inode = await self._walk(path, again, follow=False)
            folder, name = await self._walk_to_parent(new_path, again)
            async with folder.lock:
                if await self._resolved(folder, name, ask=True) is not None:
                    raise _refused(errno.EEXIST, path)
                if inode.is_folder:
                    raise _refused(errno.EPERM, path)
                epoch = self.caches.epoch
                entry = await self.device.ask("link", inode.number, folder.number, name, self._context)
                self.caches.keep_name(folder, name, entry, epoch, self.caches.made(entry))
                self.caches.outdate(folder)
                self.caches.outdate(inode)

        await self._retried(once)

    async def readlink(self, path: str) -> str:
        """readlink(2)."""

        async def once(again: bool) -> str:
            inode = await self._walk(path, again, follow=False)
            if not stat.S_ISLNK(self._mode(inode)):
                raise _refused(errno.EINVAL, path)
            return await self._target(inode)

        return await self._retried(once)

    async def renameat2(self, path: str, new_path: str, flags: int) -> None:
        """renameat2(2)."""
        if flags & NOREPLACE and flags & EXCHANGE:
            raise _refused(errno.EINVAL)
        await self._retried(lambda again: self._rename(path, new_path, flags, again))

    async def _rename(self, path: str, new_path: str, flags: int, again: bool) -> None:
        parents, name = await self._way_to_parent(path, again)
        new_parents, new_name = await self._way_to_parent(new_path, again)
        folder, new_folder = parents[-1], new_parents[-1]
        async with AsyncExitStack() as locks:
            for one in {folder.number: folder, new_folder.number: new_folder}.values():
                await locks.enter_async_context(one.lock)
            inode = await self._resolved(folder, name, ask=again)
            if inode is None:
                raise _refused(errno.ENOENT, path)
            over = await self._resolved(new_folder, new_name, ask=True)
            if over is not None and flags & NOREPLACE:
                raise _refused(errno.EEXIST, path)
            if over is None and flags & EXCHANGE:
                raise _refused(errno.ENOENT, path)
            if inode in new_parents:
                raise _refused(errno.EINVAL, path)
            if over in parents:
                raise _refused(errno.EINVAL if flags & EXCHANGE else errno.ENOTEMPTY, path)
            if over is inode:
                return
            if over is not None and not flags & EXCHANGE and over.is_folder != inode.is_folder:
                raise _refused(errno.ENOTDIR if inode.is_folder else errno.EISDIR, path)
            await self.device.ask("rename", folder.number, name, new_folder.number, new_name, flags, self._context)
            moved, other = folder.names.pop(name, None), new_folder.names.pop(new_name, None)
            if moved is not None:
                new_folder.names[new_name] = moved
            if other is not None and flags & EXCHANGE:
                folder.names[name] = other
            elif other is not None and other.inode is not None:
                self.caches.let_go(other.inode)
            for one in (folder, new_folder, inode, *([] if over is None else [over])):
                self.caches.outdate(one)

    # ── inside ──

    async def _walk(self, path: str, again: bool, *, follow: bool = True) -> Inode:
        return (await self._way(path, again, follow=follow))[-1]

    async def _way(self, path: str, again: bool, *, follow: bool = True) -> list[Inode]:
        """The folders above what a path means, as they are in the tree, and that."""
        way, parts, links = [self.caches.root], deque(path.split("/")), 0
        while parts:
            name = parts.popleft()
            if name in ("", "."):
                continue
            if not way[-1].is_folder:
                raise _refused(errno.ENOTDIR, path)
            found = await self._found(way[-1], name.encode(), ask=again)
            if found is None:
                raise _refused(errno.ENOENT, path)
            if stat.S_ISLNK(self._mode(found)) and (parts or follow):
                links += 1
                if links > _LINKS_MAX:
                    raise _refused(errno.ELOOP, path)
                parts.extendleft(reversed((await self._target(found)).split("/")))
            else:
                way.append(found)
        return way

    async def _way_to_parent(self, path: str, again: bool) -> tuple[list[Inode], bytes]:
        parent, _, name = path.rpartition("/")
        way = await self._way(parent, again)
        if not way[-1].is_folder:
            raise _refused(errno.ENOTDIR, path)
        return way, name.encode()

    async def _followed(self, path: str, again: bool) -> str:
        """The path of what a path means, through the links that it ends in; nothing need be there."""
        for _ in range(_LINKS_MAX):
            folder, name = await self._walk_to_parent(path, again)
            inode = await self._found(folder, name, ask=again)
            if inode is None or not stat.S_ISLNK(self._mode(inode)):
                return path
            path = os.path.join(os.path.dirname(path), await self._target(inode))
        raise _refused(errno.ELOOP, path)

    async def _target(self, link: Inode) -> str:
        target: bytes = await self.device.ask("readlink", link.number, self._context)
        return target.decode()

    async def _made_file(self, folder: Inode, name: bytes, flags: int, mode: int) -> Descriptor:
        epoch = self.caches.epoch
        info, entry = await self.device.ask("create", folder.number, name, mode, flags, self._context)
        inode = self.caches.made(entry)
        inode.holds += 1
        self.caches.keep_name(folder, name, entry, epoch, inode)
        self.caches.outdate(folder)
        return Descriptor(inode, info.fh, was_created=True)

    async def _attributes_at(self, path: str, again: bool) -> pyfuse3.EntryAttributes:
        return await self._attributes(await self._walk(path, again, follow=False))

    async def _attributes(self, inode: Inode) -> pyfuse3.EntryAttributes:
        await self._refresh(inode)
        entry = self.caches.entries[inode.number]
        if stat.S_ISREG(entry.st_mode):
            entry.st_size = inode.size
        return entry

    def _mode(self, inode: Inode) -> int:
        mode: int = self.caches.entries[inode.number].st_mode if inode is not self.caches.root else stat.S_IFDIR
        return mode

    def _check_xattr(self, inode: Inode, name: str, number: int) -> None:
        """xattr(7): those of users are for regular files and folders."""
        mode = self._mode(inode)
        if name.startswith(_USER) and not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
            raise _refused(number)

    async def _set(self, inode: Inode, handle: int | None, wanted: dict[str, Any]) -> None:
        """notify_change(): a new owner takes suid and sgid."""
        if "uid" in wanted and not inode.is_folder:
            mode = (await self._attributes(inode)).st_mode
            kept = mode & ~stat.S_ISUID
            kept = kept & ~stat.S_ISGID if mode & stat.S_IXGRP else kept
            if kept != mode:
                wanted = {**wanted, "mode": kept}
        entry, fields = pyfuse3.EntryAttributes(), {}
        for name, value in wanted.items():
            if value in (OMIT, -1):
                continue
            fields[f"update_{name}"] = True
            if name in ("atime", "mtime"):
                setattr(entry, f"st_{name}_ns", self._now_ns() if value == NOW else value)
            else:
                setattr(entry, f"st_{name}", value)
        if not fields:
            return
        version = self.caches.version
        told = await self.device.ask("setattr", inode.number, entry, _Fields(fields), handle, self._context)
        self.caches.keep_attributes(inode, told, version)


class _Fields(SimpleNamespace):
    """``pyfuse3.SetattrFields``."""

    def __init__(self, chosen: dict[str, bool]) -> None:
        none = dict.fromkeys((f"update_{name}" for name in ("size", "mode", "uid", "gid", "mtime", "atime")), False)
        super().__init__(**none | chosen)
