"""What was cached of the tree when a mount ended, or lost its server: so that the next one can begin without asking.

Format 1: the 8 bytes ``SDT1\\0\\0\\0\\0``, the first 16 bytes of the body's BLAKE3, the body: ``Snapshot`` in
MessagePack, compressed (zstd). A file that is damaged or of another format is no snapshot: nothing in it is precious.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Final

import msgspec
import zstandard
from blake3 import blake3

from backend.disk import Disk, read_file
from backend.tree import Snapshot

MAGIC: Final = b"SDT1\0\0\0\0"
_DIGEST_BYTES: Final = 16
_BODY_MAX_BYTES: Final = 1 << 30

log = logging.getLogger(__name__)


def encoded(snapshot: Snapshot) -> bytes:
    """The file's content."""
    body = zstandard.compress(msgspec.msgpack.encode(snapshot), 1)
    return MAGIC + blake3(body).digest()[:_DIGEST_BYTES] + body


def save(disk: Disk, path: Path, content: bytes) -> None:
    """Replace the file; raises OSError. It need not survive a power loss: a lost one is fetched again."""
    temporary = path.with_name(path.name + ".new")
    file = disk.create(temporary)
    try:
        file.write(0, content)
        file.sync()
    finally:
        file.close()
    disk.rename(temporary, path)


def load(disk: Disk, path: Path) -> Snapshot | None:
    """The last one that was saved, or None."""
    try:
        content = read_file(disk, path)
    except OSError:
        return None
    body_at = len(MAGIC) + _DIGEST_BYTES
    body = content[body_at:]
    if content[: len(MAGIC)] != MAGIC or blake3(body).digest()[:_DIGEST_BYTES] != content[len(MAGIC) : body_at]:
        log.warning("%s is damaged or of another version: the tree is fetched anew", path)
        return None
    try:
        return msgspec.msgpack.decode(
            zstandard.ZstdDecompressor().decompress(body, max_output_size=_BODY_MAX_BYTES), type=Snapshot
        )
    except (msgspec.DecodeError, zstandard.ZstdError) as error:
        log.warning("%s can't be understood (%s): the tree is fetched anew", path, error)
        return None
