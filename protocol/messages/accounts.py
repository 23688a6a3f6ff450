"""Accounts: users, their devices, and the workspaces that they are members of."""

from __future__ import annotations

from enum import StrEnum

from protocol.ids import DeviceId, Seq, UserId, WorkspaceId
from protocol.messages.wire import Message


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
    """The workspace's first key, only in the answer to a question for one workspace, and not of an end-to-end one."""
    key_id: int = 1
    """Of the key that seals new blocks: the last."""
    later_keys: dict[int, bytes] = {}
    """By id, those that were added after the first one; in the same answer."""
    old_blocks: int = 0
    """Blocks that are still sealed under older keys: the server seals them anew, or an end-to-end workspace's owner."""
    default: bool = False
    """This is the one that is mounted where none is named."""
    end_to_end: bool = False
    """Its server does not have its key: contents, names, targets and extended attributes are sealed by its members."""
    envelope: bytes = b""
    """Of an end-to-end one, instead of the key: what opens with its passphrase (``protocol.passphrase``)."""


class NewWorkspace(Message, frozen=True):
    """Its owner is who asks."""

    name: str
    quota_bytes: int | None = None
    id: WorkspaceId | None = None
    """Of an end-to-end one, 32 random hexadecimal digits: its key is wrapped for this id."""
    envelope: bytes = b""
    """Makes it an end-to-end one: its key, which nobody gets here without the passphrase."""


class NewKey(Message, frozen=True):
    """A workspace's next key, which the server makes, but not of an end-to-end one. A request that comes twice makes
    one."""

    after: int
    """The id of the key that seals now (``Workspace.key_id``)."""
    envelope: bytes = b""
    """Of an end-to-end workspace: with the next key, which its member has made."""
    replaces: bytes = b""
    """As in ``NewEnvelope``."""


class NewEnvelope(Message, frozen=True):
    """An end-to-end workspace's keys under another passphrase: they stay the same keys."""

    envelope: bytes
    replaces: bytes
    """The envelope that was opened: where another is there by now, nothing is changed."""


class Member(Message, frozen=True):
    """A user with a role in a workspace."""

    user: str
    role: Role


class Members(Message, frozen=True):
    """A list."""

    members: list[Member]


class Users(Message, frozen=True):
    """A list."""

    users: list[User]


class Devices(Message, frozen=True):
    """A list."""

    devices: list[Device]


class Workspaces(Message, frozen=True):
    """A list."""

    workspaces: list[Workspace]
