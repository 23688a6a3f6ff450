"""A machine's kernel above a FUSE mount: system calls in, the mount's real request handlers below. No mount is made.

Models what Linux 6.18 decides about what a program sees (fs/namei.c, fs/fuse/dir.c, file.c, readdir.c, inode.c):

- names are kept with a time-out and the mount's epoch of when the request was *sent*; so is an absent one;
- attributes are kept with a time-out, unless they were outdated after the request was sent;
- time-outs count from when the reply arrives, by this machine's clock;
- a file's pages are kept as long as its inode, and go when its size or modification time is seen to change;
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
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from functools import partial
from random import Random
from types import SimpleNamespace
from typing import Any, Final, NamedTuple, TypeVar

import pyfuse3
import trio

from fs.operations import Operations

PAGE_BYTES: Final = 4096
ROOT: Final = 1

USER: Final = SimpleNamespace(uid=1000, gid=1000, pid=1, umask=0o022)
_NEVER: Final = float("-inf")
T = TypeVar("T")


class Status(NamedTuple):
    """stat(2), as far as it is modelled."""

    is_folder: bool
    size: int
    inode: int


@dataclass(eq=False, slots=True)
class _Inode:
    number: int
    is_folder: bool
    lookups: int = 0
    holds: int = 0
    """Names and descriptors."""
    until_s: float = _NEVER
    version: int = 0
    """The connection's attribute version when the attributes were last set or outdated."""
    size: int = 0
    mtime_ns: int = 0
    pages: dict[int, bytes] = field(default_factory=dict)
    names: dict[bytes, _Name] = field(default_factory=dict)
    lock: trio.Lock = field(default_factory=trio.Lock)


class _Name(NamedTuple):
    inode: _Inode | None
    """None where there is known to be nothing."""
    until_s: float
    epoch: int


@dataclass(eq=False, slots=True)
class Descriptor:
    """An open file of one program."""

    inode: _Inode
    handle: int
    was_created: bool

    @property
    def number(self) -> int:
        """st_ino, as the kernel knows it without asking."""
        return self.inode.number


class Listing:
    """A ``pyfuse3.ReaddirToken``: the buffer of one readdirplus request."""

    def __init__(self, room: int) -> None:
        self.room = room
        self.entries: list[tuple[bytes, pyfuse3.EntryAttributes, int]] = []


def reply_entry(token: pyfuse3.ReaddirToken, name: bytes, attributes: pyfuse3.EntryAttributes, next_id: int) -> bool:
    """``pyfuse3.readdir_reply`` for a ``Listing``."""
    assert isinstance(token, Listing)
    if len(token.entries) == token.room:
        return False
    token.entries.append((name, attributes, next_id))
    return True


