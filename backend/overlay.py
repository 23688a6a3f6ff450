"""What has been written over a version of a file and is not committed yet: a sparse local file and its map.

Owns the bytes and the map of which ranges are local, which show the base version, and which are zeros. Synchronous: a
call costs microseconds and a write to the page cache. Knows nothing of blocks or servers.

The map is a list of disjoint segments in order, each with the generation in which it was written; what no segment
covers shows the base, or zeros where the file was cut and extended. A flush takes a ``mark``: what is written
after it stays dirty when the flush's result is taken by ``rebase``.

Invariants (``check``): segments are ordered, disjoint and not empty; none reaches past ``size_bytes``; the base is
visible only below ``_base_visible``, which truncation lowers and nothing raises.
"""

from __future__ import annotations

import contextlib
from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

from backend.disk import Disk, File
from backend.errors import LocalFailure
from protocol.limits import KIB
from protocol.manifest import Manifest

IN_MEMORY_MAX_BYTES: Final = 256 * KIB
"""Files up to this length stay in memory until they grow: most are never larger."""


class Local(NamedTuple):
    """Bytes that were written here."""

    data: bytes


class FromBase(NamedTuple):
    """A range of the base version that shows through."""

    offset: int
    length: int


class Zeros(NamedTuple):
    """A hole."""

    length: int


Part = Local | FromBase | Zeros


class Segment(NamedTuple):
    """A range of local bytes, which hides the base."""

    start: int
    stop: int
    generation: int


class Mark(NamedTuple):
    """What a flush takes: everything up to this generation, in a file of this size."""

    generation: int
    size_bytes: int


UNWRITTEN: Final = Mark(0, 0)
"""Before the first write."""


class Layout(NamedTuple):
    """A range of the file as it stands, for planning: ``source`` says where its bytes are."""

    start: int
    stop: int
    source: type[Local] | type[FromBase] | type[Zeros]


@dataclass(slots=True)
class _Store:
    """The bytes: in memory while small, then a sparse file."""

    disk: Disk
    path: Path
    memory: bytearray
    file: File | None = None
    """Where the bytes are once they have outgrown memory."""
    sync_error: OSError | None = None
    """Why the bytes may be gone after a power loss, whatever later calls of fsync say (fsync(2))."""

    def write(self, offset: int, data: bytes) -> None:
        if self.file is None and offset + len(data) > IN_MEMORY_MAX_BYTES:
            self._spill()
        if self.file is not None:
            self.file.write(offset, data)
            return
        if len(self.memory) < offset:
            self.memory.extend(bytes(offset - len(self.memory)))
        self.memory[offset : offset + len(data)] = data

    def read(self, offset: int, length: int) -> bytes:
        memory = self.memory  # A write on the event loop may move it to the file while a worker reads.
        if self.file is None:
            return bytes(memory[offset : offset + length])
        return self.file.read(offset, length)

    def length(self) -> int:
        return len(self.memory) if self.file is None else self.file.size_bytes()

    def clear(self) -> None:
        if self.file is None:
            self.memory.clear()
            return
        with contextlib.suppress(OSError):  # No map names the bytes any more: they take space, nothing else.
            self.file.truncate(0)
        self.sync_error = None

    def sync(self) -> None:
        """Put the bytes, and the file's name, where a power loss doesn't reach them; where that failed, it is final."""
        if self.sync_error is not None:
            raise self.sync_error
        file = self.file or self._spill()
        try:
            file.sync()
        except OSError as error:
            self.sync_error = error
            raise
        self.disk.sync_folder(self.path.parent)

    def delete(self) -> None:
        if self.file is not None:
            self.file.close()
            with contextlib.suppress(OSError):  # The next mount removes what no record names.
                self.disk.remove(self.path)

    def _spill(self) -> File:
        """Move to the file; where that fails, everything stays in memory."""
        file = self.disk.create(self.path)
        try:
            file.write(0, self.memory)
        except OSError:
            file.close()
            self.disk.remove(self.path)
            raise
        self.file, self.memory = file, bytearray()
        return file


