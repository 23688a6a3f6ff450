"""How a mount stands with its server: which session it is, and which changes it has applied.

Invariant: ``acknowledged`` is not above ``applied``.
"""

from __future__ import annotations

from dataclasses import dataclass

from protocol.ids import NO_CHANGE, Seq, SessionId
from protocol.keys import FIRST_KEY
from protocol.messages.sessions import SESSION_HEADER


@dataclass(slots=True)
class Standing:
    """What a mount tells the server of itself with each request, and a thing that it was told.

    Written by ``backend.session`` alone.
    """

    session: SessionId
    applied: Seq = NO_CHANGE
    """Changes up to this one have been applied to what is cached here."""
    acknowledged: Seq = NO_CHANGE
    """And up to this one the kernel has dropped what they outdated."""
    key_id: int = FIRST_KEY
    """Of the workspace's key that seals, as the last poll said."""

    @property
    def header(self) -> dict[str, str]:
        """See SESSION_HEADER."""
        return {SESSION_HEADER: f"{self.session.hex()} {self.applied} {self.acknowledged}"}
