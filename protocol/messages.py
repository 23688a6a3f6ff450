"""What crosses the network, as msgspec structs.

A body is MessagePack or JSON, as Content-Type and Accept say; in JSON, bytes are base64 (RFC 4648). Errors
are problem details (RFC 9457) with a machine-readable ``code``.

**Changes.** A mount sends its changes in numbered batches, one at a time, each one transaction per change in
order; the server keeps the answers of the last batch, so that a batch whose reply was lost can be sent again
at any later time. The answer to a batch carries every change of the workspace after the ``after`` that the mount has
applied, its own included: the mount drops what they outdate first, then keeps the nodes that the answers carry.

**seq.** Each reply states the number of the last change that it is true at.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

import msgspec

from protocol.ids import BlockId, DeviceId, JournalId, NodeId, Seq, SessionId, UserId, VersionNumber, WorkspaceId

API: Final = "v1"
MSGPACK: Final = "application/msgpack"
JSON: Final = "application/json"
PROBLEM_JSON: Final = "application/problem+json"
OCTETS: Final = "application/octet-stream"

SESSION_HEADER: Final = "Samedrive-Session"
"""``HEX APPLIED ACKNOWLEDGED``: the session's 32 hexadecimal digits and two decimal numbers, with spaces between."""


class Message(msgspec.Struct, frozen=True, omit_defaults=True):
    """Base of everything that is sent."""


# ── nodes ────────────────────────────────────────────────────────────────────────────────────────────


class Kind(StrEnum):
    """What an inode is."""

    FILE = "file"
    FOLDER = "folder"
    SYMLINK = "symlink"
    FIFO = "fifo"
    SOCKET = "socket"
    CHARACTER = "character"
    BLOCK = "block"


class State(StrEnum):
    """Whether a file has content yet: pending from its create, uploaded from its first commit."""

    PENDING = "pending"
    UPLOADED = "uploaded"


class Node(Message, frozen=True):
    """A node's attributes, all that a mount needs to answer stat, readlink, getxattr and open."""

    id: NodeId
    kind: Kind
    mode: int
    """Permission bits with suid, sgid and sticky: 0 to 0o7777."""
    uid: int
    gid: int
    nlink: int
    mtime_ns: int
    ctime_ns: int
    atime_ns: int
    size: int = 0
    """Bytes of content; of a symlink, the length of its target."""
    data_bytes: int = 0
    """Bytes of content that are not in holes."""
    rdev: int = 0
    version: VersionNumber = VersionNumber(0)
    state: State = State.UPLOADED
    target: bytes = b""
    """A symlink's target."""
    manifest: bytes | None = None
    """A file's content (see ``protocol.manifest``), where it has at most INLINE_MANIFEST_PIECES pieces."""
    xattrs: dict[str, bytes] = {}
    """Names are bytes decoded as Latin-1, one character a byte: JSON needs text for keys."""
    conflict_of: NodeId | None = None


# ── what changes outdated ────────────────────────────────────────────────────────────────────────────


class Touched(Message, array_like=True, frozen=True):
    """A node that a change outdated. ``content`` says whether its content changed, and not its attributes alone."""

    node: NodeId
    content: bool = False


class TouchedEntry(Message, array_like=True, frozen=True):
    """A name whose meaning a change outdated."""

    parent: NodeId
    name: bytes


class Notice(Message, frozen=True):
    """One committed change: what it outdated, and which journal it came from (empty: not from a mount)."""

    seq: Seq
    what: str
    """The change's tag, or "restore" and the like: for logs and people."""
    origin: JournalId = JournalId(b"")
    nodes: list[Touched] = []
    entries: list[TouchedEntry] = []
    state: State | None = None
    """Of a file that was created (pending) or committed (uploaded)."""


class Notices(Message, frozen=True):
    """Changes after a number. ``seq`` is the last one's, or the head where there are none. ``reset`` says that the log
    does not reach back so far, or that there are too many: drop everything, and go on from ``seq``."""

    seq: Seq
    notices: list[Notice] = []
    reset: bool = False


# ── the tree ─────────────────────────────────────────────────────────────────────────────────────────


class NodeReply(Message, frozen=True):
    """One node, true at ``notices.seq``."""

    notices: Notices
    node: Node


class LookupReply(Message, frozen=True):
    """What a name of a folder means; ``node`` is None where there is no such entry (that is no error)."""

    notices: Notices
    node: Node | None = None


class Entry(Message, array_like=True, frozen=True):
    """A name in a folder, and its node."""

    name: bytes
    node: Node


class ListingReply(Message, frozen=True):
    """A page of a folder in order of names' bytes. ``generation`` changes with each change of its entries."""

    notices: Notices
    generation: int
    entries: list[Entry]
    more: bool = False


class ManifestReply(Message, frozen=True):
    """The content of one version."""

    seq: Seq
    node: NodeId
    version: VersionNumber
    size: int
    manifest: bytes


