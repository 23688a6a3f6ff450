"""What an open file or folder is to its handle."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import pyfuse3

from backend.openfile import OpenFile
from fs.inodes import Inode
from protocol.ids import NO_CHANGE, NodeId, Seq
from protocol.messages.tree import Entry


@dataclass(slots=True)
class FileHandle:
    """One open(2) of a regular file."""

    inode: Inode
    file: OpenFile
    commits: bool
    """close(2) waits for its commit: it may write, or it made the file."""


@dataclass(slots=True)
class FolderHandle:
    """One opendir(3): the entries as they were when it began to read."""

    node: NodeId
    entries: Sequence[Entry] = field(default_factory=list)
    seq: Seq = NO_CHANGE
    """Up to which change they are surely true."""
    moment: tuple[int, int] = (0, 0)
    """When the entries were taken: see ``Entries.moment``."""
    folder: pyfuse3.EntryAttributes = field(default_factory=pyfuse3.EntryAttributes)
