"""Replies about the tree: each says at which change it is true, and is held back until that may be revealed.

Knows transactions, sessions and notices; knows nothing of what a reply is about. A session that asks is left out of
the wait, because its reply carries the changes that it has yet to apply. A problem carries none: for one that
depends on the tree, everybody is waited for.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from starlette.requests import Request

from protocol.ids import Seq, WorkspaceId
from protocol.messages.notices import Notices
from server.http import Asking, asking_of
from server.metadata import feed, tree
from server.metadata.store import Transaction
from server.metadata.tree import ListingChanged, NoSuchNode
from server.service import Service, member, service_of

T = TypeVar("T")


class _Refused(Exception):
    """The tree says no, as it is at ``head``, and ``why``."""

    def __init__(self, head: Seq, why: NoSuchNode | ListingChanged) -> None:
        super().__init__(head)
        self.head = head
        self.why = why


async def read(request: Request, workspace: WorkspaceId, work: Callable[[Transaction], T]) -> tuple[T, Notices]:
    """What ``work`` finds on one snapshot, with the news that go first, when it may be revealed.

    Raises Trouble, and what ``work`` raises, then too when it may be revealed.
    """
    service, asking = service_of(request), asking_of(request)

    def snapshot(tx: Transaction) -> tuple[T, Notices]:
        member(tx, request, workspace)
        try:
            return work(tx), feed.news(tx, workspace, None if asking is None else asking.applied)
        except (NoSuchNode, ListingChanged) as error:
            raise _Refused(tree.head(tx, workspace), error) from error

    try:
        found, news = await service.metadata.read(snapshot)
    except _Refused as refused:
        heard(service, workspace, asking, refused.head)
        await service.leases.settled(workspace, refused.head, None)
        raise refused.why from None
    await settle(service, workspace, news, asking)
    return found, news


async def settle(service: Service, workspace: WorkspaceId, news: Notices, asking: Asking | None) -> None:
    """Return when a reply that is true at ``news.seq`` and carries ``news`` may be sent to who asked."""
    heard(service, workspace, asking, news.seq)
    await service.leases.settled(workspace, news.seq, None if asking is None else asking.session)


def heard(service: Service, workspace: WorkspaceId, asking: Asking | None, head: Seq) -> None:
    """Take a request's acknowledgement. One past the head is of a log that is no more (a restored backup)."""
    if asking is not None and asking.acknowledged <= head:
        service.leases.heard(workspace, asking.session, asking.acknowledged)
