"""Users, devices, workspaces and members. Each function is one transaction's work."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import msgspec

from protocol.ids import ROOT_NODE, DeviceId, Seq, UserId, WorkspaceId, new_hex_id
from protocol.keys import FIRST_KEY
from protocol.messages.accounts import Device, Member, Role, User, Workspace
from protocol.messages.tokens import Scope
from server.metadata.store import Transaction

LOGIN: Final = "login"
"""``devices.kind`` of what a person logged in."""

_ROOT_MODE: Final = 0o755


class Taken(Exception):
    """The name is in use."""


class Unknown(Exception):
    """There is no such user, device or workspace, as far as the caller may know."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What a script's token is good for."""

    scope: Scope
    expires_ns: int | None
    workspaces: frozenset[WorkspaceId] | None
    """None: all of its user's."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Whose token came with a request."""

    user: UserId
    user_name: str
    admin: bool
    device: DeviceId
    device_name: str
    limits: Limits | None = None
    """None: a person's device."""
    address: str = ""
    """Where the request came from."""

    def role_as(self, role: Role | None, workspace: WorkspaceId) -> Role | None:
        """What is left of the user's role for who calls: scripts never own, and see no workspace but theirs."""
        if role is None or self.limits is None:
            return role
        if self.limits.workspaces is not None and workspace not in self.limits.workspaces:
            return None
        return Role.VIEWER if role is Role.VIEWER or self.limits.scope is Scope.READ else Role.EDITOR


_decode_workspaces = msgspec.msgpack.Decoder(list[WorkspaceId]).decode


# ── users ──


def add_user(tx: Transaction, name: str, password_hash: str, admin: bool, now_ns: int) -> User:
    """A user without workspaces; raises Taken."""
    user = User(UserId(new_hex_id()), name, admin, now_ns)
    if tx.one("SELECT 1 FROM users WHERE name = ?", (name,)):
        raise Taken(f"there is a user {name!r} already")
    tx.execute(
        "INSERT INTO users (id, name, password_hash, admin, created_ns) VALUES (?, ?, ?, ?, ?)",
        (user.id, name, password_hash, int(admin), now_ns),
    )
    return user


def has_users(tx: Transaction) -> bool:
    """Whether anybody could log in."""
    return tx.one("SELECT 1 FROM users LIMIT 1") is not None


def user_named(tx: Transaction, name: str) -> User:
    """Raises Unknown."""
    row = tx.one("SELECT id, name, admin, created_ns FROM users WHERE name = ?", (name,))
    if row is None:
        raise Unknown(f"there is no user {name!r}")
    return User(UserId(row[0]), row[1], bool(row[2]), row[3])


def list_users(tx: Transaction) -> list[User]:
    """Everybody, by name."""
    rows = tx.all("SELECT id, name, admin, created_ns FROM users ORDER BY name")
    return [User(UserId(row[0]), row[1], bool(row[2]), row[3]) for row in rows]


def password_of(tx: Transaction, name: str) -> tuple[UserId, str] | None:
    """A user's id and password hash."""
    row = tx.one("SELECT id, password_hash FROM users WHERE name = ?", (name,))
    return None if row is None else (UserId(row[0]), row[1])


def set_password(tx: Transaction, name: str, password_hash: str) -> None:
    """Raises Unknown."""
    if not tx.execute("UPDATE users SET password_hash = ? WHERE name = ?", (password_hash, name)):
        raise Unknown(f"there is no user {name!r}")


def remove_user(tx: Transaction, name: str) -> None:
    """With devices and memberships; raises Unknown, and Taken where the user still owns a workspace with content."""
    user = user_named(tx, name)
    owned = tx.all("SELECT id, name, head_seq FROM workspaces WHERE owner_id = ?", (user.id,))
    if any(head > 0 for _, _, head in owned):
        names = ", ".join(row[1] for row in owned if row[2] > 0)
        raise Taken(f"{name!r} still owns workspaces with content ({names})")
    for workspace, _, _ in owned:
        for table in ("nodes", "blocks", "block_data", "journals"):  # Nothing was committed: the rest are empty.
            tx.execute(f"DELETE FROM {table} WHERE workspace = ?", (workspace,))
        tx.execute("DELETE FROM workspaces WHERE id = ?", (workspace,))
    tx.execute("DELETE FROM users WHERE id = ?", (user.id,))


# ── devices ──


