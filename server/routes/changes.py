"""Batches of changes in, and up to where a journal's changes are."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from protocol import problems
from protocol.ids import BATCH_ID_BYTES, BLOCK_ID_BYTES, Seq, WorkspaceId
from protocol.limits import BATCH_MAX_CHANGES, BATCH_MAX_INLINE_BYTES, CHANGES_BODY_MAX_BYTES
from protocol.messages.batches import Applied, Batch, BatchReply, JournalReply
from protocol.messages.changes import Commit
from server.http import Asking, asking_of, check_journal, journal_of, message, reply, workspace_of
from server.metadata import feed
from server.metadata.changes import apply_batch, repeated
from server.metadata.store import Transaction
from server.service import editor, member, person, room_for_body, service_of
from server.settling import settle
from server.space import NoSpace
from server.troubles import Trouble


async def journal(request: Request) -> Response:
    """Up to where a journal's changes have been applied."""
    service, workspace, identity = service_of(request), workspace_of(request), journal_of(request)

    def work(tx: Transaction) -> JournalReply:
        who, _ = member(tx, request, workspace)
        return feed.last_batch(tx, workspace, who.device, identity)

    return reply(request, await service.metadata.read(work))


async def take_journal(request: Request) -> Response:
    """The same, for a mount that begins to send what it did while it was away: nobody else sends for it any more."""
    service, workspace, identity = service_of(request), workspace_of(request), journal_of(request)
    asking = asking_of(request)
    if asking is None:
        raise Trouble(problems.BAD_REQUEST, "which session?")

    def work(tx: Transaction) -> JournalReply:
        who, _ = person(tx, request, workspace)
        return feed.take(tx, workspace, who.device, identity, asking.session)

    return reply(request, await service.metadata.write(work))


async def send(request: Request) -> Response:
    """Apply a batch."""
    service, workspace, asking = service_of(request), workspace_of(request), asking_of(request)
    async with room_for_body(request):
        batch = await message(request, Batch, CHANGES_BODY_MAX_BYTES)
        _check_batch(batch)
        try:
            answer = await _apply(request, workspace, batch, asking)
        except (Trouble, NoSpace):  # As things are now: but it may have been applied, and its answer lost.
            repeat = await _repeat(request, workspace, batch, asking)
            if repeat is None:
                raise
            answer = repeat
    if any(isinstance(one, Applied) for one in answer.answers):
        service.notifier.ring(workspace, batch.session)
    await settle(service, workspace, answer.notices, asking)
    return reply(request, answer)


async def _apply(request: Request, workspace: WorkspaceId, batch: Batch, asking: Asking | None) -> BatchReply:
    service = service_of(request)
    inline = [small for change in batch.changes if isinstance(change, Commit) for small in change.blocks]
    verified = await service.blocks.verify_inline(workspace, inline, lambda tx: editor(tx, request, workspace))

    def work(tx: Transaction) -> BatchReply:
        who = editor(tx, request, workspace)
        return apply_batch(tx, workspace, who, batch, verified, _applied(asking), service.now_ns())

    return await service.metadata.write(work)


async def _repeat(request: Request, workspace: WorkspaceId, batch: Batch, asking: Asking | None) -> BatchReply | None:
    def work(tx: Transaction) -> BatchReply | None:
        who, _ = member(tx, request, workspace)
        return repeated(tx, workspace, who, batch, _applied(asking))

    return await service_of(request).metadata.read(work)


def _applied(asking: Asking | None) -> Seq | None:
    return None if asking is None else asking.applied


def _check_batch(batch: Batch) -> None:
    check_journal(batch.journal)
    if len(batch.id) not in (0, BATCH_ID_BYTES):
        raise Trouble(problems.BAD_REQUEST, f"a batch id has {BATCH_ID_BYTES} bytes")
    if not 0 < len(batch.changes) <= BATCH_MAX_CHANGES:
        raise Trouble(problems.BAD_REQUEST, f"a batch has 1 to {BATCH_MAX_CHANGES} changes")
    commits = [change for change in batch.changes if isinstance(change, Commit)]
    if sum(len(small.sealed) for change in commits for small in change.blocks) > BATCH_MAX_INLINE_BYTES:
        raise Trouble(problems.BODY_TOO_LARGE, f"the blocks in a batch have at most {BATCH_MAX_INLINE_BYTES} bytes")
    if any(len(small.id) != BLOCK_ID_BYTES for change in commits for small in change.blocks):
        raise Trouble(problems.BAD_REQUEST, f"a block id has {BLOCK_ID_BYTES} bytes")


ROUTES = [
    Route("/workspaces/{workspace}/journals/{journal}", journal),
    Route("/workspaces/{workspace}/journals/{journal}", take_journal, methods=["POST"]),
    Route("/workspaces/{workspace}/changes", send, methods=["POST"]),
]
