"""Log-in, users, devices, workspaces."""

from __future__ import annotations

from typing import Final
from urllib.parse import unquote

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from protocol import problems
from protocol.ids import DeviceId, UserId, WorkspaceId, new_hex_id
from protocol.keys import FIRST_KEY, new_key
from protocol.limits import (
    DEVICE_NAME_MAX_CHARS,
    ENVELOPE_MAX_BYTES,
    KIB,
    USER_NAME_MAX_CHARS,
    WORKSPACE_NAME_MAX_CHARS,
)
from protocol.messages.accounts import (
    Devices,
    Health,
    Login,
    LoginReply,
    NewEnvelope,
    NewKey,
    NewPassword,
    NewUser,
    NewWorkspace,
    User,
    Users,
    Workspace,
    Workspaces,
)
from protocol.messages.audit import What
from protocol.messages.wire import API
from protocol.version import VERSION
from server.describing import Parameter, operation
from server.http import (
    HEX_ID,
    address_of,
    check_name,
    check_password,
    flag_query,
    message,
    no_content,
    reply,
    workspace_of,
)
from server.metadata import accounts, audit, workspacekeys
from server.metadata.accounts import Caller
from server.metadata.audit import Who
from server.metadata.store import Transaction
from server.passwords import hash_token, new_token
from server.service import DEFAULT_WORKSPACE, Service, admin, bearer, caller, member, owner, service_of
from server.troubles import Trouble

_LOGIN_MAX_BYTES: Final = 16 * KIB
"""Whoever it comes from: a name and a password, six bytes a character in the worst JSON."""


async def health(request: Request) -> Response:
    """Anybody may ask."""
    return reply(request, Health("samedrive", VERSION, API))


async def login(request: Request) -> Response:
    """A name and a password for a token."""
    service = service_of(request)
    given = await message(request, Login, _LOGIN_MAX_BYTES)
    check_name("the device's name", given.device, DEVICE_NAME_MAX_CHARS)
    check_name("the user's name", given.user, USER_NAME_MAX_CHARS)
    check_password(given.password)
    who = Who(given.user, given.device, address_of(request))
    kept = await service.metadata.read(lambda tx: accounts.password_of(tx, given.user))
    what = f"user {given.user}"
    if not await service.passwords.verify(given.password, kept and kept[1], what, who.address) or kept is None:
        await service.metadata.write(lambda tx: audit.note(tx, who, What.LOGIN_FAILED, service.now_ns()))
        raise Trouble(problems.UNAUTHORIZED, "wrong user name or password")
    user, token = kept[0], new_token()

    def work(tx: Transaction) -> DeviceId:
        now_ns = service.now_ns()
        audit.note(tx, who, What.LOGIN, now_ns)
        return accounts.login_device(tx, user, given.device, hash_token(token), now_ns)

    device = await service.metadata.write(work)
    return reply(request, LoginReply(token, device, user))


async def logout(request: Request) -> Response:
    """Revoke the token that came."""
    service = service_of(request)

    def work(tx: Transaction) -> None:
        who = caller(tx, request)
        accounts.revoke_device(tx, who.device, who)
        audit.note(tx, audit.who_of(who), What.LOGOUT, service.now_ns())

    await service.metadata.write(work)
    return no_content()


async def list_users(request: Request) -> Response:
    """For admins."""

    def work(tx: Transaction) -> list[User]:
        admin(tx, request)
        return accounts.list_users(tx)

    return reply(request, Users(await service_of(request).metadata.read(work)))


async def add_user(request: Request) -> Response:
    """For admins: a user with a default workspace."""
    service = service_of(request)
    given = await message(request, NewUser)
    check_name("the user's name", given.name, USER_NAME_MAX_CHARS)
    check_password(given.password)
    await service.metadata.read(lambda tx: admin(tx, request))
    password_hash = await service.passwords.hash(given.password)

    def work(tx: Transaction) -> User:
        who = admin(tx, request)
        audit.note(tx, audit.who_of(who), What.USER_ADDED, service.now_ns(), given.name)
        return new_user(tx, service, given.name, password_hash, is_admin=given.admin)

    return reply(request, await service.metadata.write(work), 201)