class Kernel:
    """One mount's part of one machine's kernel; implements ``fs.notices.Kernel``."""

    def __init__(
        self, clock: Callable[[], float], random: Random, *, has_epoch: bool, context: SimpleNamespace = USER
    ) -> None:
        """``context`` says who all programs are."""
        self._context = context
        self._clock = clock
        self._random = random
        self._has_epoch = has_epoch
        self._root = _Inode(ROOT, is_folder=True, lookups=1, holds=1)
        self._inodes: dict[int, _Inode] = {ROOT: self._root}
        self._epoch = 0
        self._version = 0
        self._renaming = trio.Lock()
        self._operations: Operations | None = None
        self._nursery: trio.Nursery | None = None
        self._running = trio.Event()
        self._requests: set[_Request] = set()
        self._calls = 0
        """System calls under way: what they have found is not forgotten meanwhile."""
        self._unheld: list[_Inode] = []

    # ── the mount's end ──

    def connect(self, operations: Operations, nursery: trio.Nursery) -> None:
        """Requests are answered from now on, in this nursery."""
        self._operations, self._nursery = operations, nursery
        self._running.set()

    def stop(self) -> None:
        """The mount's process takes no requests for a while."""
        if self._operations is not None and self._running.is_set():
            self._running = trio.Event()

    def go_on(self) -> None:
        """It takes them again."""
        self._running.set()

    def disconnect(self) -> None:
        """The mount's process is gone: every request fails, now and later."""
        self._operations = self._nursery = None
        self._running.set()
        for request in list(self._requests):
            request.fail(errno.ECONNABORTED)

    def drop_names(self) -> bool:
        """See ``fs.notices.Kernel``."""
        self._epoch += self._has_epoch
        return self._has_epoch

    def drop_attributes(self, number: int) -> bool:
        """See ``fs.notices.Kernel``."""
        inode = self._inodes.get(number)
        if inode is None:
            return False
        self._outdate(inode)
        return True

    @property
    def is_answered(self) -> bool:
        """Whether requests reach a mount that runs."""
        return self._operations is not None and self._running.is_set()

    def knows(self, path: str) -> bool:
        """Whether stat(2) of this path needs no request now."""
        inode = self._root
        for name in _parts(path):
            if (known := self._cached(inode, name)) is None:
                return False
            if known.inode is None:
                return True
            inode = known.inode
        return inode.until_s >= self._clock()

    def shrink(self) -> None:
        """Memory is short: some names go, with their inodes where nothing else holds them."""
        for inode in list(self._inodes.values()):
            for name in [name for name in inode.names if self._random.random() < 0.3]:
                self._drop_name(inode, name)

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
                version = self._version
                content = await self._ask("read", file.handle, page * PAGE_BYTES, PAGE_BYTES)
                if len(content) < PAGE_BYTES and inode.version <= version:  # fuse_read_update_size
                    inode.size = min(inode.size, page * PAGE_BYTES + len(content))
                content = inode.pages[page] = content.ljust(PAGE_BYTES, b"\0")
                end = min(end, inode.size)
            part = content[begin : begin + min(PAGE_BYTES - begin, end - at)]
            if not part:
                break
            parts.append(part)
            at += len(part)
        return b"".join(parts)

    async def write(self, file: Descriptor, offset: int, data: bytes) -> None:
        """pwrite(2), written through."""
        inode = file.inode
        await self._ask("write", file.handle, offset, data)
        for page in range(offset // PAGE_BYTES, -(-(offset + len(data)) // PAGE_BYTES)):
            begin = page * PAGE_BYTES
            before = inode.pages.get(page, b"" if begin >= inode.size else None)
            if before is None:
                continue
            from_, to = max(begin, offset), min(begin + PAGE_BYTES, offset + len(data))
            before = before.ljust(PAGE_BYTES, b"\0")
            inode.pages[page] = before[: from_ - begin] + data[from_ - offset : to - offset] + before[to - begin :]
        inode.size = max(inode.size, offset + len(data))
        self._outdate(inode)

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
        version = self._version
        entry = await self._ask("setattr", file.inode.number, wanted, fields, file.handle, self._context)
        self._keep_attributes(file.inode, entry, version)
        self._cut(file.inode, size)

    async def close(self, file: Descriptor) -> None:
        """close(2): what flush says; release is not waited for."""
        try:
            await self._ask("flush", file.handle)
        finally:
            if self._nursery is not None:
                self._nursery.start_soon(self._silently, "release", file.handle)
            self._let_go(file.inode)

    async def listdir(self, path: str) -> list[tuple[str, bool]]:
        """opendir(3), readdir(3) to the end, closedir(3): names and whether they are folders."""

        async def once(again: bool) -> list[tuple[str, bool]]:
            inode = await self._walk(path, again)
            if not inode.is_folder:
                raise OSError(errno.ENOTDIR, "not a folder")
            inode.holds += 1
            try:
                handle = await self._ask("opendir", inode.number, self._context)
                try:
                    return await self._read_folder(inode, handle)
                finally:
                    if self._nursery is not None:
                        self._nursery.start_soon(self._silently, "releasedir", handle)
            finally:
                self._let_go(inode)

        return await self._retried(once)

    async def mkdir(self, path: str) -> None:
        """mkdir(2)."""

        async def once(again: bool) -> None:
            folder, name = await self._walk_to_parent(path, again)
            async with folder.lock:
                if await self._resolved(folder, name, ask=True) is not None:
                    raise OSError(errno.EEXIST, path)
                epoch = self._epoch
                entry = await self._ask("mkdir", folder.number, name, 0o755, self._context)
                self._keep_name(folder, name, entry, epoch, self._made(entry))
                self._outdate(folder)

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
                    await self._ask("rename", folder.number, name, new_folder.number, new_name, 0, self._context)
                except OSError:
                    self._expire(folder, name)
                    self._expire(new_folder, new_name)
                    raise
                moved = folder.names.pop(name, None)
                self._drop_name(new_folder, new_name)
                if moved is not None:
                    new_folder.names[new_name] = moved
                self._outdate(folder)
                self._outdate(new_folder)
                self._outdate(inode)

        await self._retried(once)

    # ── paths ──

    async def _retried(self, once: Callable[[bool], Awaitable[T]]) -> T:
        """retry_estale(): the second time every name is asked for."""
        self._calls += 1
        try:
            try:
                return await once(False)
            except OSError as error:
                if error.errno != errno.ESTALE:
                    raise
            return await once(True)
        finally:
            self._calls -= 1
            self._evict()

    async def _walk(self, path: str, again: bool) -> _Inode:
        inode = self._root
        for name in _parts(path):
            if not inode.is_folder:
                raise OSError(errno.ENOTDIR, path)
            found = await self._found(inode, name, ask=again)
            if found is None:
                raise OSError(errno.ENOENT, path)
            inode = found
        return inode

    async def _walk_to_parent(self, path: str, again: bool) -> tuple[_Inode, bytes]:
        *parents, name = _parts(path)
        folder = await self._walk("/".join(part.decode() for part in parents), again)
        if not folder.is_folder:
            raise OSError(errno.ENOTDIR, path)
        return folder, name

    async def _found(self, folder: _Inode, name: bytes, *, ask: bool) -> _Inode | None:
        """A name's inode, without the lock where the cache knows."""
        if not ask and (known := self._cached(folder, name)) is not None:
            return known.inode
        async with folder.lock:
            return await self._resolved(folder, name, ask=ask)

    async def _resolved(self, folder: _Inode, name: bytes, *, ask: bool) -> _Inode | None:
        """The same under the folder's lock."""
        if not ask and (known := self._cached(folder, name)) is not None:
            return known.inode
        epoch, version = self._epoch, self._version
        try:
            entry = await self._ask("lookup", folder.number, name, self._context)
        except OSError as error:
            self._drop_name(folder, name)
            if error.errno == errno.ENOENT:
                return None
            raise
        inode = None if entry.st_ino == 0 else self._told(entry, version)
        self._keep_name(folder, name, entry, epoch, inode)
        return inode

    def _cached(self, folder: _Inode, name: bytes) -> _Name | None:
        known = folder.names.get(name)
        if known is None or known.epoch != self._epoch or known.until_s < self._clock():
            return None
        return known

    # ── requests of names ──

    async def _open(self, path: str, flags: int, again: bool) -> Descriptor:
        folder, name = await self._walk_to_parent(path, again)
        exclusive = flags & (os.O_CREAT | os.O_EXCL) == os.O_CREAT | os.O_EXCL
        if not flags & os.O_CREAT:
            inode = await self._found(folder, name, ask=again)
        else:
            known = None if again or exclusive else self._cached(folder, name)
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
            info = await self._ask("open", inode.number, flags & ~(os.O_CREAT | os.O_EXCL), self._context)
        except BaseException:
            self._let_go(inode)
            raise
        if not info.keep_cache:
            inode.pages.clear()
        if flags & os.O_TRUNC:
            self._cut(inode, 0)
            self._outdate(inode)
        return Descriptor(inode, info.fh, was_created=False)

    async def _create(self, folder: _Inode, name: bytes, flags: int) -> Descriptor:
        epoch = self._epoch
        info, entry = await self._ask("create", folder.number, name, 0o644, flags, self._context)
        inode = self._made(entry)
        inode.holds += 1
        self._keep_name(folder, name, entry, epoch, inode)
        self._outdate(folder)
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
                    await self._ask(request, folder.number, name, self._context)
                except OSError:
                    self._expire(folder, name)
                    raise
                self._drop_name(folder, name)
                self._outdate(folder)
                self._outdate(inode)

        await self._retried(once)

    async def _read_folder(self, folder: _Inode, handle: int) -> list[tuple[str, bool]]:
        found: list[tuple[str, bool]] = []
        at = 0
        while True:
            listing = Listing(self._random.choice((3, 8, 40)))
            async with folder.lock:
                version = self._version
                await self._ask("readdir", handle, at, listing, take=partial(self._take, folder, listing, version))
            for name, attributes, _ in listing.entries:
                if name not in (b".", b".."):
                    found.append((name.decode(), stat.S_ISDIR(attributes.st_mode)))
            if not listing.entries:
                return found
            at = listing.entries[-1][2]

    def _take(self, folder: _Inode, listing: Listing, version: int, answer: None) -> None:
        for name, entry, _ in listing.entries:
            if name not in (b".", b".."):
                self._keep_name(folder, name, entry, self._epoch, self._told(entry, version))

    # ── the caches ──

    def _told(self, entry: pyfuse3.EntryAttributes, version: int) -> _Inode:
        """fuse_iget(): a reply that counts as a look-up."""
        inode = self._inodes.get(entry.st_ino)
        if inode is None:
            inode = self._inodes[entry.st_ino] = _Inode(entry.st_ino, stat.S_ISDIR(entry.st_mode))
        inode.lookups += 1
        self._keep_attributes(inode, entry, version)
        return inode

    def _made(self, entry: pyfuse3.EntryAttributes) -> _Inode:
        """Of a reply to create and mkdir, whose attributes count whatever was outdated meanwhile."""
        return self._told(entry, self._version)

    def _keep_name(
        self, folder: _Inode, name: bytes, entry: pyfuse3.EntryAttributes, epoch: int, inode: _Inode | None
    ) -> None:
        if inode is not None:
            inode.holds += 1
        self._drop_name(folder, name)
        until_s = self._clock() + entry.entry_timeout if entry.entry_timeout > 0 else _NEVER
        folder.names[name] = _Name(inode, until_s, epoch)

    def _drop_name(self, folder: _Inode, name: bytes) -> None:
        known = folder.names.pop(name, None)
        if known is not None and known.inode is not None:
            self._let_go(known.inode)

    def _expire(self, folder: _Inode, name: bytes) -> None:
        known = folder.names.get(name)
        if known is not None:
            folder.names[name] = known._replace(until_s=_NEVER)

    def _let_go(self, inode: _Inode) -> None:
        inode.holds -= 1
        if inode.holds == 0:
            self._unheld.append(inode)
            self._evict()

    def _evict(self) -> None:
        """Forget what nothing holds any more."""
        while self._unheld and self._calls == 0:
            inode = self._unheld.pop()
            if inode.holds > 0 or inode.lookups == 0:
                continue
            del self._inodes[inode.number]
            if self._nursery is not None:
                self._nursery.start_soon(self._forget, inode.number, inode.lookups)
            inode.lookups = 0
            for name in list(inode.names):
                self._drop_name(inode, name)

    async def _forget(self, number: int, times: int) -> None:
        await self._running.wait()
        if self._operations is not None:
            await self._operations.forget([(number, times)])

    async def _refresh(self, inode: _Inode) -> None:
        """fuse_update_attributes()."""
        if inode.until_s >= self._clock():
            return
        version = self._version
        self._keep_attributes(inode, await self._ask("getattr", inode.number, self._context), version)

    def _keep_attributes(self, inode: _Inode, entry: pyfuse3.EntryAttributes, version: int) -> None:
        """fuse_change_attributes(): not where they were outdated since the request was sent."""
        if inode.version > version:
            return
        self._version += 1
        inode.version = self._version
        inode.until_s = self._clock() + entry.attr_timeout if entry.attr_timeout > 0 else _NEVER
        if inode.size != entry.st_size:
            self._cut(inode, entry.st_size)
            inode.pages.clear()
        elif inode.mtime_ns != entry.st_mtime_ns:
            inode.pages.clear()
        inode.mtime_ns = entry.st_mtime_ns

    def _outdate(self, inode: _Inode) -> None:
        self._version += 1
        inode.version = self._version
        inode.until_s = _NEVER

    def _cut(self, inode: _Inode, size: int) -> None:
        if size < inode.size:
            inode.pages = {page: content for page, content in inode.pages.items() if page < size // PAGE_BYTES}
        inode.size = size

    # ── the device ──

    async def _ask(self, handler: str, *arguments: object, take: Callable[[Any], None] = lambda answer: None) -> Any:
        """One request; ``take`` is called with the answer in the same step as it is given."""
        if self._random.random() < 0.1:
            await trio.sleep(self._random.uniform(0, 0.002))
        await self._running.wait()
        if self._operations is None or self._nursery is None:
            raise OSError(errno.ENOTCONN, "the mount is gone")
        request = _Request(take)
        self._requests.add(request)
        self._nursery.start_soon(self._serve, getattr(self._operations, handler), arguments, request)
        try:
            await request.done.wait()
        finally:
            self._requests.discard(request)
        if request.errno:
            raise OSError(request.errno, os.strerror(request.errno))
        return request.answer

    async def _serve(
        self, handler: Callable[..., Awaitable[Any]], arguments: Sequence[object], request: _Request
    ) -> None:
        try:
            answer = await handler(*arguments)
        except pyfuse3.FUSEError as error:
            request.fail(error.errno)
        else:
            if not request.done.is_set():
                request.take(answer)
                request.answer = answer
                request.done.set()

    async def _silently(self, handler: str, *arguments: object) -> None:
        try:
            await self._ask(handler, *arguments)
        except OSError:
            return


class _Request:
    """One request on its way."""

    def __init__(self, take: Callable[[Any], None]) -> None:
        self.take = take
        self.done = trio.Event()
        self.answer: Any = None
        self.errno = 0

    def fail(self, number: int) -> None:
        if not self.done.is_set():
            self.errno = number
            self.done.set()


def _parts(path: str) -> list[bytes]:
    return [part.encode() for part in path.split("/") if part]


def _number(inode: _Inode) -> int:
    return inode.number
