"""A node's attributes as the kernel wants them, and whose files they are shown to be."""

from __future__ import annotations

import stat
from dataclasses import dataclass
from typing import Final

import pyfuse3

from protocol.limits import MIB
from protocol.messages.nodes import Kind, Node

BLOCK_SIZE_BYTES: Final = MIB
"""st_blksize: programs write in pieces of it."""

_TIME_MOST_NS: Final = (1 << 63) - 1

_TYPES: Final = {
    Kind.FILE: stat.S_IFREG,
    Kind.FOLDER: stat.S_IFDIR,
    Kind.SYMLINK: stat.S_IFLNK,
    Kind.FIFO: stat.S_IFIFO,
    Kind.SOCKET: stat.S_IFSOCK,
    Kind.CHARACTER: stat.S_IFCHR,
    Kind.BLOCK: stat.S_IFBLK,
}
_KINDS: Final = {bits: kind for kind, bits in _TYPES.items()}


@dataclass(frozen=True, slots=True)
class Owner:
    """Whose all files are shown to be; None shows the stored numbers."""

    uid: int
    gid: int


def kind_of(mode: int) -> Kind:
    """What mknod(2) asks for."""
    return _KINDS[stat.S_IFMT(mode) or stat.S_IFREG]


def kept_ns(time_ns: int) -> int:
    """The nearest time that a node can have: 64 bits of nanoseconds, the years 1677 to 2262.

    What lies outside is set to the end of the range, as the kernel does for a file system that states one.
    """
    return max(-_TIME_MOST_NS, min(time_ns, _TIME_MOST_NS))


def entry_of(
    node: Node, number: int, owner: Owner | None, name_timeout_s: float, attribute_timeout_s: float
) -> pyfuse3.EntryAttributes:
    """The answer to a look-up or stat of this inode."""
    entry = pyfuse3.EntryAttributes()
    entry.st_ino = number
    entry.generation = 0
    entry.entry_timeout = name_timeout_s
    entry.attr_timeout = attribute_timeout_s
    entry.st_mode = _TYPES[node.kind] | node.mode
    entry.st_nlink = node.nlink
    entry.st_uid = node.uid if owner is None else owner.uid
    entry.st_gid = node.gid if owner is None else owner.gid
    entry.st_rdev = node.rdev
    entry.st_size = node.size
    entry.st_blksize = BLOCK_SIZE_BYTES
    entry.st_blocks = -(-node.data_bytes // 512)
    entry.st_atime_ns = node.atime_ns
    entry.st_mtime_ns = node.mtime_ns
    entry.st_ctime_ns = node.ctime_ns
    return entry


def no_entry(name_timeout_s: float) -> pyfuse3.EntryAttributes:
    """The answer that the kernel keeps as "there is no such name"."""
    entry = pyfuse3.EntryAttributes()
    entry.st_ino = 0
    entry.entry_timeout = name_timeout_s
    return entry
