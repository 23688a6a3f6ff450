"""Links to files and folders. Each acts on behalf of who made it, and no longer than that person may change the
workspace.

Invariants: of a secret its hash is kept alone. A link that is over (its time, its transfers, its maker's role, what it
leads to) is not there for whoever has it, and is still listed for those who may revoke it.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import Final

from protocol.ids import DeviceId, NodeId, UserId, WorkspaceId, new_hex_id
from protocol.messages.accounts import Role
from protocol.messages.audit import What
from protocol.messages.links import Link, LinkKind, NewLink
from protocol.messages.nodes import Kind, Node
from protocol.messages.tokens import Scope
from server.metadata import audit, paths, tree
from server.metadata.accounts import Caller, Limits, Taken, Unknown, role_in
from server.metadata.editing import Rule
from server.metadata.items import encoded
from server.metadata.store import Row, Transaction

LINKS_MAX: Final = 1_000
"""Of one workspace; each is a row of a list that is answered whole."""

_LINK: Final = "link"
"""``devices.kind`` of what is uploaded through links."""


@dataclass(frozen=True, slots=True)
class Through:
    """A link that is good now, as it is kept."""

    workspace: WorkspaceId
    id: str
    kind: LinkKind
    node: NodeId
    password_hash: str | None
    expires_ns: int | None
    transfers_left: int | None
    maker: Caller
    """On whose behalf: with the link as device."""


def make(
    tx: Transaction,
    workspace: WorkspaceId,
    by: Caller,
    wanted: NewLink,
    names: list[bytes],
    secret_hash: bytes,
    password_hash: str | None,
    now_ns: int,
) -> Link:
    """A link to what a path leads to; raises NoSuchNode, Rule for what can't be linked to, and Taken for too many."""
    node = paths.place(tx, workspace, names).taken()
    if node.kind is not Kind.FOLDER and (node.kind is not Kind.FILE or wanted.kind is LinkKind.UPLOAD):
        raise Rule("ENOTDIR", "links lead to files and folders, and those that take uploads to folders")
    (count,) = tx.one("SELECT count(*) FROM links WHERE workspace = ?", (workspace,)) or (0,)
    if count >= LINKS_MAX:
        raise Taken(f"a workspace has at most {LINKS_MAX} links: revoke some")
    identity, device = secrets.token_hex(8), DeviceId(new_hex_id())
    tx.execute(
        "INSERT INTO devices (id, user_id, name, token_hash, created_ns, seen_ns, kind)"
        " VALUES (?, ?, ?, NULL, ?, 0, ?)",
        (device, by.user, _device_name(identity), now_ns, _LINK),
    )
    tx.execute(
        "INSERT INTO links (workspace, id, secret_hash, node, kind, device, made_by, created_ns, expires_ns,"
        " password_hash, transfers_max) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            *(workspace, identity, secret_hash, node.id, wanted.kind.value, device, by.user, now_ns),
            *(wanted.expires_ns, password_hash, wanted.transfers_max),
        ),
    )
    [link] = _listed(tx, workspace, " AND l.id = ?", identity)
    return link


def _device_name(identity: str) -> str:
    return f"link {identity}"


def listed(tx: Transaction, workspace: WorkspaceId) -> list[Link]:
    """All of a workspace, oldest first."""
    return _listed(tx, workspace, " ORDER BY l.created_ns, l.id")


def _listed(tx: Transaction, workspace: WorkspaceId, where: str, *parameters: object) -> list[Link]:
    rows = tx.all(
        "SELECT l.id, l.kind, l.node, u.name, l.created_ns, l.expires_ns, l.password_hash IS NOT NULL,"
        " l.transfers_max, l.transfers, l.uses, l.used_ns FROM links l JOIN users u ON u.id = l.made_by"
        f" WHERE l.workspace = ?{where}",
        (workspace, *parameters),
    )
    return [_link(tx, workspace, row) for row in rows]


def _link(tx: Transaction, workspace: WorkspaceId, row: Row) -> Link:
    identity, kind, node, made_by, created_ns, expires_ns, has_password, *counts = row
    found = tree.node(tx, workspace, node)
    assert found is not None, "nodes stay"
    path = None
    if found.nlink > 0:
        path = encoded(tree.path_of(tx, workspace, found.id)[1])
    return Link(
        identity, LinkKind(kind), path, found.kind, made_by, created_ns, expires_ns, bool(has_password), *counts
    )


def revoke(tx: Transaction, workspace: WorkspaceId, link: str) -> Link:
    """It leads nowhere from now on; returns what it was. Raises Unknown."""
    found = _listed(tx, workspace, " AND l.id = ?", link)
    if not found:
        raise Unknown("there is no such link")
    tx.execute("DELETE FROM links WHERE workspace = ? AND id = ?", (workspace, link))
    return found[0]


# ── for whoever has the secret ──


def standing(tx: Transaction, secret_hash: bytes, now_ns: int) -> Through:
    """The link of a secret, as long as it is good for those who have begun to use it; raises Unknown."""
    row = tx.one(
        "SELECT l.workspace, l.id, l.kind, l.node, l.password_hash, l.expires_ns, l.transfers_max - l.transfers,"
        " u.id, u.name, l.device FROM links l JOIN users u ON u.id = l.made_by"
        " WHERE l.secret_hash = ? AND (l.expires_ns IS NULL OR l.expires_ns > ?)",
        (secret_hash, now_ns),
    )
    if row is None:
        raise _none()
    workspace, identity, kind, node, password_hash, expires_ns, left, user, user_name, device = row
    if role_in(tx, workspace, UserId(user)) not in (Role.OWNER, Role.EDITOR):
        raise _none()
    kind = LinkKind(kind)
    scope = Scope.READ if kind is LinkKind.READ else Scope.WRITE
    limits = Limits(scope, expires_ns, frozenset({workspace}))
    maker = Caller(UserId(user), user_name, False, DeviceId(device), _device_name(identity), limits)
    return Through(workspace, identity, kind, node, password_hash, expires_ns, left, maker)


def target(tx: Transaction, link: Through) -> Node:
    """The file or folder; raises Unknown where it has been removed."""
    found = tree.node(tx, link.workspace, link.node)
    if found is None or found.nlink == 0:
        raise _none()
    return found


def count_use(tx: Transaction, link: Through, now_ns: int, path: str) -> None:
    """Let a request in; raises Unknown where what it leads to is gone, or content was asked for as often as may be."""
    if link.transfers_left is not None and link.transfers_left <= 0:
        raise _none()
    target(tx, link)
    tx.execute(
        "UPDATE links SET uses = uses + 1, used_ns = ? WHERE workspace = ? AND id = ?",
        (now_ns, link.workspace, link.id),
    )


def count_transfer(tx: Transaction, link: Through, now_ns: int, path: str) -> None:
    """The same for a request for content."""
    count_use(tx, link, now_ns, path)
    audit.note(tx, audit.who_of(link.maker), What.LINK_USED, now_ns, f"{link.id}, {link.kind}: /{path}", link.workspace)
    tx.execute("UPDATE links SET transfers = transfers + 1 WHERE workspace = ? AND id = ?", (link.workspace, link.id))


def follow(tx: Transaction, workspace: WorkspaceId, replaced: NodeId, node: NodeId) -> None:
    """A file took the last name of another one, as programs do that save files: links to that lead to it now."""
    tx.execute("UPDATE links SET node = ? WHERE workspace = ? AND node = ?", (node, workspace, replaced))


def _none() -> Unknown:
    return Unknown("there is no such link")