async def remove_user(request: Request) -> Response:
    """For admins."""
    service, name = service_of(request), unquote(request.path_params["user"])

    def work(tx: Transaction) -> None:
        who = admin(tx, request)
        if who.user_name == name:
            raise Trouble(problems.CONFLICT, "nobody removes themselves")
        accounts.remove_user(tx, name)
        audit.note(tx, audit.who_of(who), What.USER_REMOVED, service.now_ns(), name)

    await service.metadata.write(work)
    return no_content()


async def set_password(request: Request) -> Response:
    """One's own; for admins anybody's."""
    service = service_of(request)
    name = unquote(request.path_params["user"])
    given = await message(request, NewPassword)
    check_password(given.password)

    def allow(tx: Transaction) -> Caller:
        who = caller(tx, request)
        if who.user_name != name and not who.admin:
            raise Trouble(problems.FORBIDDEN, "only admins set the passwords of others")
        return who

    await service.metadata.read(allow)
    password_hash = await service.passwords.hash(given.password)

    def work(tx: Transaction) -> None:
        who = allow(tx)
        accounts.set_password(tx, name, password_hash)
        audit.note(tx, audit.who_of(who), What.PASSWORD_SET, service.now_ns(), name)

    await service.metadata.write(work)
    return no_content()


async def list_devices(request: Request) -> Response:
    """One's own; for admins, with ``all=1``, everybody's."""
    everybodys = flag_query(request, "all")

    def work(tx: Transaction) -> Devices:
        who = admin(tx, request) if everybodys else caller(tx, request)
        return Devices(accounts.list_devices(tx, None if everybodys else who.user))

    return reply(request, await service_of(request).metadata.read(work))


async def revoke_device(request: Request) -> Response:
    """One's own; for admins anybody's."""
    service, device = service_of(request), DeviceId(request.path_params["device"])

    def work(tx: Transaction) -> None:
        who = caller(tx, request)
        revoked = accounts.revoke_device(tx, device, who)
        audit.note(tx, audit.who_of(who), What.DEVICE_REVOKED, service.now_ns(), f"{revoked.user}, {revoked.name}")

    await service.metadata.write(work)
    return no_content()


async def list_workspaces(request: Request) -> Response:
    """Those that the caller is a member of; a script sees those that its token is for."""

    def work(tx: Transaction) -> list[Workspace]:
        who = bearer(tx, request)
        seen = [(each, who.role_as(each.role, each.id)) for each in accounts.list_workspaces(tx, who.user)]
        return [msgspec.structs.replace(each, role=role) for each, role in seen if role is not None]

    return reply(request, Workspaces(await service_of(request).metadata.read(work)))


async def create_workspace(request: Request) -> Response:
    """A new one, owned by the caller."""
    service = service_of(request)
    given = await message(request, NewWorkspace)
    check_name("the workspace's name", given.name, WORKSPACE_NAME_MAX_CHARS)
    if given.quota_bytes is not None and given.quota_bytes < 0:
        raise Trouble(problems.BAD_REQUEST, "a quota is a number of bytes")
    _check_envelope(given)

    def work(tx: Transaction) -> Workspace:
        who = caller(tx, request)
        if given.id is None:
            made = new_workspace(tx, service, who.user, given.name, given.quota_bytes, is_default=False)
        else:
            made = _end_to_end_workspace(tx, given.id, who.user, given, service.now_ns())
        return accounts.workspace_for(tx, made, who.user)

    return reply(request, await service.metadata.write(work), 201)


