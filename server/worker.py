"""What the server does by itself, once an hour: forget silent sessions, shorten the change logs and the audit log, end
lost uploads.

Each round is many small transactions, so that requests pass between them. A round that the database stops halfway is
taken up by the next.
"""

from __future__ import annotations

from functools import partial
from typing import Final, NamedTuple

import structlog
import trio

from protocol.messages.audit import What
from server.metadata import audit, pruning, sessions, transfers, uploads
from server.metadata.audit import KEPT_EVENTS_MAX
from server.metadata.pruning import KEPT_CHANGES_MIN
from server.metadata.store import StoreError, Transaction
from server.service import Service

ROUND_S: Final = 3600.0
"""Sessions are forgotten after an hour (FORGOTTEN_AFTER_S), changes after days."""

DAY_NS: Final = 86_400 * 10**9

log = structlog.get_logger()


class Retention(NamedTuple):
    """What is kept of each workspace: the changes of so many days, and at least so many. And of the audit log: the
    events of so many days, and of each kind at most so many."""

    changes_days: float
    changes_min: int = KEPT_CHANGES_MIN
    audit_days: float = 365.0
    audit_max: int = KEPT_EVENTS_MAX


async def run(service: Service, retention: Retention) -> None:
    """Do it now and every hour, until cancelled."""
    while True:
        try:
            await work_once(service, retention)
        except StoreError as error:
            log.warning("housekeeping goes on in an hour", reason=str(error))
        await trio.sleep(ROUND_S)


async def work_once(service: Service, retention: Retention) -> None:
    """One round; raises StoreError."""
    await _forget_silent(service)
    await _end_lost_uploads(service)
    while await service.metadata.write(partial(transfers.remove_expired, now_ns=service.now_ns())) > 0:
        pass
    before_ns = service.now_ns() - int(retention.changes_days * DAY_NS)
    for workspace in await service.metadata.read(pruning.workspaces):
        prune = partial(pruning.prune, workspace=workspace, before_ns=before_ns, keep=retention.changes_min)
        while await service.metadata.write(prune) > 0:
            pass
    before_ns = service.now_ns() - int(retention.audit_days * DAY_NS)
    for what in What:
        forget = partial(audit.forget, what=what, before_ns=before_ns, keep=retention.audit_max)
        while await service.metadata.write(forget) > 0:
            pass


async def _end_lost_uploads(service: Service) -> None:
    """Files that are still pending because a server crashed in their upload."""
    while lost := await service.metadata.read(lambda tx: uploads.expired(tx, service.now_ns())):
        for workspace, node in lost:
            await service.metadata.write(
                partial(uploads.give_up, workspace=workspace, node=node, now_ns=service.now_ns())
            )
            service.notifier.ring(workspace, None)


async def _forget_silent(service: Service) -> None:
    """Their rows go before they may join again: a row that is removed is never that of a session with a lease."""
    silent = service.leases.forget_silent()

    def remove(tx: Transaction) -> None:
        for workspace, session in silent:
            sessions.remove(tx, workspace, session)

    try:
        if silent:
            await service.metadata.write(remove)
    finally:
        service.leases.forgotten(silent)
