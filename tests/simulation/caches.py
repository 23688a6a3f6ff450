"""What a kernel keeps of a mount: names, attributes and pages, each until something outdates it.

Invariants:

- a name counts in the epoch of when its request was sent, and until its time-out, which begins with the reply;
- attributes that were outdated after a request was sent are not kept from its reply;
- an inode that neither a name nor a descriptor holds is forgotten, but not while a system call is under way.
"""

from __future__ import annotations

import stat
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from random import Random
from typing import Final, NamedTuple

import pyfuse3
import trio

PAGE_BYTES: Final = 4096
ROOT: Final = 1

_NEVER: Final = float("-inf")


@dataclass(eq=False, slots=True)
class Inode:
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
    """Another dictionary as soon as any are dropped: what is being read meanwhile goes with them."""
    page_locks: defaultdict[int, trio.Lock] = field(default_factory=lambda: defaultdict(trio.Lock))
    """Each held while its page is read or written."""
    names: dict[bytes, Name] = field(default_factory=dict)
    lock: trio.Lock = field(default_factory=trio.Lock)


class Name(NamedTuple):
    inode: Inode | None
    """None where there is known to be nothing."""
    until_s: float
    epoch: int


class Caches:
    """One mount's part of one machine's kernel; implements ``fs.notices.Kernel``."""

    def __init__(
        self, clock: Callable[[], float], random: Random, forget: Callable[[int, int], None], *, has_epoch: bool
    ) -> None:
        """``forget`` tells the mount that so many look-ups of an inode are no longer held."""
        self.root = Inode(ROOT, is_folder=True, lookups=1, holds=1)
        self.epoch = 0
        self.version = 0
        """Counts when attributes are set and outdated."""
        self._clock = clock
        self._random = random
        self._forget = forget
        self._has_epoch = has_epoch
        self._inodes: dict[int, Inode] = {ROOT: self.root}
        self._walking = 0
        """System calls under way: what they have found is not forgotten meanwhile."""
        self._unheld: list[Inode] = []

    @contextmanager
    def held(self) -> Iterator[None]:
        """Forget nothing meanwhile."""
        self._walking += 1
        try:
            yield
        finally:
            self._walking -= 1
            self._evict()

    def drop_names(self) -> bool:
        """See ``fs.notices.Kernel``."""
        self.epoch += self._has_epoch
        return self._has_epoch

    def drop_attributes(self, number: int) -> bool:
        """See ``fs.notices.Kernel``."""
        inode = self._inodes.get(number)
        if inode is None:
            return False
        self.outdate(inode)
        return True

    def shrink(self) -> None:
        """Memory is short: some names go, with their inodes where nothing else holds them."""
        for inode in list(self._inodes.values()):
            for name in [name for name in inode.names if self._random.random() < 0.3]:
                self.drop_name(inode, name)

    def cached(self, folder: Inode, name: bytes) -> Name | None:
        """What a name means, where that is kept and still counts."""
        known = folder.names.get(name)
        if known is None or known.epoch != self.epoch or known.until_s < self._clock():
            return None
        return known

    def told(self, entry: pyfuse3.EntryAttributes, version: int) -> Inode:
        """fuse_iget(): a reply that counts as a look-up."""
        inode = self._inodes.get(entry.st_ino)
        if inode is None:
            inode = self._inodes[entry.st_ino] = Inode(entry.st_ino, stat.S_ISDIR(entry.st_mode))
        inode.lookups += 1
        self.keep_attributes(inode, entry, version)
        return inode

    def made(self, entry: pyfuse3.EntryAttributes) -> Inode:
        """Of a reply to create and mkdir, whose attributes count whatever was outdated meanwhile."""
        return self.told(entry, self.version)

    def keep_name(
        self, folder: Inode, name: bytes, entry: pyfuse3.EntryAttributes, epoch: int, inode: Inode | None
    ) -> None:
        """A name, by a reply to a request that was sent in this epoch."""
        if inode is not None:
            inode.holds += 1
        self.drop_name(folder, name)
        until_s = self._clock() + entry.entry_timeout if entry.entry_timeout > 0 else _NEVER
        folder.names[name] = Name(inode, until_s, epoch)

    def drop_name(self, folder: Inode, name: bytes) -> None:
        """d_drop()."""
        known = folder.names.pop(name, None)
        if known is not None and known.inode is not None:
            self.let_go(known.inode)

    def expire(self, folder: Inode, name: bytes) -> None:
        """The name is asked for when it is needed again."""
        known = folder.names.get(name)
        if known is not None:
            folder.names[name] = known._replace(until_s=_NEVER)

    def let_go(self, inode: Inode) -> None:
        """A name or a descriptor less."""
        inode.holds -= 1
        if inode.holds == 0:
            self._unheld.append(inode)
            self._evict()

    def keep_attributes(self, inode: Inode, entry: pyfuse3.EntryAttributes, version: int) -> None:
        """fuse_change_attributes(): not where they were outdated since the request was sent."""
        if inode.version > version:
            return
        self.version += 1
        inode.version = self.version
        inode.until_s = self._clock() + entry.attr_timeout if entry.attr_timeout > 0 else _NEVER
        if inode.size != entry.st_size:
            self.cut(inode, entry.st_size)
            inode.pages = {}
        elif inode.mtime_ns != entry.st_mtime_ns:
            inode.pages = {}
        inode.mtime_ns = entry.st_mtime_ns

    def outdate(self, inode: Inode) -> None:
        """fuse_invalidate_attr()."""
        self.version += 1
        inode.version = self.version
        inode.until_s = _NEVER

    def cut(self, inode: Inode, size: int) -> None:
        """A size that was set or seen: pages behind it go."""
        if size < inode.size:
            inode.pages = {page: content for page, content in inode.pages.items() if page < size // PAGE_BYTES}
        inode.size = size

    def _evict(self) -> None:
        """Forget what nothing holds any more."""
        while self._unheld and self._walking == 0:
            inode = self._unheld.pop()
            if inode.holds > 0 or inode.lookups == 0:
                continue
            del self._inodes[inode.number]
            self._forget(inode.number, inode.lookups)
            inode.lookups = 0
            for name in list(inode.names):
                self.drop_name(inode, name)
