"""What somebody without a mount changes in one transaction: all of it or nothing, and every mount is told."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from protocol.ids import NOBODY, BlockId, WorkspaceId
from protocol.messages.changes import AnyChange
from server.metadata.accounts import Caller
from server.metadata.changes import Done, apply_one, logged
from server.metadata.editing import Edit, Outcome
from server.metadata.store import Transaction


@dataclass(frozen=True, slots=True)
class Editing:
    """A transaction of somebody without a mount."""

    tx: Transaction
    workspace: WorkspaceId
    caller: Caller
    now_ns: int

    def apply(self, change: AnyChange, verified: Mapping[BlockId, int] = MappingProxyType({})) -> Done:
        """Raises Rule, Lacking, OverQuota and BadManifest: then nothing of the transaction is kept."""
        return apply_one(self.tx, self.workspace, self.caller, change, verified, self.now_ns, NOBODY)

    def log(self, what: str, work: Callable[[Edit], Outcome]) -> Done:
        """A change that mounts don't send, called ``what``; raises what ``work`` raises, as above."""
        return logged(self.tx, self.workspace, self.caller, what, work, self.now_ns, NOBODY)
