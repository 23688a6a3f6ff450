"""Changes: what a mount has done to the tree, each one transaction at the server.

Invariants:

- a change states what its mount saw (``base``, ``version``, ``replaced``, ``others``), so that the server can tell
  whether another change came between;
- each names its nodes by id: a create carries the id that its mount chose.
"""

from __future__ import annotations

from enum import StrEnum

from protocol.ids import NodeId, VersionNumber
from protocol.messages.blocks import SealedBlock
from protocol.messages.conflicts import Keep
from protocol.messages.nodes import Kind
from protocol.messages.texts import EntryName, Target, XattrName, XattrValue
from protocol.messages.wire import Message


class OnClash(StrEnum):
    """What a create does where the name is taken."""

    REFUSE = "refuse"
    """EEXIST: O_EXCL, mkdir, mknod, symlink, link."""
    KEEP_BOTH = "keep both"
    """What is new gets a conflict name beside the other: two mounts gave one name at once."""
    MERGE = "merge"
    """A new folder is the folder that is there (``Applied.merged``); beside anything else it is kept as above."""


class Change(Message, tag_field="change", frozen=True):
    """Base of the changes. ``time_ns`` is when the mount did it, for ctime and the parents' mtime."""

    time_ns: int


class Create(Change, tag="create", frozen=True):
    """Make a node and its first entry. Files begin in state pending.

    Sent again with the same node id for the same name it is answered like the first time. With another ``on_clash``
    than REFUSE a folder that has been removed comes back for it.
    Refused with: ENOENT (no parent), ENOTDIR, EEXIST, ENAMETOOLONG, EINVAL (kind or id; MERGE of what is no folder).
    """

    parent: NodeId
    name: EntryName
    node: NodeId
    kind: Kind
    mode: int
    uid: int
    gid: int
    rdev: int = 0
    target: Target = b""
    on_clash: OnClash = OnClash.REFUSE


class Commit(Change, tag="commit", frozen=True):
    """A file's new content, made from version ``base``. Compare-and-set: where ``base`` is no longer the head,
    the content becomes a conflict copy beside it (``Applied.conflict``). Where the file has been unlinked
    meanwhile, it comes back under its last name, and its folder with it; where that name is taken, it is marked as a
    conflict of what has it.

    Refused with: ENOENT (never was), EINVAL (not a file); a manifest whose blocks the server lacks is
    answered ``MissingBlocks`` and one that is wrong fails the request with 422.
    """

    node: NodeId
    base: VersionNumber
    size: int
    manifest: bytes
    mtime_ns: int
    blocks: list[SealedBlock] = []

    def ctime_after(self, ctime_ns: int) -> int:
        """The file's ctime, which was ``ctime_ns``: of when its content was written, not of when that was closed.

        Where something else moved it meanwhile, it moves on by a little.
        """
        return self.time_ns if self.time_ns >= ctime_ns else ctime_ns + 1


class SetAttributes(Change, tag="set", frozen=True):
    """Set those that are not None. Refused with ENOENT."""

    node: NodeId
    mode: int | None = None
    uid: int | None = None
    gid: int | None = None
    mtime_ns: int | None = None
    atime_ns: int | None = None


class XattrMode(StrEnum):
    """setxattr(2)'s flags."""

    SET = "set"
    CREATE = "create"
    REPLACE = "replace"


class SetXattr(Change, tag="set xattr", frozen=True):
    """Refused with EEXIST, ENODATA (as setxattr(2)), ENOSPC (over XATTRS_MAX_BYTES), ENOENT."""

    node: NodeId
    name: XattrName
    value: XattrValue
    xattr_mode: XattrMode = XattrMode.SET


class RemoveXattr(Change, tag="remove xattr", frozen=True):
    """Refused with ENODATA, ENOENT."""

    node: NodeId
    name: XattrName


class Link(Change, tag="link", frozen=True):
    """A second entry of a node. Refused with EEXIST, ENOENT, ENOTDIR, EPERM (folders), EMLINK, EINVAL (MERGE).

    With KEEP_BOTH a folder that has been removed comes back for it, and so does the node itself.
    """

    node: NodeId
    parent: NodeId
    name: EntryName
    on_clash: OnClash = OnClash.REFUSE


class Unlink(Change, tag="unlink", frozen=True):
    """Remove an entry that is not a folder's. ``version`` is what the mount saw (None: whatever is there).

    Refused with ENOENT, EISDIR, ESTALE (it names another node, or another version is the head: the edit wins; or it is
    the last name by now, and was not).
    """

    parent: NodeId
    name: EntryName
    node: NodeId
    version: VersionNumber | None = None
    others: int = 0
    """How many other names of the node the mount saw: two devices that each remove one of two names keep one."""


class Rmdir(Change, tag="rmdir", frozen=True):
    """Remove an empty folder. Refused with ENOENT, ENOTDIR, ENOTEMPTY, ESTALE (it names another node)."""

    parent: NodeId
    name: EntryName
    node: NodeId


class RenameMode(StrEnum):
    """renameat2(2)'s flags."""

    REPLACE = "replace"
    NOREPLACE = "noreplace"
    EXCHANGE = "exchange"


class Replaced(Message, array_like=True, frozen=True):
    """What a mount saw under the new name when it renamed over it."""

    node: NodeId
    version: VersionNumber
    others: int = 0
    """How many other names of the node the mount saw."""


class Rename(Change, tag="rename", frozen=True):
    """Move an entry; names change atomically. ``replaced`` is what the mount saw under the new name.

    Where another file is there by then, another version of it or its last name, that is kept as a conflict copy.
    Conflict copies of what it replaces are from then on conflicts of the node; the node itself is none any more.
    Refused with: ENOENT, EEXIST (NOREPLACE), ENOTEMPTY, EISDIR, ENOTDIR, EINVAL (into itself), ESTALE
    (the old name means another node).
    """

    node: NodeId
    parent: NodeId
    name: EntryName
    new_parent: NodeId
    new_name: EntryName
    rename_mode: RenameMode = RenameMode.REPLACE
    replaced: Replaced | None = None


class Resolve(Change, tag="resolve", frozen=True):
    """End a conflict. ``version`` is the copy's, ``original_version`` the original's, as who decided saw them.

    Where the original is gone, MINE gives the copy its name back. Its notice names no journal: to the mount that sent
    it, too, it is a change from elsewhere. Refused with: EINVAL (no conflict copy; MINE of what is no file), ENOENT,
    ESTALE (another content or node by now), ENOTEMPTY (a folder), EBUSY (nothing of the copy is uploaded yet),
    EEXIST (MINE, where the name was taken meanwhile).
    """

    parent: NodeId
    name: EntryName
    node: NodeId
    version: VersionNumber
    keep: Keep
    original_version: VersionNumber | None = None
    """None: there was no original."""


AnyChange = Create | Commit | SetAttributes | SetXattr | RemoveXattr | Link | Unlink | Rmdir | Rename | Resolve
