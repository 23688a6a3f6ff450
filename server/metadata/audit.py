"""The audit log: events are added in the transaction of what they tell of, read, and forgotten in time.

Invariant: however many events there are of one kind, none of another kind goes for them. So failed log-ins, which
anybody can make, push out failed log-ins alone.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final, NamedTuple

from protocol.ids import NodeId, WorkspaceId
from protocol.messages.audit import Audit, Event, What
from protocol.messages.nodes import Kind, Node, State
from server.metadata import tree
from server.metadata.accounts import Caller
from server.metadata.editing import Edit
from server.metadata.store import Row, Transaction

KEPT_EVENTS_MAX: Final = 100_000
"""Of each kind: about 10 MB."""

FORGET_EVENTS: Final = 1_000
"""Deleted in one transaction: a few milliseconds."""

SUBJECT_MAX_CHARS: Final = 1_000


class Who(NamedTuple):
    """By names, which are kept as they are now."""

    user: str
    device: str
    address: str


def who_of(caller: Caller) -> Who:
    """Who has made a request."""
    return Who(caller.user_name, caller.device_name, caller.address)


def note(
    tx: Transaction, who: Who, what: What, now_ns: int, subject: str = "", workspace: WorkspaceId | None = None
) -> None:
    """Write an event down."""
    tx.execute(
        "INSERT INTO audit (at_ns, what, workspace, user, device, address, subject) VALUES (?, ?, ?, ?, ?, ?, ?)",
        (now_ns, what.value, workspace, *who, subject[:SUBJECT_MAX_CHARS]),
    )


def note_deleted(edit: Edit, parent: NodeId, name: bytes, node: Node) -> None:
    """A name is about to be taken from a node.

    Nothing is written of one that has others, or that never had a content; nor of a folder that the server takes back
    with the upload that it was made for.
    """
    is_nothing = node.kind is not Kind.FOLDER and (node.nlink > 1 or node.state is State.PENDING)
    if is_nothing or not edit.caller.user:
        return
    names = [*tree.path_of(edit.tx, edit.workspace, parent)[1], name]
    path = "".join(f"/{each.decode(errors='replace')}" for each in names)
    note(edit.tx, who_of(edit.caller), What.DELETED, edit.now_ns, path, edit.workspace)


def listed(tx: Transaction, after: int | None, limit: int, workspaces: Collection[WorkspaceId] | None = None) -> Audit:
    """Events after one, or the newest; of these workspaces, or of all that there is. In their order."""
    where, parameters = "", []
    if workspaces is not None:
        where = f" AND workspace IN ({', '.join('?' * len(workspaces))})"
        parameters = list(workspaces)
    order = "DESC" if after is None else "ASC"
    rows = tx.all(
        f"SELECT id, at_ns, what, workspace, user, device, address, subject FROM audit WHERE id > ?{where}"
        f" ORDER BY id {order} LIMIT ?",
        (after or 0, *parameters, limit + 1),
    )
    events = sorted((_event(row) for row in rows[:limit]), key=lambda event: event.id)
    return Audit(events, more=after is not None and len(rows) > limit)


def _event(row: Row) -> Event:
    workspace = None if row[3] is None else WorkspaceId(row[3])
    return Event(row[0], row[1], What(row[2]), workspace, *row[4:])


def forget(tx: Transaction, what: What, before_ns: int, keep: int = KEPT_EVENTS_MAX, most: int = FORGET_EVENTS) -> int:
    """Delete the oldest events of a kind, at most ``most``: from before a time, and all but the last ``keep``.

    Returns how many.
    """
    row = tx.one("SELECT id FROM audit WHERE what = ? ORDER BY id DESC LIMIT 1 OFFSET ?", (what.value, keep))
    return tx.execute(
        "DELETE FROM audit WHERE id IN"
        " (SELECT id FROM audit WHERE what = ? AND (at_ns < ? OR id <= ?) ORDER BY id LIMIT ?)",
        (what.value, before_ns, 0 if row is None else row[0], most),
    )
