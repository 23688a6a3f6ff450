"""Replies about the tree: each says at which change it is true, and is held back until that may be revealed.

Knows transactions, sessions and notices; knows nothing of what a reply is about. A session that asks is left out of
the wait, because its reply carries the changes that it has yet to apply. A problem carries none: for one that
depends on the tree, everybody is waited for. So it is for who has no session: what is read or changed without a mount
is revealed when every mount has dropped what it outdated.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from starlette.requests import Request

from protocol.ids import Seq, WorkspaceId
from protocol.messages.notices import Notices
from server.http import Asking, asking_of
from server.metadata import feed, tree
from server.metadata.accounts import Caller
from server.metadata.editing import Rule
from server.metadata.store import Transaction
from server.metadata.tree import ListingChanged, NoSuchNode
from server.metadata.unmounted import Editing
from server.service import Service, editor, member, service_of

T = TypeVar("T")


class _Refused(Exception):
    """The tree says no, as it is at ``head``, and ``why``."""

    def __init__(self, head: Seq, why: NoSuchNode | ListingChanged | Rule) -> None:
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
        except (NoSuchNode, ListingChanged, Rule) as error:
            raise _Refused(tree.head(tx, workspace), error) from error

    try:
        found, news = await service.metadata.read(snapshot)
    except _Refused as refused:
        heard(service, workspace, asking, refused.head)
        await service.leases.settled(workspace, refused.head, None)
        raise refused.why from None
    await settle(service, workspace, news, asking)
    return found, news


async def edit(
    service: Service, workspace: WorkspaceId, allow: Callable[[Transaction], Caller], work: Callable[[Editing], T]
) -> T:
    """Let ``work`` change the tree, all or nothing, and return what it returns when everybody may know.

    Raises what ``allow`` raises, which says who it is for, and what ``work`` raises, then too when everybody may know.
    """

    def transaction(tx: Transaction) -> tuple[T, Seq]:
        caller = allow(tx)
        try:
            return work(Editing(tx, workspace, caller, service.now_ns())), tree.head(tx, workspace)
        except (NoSuchNode, Rule) as error:
            raise _Refused(tree.head(tx, workspace), error) from error

    try:
        done, head = await service.metadata.write(transaction)
    except _Refused as refused:
        await service.leases.settled(workspace, refused.head, None)
        raise refused.why from None
    service.notifier.ring(workspace, None)
    await service.leases.settled(workspace, head, None)
    return done


async def edit_as_asked(request: Request, workspace: WorkspaceId, work: Callable[[Editing], T]) -> T:
    """``edit`` by whose token came with a request; raises Trouble, too, for who may not change the workspace."""
    return await edit(service_of(request), workspace, lambda tx: editor(tx, request, workspace), work)


async def edit_in_steps(
    request: Request, workspace: WorkspaceId, left: list[T], step: Callable[[Editing, list[T]], list[T]]
) -> None:
    """One transaction after the other, each of which does a part of what is left and says what is left then."""
    while left:

        def work(editing: Editing, ahead: list[T] = left) -> list[T]:
            return step(editing, ahead)

        left = await edit_as_asked(request, workspace, work)


async def settle(service: Service, workspace: WorkspaceId, news: Notices, asking: Asking | None) -> None:
    """Return when a reply that is true at ``news.seq`` and carries ``news`` may be sent to who asked."""
    heard(service, workspace, asking, news.seq)
    await service.leases.settled(workspace, news.seq, None if asking is None else asking.session)


def heard(service: Service, workspace: WorkspaceId, asking: Asking | None, head: Seq) -> None:
    """Take a request's acknowledgement. One past the head is of a log that is no more (a restored backup)."""
    if asking is not None and asking.acknowledged <= head:
        service.leases.heard(workspace, asking.session, asking.acknowledged)