class Original(Message, frozen=True):
    """What stands under the name that a conflict copy was made beside."""

    node: NodeId
    version: VersionNumber
    path: list[bytes]


class ConflictCopy(Message, frozen=True):
    """A node that is marked as a conflict of another; paths are names from the root."""

    node: NodeId
    parent: NodeId
    path: list[bytes]
    kind: Kind
    version: VersionNumber
    size: int
    mtime_ns: int
    device: str = ""
    """Whose content it is; empty where that is not known (of what is no file)."""
    committed_ns: int = 0
    """By the server's clock; 0 where nothing is uploaded."""
    original: Original | None = None
    """None: it is gone, and nothing has its name."""


class ConflictsReply(Message, frozen=True):
    """A page of a workspace's conflict copies in order of their ids."""

    notices: Notices
    conflicts: list[ConflictCopy]
    more: bool = False


class UsageReply(Message, frozen=True):
    """For statfs: bytes that the workspace may hold and still has; how many nodes it has."""

    total_bytes: int
    free_bytes: int
    nodes: int


# ── changes that a mount sends ───────────────────────────────────────────────────────────────────────


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
    name: bytes
    node: NodeId
    kind: Kind
    mode: int
    uid: int
    gid: int
    rdev: int = 0
    target: bytes = b""
    on_clash: OnClash = OnClash.REFUSE


class SealedBlock(Message, array_like=True, frozen=True):
    """A block that travels inside a commit."""

    id: BlockId
    sealed: bytes


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
    name: str
    value: bytes
    xattr_mode: XattrMode = XattrMode.SET


class RemoveXattr(Change, tag="remove xattr", frozen=True):
    """Refused with ENODATA, ENOENT."""

    node: NodeId
    name: str


class Link(Change, tag="link", frozen=True):
    """A second entry of a node. Refused with EEXIST, ENOENT, ENOTDIR, EPERM (folders), EMLINK, EINVAL (MERGE).

    With KEEP_BOTH a folder that has been removed comes back for it, and so does the node itself.
    """

    node: NodeId
    parent: NodeId
    name: bytes
    on_clash: OnClash = OnClash.REFUSE


class Unlink(Change, tag="unlink", frozen=True):
    """Remove an entry that is not a folder's. ``version`` is what the mount saw (None: whatever is there).

    Refused with ENOENT, EISDIR, ESTALE (it names another node, or another version is the head: the edit wins; or it is
    the last name by now, and was not).
    """

    parent: NodeId
    name: bytes
    node: NodeId
    version: VersionNumber | None = None
    others: int = 0
    """How many other names of the node the mount saw: two devices that each remove one of two names keep one."""


class Rmdir(Change, tag="rmdir", frozen=True):
    """Remove an empty folder. Refused with ENOENT, ENOTDIR, ENOTEMPTY, ESTALE (it names another node)."""

    parent: NodeId
    name: bytes
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
    name: bytes
    new_parent: NodeId
    new_name: bytes
    rename_mode: RenameMode = RenameMode.REPLACE
    replaced: Replaced | None = None


class Keep(StrEnum):
    """What is kept of a conflict copy and what it conflicts with."""

    MINE = "mine"
    """The copy: its content becomes a new version of the original, and the copy goes."""
    THEIRS = "theirs"
    """What stands under the original's name: the copy goes."""
    BOTH = "both"
    """The copy is an ordinary file under its name."""


class Resolve(Change, tag="resolve", frozen=True):
    """End a conflict. ``version`` is the copy's, ``original_version`` the original's, as who decided saw them.

    Where the original is gone, MINE gives the copy its name back. Its notice names no journal: to the mount that sent
    it, too, it is a change from elsewhere. Refused with: EINVAL (no conflict copy; MINE of what is no file), ENOENT,
    ESTALE (another content or node by now), ENOTEMPTY (a folder), EBUSY (nothing of the copy is uploaded yet),
    EEXIST (MINE, where the name was taken meanwhile).
    """

    parent: NodeId
    name: bytes
    node: NodeId
    version: VersionNumber
    keep: Keep
    original_version: VersionNumber | None = None
    """None: there was no original."""


AnyChange = Create | Commit | SetAttributes | SetXattr | RemoveXattr | Link | Unlink | Rmdir | Rename | Resolve


class Batch(Message, frozen=True):
    """Changes ``first`` to ``first + len(changes) - 1`` of a journal, in order.

    A mount names its session: refused are those of one whose journal another session has taken since.
    """

    journal: JournalId
    first: int
    changes: list[AnyChange]
    session: SessionId = SessionId(b"")


class Answer(Message, tag_field="answer", frozen=True):
    """Base of the answers, one for each change of a batch."""


class Conflict(Message, frozen=True):
    """What did not find its place as its mount saw it was kept as this node, in this folder, under this name."""

    node: NodeId
    parent: NodeId
    name: bytes


