"""What the kernel is told of a node: its inode, its attributes, and for how long both may be kept.

Owns whose files they are shown to be, and the count of changes by which an answer knows that it was overtaken: what
was asked of the drive before a change came in may be kept by nobody.

Invariant: every answer that makes the kernel know an inode counts one look-up, without a checkpoint in between.
"""

from __future__ import annotations

import errno

import pyfuse3

from fs.attributes import Owner, entry_of, no_entry
from fs.inodes import Inode, Inodes
from fs.keeping import Keeping
from fs.notices import Notices
from protocol.messages.nodes import Kind, Node


class Entries:
    """The answers of one mount. Until ``begin`` the kernel keeps nothing."""

    def __init__(self, inodes: Inodes, owner: Owner | None) -> None:
        self._inodes = inodes
        self._owner = owner
        self._notices: Notices | None = None
        self._keeping: Keeping | None = None
        self._own_changes = 0

    def begin(self, notices: Notices, keeping: Keeping) -> None:
        """The mount has its device: the kernel can be told to drop what it keeps."""
        self._notices, self._keeping = notices, keeping

    @property
    def seen(self) -> int:
        """How many changes of others have come in."""
        return 0 if self._notices is None else self._notices.seen

    @property
    def moment(self) -> tuple[int, int]:
        """How many changes there have been: others' and this mount's."""
        return self.seen, self._own_changes

    def changed_here(self) -> None:
        """A program on this mount changed something."""
        self._own_changes += 1

    def of(self, node: Node, inode: Inode, *, keep: bool = True, is_made_now: bool = False) -> pyfuse3.EntryAttributes:
        """``keep`` False: a change came in while the answer was made, so the kernel must ask again.

        Later than in the answer that it is made with (``is_made_now``), a file's name may be another by now, and only
        the server's answer to the create tells.
        """
        if not keep or self._keeping is None:
            return entry_of(node, inode.number, self._owner, 0.0, 0.0)
        # A dirty file's commit says how much of it is data, and the kernel would not hear of it.
        changing = inode.retired or (inode.file is not None and inode.file.is_dirty)
        attribute_timeout_s = 0.0 if changing else self._keeping.attributes_s()
        is_named = is_made_now or inode.file is None or not inode.file.is_new
        name_timeout_s = self._keeping.names_s() if is_named else 0.0
        return entry_of(node, inode.number, self._owner, name_timeout_s, attribute_timeout_s)

    def told(self, node: Node, *, keep: bool = True) -> pyfuse3.EntryAttributes:
        """The same as an answer that makes the kernel know the inode."""
        inode = self._inodes.peek(node.id, is_file=node.kind is Kind.FILE)
        entry = self.of(node, inode, keep=keep)
        self._inodes.told(inode)
        return entry

    def absent(self, *, keep: bool) -> pyfuse3.EntryAttributes:
        """That there is no such name; raises FUSEError where the kernel may not keep that."""
        if keep and self._keeping is not None and (timeout_s := self._keeping.names_s()) > 0:
            return no_entry(timeout_s)
        raise pyfuse3.FUSEError(errno.ENOENT)

    def listed(self, folder_handle: int) -> None:
        """An answer with names that may be kept is about to be given on a folder's handle."""
        if self._notices is not None and self._keeping is not None and self._keeping.names_s() > 0:
            self._notices.listings.given(folder_handle)

    def asked_on_folder(self, folder_handle: int) -> None:
        """Every request on a folder's handle says so first, without a checkpoint before."""
        if self._notices is not None:
            self._notices.asked_on(folder_handle)
