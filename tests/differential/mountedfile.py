"""One file on a mount, its programs (``onefile``) run by system calls and compared with the model after each step."""

from __future__ import annotations

import errno
import itertools
import mmap
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from tests.differential.calls import content_of
from tests.differential.mapping import Mapping
from tests.differential.onefile import Model, mismatch, program
from tests.differential.program import Step
from tests.differential.shrink import shrunk
from tests.real.harness import Mount

LENGTH: Final = 2_000
SHRINKING_TRIES: Final = 400


class MountedFiles:
    """Programs on files of one mount."""

    def __init__(self, mount: Mount) -> None:
        self._mount = mount
        self._numbers = itertools.count()

    def check(self, seed: int, length: int = LENGTH) -> None:
        """Run a seed's program; raises AssertionError with a short one where bytes differ."""
        steps = program(seed, length)
        found = self._run(steps)
        if found is None:
            return
        place, trouble = found
        short = shrunk(steps[: place + 1], lambda some: self._run(some) is not None, tries=SHRINKING_TRIES)
        _, trouble = self._run(short) or found
        raise AssertionError("\n".join([f"seed {seed}, made short:", *(f"  {step}" for step in short), trouble]))

    def _run(self, steps: Sequence[Step]) -> tuple[int, str] | None:
        """The step after which something differed, and what."""
        path = self._mount.path / f"file {next(self._numbers)}"
        file = _File(self._mount, path)
        try:
            for place, step in enumerate(steps):
                try:
                    trouble: str | None = getattr(file, step.call)(*step.arguments)
                except OSError as error:
                    trouble = str(error)
                if trouble is not None:
                    return place, f"{step}: {trouble}"
            trouble = file.look()
            return None if trouble is None else (len(steps) - 1, f"in the end: {trouble}")
        finally:
            file.close()
            path.unlink()


class _File:
    """The file, open, and its model. Each step returns what differs."""

    def __init__(self, mount: Mount, path: Path) -> None:
        self._mount = mount
        self._path = path
        self._model = Model()
        self._file = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)

    def close(self) -> None:
        os.close(self._file)

    def read(self, offset: int, length: int) -> str | None:
        return mismatch(self._model.read(offset, length), os.pread(self._file, length, offset), offset)

    def write(self, offset: int, length: int, token: int) -> str | None:
        data = content_of(token, length)
        os.pwrite(self._file, data, offset)
        self._model.write(offset, data)
        return self._size()

    def append(self, length: int, token: int, largest: int) -> str | None:
        data = self._model.appended(length, token, largest)
        file = os.open(self._path, os.O_WRONLY | os.O_APPEND)
        try:
            os.write(file, data)
        finally:
            os.close(file)
        self._model.write(len(self._model.content), data)
        return self._size()

    def truncate(self, size: int) -> str | None:
        os.ftruncate(self._file, size)
        self._model.truncate(size)
        return self._size()

    def truncate_by_path(self, size: int) -> str | None:
        os.truncate(self._path, size)
        self._model.truncate(size)
        return self._size()

    def allocate(self, offset: int, length: int) -> str | None:
        os.posix_fallocate(self._file, offset, length)
        self._model.truncate(max(len(self._model.content), offset + length))
        return self._size()

    def copy(self, source: int, target: int, length: int) -> str | None:
        count = self._model.copied(source, target, length)
        if count == 0:
            return None
        copied = os.copy_file_range(self._file, self._file, count, source, target)
        self._model.write(target, self._model.read(source, copied))
        return self._size()

    def map_read(self, offset: int, length: int) -> str | None:
        begin, count = self._model.mapped(offset, length)
        if count <= 0:
            return None
        with self._mapping(begin, count) as (mapping, inside):
            return mismatch(self._model.read(begin, count), bytes(mapping.view[inside : inside + count]), begin)

    def map_write(self, offset: int, length: int, token: int) -> str | None:
        begin, count = self._model.mapped(offset, length)
        if count <= 0:
            return None
        data = content_of(token, count)
        with self._mapping(begin, count) as (mapping, inside):
            mapping.view[inside : inside + count] = data
            if token % 3 == 0:
                mapping.sync()
        self._model.write(begin, data)
        return None

    def reopen(self) -> str | None:
        self.close()
        self._file = os.open(self._path, os.O_RDWR)
        return self._size()

    def sync(self) -> str | None:
        os.fsync(self._file)
        return None

    def drop_pages(self) -> str | None:
        os.posix_fadvise(self._file, 0, 0, os.POSIX_FADV_DONTNEED)
        return None

    def holes(self) -> str | None:
        """What seek calls a hole has no bytes."""
        at = 0
        while at < len(self._model.content):
            try:
                data = os.lseek(self._file, at, os.SEEK_DATA)
            except OSError as error:
                if error.errno != errno.ENXIO:
                    raise
                data = len(self._model.content)
            if any(self._model.read(at, data - at)):
                return f"data is called a hole, from {at} to {data}"
            if data == len(self._model.content):
                return None
            at = os.lseek(self._file, data, os.SEEK_HOLE)
        return None

    def look(self) -> str | None:
        """The whole content, by somebody else."""
        return mismatch(bytes(self._model.content), self._path.read_bytes(), 0)

    def remount(self) -> str | None:
        self.close()
        try:
            self._mount.remount()
        finally:
            self._file = os.open(self._path, os.O_RDWR)
        return self.look()

    def remount_empty(self) -> str | None:
        self.close()
        try:
            self._mount.remount_empty()
        finally:
            self._file = os.open(self._path, os.O_RDWR)
        return self.look()

    def _size(self) -> str | None:
        size = os.fstat(self._file).st_size
        return None if size == len(self._model.content) else f"size {size} instead of {len(self._model.content)}"

    @contextmanager
    def _mapping(self, offset: int, length: int) -> Iterator[tuple[Mapping, int]]:
        """A shared mapping of a range, and where in it the range begins."""
        inside = offset % mmap.ALLOCATIONGRANULARITY
        mapping = Mapping(self._file, length + inside, offset=offset - inside)
        try:
            yield mapping, inside
        finally:
            mapping.close()