class Overlay:
    """The writable view of one open file."""

    def __init__(self, base: Manifest, disk: Disk, path: Path) -> None:
        """``path`` is where the bytes go when they outgrow memory; nothing is there yet."""
        self.base = base
        self.size_bytes = base.size_bytes
        self.generation = 1
        """Rises with each mark; written ranges bear the one that they were written in."""
        self._base_visible = base.size_bytes
        self._segments: list[Segment] = []
        self._resized = 0
        """The generation of the last truncation; 0 for none since the base."""
        self._lowest_since_mark = base.size_bytes
        self._store = _Store(disk, path, bytearray())

    @classmethod
    def recovered(
        cls,
        base: Manifest,
        disk: Disk,
        path: Path,
        size_bytes: int,
        base_visible: int,
        segments: Iterable[tuple[int, int]],
        content: bytes | None,
    ) -> Overlay:
        """The overlay of an earlier process, by its journal's record; its bytes are ``content`` or lie at ``path``.

        Raises OSError where they can't be opened.
        """
        overlay = cls(base, disk, path)
        overlay.size_bytes, overlay._base_visible = size_bytes, base_visible
        overlay._segments = [Segment(start, stop, 1) for start, stop in segments]
        overlay._resized = 1
        overlay._lowest_since_mark = size_bytes
        if content is None:
            overlay._store.file = disk.open(path)
        else:
            overlay._store.memory.extend(content)
        return overlay

    # ── questions ──

    @property
    def is_dirty(self) -> bool:
        """Whether it differs from its base, as far as is known."""
        return bool(self._segments) or self._resized > 0

    @property
    def path(self) -> Path:
        """Where the bytes are once they outgrew memory."""
        return self._store.path

    @property
    def base_visible(self) -> int:
        """Below this offset the base shows where no segment hides it."""
        return self._base_visible

    @property
    def segments(self) -> list[Segment]:
        """The map, in order."""
        return list(self._segments)

    @property
    def data_bytes(self) -> int:
        """Bytes that aren't known to be holes; those of the base count all."""
        return sum(span.stop - span.start for span in self.layout(0, self.size_bytes) if span.source is not Zeros)

    def layout(self, start: int, stop: int) -> list[Layout]:
        """How the range up to the end of the file is made up, in order."""
        stop = min(stop, self.size_bytes)
        spans: list[Layout] = []
        index = max(0, bisect_right(self._segments, start, key=lambda segment: segment.start) - 1)
        at = start
        for segment in self._segments[index:]:
            if segment.start >= stop:
                break
            if segment.stop <= at:
                continue
            if segment.start > at:
                spans += self._under(at, segment.start)
                at = segment.start
            end = min(segment.stop, stop)
            spans.append(Layout(at, end, Local))
            at = end
        if at < stop:
            spans += self._under(at, stop)
        return spans

    def _under(self, start: int, stop: int) -> list[Layout]:
        edge = min(max(start, self._base_visible), stop)
        return [
            Layout(begin, end, source)
            for begin, end, source in ((start, edge, FromBase), (edge, stop, Zeros))
            if begin < end
        ]

    def parts(self, offset: int, length: int) -> list[Part]:
        """The bytes of a range, or where to find them; nothing past the end of the file."""
        parts: list[Part] = []
        for start, stop, source in self.layout(offset, offset + length):
            if source is Local:
                parts.append(Local(self.local(start, stop - start)))
            elif source is FromBase:
                parts.append(FromBase(start, stop - start))
            else:
                parts.append(Zeros(stop - start))
        return parts

    def local(self, offset: int, length: int) -> bytes:
        """Bytes of a local range; where it was cut meanwhile, zeros."""
        return self._store.read(offset, length).ljust(length, b"\0")

    def resized_since(self, generation: int) -> bool:
        """Whether the size was changed in a generation after this one: a flush then begins anew."""
        return self._resized > generation

    # ── changes ──

    def write(self, offset: int, data: bytes) -> None:
        """Write; raises LocalFailure where the local disk is full or broken."""
        if not data:
            return
        try:
            self._store.write(offset, data)
        except OSError as error:
            raise LocalFailure(
                f"{self._store.path.parent}: {error.strerror}; what was written can't be kept there",
                error.errno or LocalFailure.errno,
            ) from None
        stop = offset + len(data)
        self._cover(Segment(offset, stop, self.generation))
        self.size_bytes = max(self.size_bytes, stop)

    def truncate(self, size: int) -> None:
        """Cut, or extend with a hole."""
        if size < self.size_bytes:
            self._base_visible = min(self._base_visible, size)
            self._lowest_since_mark = min(self._lowest_since_mark, size)
            kept: list[Segment] = []
            for segment in self._segments:
                if segment.start < size:
                    kept.append(segment._replace(stop=min(segment.stop, size)))
            self._segments = kept
        self.size_bytes = size
        self._resized = self.generation

    def mark(self) -> Mark:
        """Begin a flush; what is written from now on belongs to the next."""
        taken = Mark(self.generation, self.size_bytes)
        self.generation += 1
        self._lowest_since_mark = self.size_bytes
        return taken

    def rebase(self, manifest: Manifest, mark: Mark) -> None:
        """The latest mark's flush was committed as ``manifest``: that is the base now, under what was written since."""
        self.base = manifest
        self._base_visible = min(self._lowest_since_mark, manifest.size_bytes)
        if self._resized <= mark.generation:
            self._resized = 0
        self._segments = [segment for segment in self._segments if segment.generation > mark.generation]
        if not self._segments:
            self._store.clear()

    def changed_since(self, mark: Mark) -> bool:
        """Whether anything was written or cut after a mark."""
        return self._resized > mark.generation or any(
            segment.generation > mark.generation for segment in self._segments
        )

    def is_whole(self) -> bool:
        """Whether the file holds all the bytes that the map says; of a recovered overlay."""
        return self._store.length() >= max((segment.stop for segment in self._segments), default=0)

    def sync(self) -> None:
        """Make the bytes survive a power loss; raises LocalFailure."""
        try:
            self._store.sync()
        except OSError as error:
            raise LocalFailure(f"{self.path}: {error.strerror}", error.errno or LocalFailure.errno) from None

    def inline_bytes(self) -> bytes | None:
        """All local bytes where they are in memory, for a journal record; None where they are in the file."""
        return bytes(self._store.memory) if self._store.file is None else None

    def delete(self) -> None:
        """Give up the bytes."""
        self._store.delete()

    def _cover(self, new: Segment) -> None:
        """Put a segment over the map, cutting what it hides and joining it to a neighbour of its generation."""
        segments = self._segments
        first = bisect_right(segments, new.start, key=lambda segment: segment.start)
        if first and segments[first - 1].stop >= new.start:
            first -= 1
        last = first
        while last < len(segments) and segments[last].start <= new.stop:
            last += 1
        start, stop, around = new.start, new.stop, []
        for segment in segments[first:last]:
            if segment.generation == new.generation:
                start, stop = min(start, segment.start), max(stop, segment.stop)
                continue
            if segment.start < new.start:
                around.append(segment._replace(stop=min(segment.stop, new.start)))
            if segment.stop > new.stop:
                around.append(segment._replace(start=max(segment.start, new.stop)))
        merged = [*around, Segment(start, stop, new.generation)]
        segments[first:last] = sorted(segment for segment in merged if segment.start < segment.stop)

    def check(self) -> None:
        """Assert the invariants; for tests."""
        for one, two in zip(self._segments, self._segments[1:], strict=False):
            assert one.stop <= two.start
        for segment in self._segments:
            assert 0 <= segment.start < segment.stop <= self.size_bytes
        assert self._base_visible <= self.base.size_bytes
