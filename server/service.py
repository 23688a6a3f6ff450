"""What every request handler works with, and who may do what."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Final

import trio
from starlette.requests import Request

from protocol import problems
from protocol.ids import WorkspaceId
from protocol.limits import KIB, SEALED_MAX_BYTES
from protocol.messages.accounts import Role
from server.bell import Bell
from server.blockcare import BlockCare
from server.http import address_of, declared_bytes
from server.keyring import Keyring
from server.leases import Leases
from server.metadata import accounts
from server.metadata.accounts import Caller, Unknown
from server.metadata.store import MetadataStore, Transaction
from server.notifier import Notifier
from server.passwords import Passwords, hash_token
from server.shares import Shares
from server.troubles import Trouble

DEFAULT_WORKSPACE: Final = "home"

_LARGE_BYTES: Final = 64 * KIB
"""Longer bodies wait for a place, and for their sender to be known."""


@dataclass(frozen=True, slots=True)
class Places:
    """How many requests may hold much memory at once. A slow client holds its place until it is served or cut."""

    bulk: trio.CapacityLimiter = field(default_factory=lambda: trio.CapacityLimiter(16))
    """Blocks on their way in (SEALED_MAX_BYTES) and out (READ_MANY_BYTES): 128 MiB at the very most."""
    huge: trio.CapacityLimiter = field(default_factory=lambda: trio.CapacityLimiter(2))
    """Batches past that, of up to CHANGES_BODY_MAX_BYTES: the manifests of enormous files."""
    uploads: Shares = field(default_factory=lambda: Shares(8, 4))
    """Plain content on its way in: three windows and what is being sealed of two, 40 MiB each at the very most."""
    downloads: Shares = field(default_factory=lambda: Shares(16, 8))
    """Plain content on its way out: AHEAD_BYTES and what is being opened, 12 MiB each at the very most."""
    archives: Shares = field(default_factory=lambda: Shares(4, 2))
    """Folders on their way out as zips, each with a list of all that is in it: 100 MiB each at the very most."""


@dataclass(frozen=True, slots=True)
class Service:
    """One server's parts."""

    metadata: MetadataStore
    blocks: BlockCare
    keyring: Keyring
    passwords: Passwords
    notifier: Notifier
    leases: Leases
    now_ns: Callable[[], int]
    places: Places = field(default_factory=Places)
    key_added: Bell = field(default_factory=Bell)
    """Rung when a workspace's blocks are to be sealed anew."""


@asynccontextmanager
async def room_for_body(request: Request) -> AsyncIterator[None]:
    """Hold a place for a request's body while it is worked on; raises Trouble for a stranger's before it is read."""
    declared = declared_bytes(request)
    if declared is not None and declared <= _LARGE_BYTES:
        yield
        return
    service = service_of(request)
    await service.metadata.read(lambda tx: bearer(tx, request))
    huge = declared is None or declared > SEALED_MAX_BYTES
    async with service.places.huge if huge else service.places.bulk:
        yield


def service_of(request: Request) -> Service:
    """The parts of the server that took this request."""
    service: Service = request.app.state.service
    return service


# ── who may do what ──
#
# Each is called first in a transaction: one hop for both. A script's token passes ``bearer``, ``member`` and
# ``editor``, with the role that its limits leave; whatever else there is to do is for people.


def bearer(tx: Transaction, request: Request) -> Caller:
    """Whose token came with the request, a person's device or a script; raises Trouble."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    found = accounts.caller_of(tx, hash_token(token.strip())) if scheme.lower() == "bearer" else None
    if found is None or _is_over(found, service_of(request).now_ns()):
        raise Trouble(problems.UNAUTHORIZED, "this needs a valid token: log in (samedrive login URL)")
    return replace(found, address=address_of(request))


def _is_over(found: Caller, now_ns: int) -> bool:
    return found.limits is not None and found.limits.expires_ns is not None and found.limits.expires_ns <= now_ns


def caller(tx: Transaction, request: Request) -> Caller:
    """The person who asks; raises Trouble, for scripts too."""
    found = bearer(tx, request)
    if found.limits is not None:
        raise Trouble(problems.FORBIDDEN, "a script's token is for files: this needs somebody who is logged in")
    return found


def member(tx: Transaction, request: Request, workspace: WorkspaceId) -> tuple[Caller, Role]:
    """The caller, who is a member; a stranger learns nothing."""
    found = bearer(tx, request)
    role = found.role_as(accounts.role_in(tx, workspace, found.user), workspace)
    if role is None:
        raise Unknown("there is no such workspace")
    return found, role


def person(tx: Transaction, request: Request, workspace: WorkspaceId) -> tuple[Caller, Role]:
    """The person who asks, who is a member."""
    caller(tx, request)
    return member(tx, request, workspace)


def editor(tx: Transaction, request: Request, workspace: WorkspaceId) -> Caller:
    """The caller, who may change the workspace."""
    found, role = member(tx, request, workspace)
    if role is Role.VIEWER:
        raise Trouble(problems.FORBIDDEN, "you may read this workspace, not change it")
    return found


def check_opens(tx: Transaction, workspace: WorkspaceId) -> None:
    """Raises Trouble where the server has no key to open the workspace's contents with, nor to seal any."""
    if accounts.is_end_to_end(tx, workspace):
        raise Trouble(
            problems.END_TO_END,
            "this workspace is end-to-end encrypted: its contents can't be read or written here, but on a mount, "
            "or on the web page with its passphrase",
        )


def sharer(tx: Transaction, request: Request, workspace: WorkspaceId) -> tuple[Caller, Role]:
    """The person who asks, who may make links."""
    found, role = person(tx, request, workspace)
    if role is Role.VIEWER:
        raise Trouble(problems.FORBIDDEN, "you may read this workspace, not share it")
    return found, role


def owner(tx: Transaction, request: Request, workspace: WorkspaceId) -> Caller:
    """The caller, who owns the workspace."""
    found, role = person(tx, request, workspace)
    if role is not Role.OWNER:
        raise Trouble(problems.FORBIDDEN, "only an owner of a workspace shares it and changes its key")
    return found


def admin(tx: Transaction, request: Request) -> Caller:
    """The caller, who manages users."""
    found = caller(tx, request)
    if not found.admin:
        raise Trouble(problems.FORBIDDEN, "only admins manage users")
    return found