def caller_of(tx: Transaction, token_hash: bytes) -> Caller | None:
    """The holder of a token; None where nobody is, or no longer."""
    row = tx.one(
        "SELECT u.id, u.name, u.admin, d.id, d.name, d.scope, d.expires_ns, d.workspaces"
        " FROM devices d JOIN users u ON u.id = d.user_id WHERE d.token_hash = ?",
        (token_hash,),
    )
    if row is None:
        return None
    limits = None if row[5] is None else Limits(Scope(row[5]), row[6], limited_to(row[7]))
    return Caller(UserId(row[0]), row[1], bool(row[2]), DeviceId(row[3]), row[4], limits)


def limited_to(column: bytes | None) -> frozenset[WorkspaceId] | None:
    """The workspaces that a script's token is for, as ``devices.workspaces`` has them; None: all of its user's."""
    return None if column is None else frozenset(_decode_workspaces(column))


def login_device(tx: Transaction, user: UserId, name: str, token_hash: bytes, now_ns: int) -> DeviceId:
    """A new token for a device; the same name again is the same device. Raises Taken where a script has that name."""
    row = tx.one("SELECT id, kind FROM devices WHERE user_id = ? AND name = ?", (user, name))
    if row is not None:
        if row[1] != LOGIN:
            raise Taken(f"a {row[1]} is called {name!r} already")
        tx.execute("UPDATE devices SET token_hash = ?, seen_ns = ? WHERE id = ?", (token_hash, now_ns, row[0]))
        return DeviceId(row[0])
    device = DeviceId(new_hex_id())
    tx.execute(
        "INSERT INTO devices (id, user_id, name, token_hash, created_ns, seen_ns) VALUES (?, ?, ?, ?, ?, ?)",
        (device, user, name, token_hash, now_ns, now_ns),
    )
    return device


def list_devices(tx: Transaction, user: UserId | None) -> list[Device]:
    """One user's devices, or everybody's."""
    rows = tx.all(
        "SELECT d.id, d.name, u.name, d.created_ns, d.seen_ns, d.token_hash IS NULL"
        " FROM devices d JOIN users u ON u.id = d.user_id"
        " WHERE d.kind = ? AND (? IS NULL OR u.id = ?) ORDER BY u.name, d.name",
        (LOGIN, user, user),
    )
    return [Device(DeviceId(row[0]), row[1], row[2], row[3], row[4], bool(row[5])) for row in rows]


def revoke_device(tx: Transaction, device: DeviceId, by: Caller) -> Device:
    """Its token is refused from now on; raises Unknown where it isn't the caller's (admins: anybody's)."""
    for found in list_devices(tx, None if by.admin else by.user):
        if found.id == device:
            tx.execute("UPDATE devices SET token_hash = NULL WHERE id = ?", (device,))
            return found
    raise Unknown("there is no such device")


# ── workspaces ──


def create_workspace(
    tx: Transaction,
    workspace: WorkspaceId,
    owner: UserId,
    name: str,
    wrapped_key: bytes,
    quota_bytes: int | None,
    is_default: bool,
    now_ns: int,
) -> None:
    """An empty workspace with its root and its first key; raises Taken."""
    _create_workspace(tx, workspace, owner, name, quota_bytes, is_default, now_ns, envelope=None)
    tx.execute(
        "INSERT INTO workspace_keys (workspace, id, wrapped, made_ns) VALUES (?, ?, ?, ?)",
        (workspace, FIRST_KEY, wrapped_key, now_ns),
    )


def create_end_to_end_workspace(
    tx: Transaction,
    workspace: WorkspaceId,
    owner: UserId,
    name: str,
    envelope: bytes,
    quota_bytes: int | None,
    now_ns: int,
) -> None:
    """An empty workspace with its root, whose key is in its members' envelope; raises Taken."""
    _create_workspace(tx, workspace, owner, name, quota_bytes, False, now_ns, envelope)


def _create_workspace(
    tx: Transaction,
    workspace: WorkspaceId,
    owner: UserId,
    name: str,
    quota_bytes: int | None,
    is_default: bool,
    now_ns: int,
    envelope: bytes | None,
) -> None:
    if tx.one("SELECT 1 FROM workspaces WHERE owner_id = ? AND name = ?", (owner, name)):
        raise Taken(f"there is a workspace {name!r} already")
    if tx.one("SELECT 1 FROM workspaces WHERE id = ?", (workspace,)):
        raise Taken("there is a workspace with this id already")
    tx.execute(
        "INSERT INTO workspaces (id, owner_id, name, key_id, quota_bytes, is_default, created_ns, envelope)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (workspace, owner, name, FIRST_KEY, quota_bytes, int(is_default), now_ns, envelope),
    )
    tx.execute("INSERT INTO members (workspace, user_id, role) VALUES (?, ?, ?)", (workspace, owner, Role.OWNER.value))
    tx.execute(
        "INSERT INTO nodes (workspace, id, kind, mode, uid, gid, rdev, nlink, mtime_ns, ctime_ns, atime_ns, birth_ns,"
        " version, size, data_bytes, pieces) VALUES (?, ?, 'folder', ?, 0, 0, 0, 2, ?, ?, ?, ?, 0, 0, 0, 0)",
        (workspace, ROOT_NODE, _ROOT_MODE, now_ns, now_ns, now_ns, now_ns),
    )


