"""Sessions: a mount begins, polls for news, and says with each request what it has applied."""

from __future__ import annotations

from typing import Final

from protocol.ids import JournalId, Seq, SessionId
from protocol.messages.notices import Notices
from protocol.messages.wire import Message

SESSION_HEADER: Final = "Samedrive-Session"
"""``HEX APPLIED ACKNOWLEDGED``: the session's 32 hexadecimal digits and two decimal numbers, with spaces between."""


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


class PollReply(Message, frozen=True):
    """The news, and the lease that began when the poll was *sent*, in seconds; 0: the session has none, because it let
    one run out while others waited for it. It gets one when it polls again after these.

    ``key_id``: of the workspace's key that seals new blocks."""

    notices: Notices
    lease_s: float = 0.0
    key_id: int = 1
