"""Tokens for scripts. Each is a device, so that what a script changes is its own in the history of files.

A token that was revoked, or is over, leaves its row: another may take its name, and stands for the same device.
"""

from __future__ import annotations

from typing import Final

import msgspec

from protocol.ids import DeviceId, UserId, new_hex_id
from protocol.messages.tokens import NewToken, Scope, Token
from server.metadata.accounts import Taken, Unknown, limited_to, role_in
from server.metadata.store import Transaction

TOKENS_MAX: Final = 1_000
"""Of one user; each is a row of a list that is answered whole."""

_TOKEN: Final = "token"
_encode = msgspec.msgpack.Encoder().encode


def make(tx: Transaction, user: UserId, wanted: NewToken, token_hash: bytes, now_ns: int) -> Token:
    """A token of the user's; raises Taken, and Unknown for a workspace that the user is no member of."""
    for workspace in wanted.workspaces or []:
        if role_in(tx, workspace, user) is None:
            raise Unknown("there is no such workspace")
    if len(listed(tx, user, now_ns)) >= TOKENS_MAX:
        raise Taken(f"a user has at most {TOKENS_MAX} tokens: revoke some")
    row = tx.one(
        "SELECT id, kind, token_hash, expires_ns FROM devices WHERE user_id = ? AND name = ?", (user, wanted.name)
    )
    if row is not None and (row[1] != _TOKEN or (row[2] is not None and (row[3] is None or row[3] > now_ns))):
        raise Taken(f"you have a device or a token called {wanted.name!r} already")
    device = DeviceId(new_hex_id() if row is None else row[0])
    workspaces = None if wanted.workspaces is None else sorted(set(wanted.workspaces))
    tx.execute(
        "INSERT INTO devices (id, user_id, name, token_hash, created_ns, seen_ns, kind, scope, expires_ns, workspaces)"
        " VALUES (?, ?, ?, ?, ?, 0, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET token_hash = excluded.token_hash,"
        " created_ns = excluded.created_ns, scope = excluded.scope, expires_ns = excluded.expires_ns,"
        " workspaces = excluded.workspaces",
        (
            device,
            user,
            wanted.name,
            token_hash,
            now_ns,
            _TOKEN,
            wanted.scope.value,
            wanted.expires_ns,
            None if workspaces is None else _encode(workspaces),
        ),
    )
    return Token(device, wanted.name, wanted.scope, workspaces, now_ns, wanted.expires_ns)


def listed(tx: Transaction, user: UserId, now_ns: int) -> list[Token]:
    """The user's tokens that are good, by name."""
    rows = tx.all(
        "SELECT id, name, scope, workspaces, created_ns, expires_ns FROM devices"
        " WHERE user_id = ? AND kind = ? AND token_hash IS NOT NULL AND (expires_ns IS NULL OR expires_ns > ?)"
        " ORDER BY name",
        (user, _TOKEN, now_ns),
    )
    return [_token(*row) for row in rows]


def _token(
    identity: str, name: str, scope: str, workspaces: bytes | None, created_ns: int, expires_ns: int | None
) -> Token:
    limited = limited_to(workspaces)
    return Token(
        DeviceId(identity), name, Scope(scope), None if limited is None else sorted(limited), created_ns, expires_ns
    )


def revoke(tx: Transaction, token: DeviceId, user: UserId) -> str:
    """It is refused from now on; returns its name. Raises Unknown where it isn't one of the user's."""
    row = tx.one(
        "SELECT name FROM devices WHERE id = ? AND kind = ? AND user_id = ? AND token_hash IS NOT NULL",
        (token, _TOKEN, user),
    )
    if row is None:
        raise Unknown("there is no such token")
    tx.execute("UPDATE devices SET token_hash = NULL WHERE id = ?", (token,))
    return str(row[0])