def _check_envelope(given: NewWorkspace) -> None:
    if bool(given.envelope) != (given.id is not None):
        raise Trouble(
            problems.BAD_REQUEST, "an end-to-end workspace is made with an id and an envelope, others with none"
        )
    if given.id is not None and not HEX_ID.match(given.id):
        raise Trouble(problems.BAD_REQUEST, "a workspace's id is 32 hexadecimal digits, in lower case")
    _check_length(given.envelope)


def _check_length(envelope: bytes) -> None:
    if len(envelope) > ENVELOPE_MAX_BYTES:
        raise Trouble(problems.BAD_REQUEST, f"an envelope has at most {ENVELOPE_MAX_BYTES} bytes")


async def get_workspace(request: Request) -> Response:
    """One, for members; with its key for their devices, which seal and open blocks, or the envelope that it is in.

    A script has its blocks opened.
    """
    service = service_of(request)
    identity = workspace_of(request)

    def work(tx: Transaction) -> tuple[Workspace, dict[int, bytes]]:
        who, role = member(tx, request, identity)
        found = msgspec.structs.replace(accounts.workspace_for(tx, identity, who.user), role=role)
        if who.limits is not None:
            return found, {}
        envelope = accounts.envelope_of(tx, identity)
        if envelope is not None:
            return msgspec.structs.replace(found, envelope=envelope), {}
        return found, workspacekeys.wrapped_keys(tx, identity)

    found, wrapped = await service.metadata.read(work)
    keys = {key_id: service.keyring.unwrap(identity, each) for key_id, each in wrapped.items()}
    first = keys.pop(FIRST_KEY, b"")
    return reply(request, msgspec.structs.replace(found, key=first, later_keys=keys))


async def add_key(request: Request) -> Response:
    """For owners: a key that seals from now on. What is stored is sealed anew under it, by and by.

    An end-to-end workspace gets no key from the server: its owner makes it, sends the envelope that it is in, and seals
    anew what is stored.
    """
    service, identity = service_of(request), workspace_of(request)
    given = await message(request, NewKey)
    _check_length(given.envelope)

    def work(tx: Transaction) -> tuple[Workspace, bool]:
        who = owner(tx, request, identity)
        is_end_to_end = accounts.is_end_to_end(tx, identity)
        if is_end_to_end and not given.envelope:
            raise Trouble(problems.END_TO_END, "an end-to-end workspace's next key comes in its envelope")
        if given.envelope and not is_end_to_end:
            raise Trouble(problems.CONFLICT, "this workspace has no envelope: it isn't end-to-end encrypted")
        wrapped = None if is_end_to_end else service.keyring.wrap(identity, new_key())
        now_ns = service.now_ns()
        added = workspacekeys.add(tx, identity, wrapped, given.after, now_ns)
        if is_end_to_end:
            accounts.replace_envelope(tx, identity, given.replaces, given.envelope)
        audit.note(tx, audit.who_of(who), What.KEY_ADDED, now_ns, f"key {added}", identity)
        return accounts.workspace_for(tx, identity, who.user), not is_end_to_end

    changed, is_kept_here = await service.metadata.write(work)
    if is_kept_here:
        # Who seals here doesn't look whether there is a later one.
        await service.blocks.keys_now(identity, lambda tx: None)
        service.key_added.ring()
    return reply(request, changed, 201)


async def replace_envelope(request: Request) -> Response:
    """For owners: another passphrase for an end-to-end workspace, whose key stays what it is."""
    service, identity = service_of(request), workspace_of(request)
    given = await message(request, NewEnvelope)
    if not given.envelope:
        raise Trouble(problems.BAD_REQUEST, "there is nothing in the envelope")
    _check_length(given.envelope)

    def work(tx: Transaction) -> None:
        who = owner(tx, request, identity)
        if not accounts.is_end_to_end(tx, identity):
            raise Trouble(problems.CONFLICT, "this workspace has no passphrase: it isn't end-to-end encrypted")
        accounts.replace_envelope(tx, identity, given.replaces, given.envelope)
        audit.note(tx, audit.who_of(who), What.PASSPHRASE_SET, service.now_ns(), "", identity)

    await service.metadata.write(work)
    return no_content()


