"""Log-in, users, devices, workspaces."""

from __future__ import annotations

from typing import Final
from urllib.parse import unquote

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from protocol import problems
from protocol.ids import DeviceId, UserId, WorkspaceId, new_hex_id
from protocol.keys import new_key
from protocol.limits import (
    DEVICE_NAME_MAX_CHARS,
    KIB,
    PASSWORD_MAX_BYTES,
    USER_NAME_MAX_CHARS,
    WORKSPACE_NAME_MAX_CHARS,
)
from protocol.messages.accounts import (
    Devices,
    Health,
    Login,
    LoginReply,
    Members,
    NewPassword,
    NewUser,
    NewWorkspace,
    Share,
    User,
    Users,
    Workspace,
    Workspaces,
)
from protocol.messages.wire import API
from protocol.version import VERSION
from server.describing import Parameter, operation
from server.http import flag_query, message, no_content, reply, workspace_of
from server.metadata import accounts
from server.metadata.store import Transaction
from server.passwords import hash_token, new_token
from server.service import DEFAULT_WORKSPACE, Service, admin, caller, member, owner, service_of
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
    _name("the device's name", given.device, DEVICE_NAME_MAX_CHARS)
    _name("the user's name", given.user, USER_NAME_MAX_CHARS)
    _password(given.password)
    address = request.client.host if request.client else ""
    kept = await service.metadata.read(lambda tx: accounts.password_of(tx, given.user))
    if not await service.passwords.verify(given.password, kept and kept[1], given.user, address) or kept is None:
        raise Trouble(problems.UNAUTHORIZED, "wrong user name or password")
    user, token = kept[0], new_token()
    device = await service.metadata.write(
        lambda tx: accounts.login_device(tx, user, given.device, hash_token(token), service.now_ns())
    )
    return reply(request, LoginReply(token, device, user))


async def logout(request: Request) -> Response:
    """Revoke the token that came."""

    def work(tx: Transaction) -> None:
        who = caller(tx, request)
        accounts.revoke_device(tx, who.device, who)

    await service_of(request).metadata.write(work)
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
    _name("the user's name", given.name, USER_NAME_MAX_CHARS)
    _password(given.password)
    await service.metadata.read(lambda tx: admin(tx, request))
    password_hash = await service.passwords.hash(given.password)

    def work(tx: Transaction) -> User:
        admin(tx, request)
        return new_user(tx, service, given.name, password_hash, is_admin=given.admin)

    return reply(request, await service.metadata.write(work), 201)


async def remove_user(request: Request) -> Response:
    """For admins."""
    name = unquote(request.path_params["user"])

    def work(tx: Transaction) -> None:
        if admin(tx, request).user_name == name:
            raise Trouble(problems.CONFLICT, "nobody removes themselves")
        accounts.remove_user(tx, name)

    await service_of(request).metadata.write(work)
    return no_content()


async def set_password(request: Request) -> Response:
    """One's own; for admins anybody's."""
    service = service_of(request)
    name = unquote(request.path_params["user"])
    given = await message(request, NewPassword)
    _password(given.password)

    def allow(tx: Transaction) -> None:
        who = caller(tx, request)
        if who.user_name != name and not who.admin:
            raise Trouble(problems.FORBIDDEN, "only admins set the passwords of others")

    await service.metadata.read(allow)
    password_hash = await service.passwords.hash(given.password)

    def work(tx: Transaction) -> None:
        allow(tx)
        accounts.set_password(tx, name, password_hash)

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
    device = DeviceId(request.path_params["device"])
    await service_of(request).metadata.write(lambda tx: accounts.revoke_device(tx, device, caller(tx, request)))
    return no_content()


async def list_workspaces(request: Request) -> Response:
    """Those that the caller is a member of."""
    found = await service_of(request).metadata.read(lambda tx: accounts.list_workspaces(tx, caller(tx, request).user))
    return reply(request, Workspaces(found))


async def create_workspace(request: Request) -> Response:
    """A new one, owned by the caller."""
    service = service_of(request)
    given = await message(request, NewWorkspace)
    _name("the workspace's name", given.name, WORKSPACE_NAME_MAX_CHARS)
    if given.quota_bytes is not None and not 0 <= given.quota_bytes < 1 << 63:
        raise Trouble(problems.BAD_REQUEST, "a quota is a number of bytes")

    def work(tx: Transaction) -> Workspace:
        who = caller(tx, request)
        made = new_workspace(tx, service, who.user, given.name, given.quota_bytes, is_default=False)
        return accounts.workspace_and_key(tx, made, who.user)[0]

    return reply(request, await service.metadata.write(work), 201)


async def get_workspace(request: Request) -> Response:
    """One, with its key, for members."""
    service = service_of(request)
    identity = workspace_of(request)

    def work(tx: Transaction) -> tuple[Workspace, bytes]:
        who, _ = member(tx, request, identity)
        return accounts.workspace_and_key(tx, identity, who.user)

    found, wrapped = await service.metadata.read(work)
    return reply(request, msgspec.structs.replace(found, key=service.keyring.unwrap(identity, wrapped)))


async def list_members(request: Request) -> Response:
    """For members: who they are."""
    identity = workspace_of(request)

    def work(tx: Transaction) -> Members:
        member(tx, request, identity)
        return Members(accounts.list_members(tx, identity))

    return reply(request, await service_of(request).metadata.read(work))


async def share(request: Request) -> Response:
    """For the owner: make somebody a member, or no longer one."""
    identity = workspace_of(request)
    given = await message(request, Share)

    def work(tx: Transaction) -> None:
        owner(tx, request, identity)
        accounts.share(tx, identity, given.user, given.role)

    await service_of(request).metadata.write(work)
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


def _name(what: str, name: str, most_chars: int) -> None:
    if not 0 < len(name) <= most_chars or not name.isprintable() or "/" in name or name != name.strip():
        raise Trouble(
            problems.BAD_REQUEST, f"{what} has 1 to {most_chars} printable characters without / and outer spaces"
        )


def _password(password: str) -> None:
    if not 0 < len(password.encode()) <= PASSWORD_MAX_BYTES:
        raise Trouble(problems.BAD_REQUEST, f"a password has 1 to {PASSWORD_MAX_BYTES} bytes")


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
        fails=(problems.UNAUTHORIZED, problems.TOO_MANY_ATTEMPTS, problems.BODY_TOO_LARGE, problems.NO_SPACE),
        anybody=True,
    ),
    operation("POST", "/logout", logout, fails=[problems.NO_SPACE]),
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
        fails=(problems.CONFLICT, problems.NO_SPACE),
    ),
    operation("GET", "/workspaces/{workspace}", get_workspace, gives=Workspace, fails=[problems.NOT_FOUND]),
    operation("GET", "/workspaces/{workspace}/members", list_members, gives=Members, fails=[problems.NOT_FOUND]),
    operation(
        "POST",
        "/workspaces/{workspace}/members",
        share,
        takes=Share,
        fails=(*_OURS, problems.NOT_FOUND, problems.CONFLICT),
    ),
]
