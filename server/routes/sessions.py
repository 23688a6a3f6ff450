"""Mounts begin, wait for news in the long poll, and leave."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeVar

import trio
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from protocol import problems
from protocol.ids import SESSION_ID_BYTES, DeviceId, JournalId, OriginId, Seq, WorkspaceId, origin_of
from protocol.limits import POLL_MAX_S
from protocol.messages.batches import JournalReply
from protocol.messages.notices import Notices
from protocol.messages.sessions import Join, JoinReply, PollReply
from server.http import (
    Asking,
    asking_of,
    check_journal,
    message,
    no_content,
    number_query,
    reply,
    seconds_query,
    workspace_of,
)
from server.longpoll import rings
from server.metadata import feed, sessions, tree, workspacekeys
from server.metadata.store import Transaction
from server.service import Service, member, person, service_of
from server.settling import heard
from server.troubles import Trouble

T = TypeVar("T")

CURSOR_LAG_CHANGES: Final = 100
"""A mount's cursor is written to the database when it is so far behind, and when it leaves: not for each change."""


async def join(request: Request) -> Response:
    """A mount begins, with nothing cached or with what it had at ``after``."""
    service, workspace = service_of(request), workspace_of(request)
    given = await message(request, Join)
    check_journal(given.journal)
    if len(given.session) != SESSION_ID_BYTES:
        raise Trouble(problems.BAD_REQUEST, f"a session id has {SESSION_ID_BYTES} bytes")
    if not service.leases.may_join(workspace, given.session):
        raise Trouble(problems.UNAVAILABLE, "this session is being forgotten: join again in a moment")

    def work(tx: Transaction) -> tuple[Seq, Seq, JournalReply]:
        who, _ = person(tx, request, workspace)
        head = tree.head(tx, workspace)
        after = head if given.after is None else given.after
        sessions.add(tx, workspace, given.session, who.device, given.journal, service.leases.lease_s)
        feed.join(tx, workspace, who.device, given.journal, after, service.now_ns())
        return head, after, feed.take(tx, workspace, who.device, given.journal, given.session)

    head, after, joined = await service.metadata.write(work)
    service.leases.join(workspace, given.session, given.journal, min(after, head), head)
    lease_s = service.leases.grant(workspace, given.session)
    # Only now: a change that is committed from here on waits for the lease.
    news = await service.metadata.read(lambda tx: feed.news(tx, workspace, after))
    return reply(request, JoinReply(news, joined.first_number, joined.last_number, lease_s))


async def leave(request: Request) -> Response:
    """A mount is gone: nobody waits for it any more."""
    service, workspace = service_of(request), workspace_of(request)
    asking = asking_of(request)
    if asking is None:
        raise Trouble(problems.BAD_REQUEST, "which session?")

    journal = service.leases.journal_of(workspace, asking.session)

    def work(tx: Transaction) -> None:
        who, _ = person(tx, request, workspace)
        if journal is not None:
            feed.acknowledge(tx, workspace, who.device, journal, asking.acknowledged)
        sessions.remove(tx, workspace, asking.session)

    await service.metadata.write(work)
    service.leases.leave(workspace, asking.session)
    return no_content()


async def poll(request: Request) -> Response:
    """The long poll: a session's, which renews its lease, or anybody's who follows the changes after ``after``."""
    service, workspace, asking = service_of(request), workspace_of(request), asking_of(request)
    deadline = trio.current_time() + seconds_query(request, "wait_s", POLL_MAX_S)
    if asking is not None:
        return reply(request, await _poll_of(service, request, workspace, asking, deadline))
    after = Seq(number_query(request, "after", 0) or 0)
    with service.notifier.waiting_for(workspace) as waiter:
        found = await _read(service, request, workspace, lambda tx: feed.notices(tx, workspace, after))
        while not (found.notices or found.reset) and await rings(waiter, request, deadline):
            waiter.reset()
            found = await _read(service, request, workspace, lambda tx: feed.notices(tx, workspace, after))
            if service.notifier.stopping:
                break
    await service.leases.settled(workspace, found.seq, None)
    return reply(request, PollReply(found))


async def _poll_of(
    service: Service, request: Request, workspace: WorkspaceId, asking: Asking, deadline: float
) -> PollReply:
    """At once where there is news for the session or somebody waits for it, else when there is, or the time is over.

    The one reply that isn't held back: it says what to drop.
    """
    journal = service.leases.journal_of(workspace, asking.session)
    head = await _acknowledge(service, request, workspace, journal, asking)
    if journal is None:
        raise Trouble(problems.SESSION_ENDED, "the server has forgotten this session: join again")
    heard(service, workspace, asking, head)
    origin = origin_of(asking.session)
    with service.notifier.waiting_for(workspace, asking.session) as waiter:
        lease_s = service.leases.grant(workspace, asking.session)

        def news(tx: Transaction) -> tuple[Notices, int]:
            return feed.news(tx, workspace, asking.applied), workspacekeys.last_id(tx, workspace)

        found, key_id = await _read(service, request, workspace, news)
        while (
            lease_s > 0
            and not _is_news(found, origin)
            and not service.leases.is_awaited(workspace, asking.session)
            and await rings(waiter, request, deadline)
        ):
            waiter.reset()
            found, key_id = await _read(service, request, workspace, news)
            if service.notifier.stopping:
                break
    return PollReply(found, lease_s, key_id)


def _is_news(found: Notices, mine: OriginId) -> bool:
    """Whether the poll must be answered now: what its own mount did was told in the answers to that."""
    return found.reset or any(notice.origin != mine for notice in found.notices)


async def _acknowledge(
    service: Service, request: Request, workspace: WorkspaceId, journal: JournalId | None, asking: Asking
) -> Seq:
    """The head. A cursor that lags far behind is written down: absent devices are told by it what they missed."""

    def lag(tx: Transaction) -> tuple[DeviceId, Seq, int]:
        who, _ = member(tx, request, workspace)
        cursor = 0 if journal is None else feed.cursor_of(tx, workspace, who.device, journal)
        return who.device, tree.head(tx, workspace), asking.acknowledged - cursor

    device, head, behind = await service.metadata.read(lag)
    if journal is not None and behind >= CURSOR_LAG_CHANGES and asking.acknowledged <= head:
        await service.metadata.write(lambda tx: feed.acknowledge(tx, workspace, device, journal, asking.acknowledged))
    return head


async def _read(service: Service, request: Request, workspace: WorkspaceId, work: Callable[[Transaction], T]) -> T:
    def checked(tx: Transaction) -> T:
        member(tx, request, workspace)
        return work(tx)

    return await service.metadata.read(checked)


ROUTES = [
    Route("/workspaces/{workspace}/join", join, methods=["POST"]),
    Route("/workspaces/{workspace}/leave", leave, methods=["POST"]),
    Route("/workspaces/{workspace}/changes", poll),
]
