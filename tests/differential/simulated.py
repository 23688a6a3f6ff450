"""The steps of a program on a modelled kernel above a drive, and the same below a local folder.

Owns what one program has open: access modes and file positions, which are no affair of a file system's.
"""

from __future__ import annotations

import errno
import os
import stat
from dataclasses import dataclass

from tests.differential.calls import Calls, Outcome, content_of, seen
from tests.differential.kernel import FullKernel
from tests.differential.look import Seen, Status
from tests.differential.program import Step
from tests.simulation.kernel import Descriptor
from tests.together.mounted import Machine

NOT_REGULAR = "no regular file"
UMASK = 0o022


class LocalCalls(Calls):
    """``Calls`` that open regular files alone, as ``SimulatedCalls`` do."""

    def open(self, slot: str, path: str, flags: int, mode: int) -> Outcome:
        before = self.close(slot) if slot in self._files else None
        exclusive = bool(flags & os.O_CREAT and flags & os.O_EXCL)
        if not exclusive:
            try:
                kind = os.stat(self.path(path), follow_symlinks=not flags & os.O_NOFOLLOW).st_mode
            except OSError:
                kind = stat.S_IFREG
            if not stat.S_ISREG(kind) and not stat.S_ISLNK(kind):
                return NOT_REGULAR
        super().open(slot, path, flags, mode)
        return before

    def part(self) -> Outcome:
        return None

    def join(self) -> Outcome:
        return None


@dataclass(slots=True)
class _Open:
    descriptor: Descriptor
    flags: int
    position: int = 0

    def check_readable(self) -> None:
        if self.flags & os.O_ACCMODE == os.O_WRONLY:
            raise OSError(errno.EBADF, "not open for reading")

    def check_writable(self, number: int = errno.EBADF) -> None:
        if self.flags & os.O_ACCMODE == os.O_RDONLY:
            raise OSError(number, "not open for writing")


