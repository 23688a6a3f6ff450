"""Batches of changes in, the long poll out."""

from __future__ import annotations

import trio
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from protocol import problems
from protocol.ids import BLOCK_ID_BYTES, JOURNAL_ID_BYTES, JournalId, Seq, WorkspaceId
from protocol.limits import (
    BATCH_MAX_CHANGES,
    BATCH_MAX_INLINE_BYTES,
    CHANGES_BODY_MAX_BYTES,
    CHANGES_PAGE,
    POLL_MAX_S,
)
from protocol.messages import Applied, Batch, BatchReply, Commit, Join, JoinReply, Notices
from server.http import Trouble, message, number_query, raw_query, reply, seconds_query, workspace_of
from server.metadata import feed
from server.metadata.changes import apply_batch
from server.metadata.store import Transaction
from server.notifier import Waiter
from server.service import Service, editor, member, room_for_body, service_of


async def join(request: Request) -> Response:
    """A mount begins."""
    service, workspace = service_of(request), workspace_of(request)
    given = await message(request, Join)
    _check_journal(given.journal)

    def work(tx: Transaction) -> JoinReply:
        who, _ = member(tx, request, workspace)
        return feed.join(tx, workspace, who.device, given.journal, service.now_ns())

    return reply(request, await service.metadata.write(work))


async def send(request: Request) -> Response:
    """Apply a batch."""
    service, workspace = service_of(request), workspace_of(request)
    async with room_for_body(request):
        batch = await message(request, Batch, CHANGES_BODY_MAX_BYTES)
        _check_batch(batch)
        inline = [small for change in batch.changes if isinstance(change, Commit) for small in change.blocks]
        verified = await service.blocks.verify_inline(workspace, inline, lambda tx: editor(tx, request, workspace))

        def work(tx: Transaction) -> BatchReply:
            who = editor(tx, request, workspace)
            return apply_batch(tx, workspace, who, batch, verified, service.now_ns())

        answer = await service.metadata.write(work)
    if any(isinstance(one, Applied) for one in answer.answers):
        service.notifier.ring(workspace, batch.journal)
    return reply(request, answer)


async def poll(request: Request) -> Response:
    """Changes after ``after``: at once where there is one by another mount, else when there is, or the time is over."""
    service, workspace = service_of(request), workspace_of(request)
    after = Seq(number_query(request, "after", 0) or 0)
    deadline = trio.current_time() + seconds_query(request, "wait_s", POLL_MAX_S)
    journal = _journal_of(raw_query(request, "journal"))
    with service.notifier.waiting_for(workspace, journal) as waiter:
        found = await _acknowledge_and_read(service, request, workspace, journal, after)
        while not _is_news(found, journal) and await _rings(waiter, request, deadline):
            waiter.reset()
            found = await _read(service, request, workspace, after)
            if service.notifier.stopping:
                break
    return reply(request, found)


async def _rings(waiter: Waiter, request: Request, deadline: float) -> bool:
    """Wait for the bell; False where the time is over first, or the client goes away."""
    rung = False
    async with trio.open_nursery() as nursery:
        nursery.cancel_scope.deadline = deadline
        nursery.start_soon(_cancel_when_gone, request, nursery.cancel_scope)
        await waiter.rung.wait()
        rung = True
        nursery.cancel_scope.cancel()
    return rung


async def _cancel_when_gone(request: Request, waiting: trio.CancelScope) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
    waiting.cancel()


def _is_news(found: Notices, journal: JournalId) -> bool:
    """Whether the poll must be answered now: what its own mount did was told in the answers to that.

    A full page is news too: what others did may stand behind it.
    """
    return (
        found.reset
        or len(found.notices) >= CHANGES_PAGE
        or any(not journal or notice.origin != journal for notice in found.notices)
    )


def _check_batch(batch: Batch) -> None:
    _check_journal(batch.journal)
    if not 0 < len(batch.changes) <= BATCH_MAX_CHANGES:
        raise Trouble(problems.BAD_REQUEST, f"a batch has 1 to {BATCH_MAX_CHANGES} changes")
    commits = [change for change in batch.changes if isinstance(change, Commit)]
    if sum(len(small.sealed) for change in commits for small in change.blocks) > BATCH_MAX_INLINE_BYTES:
        raise Trouble(problems.BODY_TOO_LARGE, f"the blocks in a batch have at most {BATCH_MAX_INLINE_BYTES} bytes")
    if any(len(small.id) != BLOCK_ID_BYTES for change in commits for small in change.blocks):
        raise Trouble(problems.BAD_REQUEST, f"a block id has {BLOCK_ID_BYTES} bytes")


async def _acknowledge_and_read(
    service: Service, request: Request, workspace: WorkspaceId, journal: JournalId, after: Seq
) -> Notices:
    if not journal:
        return await _read(service, request, workspace, after)

    def work(tx: Transaction) -> Notices:
        who, _ = member(tx, request, workspace)
        feed.acknowledge(tx, workspace, who.device, journal, after)
        return feed.notices(tx, workspace, after)

    return await service.metadata.write(work)


async def _read(service: Service, request: Request, workspace: WorkspaceId, after: Seq) -> Notices:
    def work(tx: Transaction) -> Notices:
        member(tx, request, workspace)
        return feed.notices(tx, workspace, after)

    return await service.metadata.read(work)


def _journal_of(text: str) -> JournalId:
    try:
        journal = JournalId(bytes.fromhex(text))
    except ValueError:
        raise Trouble(problems.BAD_REQUEST, "a journal id has 32 hexadecimal digits") from None
    if journal:
        _check_journal(journal)
    return journal


def _check_journal(journal: JournalId) -> None:
    if len(journal) != JOURNAL_ID_BYTES:
        raise Trouble(problems.BAD_REQUEST, f"a journal id has {JOURNAL_ID_BYTES} bytes")


ROUTES = [
    Route("/workspaces/{workspace}/join", join, methods=["POST"]),
    Route("/workspaces/{workspace}/changes", send, methods=["POST"]),
    Route("/workspaces/{workspace}/changes", poll),
]
