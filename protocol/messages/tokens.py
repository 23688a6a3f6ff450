"""Tokens for scripts: made by a person, for some of what that person may do."""

from __future__ import annotations

from enum import StrEnum

from protocol.ids import DeviceId, WorkspaceId
from protocol.messages.wire import Message


class Scope(StrEnum):
    """What a script may do with the files of the workspaces that its token is for."""

    READ = "read"
    WRITE = "write"


class NewToken(Message, frozen=True):
    """``name`` is one that none of the user's devices and tokens has."""

    name: str
    scope: Scope
    workspaces: list[WorkspaceId] | None = None
    """None: all that the user is a member of, now and later."""
    expires_ns: int | None = None
    """Nanoseconds since 1970; None: it goes on until it is revoked."""


class Token(Message, frozen=True, omit_defaults=False):
    """A token without its secret."""

    id: DeviceId
    """It stands for a device in the history of files."""
    name: str
    scope: Scope
    workspaces: list[WorkspaceId] | None = None
    created_ns: int = 0
    expires_ns: int | None = None


class MadeToken(Message, frozen=True):
    """The secret is shown once; the server keeps its hash."""

    token: Token
    secret: str


class Tokens(Message, frozen=True):
    """A list."""

    tokens: list[Token]