class SimulatedCalls:
    """The calls of a program on one mount; ``folder`` is where its paths begin."""

    def __init__(self, machine: Machine, kernel: FullKernel, folder: str, opened: dict[str, int]) -> None:
        """``opened``: how often something was opened in each slot."""
        self._machine = machine
        self._kernel = kernel
        self._folder = folder
        self._files: dict[str, _Open] = {}
        self._opened = opened

    async def run(self, step: Step) -> Outcome:
        """What came of a step."""
        try:
            return await getattr(self, step.call)(*step.arguments)
        except OSError as error:
            return errno.errorcode[error.errno or 0]

    async def end(self) -> None:
        """Close everything."""
        for slot in list(self._files):
            await self.close(slot)

    # ── looks ──

    async def statuses(self) -> dict[str, Status]:
        """See ``look.statuses``."""
        found: dict[str, Status] = {}
        await self._walk(self._folder, "", found)
        for slot, file in self._files.items():
            found[f"{slot} ({self._opened[slot]})"] = await self._kernel.fstat(file.descriptor)
        return found

    async def contents(self) -> Seen:
        """See ``look.contents``."""
        found: dict[str, Status] = {}
        await self._walk(self._folder, "", found)
        return {name: await self._content(self._path(name), status.st_mode) for name, status in found.items()}

    async def _walk(self, path: str, below: str, found: dict[str, Status]) -> None:
        found[below or "."] = await self._kernel.lstat(path)
        for name, _ in sorted(await self._kernel.listdir(path)):
            inside = f"{below}/{name}" if below else name
            status = await self._kernel.lstat(f"{path}/{name}")
            if stat.S_ISDIR(status.st_mode):
                await self._walk(f"{path}/{name}", inside, found)
            else:
                found[inside] = status

    async def _content(self, path: str, mode: int) -> object:
        found: list[object] = []
        if stat.S_ISREG(mode):
            file = await self._kernel.open(path, os.O_RDONLY)
            assert file is not None
            found.append(seen(await self._kernel.read(file, 0, (await self._kernel.fstat(file)).st_size)))
            await self._kernel.close(file)
        if stat.S_ISLNK(mode):
            found.append(os.fsencode(await self._kernel.readlink(path)))
        elif stat.S_ISREG(mode) or stat.S_ISDIR(mode):
            for name in sorted(await self._kernel.list_xattrs(path)):
                found.append((name, seen(await self._kernel.get_xattr(path, name))))
        return found

    # ── open files ──

    async def open(self, slot: str, path: str, flags: int, mode: int) -> Outcome:
        before = await self.close(slot) if slot in self._files else None
        descriptor = await self._kernel.open(self._path(path), flags, mode & ~UMASK)
        if descriptor is None:
            return NOT_REGULAR
        self._files[slot] = _Open(descriptor, flags)
        self._opened[slot] = self._opened.get(slot, 0) + 1
        return before

    async def close(self, slot: str) -> Outcome:
        file = self._file(slot)
        del self._files[slot]
        await self._kernel.close(file.descriptor)
        return None

    async def write(self, slot: str, token: int, length: int) -> Outcome:
        file = self._file(slot)
        file.check_writable()
        at = await self._size(file) if file.flags & os.O_APPEND else file.position
        await self._kernel.write(file.descriptor, at, content_of(token, length))
        file.position = at + length
        return length

    async def pwrite(self, slot: str, token: int, length: int, offset: int) -> Outcome:
        file = self._file(slot)
        file.check_writable()
        at = await self._size(file) if file.flags & os.O_APPEND else offset
        await self._kernel.write(file.descriptor, at, content_of(token, length))
        return length

    async def read(self, slot: str, length: int) -> Outcome:
        file = self._file(slot)
        file.check_readable()
        content = await self._kernel.read(file.descriptor, file.position, length)
        file.position += len(content)
        return seen(content)

    async def pread(self, slot: str, length: int, offset: int) -> Outcome:
        file = self._file(slot)
        file.check_readable()
        return seen(await self._kernel.read(file.descriptor, offset, length))

    async def seek(self, slot: str, offset: int, whence: int) -> Outcome:
        file = self._file(slot)
        base = {os.SEEK_SET: 0, os.SEEK_CUR: file.position}.get(whence)
        if base is None:
            base = await self._size(file)
        if base + offset < 0:
            raise OSError(errno.EINVAL, "before the file")
        file.position = base + offset
        return file.position

    async def ftruncate(self, slot: str, size: int) -> Outcome:
        file = self._file(slot)
        file.check_writable(errno.EINVAL)
        await self._kernel.truncate(file.descriptor, size)
        return None

    async def fsync(self, slot: str) -> Outcome:
        await self._kernel.fsync(self._file(slot).descriptor)
        return None

    async def fchmod(self, slot: str, mode: int) -> Outcome:
        await self._kernel.set_file_attributes(self._file(slot).descriptor, mode=mode)
        return None

    async def fchown(self, slot: str, uid: int, gid: int) -> Outcome:
        await self._kernel.set_file_attributes(self._file(slot).descriptor, uid=uid, gid=gid)
        return None

    async def futimens(self, slot: str, atime: int | str, mtime: int | str) -> Outcome:
        await self._kernel.set_file_attributes(self._file(slot).descriptor, atime=atime, mtime=mtime)
        return None

    # ── names ──

    async def truncate(self, path: str, size: int) -> Outcome:
        await self._kernel.truncate_at(self._path(path), size)
        return None

    async def mkdir(self, path: str, mode: int) -> Outcome:
        await self._kernel.make(self._path(path), "mkdir", mode & 0o1777 & ~UMASK)
        return None

    async def mknod(self, path: str, mode: int) -> Outcome:
        await self._kernel.make(self._path(path), "mknod", mode & ~UMASK, 0)
        return None

    async def symlink(self, target: str, path: str) -> Outcome:
        await self._kernel.make(self._path(path), "symlink", target.encode())
        return None

    async def rmdir(self, path: str) -> Outcome:
        await self._kernel.rmdir(self._path(path))
        return None

    async def unlink(self, path: str) -> Outcome:
        await self._kernel.unlink(self._path(path))
        return None

    async def rename(self, path: str, new_path: str) -> Outcome:
        await self._kernel.renameat2(self._path(path), self._path(new_path), 0)
        return None

    async def renameat2(self, path: str, new_path: str, flags: int) -> Outcome:
        await self._kernel.renameat2(self._path(path), self._path(new_path), flags)
        return None

    async def link(self, path: str, new_path: str) -> Outcome:
        await self._kernel.link(self._path(path), self._path(new_path))
        return None

    async def readlink(self, path: str) -> Outcome:
        return os.fsencode(await self._kernel.readlink(self._path(path)))

    async def stat(self, path: str) -> Outcome:
        return oct((await self._kernel.attributes(self._path(path))).st_mode)

    async def listdir(self, path: str) -> Outcome:
        return sorted(os.fsencode(name) for name, _ in await self._kernel.listdir(self._path(path)))

    # ── attributes ──

    async def chmod(self, path: str, mode: int) -> Outcome:
        await self._kernel.set_attributes(self._path(path), mode=mode)
        return None

    async def chown(self, path: str, uid: int, gid: int, follow: bool) -> Outcome:
        await self._kernel.set_attributes(self._path(path), follow=follow, uid=uid, gid=gid)
        return None

    async def utimens(self, path: str, atime: int | str, mtime: int | str, follow: bool) -> Outcome:
        await self._kernel.set_attributes(self._path(path), follow=follow, atime=atime, mtime=mtime)
        return None

    async def setxattr(self, path: str, name: str, token: int, length: int, flags: int) -> Outcome:
        await self._kernel.set_xattr(self._path(path), name, content_of(token, length), flags)
        return None

    async def getxattr(self, path: str, name: str) -> Outcome:
        return seen(await self._kernel.get_xattr(self._path(path), name))

    async def removexattr(self, path: str, name: str) -> Outcome:
        await self._kernel.remove_xattr(self._path(path), name)
        return None

    # ── the server ──

    async def part(self) -> Outcome:
        """The server can't be reached, and the mount has noticed. What is read later must have been read before."""
        await self.statuses()
        await self.contents()
        await self._machine.part()
        return None

    async def join(self) -> Outcome:
        """It can be, and has all that was done meanwhile."""
        await self._machine.join()
        return None

    # ── inside ──

    def _path(self, path: str) -> str:
        return f"{self._folder}/{path}"

    def _file(self, slot: str) -> _Open:
        if slot not in self._files:
            raise OSError(errno.EBADF, "nothing is open there")
        return self._files[slot]

    async def _size(self, file: _Open) -> int:
        size: int = (await self._kernel.fstat(file.descriptor)).st_size
        return size
