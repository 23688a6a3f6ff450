"""A machine's kernel above a FUSE mount: system calls in, the mount's real request handlers below. No mount is made.

Models what Linux 6.18 decides about what a program sees (fs/namei.c, fs/fuse/dir.c, file.c, readdir.c, inode.c):

- names are kept with a time-out and the mount's epoch of when the request was *sent*; so is an absent one;
- attributes are kept with a time-out, unless they were outdated after the request was sent;
- time-outs count from when the reply arrives, by this machine's clock;
- a file's pages are kept as long as its inode, and go when its size or modification time is seen to change; each is
  locked while it is read or written;
- a folder's lock is held by look-up, create, mkdir, unlink, rename and readdir while they wait for the mount;
- a call that ends in ESTALE walks its path once more, asking for every name;
- an inode that neither a name nor a descriptor holds is forgotten.

What is cached is answered without the mount, also while that is stopped or dead.

Left out: permissions, links, memory maps, and the moment between the reply to readdirplus and the making of its names
(the kernel takes the epoch of that moment; here the two are one step).
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from random import Random
from types import SimpleNamespace
from typing import Final, NamedTuple, TypeVar

import pyfuse3
import trio

from tests.simulation.caches import PAGE_BYTES, Caches, Inode
from tests.simulation.device import Device, Listing

USER: Final = SimpleNamespace(uid=1000, gid=1000, pid=1, umask=0o022)
T = TypeVar("T")


class Status(NamedTuple):
    """stat(2), as far as it is modelled."""

    is_folder: bool
    size: int
    inode: int


@dataclass(eq=False, slots=True)
class Descriptor:
    """An open file of one program."""

    inode: Inode
    handle: int
    was_created: bool

    @property
    def number(self) -> int:
        """st_ino, as the kernel knows it without asking."""
        return self.inode.number


class Kernel:
    """The system calls of one machine on one mount."""

    def __init__(
        self, clock: Callable[[], float], random: Random, *, has_epoch: bool, context: SimpleNamespace = USER
    ) -> None:
        """``context`` says who all programs are."""
        self._context = context
        self.device = Device(random)
        self.caches = Caches(clock, random, self.device.forget, has_epoch=has_epoch)
        self._clock = clock
        self._random = random
        self._renaming = trio.Lock()

    @property
    def is_answered(self) -> bool:
        """Whether requests reach a mount that runs."""
        return self.device.is_answered

    def knows(self, path: str) -> bool:
        """Whether stat(2) of this path needs no request now."""
        inode = self.caches.root
        for name in _parts(path):
            if (known := self.caches.cached(inode, name)) is None:
                return False
            if known.inode is None:
                return True
            inode = known.inode
        return inode.until_s >= self._clock()

    # ── system calls ──

    async def stat(self, path: str) -> Status:
        """stat(2); raises OSError, as all of these do."""

        async def once(again: bool) -> Status:
            inode = await self._walk(path, again)
            await self._refresh(inode)
            return Status(inode.is_folder, inode.size, inode.number)

        return await self._retried(once)

    async def open(self, path: str, flags: int) -> Descriptor:
        """open(2) of a regular file; ``flags`` may have O_CREAT, O_EXCL, O_TRUNC."""
        return await self._retried(lambda again: self._open(path, flags, again))

    async def read(self, file: Descriptor, offset: int, length: int) -> bytes:
        """pread(2), through the page cache."""
        inode = file.inode
        await self._refresh(inode)
        parts: list[bytes] = []
        at = offset
        while at < (end := min(offset + length, inode.size)):
            page, begin = divmod(at, PAGE_BYTES)
            if (content := inode.pages.get(page)) is None:
                async with inode.page_locks[page]:
                    content = inode.pages.get(page) or await self._read_page(file, page)
                end = min(end, inode.size)
            part = content[begin : begin + min(PAGE_BYTES - begin, end - at)]
            if not part:
                break
            parts.append(part)
            at += len(part)
        return b"".join(parts)

    async def _read_page(self, file: Descriptor, page: int) -> bytes:
        """What is dropped while it is read isn't kept: truncate_inode_pages() and its like wait for a page's lock."""
        inode, pages, version = file.inode, file.inode.pages, self.caches.version
        content: bytes = await self.device.ask("read", file.handle, page * PAGE_BYTES, PAGE_BYTES)
        if len(content) < PAGE_BYTES and inode.version <= version:  # fuse_read_update_size
            inode.size = min(inode.size, page * PAGE_BYTES + len(content))
        pages[page] = content = content.ljust(PAGE_BYTES, b"\0")
        return content

    async def write(self, file: Descriptor, offset: int, data: bytes) -> None:
        """pwrite(2), written through."""
        inode = file.inode
        pages = range(offset // PAGE_BYTES, -(-(offset + len(data)) // PAGE_BYTES))
        async with AsyncExitStack() as locks:
            for page in pages:
                await locks.enter_async_context(inode.page_locks[page])
            await self.device.ask("write", file.handle, offset, data)
            for page in pages:
                begin = page * PAGE_BYTES
                before = inode.pages.get(page, b"" if begin >= inode.size else None)
                if before is None:
                    continue
                from_, to = max(begin, offset), min(begin + PAGE_BYTES, offset + len(data))
                before = before.ljust(PAGE_BYTES, b"\0")
                inode.pages[page] = before[: from_ - begin] + data[from_ - offset : to - offset] + before[to - begin :]
            inode.size = max(inode.size, offset + len(data))
            self.caches.outdate(inode)

    async def truncate(self, file: Descriptor, size: int) -> None:
        """ftruncate(2)."""
        wanted, fields = (
            pyfuse3.EntryAttributes(),
            SimpleNamespace(
                update_size=True,
                update_mode=False,
                update_uid=False,
                update_gid=False,
                update_mtime=False,
                update_atime=False,
            ),
        )
        wanted.st_size = size
        version = self.caches.version
        entry = await self.device.ask("setattr", file.inode.number, wanted, fields, file.handle, self._context)
        self.caches.keep_attributes(file.inode, entry, version)
        self.caches.cut(file.inode, size)

    async def close(self, file: Descriptor) -> None:
        """close(2): what flush says; release is not waited for."""
        try:
            await self.device.ask("flush", file.handle)
        finally:
            self.device.tell("release", file.handle)
            self.caches.let_go(file.inode)

    async def listdir(self, path: str) -> list[tuple[str, bool]]:
        """opendir(3), readdir(3) to the end, closedir(3): names and whether they are folders."""

        async def once(again: bool) -> list[tuple[str, bool]]:
            inode = await self._walk(path, again)
            if not inode.is_folder:
                raise OSError(errno.ENOTDIR, "not a folder")
            inode.holds += 1
            try:
                handle = await self.device.ask("opendir", inode.number, self._context)
                try:
                    return await self._read_folder(inode, handle)
                finally:
                    self.device.tell("releasedir", handle)
            finally:
                self.caches.let_go(inode)

        return await self._retried(once)

    async def mkdir(self, path: str) -> None:
        """mkdir(2)."""

        async def once(again: bool) -> None:
            folder, name = await self._walk_to_parent(path, again)
            async with folder.lock:
                if await self._resolved(folder, name, ask=True) is not None:
                    raise OSError(errno.EEXIST, path)
                epoch = self.caches.epoch
                entry = await self.device.ask("mkdir", folder.number, name, 0o755, self._context)
                self.caches.keep_name(folder, name, entry, epoch, self.caches.made(entry))
                self.caches.outdate(folder)

        await self._retried(once)

    async def rmdir(self, path: str) -> None:
        """rmdir(2)."""
        await self._remove(path, "rmdir", wants_folder=True)

    async def unlink(self, path: str) -> None:
        """unlink(2)."""
        await self._remove(path, "unlink", wants_folder=False)

    async def rename(self, path: str, new_path: str) -> None:
        """rename(2)."""

        async def once(again: bool) -> None:
            folder, name = await self._walk_to_parent(path, again)
            new_folder, new_name = await self._walk_to_parent(new_path, again)
            async with AsyncExitStack() as locks:
                if folder is not new_folder:
                    await locks.enter_async_context(self._renaming)
                for one in sorted({folder.number: folder, new_folder.number: new_folder}.values(), key=_number):
                    await locks.enter_async_context(one.lock)
                inode = await self._resolved(folder, name, ask=again)
                if inode is None:
                    raise OSError(errno.ENOENT, path)
                await self._resolved(new_folder, new_name, ask=True)
                try:
                    await self.device.ask("rename", folder.number, name, new_folder.number, new_name, 0, self._context)
                except OSError:
                    self.caches.expire(folder, name)
                    self.caches.expire(new_folder, new_name)
                    raise
                moved = folder.names.pop(name, None)
                self.caches.drop_name(new_folder, new_name)
                if moved is not None:
                    new_folder.names[new_name] = moved
                self.caches.outdate(folder)
                self.caches.outdate(new_folder)
                self.caches.outdate(inode)

        await self._retried(once)

    # ── paths ──

    async def _retried(self, once: Callable[[bool], Awaitable[T]]) -> T:
        """retry_estale(): the second time every name is asked for."""
        with self.caches.held():
            try:
                return await once(False)
            except OSError as error:
                if error.errno != errno.ESTALE:
                    raise
            return await once(True)

    async def _walk(self, path: str, again: bool) -> Inode:
        inode = self.caches.root
        for name in _parts(path):
            if not inode.is_folder:
                raise OSError(errno.ENOTDIR, path)
            found = await self._found(inode, name, ask=again)
            if found is None:
                raise OSError(errno.ENOENT, path)
            inode = found
        return inode

    async def _walk_to_parent(self, path: str, again: bool) -> tuple[Inode, bytes]:
        *parents, name = _parts(path)
        folder = await self._walk("/".join(part.decode() for part in parents), again)
        if not folder.is_folder:
            raise OSError(errno.ENOTDIR, path)
        return folder, name

    async def _found(self, folder: Inode, name: bytes, *, ask: bool) -> Inode | None:
        """A name's inode, without the lock where the cache knows."""
        if not ask and (known := self.caches.cached(folder, name)) is not None:
            return known.inode
        async with folder.lock:
            return await self._resolved(folder, name, ask=ask)

    async def _resolved(self, folder: Inode, name: bytes, *, ask: bool) -> Inode | None:
        """The same under the folder's lock."""
        if not ask and (known := self.caches.cached(folder, name)) is not None:
            return known.inode
        epoch, version = self.caches.epoch, self.caches.version
        try:
            entry = await self.device.ask("lookup", folder.number, name, self._context)
        except OSError as error:
            self.caches.drop_name(folder, name)
            if error.errno == errno.ENOENT:
                return None
            raise
        inode = None if entry.st_ino == 0 else self.caches.told(entry, version)
        self.caches.keep_name(folder, name, entry, epoch, inode)
        return inode

    # ── requests of names ──

    async def _open(self, path: str, flags: int, again: bool) -> Descriptor:
        folder, name = await self._walk_to_parent(path, again)
        exclusive = flags & (os.O_CREAT | os.O_EXCL) == os.O_CREAT | os.O_EXCL
        if not flags & os.O_CREAT:
            inode = await self._found(folder, name, ask=again)
        else:
            known = None if again or exclusive else self.caches.cached(folder, name)
            if known is not None and known.inode is not None:
                inode = known.inode
            else:
                async with folder.lock:
                    inode = await self._resolved(folder, name, ask=again or exclusive)
                    if inode is None:
                        return await self._create(folder, name, flags)
        if inode is None:
            raise OSError(errno.ENOENT, path)
        if exclusive:
            raise OSError(errno.EEXIST, path)
        if inode.is_folder:
            raise OSError(errno.EISDIR, path)
        inode.holds += 1
        try:
            info = await self.device.ask("open", inode.number, flags & ~(os.O_CREAT | os.O_EXCL), self._context)
        except BaseException:
            self.caches.let_go(inode)
            raise
        if not info.keep_cache:
            inode.pages = {}
        if flags & os.O_TRUNC:
            self.caches.cut(inode, 0)
            self.caches.outdate(inode)
        return Descriptor(inode, info.fh, was_created=False)

    async def _create(self, folder: Inode, name: bytes, flags: int) -> Descriptor:
        epoch = self.caches.epoch
        info, entry = await self.device.ask("create", folder.number, name, 0o644, flags, self._context)
        inode = self.caches.made(entry)
        inode.holds += 1
        self.caches.keep_name(folder, name, entry, epoch, inode)
        self.caches.outdate(folder)
        return Descriptor(inode, info.fh, was_created=True)

    async def _remove(self, path: str, request: str, *, wants_folder: bool) -> None:
        async def once(again: bool) -> None:
            folder, name = await self._walk_to_parent(path, again)
            async with folder.lock:
                inode = await self._resolved(folder, name, ask=again)
                if inode is None:
                    raise OSError(errno.ENOENT, path)
                if inode.is_folder != wants_folder:
                    raise OSError(errno.ENOTDIR if wants_folder else errno.EISDIR, path)
                try:
                    await self.device.ask(request, folder.number, name, self._context)
                except OSError:
                    self.caches.expire(folder, name)
                    raise
                self.caches.drop_name(folder, name)
                self.caches.outdate(folder)
                self.caches.outdate(inode)

        await self._retried(once)

    async def _read_folder(self, folder: Inode, handle: int) -> list[tuple[str, bool]]:
        found: list[tuple[str, bool]] = []
        at = 0
        while True:
            listing = Listing(self._random.choice((3, 8, 40)))
            async with folder.lock:
                version = self.caches.version
                await self.device.ask(
                    "readdir", handle, at, listing, take=partial(self._take, folder, listing, version)
                )
            for name, attributes, _ in listing.entries:
                if name not in (b".", b".."):
                    found.append((name.decode(), stat.S_ISDIR(attributes.st_mode)))
            if not listing.entries:
                return found
            at = listing.entries[-1][2]

    def _take(self, folder: Inode, listing: Listing, version: int, answer: None) -> None:
        for name, entry, _ in listing.entries:
            if name not in (b".", b".."):
                self.caches.keep_name(folder, name, entry, self.caches.epoch, self.caches.told(entry, version))

    async def _refresh(self, inode: Inode) -> None:
        """fuse_update_attributes()."""
        if inode.until_s >= self._clock():
            return
        version = self.caches.version
        self.caches.keep_attributes(inode, await self.device.ask("getattr", inode.number, self._context), version)


def _parts(path: str) -> list[bytes]:
    return [part.encode() for part in path.split("/") if part]


def _number(inode: Inode) -> int:
    return inode.number