def new_user(tx: Transaction, service: Service, name: str, password_hash: str, *, is_admin: bool) -> User:
    """A user with a default workspace; raises Taken."""
    user = accounts.add_user(tx, name, password_hash, is_admin, service.now_ns())
    new_workspace(tx, service, user.id, DEFAULT_WORKSPACE, None, is_default=True)
    return user


def new_workspace(
    tx: Transaction, service: Service, user: UserId, name: str, quota_bytes: int | None, *, is_default: bool
) -> WorkspaceId:
    """An empty workspace with a key of its own; raises Taken."""
    identity = WorkspaceId(new_hex_id())
    wrapped = service.keyring.wrap(identity, new_key())
    accounts.create_workspace(tx, identity, user, name, wrapped, quota_bytes, is_default, service.now_ns())
    return identity


def _end_to_end_workspace(
    tx: Transaction, identity: WorkspaceId, user: UserId, given: NewWorkspace, now_ns: int
) -> WorkspaceId:
    """An empty workspace whose key is in an envelope that isn't opened here; raises Taken."""
    name, quota_bytes = given.name, given.quota_bytes
    accounts.create_end_to_end_workspace(tx, identity, user, name, given.envelope, quota_bytes, now_ns)
    return identity


_OURS: Final = (problems.FORBIDDEN, problems.NO_SPACE)
"""What a change of accounts can meet."""

_ALL: Final = Parameter("all", {"type": "integer", "enum": [0, 1], "default": 0}, "1, for admins: everybody's.")

ROUTES = [
    operation("GET", "/health", health, gives=Health, anybody=True),
    operation(
        "POST",
        "/login",
        login,
        takes=Login,
        gives=LoginReply,
        fails=(
            problems.UNAUTHORIZED,
            problems.CONFLICT,
            problems.TOO_MANY_ATTEMPTS,
            problems.BODY_TOO_LARGE,
            problems.NO_SPACE,
        ),
        anybody=True,
    ),
    operation("POST", "/logout", logout, fails=_OURS),
    operation("GET", "/users", list_users, gives=Users, fails=[problems.FORBIDDEN]),
    operation("POST", "/users", add_user, takes=NewUser, gives=User, status=201, fails=(*_OURS, problems.CONFLICT)),
    operation("DELETE", "/users/{user}", remove_user, fails=(*_OURS, problems.NOT_FOUND, problems.CONFLICT)),
    operation("PUT", "/users/{user}/password", set_password, takes=NewPassword, fails=(*_OURS, problems.NOT_FOUND)),
    operation("GET", "/devices", list_devices, gives=Devices, query=[_ALL], fails=[problems.FORBIDDEN]),
    operation("DELETE", "/devices/{device}", revoke_device, fails=(*_OURS, problems.NOT_FOUND)),
    operation("GET", "/workspaces", list_workspaces, gives=Workspaces),
    operation(
        "POST",
        "/workspaces",
        create_workspace,
        takes=NewWorkspace,
        gives=Workspace,
        status=201,
        fails=(*_OURS, problems.CONFLICT),
    ),
    operation("GET", "/workspaces/{workspace}", get_workspace, gives=Workspace, fails=[problems.NOT_FOUND]),
    operation(
        "POST",
        "/workspaces/{workspace}/keys",
        add_key,
        takes=NewKey,
        gives=Workspace,
        status=201,
        fails=(*_OURS, problems.NOT_FOUND, problems.CONFLICT, problems.END_TO_END),
    ),
    operation(
        "PUT",
        "/workspaces/{workspace}/envelope",
        replace_envelope,
        takes=NewEnvelope,
        fails=(*_OURS, problems.NOT_FOUND, problems.CONFLICT),
    ),
]