_WORKSPACE = (
    "SELECT w.id, w.name, u.name, m.role, w.quota_bytes, w.used_bytes, w.head_seq, w.key_id,"
    " w.old_blocks, w.is_default AND w.owner_id = m.user_id, w.envelope IS NOT NULL"
    " FROM members m JOIN workspaces w ON w.id = m.workspace JOIN users u ON u.id = w.owner_id"
)


def list_workspaces(tx: Transaction, user: UserId) -> list[Workspace]:
    """Those that the user is a member of."""
    rows = tx.all(f"{_WORKSPACE} WHERE m.user_id = ? ORDER BY u.name, w.name", (user,))
    return [_workspace(row) for row in rows]


def workspace_for(tx: Transaction, workspace: WorkspaceId, user: UserId) -> Workspace:
    """One that the user is a member of; raises Unknown."""
    row = tx.one(f"{_WORKSPACE} WHERE m.workspace = ? AND m.user_id = ?", (workspace, user))
    if row is None:
        raise Unknown("there is no such workspace")
    return _workspace(row)


def _workspace(row: tuple[object, ...]) -> Workspace:
    identity, name, owner, role, quota, used, seq, key_id, old_blocks, default, end_to_end = row
    return Workspace(
        id=WorkspaceId(str(identity)),
        name=str(name),
        owner=str(owner),
        role=Role(str(role)),
        quota_bytes=quota if isinstance(quota, int) else None,
        used_bytes=used if isinstance(used, int) else 0,
        seq=Seq(seq if isinstance(seq, int) else 0),
        key_id=key_id if isinstance(key_id, int) else 0,
        old_blocks=old_blocks if isinstance(old_blocks, int) else 0,
        default=bool(default),
        end_to_end=bool(end_to_end),
    )


def role_in(tx: Transaction, workspace: WorkspaceId, user: UserId) -> Role | None:
    """What the user may do there; None for a stranger."""
    row = tx.one("SELECT role FROM members WHERE workspace = ? AND user_id = ?", (workspace, user))
    return None if row is None else Role(row[0])


def list_members(tx: Transaction, workspace: WorkspaceId) -> list[Member]:
    """Everybody who has the workspace, by name."""
    rows = tx.all(
        "SELECT u.name, m.role FROM members m JOIN users u ON u.id = m.user_id WHERE m.workspace = ? ORDER BY u.name",
        (workspace,),
    )
    return [Member(row[0], Role(row[1])) for row in rows]


def envelope_of(tx: Transaction, workspace: WorkspaceId) -> bytes | None:
    """What an end-to-end workspace's key is in; None for other workspaces, and where there is none."""
    row = tx.one("SELECT envelope FROM workspaces WHERE id = ?", (workspace,))
    return None if row is None else row[0]


def replace_envelope(tx: Transaction, workspace: WorkspaceId, replaced: bytes, envelope: bytes) -> None:
    """Another passphrase, or one more key; raises Taken where the envelope is another by now."""
    if envelope_of(tx, workspace) != replaced:
        raise Taken("the envelope was replaced meanwhile: the passphrase or the key is another")
    tx.execute("UPDATE workspaces SET envelope = ? WHERE id = ?", (envelope, workspace))


def is_end_to_end(tx: Transaction, workspace: WorkspaceId) -> bool:
    """Whether the server does not have this workspace's key."""
    return tx.one("SELECT 1 FROM workspaces WHERE id = ? AND envelope IS NOT NULL", (workspace,)) is not None


def share(tx: Transaction, workspace: WorkspaceId, user_name: str, role: Role | None) -> None:
    """Give a user a role, or (None) take it; raises Unknown, and Taken for the role of whose workspace it is."""
    user = user_named(tx, user_name).id
    if role is None and role_in(tx, workspace, user) is None:
        raise Unknown(f"{user_name!r} is no member of this workspace")
    if tx.one("SELECT 1 FROM workspaces WHERE id = ? AND owner_id = ?", (workspace, user)):
        raise Taken("the owner of a workspace stays its owner")
    tx.execute("DELETE FROM members WHERE workspace = ? AND user_id = ?", (workspace, user))
    if role is not None:
        tx.execute("INSERT INTO members (workspace, user_id, role) VALUES (?, ?, ?)", (workspace, user, role.value))