class Applied(Answer, tag="applied", frozen=True):
    """Done at ``seq``. ``nodes`` are those that it changed, as they are when the batch is answered: never older than
    the notices that go with the answer."""

    seq: Seq
    nodes: list[Node] = []
    conflict: Conflict | None = None
    """Of a create or link: where it is, if that is not where it was asked for. Of a commit: where the content is, if it
    lost, or came back elsewhere. Of a rename: what was under the new name and its mount had not seen."""
    merged: NodeId | None = None
    """Of a create with MERGE: the folder that is there; the id that the mount chose means nothing."""
    version: VersionNumber = VersionNumber(0)
    """Of a commit: the number of its content, of the file or of its conflict copy."""


class Refused(Answer, tag="refused", frozen=True):
    """Nothing was changed. ``errno`` is a name such as EEXIST."""

    errno: str
    reason: str


class MissingBlocks(Answer, tag="missing", frozen=True):
    """The commit names blocks that the server lacks: put them, then send it again as a new change."""

    blocks: list[BlockId]


AnyAnswer = Applied | Refused | MissingBlocks


class BatchReply(Message, frozen=True):
    """Answers in order of the changes, and the notices that go first."""

    answers: list[AnyAnswer]
    notices: Notices


class Join(Message, frozen=True):
    """A mount begins, or was forgotten: which session and journal it is, and what it has applied.

    ``after`` None: it has nothing cached."""

    session: SessionId
    journal: JournalId
    after: Seq | None = None


class JoinReply(Message, frozen=True):
    """The news after ``Join.after`` (none where that is None), and the last batch that the journal's changes reached.

    ``lease_s`` as in ``PollReply``."""

    notices: Notices
    first_number: int
    last_number: int
    lease_s: float


class JournalReply(Message, frozen=True):
    """The last batch that a journal's changes reached: what is to be sent again, and which number is next."""

    first_number: int
    last_number: int


class PollReply(Message, frozen=True):
    """The news, and the lease that began when the poll was *sent*, in seconds; 0: the session has none, because it let
    one run out while others waited for it. It gets one when it polls again after these."""

    notices: Notices
    lease_s: float = 0.0


# ── blocks ───────────────────────────────────────────────────────────────────────────────────────────


class BlockList(Message, frozen=True):
    """Block ids: a question (which are missing? send me these) or its answer."""

    blocks: list[BlockId]


# ── accounts ─────────────────────────────────────────────────────────────────────────────────────────


class Role(StrEnum):
    """What a member may do."""

    OWNER = "owner"
    EDITOR = "editor"
    VIEWER = "viewer"


class Health(Message, frozen=True):
    """Anyone may ask for this."""

    program: str
    version: str
    api: str


class Login(Message, frozen=True):
    """Get a token for a device. The same name again is the same device with a new token."""

    user: str
    password: str
    device: str


class LoginReply(Message, frozen=True):
    """The token is shown once; the server keeps its hash."""

    token: str
    device: DeviceId
    user: UserId


class User(Message, frozen=True):
    """Someone who can log in."""

    id: UserId
    name: str
    admin: bool = False
    created_ns: int = 0


class NewUser(Message, frozen=True):
    """For admins."""

    name: str
    password: str
    admin: bool = False


class NewPassword(Message, frozen=True):
    """One's own, or anyone's for admins. All of the user's devices stay logged in."""

    password: str


class Device(Message, frozen=True):
    """A token's holder."""

    id: DeviceId
    name: str
    user: str
    created_ns: int = 0
    seen_ns: int = 0
    revoked: bool = False


class Workspace(Message, frozen=True):
    """A tree that the asking user is a member of. ``name`` is unique per owner."""

    id: WorkspaceId
    name: str
    owner: str
    role: Role
    quota_bytes: int | None = None
    used_bytes: int = 0
    seq: Seq = Seq(0)
    key: bytes = b""
    """The workspace key, only in the answer to a question for one workspace."""
    key_id: int = 1
    default: bool = False
    """This is the one that is mounted where none is named."""


class NewWorkspace(Message, frozen=True):
    """Its owner is who asks."""

    name: str
    quota_bytes: int | None = None


class Share(Message, frozen=True):
    """Make a user a member with a role, or (role None) no longer one."""

    user: str
    role: Role | None


class Users(Message, frozen=True):
    """A list."""

    users: list[User]


class Devices(Message, frozen=True):
    """A list."""

    devices: list[Device]


class Workspaces(Message, frozen=True):
    """A list."""

    workspaces: list[Workspace]


# ── errors ───────────────────────────────────────────────────────────────────────────────────────────


class Problem(Message, frozen=True):
    """RFC 9457. ``code`` is one of ``protocol.problems``."""

    title: str
    status: int
    detail: str = ""
    code: str = ""
    type: str = "about:blank"


def xattr_name_to_wire(name: bytes) -> str:
    """An extended attribute's name as a text of one character a byte."""
    return name.decode("latin-1")


def xattr_name_from_wire(name: str) -> bytes:
    """The reverse; raises UnicodeEncodeError where the text has characters past U+00FF."""
    return name.encode("latin-1")
