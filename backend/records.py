"""The records of a journal, and how they lie in its log.

Format 1 of ``log``: the 8 bytes ``SDJ1\\0\\0\\0\\0``, then records: length of the body (4 bytes, big-endian), the
first 8 bytes of the body's BLAKE3, the body in MessagePack (one of ``Record``). A tail that is cut or doesn't match
its hash is dropped: it was being written when the power went, and nobody has been told that it is there.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final

import msgspec
from blake3 import blake3

from backend.disk import File
from backend.errors import LocalFailure
from protocol.ids import BatchId
from protocol.messages.batches import AnyAnswer
from protocol.messages.changes import AnyChange, Create
from protocol.messages.nodes import Node

MAGIC: Final = b"SDJ1\0\0\0\0"
_HEAD: Final = struct.Struct(">I8s")
_RECORD_MAX_BYTES: Final = 64 << 20


class Flushed(msgspec.Struct, frozen=True, tag="flushed", kw_only=True):
    """A file that is about to be committed: all that is needed to do it after a crash."""

    row: Node
    create: Create | None
    """Where the server may not know the file yet."""
    manifest: bytes
    """The base version's content."""
    mtime_ns: int
    size: int
    base_visible: int
    segments: list[tuple[int, int]]
    """Ranges of local bytes."""
    boot: str
    """The machine's start (``Disk.boot``) at which the bytes were written."""
    synced: bool
    """Whether the bytes survive a power loss: else they are worth nothing after another start."""
    file: str
    """The overlay file's name, in the folder ``overlays``; it exists where ``content`` is None."""
    content: bytes | None
    """The local bytes where they are few: offset is place."""


class Begun(msgspec.Struct, frozen=True, tag="begun"):
    """A numbered record."""

    number: int
    flushed: Flushed


class Done(msgspec.Struct, frozen=True, tag="done"):
    """The record of this number is committed."""

    number: int


class Kept(msgspec.Struct, frozen=True, tag="kept"):
    """A numbered record: a change that was applied here, and not at the server."""

    number: int
    change: AnyChange


class Sending(msgspec.Struct, frozen=True, tag="sending"):
    """The first of the kept changes, by their records' numbers, may have reached the server as one batch."""

    first: int
    """The number that the first of them has in the batch."""
    numbers: list[int]
    adopted: bool = False
    """They may have been sent before the mount parted, as those who asked for them wanted them answered."""
    batch: BatchId = BatchId(b"")
    """What the batch is called at the server."""


class Answered(msgspec.Struct, frozen=True, tag="answered"):
    """These kept changes are at the server, which answered so. Later ones may build on what it said."""

    numbers: list[int]
    answers: list[AnyAnswer]


class Settled(msgspec.Struct, frozen=True, tag="settled"):
    """All kept changes are at the server, and nothing builds on them any more."""


Record = Begun | Done | Kept | Sending | Answered | Settled


def encoded(record: Record) -> bytes:
    """A record as it lies in the log."""
    body = msgspec.msgpack.encode(record)
    return _HEAD.pack(len(body), blake3(body).digest()[:8]) + body


def records(log_file: File) -> Iterator[tuple[Record, int]]:
    """Records and where they end, up to the first that is cut or damaged. One at a time: a log may be long.

    Raises LocalFailure where one is of another version.
    """
    at = len(MAGIC)
    while len(head := log_file.read(at, _HEAD.size)) == _HEAD.size:
        length, digest = _HEAD.unpack(head)
        begin = at + _HEAD.size
        if length > _RECORD_MAX_BYTES:
            return
        body = log_file.read(begin, length)
        if len(body) != length or blake3(body).digest()[:8] != digest:
            return
        at = begin + length
        try:
            record = msgspec.msgpack.decode(body, type=Record)
        except msgspec.DecodeError as error:
            raise LocalFailure(
                f"the journal has a record that this version doesn't understand ({error}); it may hold unsent work: "
                "mount it with the version that wrote it"
            ) from None
        yield record, at
