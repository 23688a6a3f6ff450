"""The audit log: who did what, when, and from where."""

from __future__ import annotations

from enum import StrEnum

from protocol.ids import WorkspaceId
from protocol.messages.wire import Message


class What(StrEnum):
    """What is written down."""

    LOGIN = "login"
    LOGIN_FAILED = "login-failed"
    LOGOUT = "logout"
    USER_ADDED = "user-added"
    USER_REMOVED = "user-removed"
    PASSWORD_SET = "password-set"
    DEVICE_REVOKED = "device-revoked"
    TOKEN_MADE = "token-made"
    TOKEN_REVOKED = "token-revoked"
    MEMBER_SET = "member-set"
    MEMBER_REMOVED = "member-removed"
    LINK_MADE = "link-made"
    LINK_REVOKED = "link-revoked"
    LINK_USED = "link-used"
    LINK_REFUSED = "link-refused"
    KEY_ADDED = "key-added"
    PASSPHRASE_SET = "passphrase-set"
    DELETED = "deleted"


class Event(Message, frozen=True, omit_defaults=False):
    """One line of the log. Names are as they were then."""

    id: int
    """In the order of events."""
    at_ns: int
    what: What
    workspace: WorkspaceId | None
    user: str
    """Of a failed log-in, the name that was given; of a link, who made it."""
    device: str
    address: str
    """Behind a proxy, the proxy's."""
    subject: str
    """Whom or what it was done to, for people."""


class Audit(Message, frozen=True, omit_defaults=False):
    """Some events in their order. More is asked for with the last one's id."""

    events: list[Event]
    more: bool
