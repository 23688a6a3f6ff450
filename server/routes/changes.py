"""Batches of changes in, the long poll out."""

from __future__ import annotations

import trio
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from protocol import problems
from protocol.ids import JOURNAL_ID_BYTES, JournalId, Seq, WorkspaceId
from protocol.limits import BATCH_MAX_CHANGES, CHANGES_BODY_MAX_BYTES, POLL_MAX_S
from protocol.messages import Applied, Batch, BatchReply, Commit, Join, JoinReply, Notices
from server.http import Trouble, message, number_query, raw_query, reply, seconds_query, workspace_of
from server.metadata import feed
from server.metadata.changes import apply_batch
from server.metadata.store import Transaction
from server.service import Service, editor, member, service_of


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
    batch = await message(request, Batch, CHANGES_BODY_MAX_BYTES)
    _check_journal(batch.journal)
    if not 0 < len(batch.changes) <= BATCH_MAX_CHANGES:
        raise Trouble(problems.BAD_REQUEST, f"a batch has 1 to {BATCH_MAX_CHANGES} changes")
    inline = [small for change in batch.changes if isinstance(change, Commit) for small in change.blocks]
    plain_lengths = await service.blocks.verify_inline(workspace, inline, lambda tx: _allow(tx, request, workspace))

    def work(tx: Transaction) -> BatchReply:
        who = editor(tx, request, workspace)
        return apply_batch(tx, workspace, who, batch, plain_lengths, service.now_ns())

    answer = await service.metadata.write(work)
    if any(isinstance(one, Applied) for one in answer.answers):
        service.notifier.ring(workspace, batch.journal)
    return reply(request, answer)


async def poll(request: Request) -> Response:
    """Changes after ``after``: at once where there is one by another mount, else when there is."""
    service, workspace = service_of(request), workspace_of(request)
    after = Seq(number_query(request, "after", 0) or 0)
    wait_s = seconds_query(request, "wait_s", POLL_MAX_S)
    journal = _journal_of(raw_query(request, "journal"))
    waiter = service.notifier.wait(workspace, journal)
    try:
        found = await _acknowledge_and_read(service, request, workspace, journal, after)
        with trio.move_on_after(wait_s):
            while not _is_news(found, journal):
                await waiter.rung.wait()
                if service.notifier.stopping:
                    break
                waiter.rung = trio.Event()
                found = await _read(service, request, workspace, after)
        if not _is_news(found, journal):
            found = await _read(service, request, workspace, after)
    finally:
        service.notifier.leave(workspace, waiter)
    return reply(request, found)


def _is_news(found: Notices, journal: JournalId) -> bool:
    """Whether the poll must be answered now: what its own mount did was told in the answers to that."""
    return found.reset or any(not journal or notice.origin != journal for notice in found.notices)


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


def _allow(tx: Transaction, request: Request, workspace: WorkspaceId) -> None:
    editor(tx, request, workspace)


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
