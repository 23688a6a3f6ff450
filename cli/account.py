"""Logging in and out, and what a logged-in person does with users, workspaces and devices.

Each command is one conversation with one server, as one saved login. ``--server`` says which where there are several.
"""

from __future__ import annotations

import socket
import sys
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

import click
import msgspec
import trio

from backend import credentials
from backend.account import Account, connect
from backend.credentials import Credential
from backend.errors import NotFound, Unauthorized
from cli.size import SIZE, written
from protocol.ids import DeviceId
from protocol.limits import DEVICE_NAME_MAX_CHARS, PASSWORD_MAX_BYTES
from protocol.messages.accounts import Role, Workspace
from protocol.messages.wire import Message

T = TypeVar("T")

server_option = click.option("--server", metavar="URL", help="Which server, where you are logged in at several.")
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
password_option = click.option(
    "--password-file",
    metavar="FILE",
    type=click.Path(exists=True, dir_okay=False, allow_dash=True, path_type=Path),
    help="Read the password from FILE, or from standard input where it is -. Without this you are asked.",
)


def device_name() -> str:
    """What this device is called where nobody says otherwise."""
    return socket.gethostname()[:DEVICE_NAME_MAX_CHARS] or "unnamed"


# ── logging in and out ───────────────────────────────────────────────────────────────────────────────


@click.command("login")
@click.argument("url")
@click.option("--user", required=True, metavar="NAME", help="Your name at that server.")
@password_option
@click.option(
    "--device", metavar="NAME", default=device_name, help="What this device is called: by default its host name."
)
@click.option(
    "--ca-file",
    metavar="FILE",
    type=click.Path(exists=True, dir_okay=False, resolve_path=True, path_type=Path),
    help="Certificates to trust, for a server whose own is not signed by a public authority.",
)
def login_command(url: str, user: str, password_file: Path | None, device: str, ca_file: Path | None) -> None:
    """Log this device in at the server at URL.

    The token is kept in a file that only you can read. The same device name again gets a new token in place of
    the old one.
    """
    where = credentials.normal_url(url)
    credential = log_in(where, user, _password(password_file), device, ca_file)
    click.echo(f"Logged in at {credential.url} as {user}, on device {device!r}.")


def log_in(url: str, user: str, password: str, device: str, ca_file: Path | None = None) -> Credential:
    """Get a token and save it; raises DriveError."""

    async def ask() -> Credential:
        async with connect(url, ca_file=ca_file) as account:
            await account.health()
            try:
                reply = await account.login(user, password, device)
            except Unauthorized as error:
                raise Unauthorized(f"{url} did not let {user} in: {error}") from None
        return Credential(
            url=url,
            user=user,
            device=device,
            device_id=reply.device,
            token=reply.token,
            ca_file=None if ca_file is None else str(ca_file),
        )

    credential = trio.run(ask)
    credentials.save(credential)
    return credential


@click.command("logout")
@click.argument("url", required=False)
@click.option("--user", metavar="NAME", help="Which login, where there are several.")
@click.option("--device", metavar="NAME", help="Which login, where there are several.")
def logout_command(url: str | None, user: str | None, device: str | None) -> None:
    """Revoke this device's token at the server at URL, and forget it here."""
    credential = credentials.load(url, user=user, device=device)
    # Where the token is refused it was revoked already: all that is left to do is here.
    with suppress(Unauthorized):
        ask(credential, Account.logout)
    credentials.remove(credential)
    click.echo(f"Logged out of {credential.url}.")


# ── users ────────────────────────────────────────────────────────────────────────────────────────────


@click.group("user")
def user_group() -> None:
    """Who can log in. For admins, but for one's own password."""


@user_group.command("add")
@click.argument("name")
@password_option
@click.option("--admin", is_flag=True, help="May manage users, and revoke anybody's device.")
@server_option
def user_add(name: str, password_file: Path | None, admin: bool, server: str | None) -> None:
    """Let NAME log in."""
    credential, password = credentials.load(server), _password(password_file, twice=True)
    ask(credential, lambda account: account.add_user(name, password, admin=admin))
    click.echo(f"{name} can log in: samedrive login {credential.url} --user {name}")


@user_group.command("list")
@json_option
@server_option
def user_list(as_json: bool, server: str | None) -> None:
    """Show everybody who can log in."""
    users = ask(credentials.load(server), Account.users)
    rows = [(user.name, "admin" if user.admin else "", _day(user.created_ns)) for user in users]
    _show(("NAME", "", "SINCE"), rows, users if as_json else None)


@user_group.command("remove")
@click.argument("name")
@server_option
def user_remove(name: str, server: str | None) -> None:
    """Lock NAME out, on every device."""
    ask(credentials.load(server), lambda account: account.remove_user(name))
    click.echo(f"{name} can no longer log in.")


@user_group.command("password")
@click.argument("name", required=False)
@password_option
@server_option
def user_password(name: str | None, password_file: Path | None, server: str | None) -> None:
    """Set your own password, or (for admins) that of NAME. Devices stay logged in."""
    credential, password = credentials.load(server), _password(password_file, twice=True)
    who = name or credential.user
    ask(credential, lambda account: account.set_password(who, password))
    click.echo(f"The password of {who} is set.")


# ── workspaces ───────────────────────────────────────────────────────────────────────────────────────


@click.group("workspace")
def workspace_group() -> None:
    """The trees of files at a server that can be mounted and shared."""


@workspace_group.command("create")
@click.argument("name")
@click.option("--quota", type=SIZE, metavar="SIZE", help="The most that it may hold, such as 500G.")
@server_option
def workspace_create(name: str, quota: int | None, server: str | None) -> None:
    """Make a workspace of your own."""
    credential = credentials.load(server)
    ask(credential, lambda account: account.create_workspace(name, quota))
    click.echo(f"Made {name}: samedrive mount {credential.url} DIR --workspace {name}")


@workspace_group.command("list")
@json_option
@server_option
def workspace_list(as_json: bool, server: str | None) -> None:
    """Show the workspaces that you are a member of."""
    workspaces = ask(credentials.load(server), Account.workspaces)
    rows = [
        (
            each.name,
            each.owner,
            each.role.value,
            written(each.used_bytes),
            "" if each.quota_bytes is None else written(each.quota_bytes),
            "default" if each.default else "",
        )
        for each in workspaces
    ]
    _show(("NAME", "OWNER", "ROLE", "USED", "QUOTA", ""), rows, workspaces if as_json else None)


@workspace_group.command("share")
@click.argument("workspace")
@click.argument("user")
@click.option(
    "--role",
    type=click.Choice([*(role.value for role in Role), "none"]),
    default=Role.EDITOR.value,
    show_default=True,
    help="Owners share, editors change, viewers read; none takes the workspace away again.",
)
@server_option
def workspace_share(workspace: str, user: str, role: str, server: str | None) -> None:
    """Make USER a member of WORKSPACE: its name, or OWNER/NAME where two have that name."""
    credential = credentials.load(server)

    async def share(account: Account) -> None:
        found = _named(await account.workspaces(), workspace, credential.user)
        await account.share(found.id, user, None if role == "none" else Role(role))

    ask(credential, share)
    click.echo(
        f"{user} is no longer a member of {workspace}." if role == "none" else f"{user} is {role} of {workspace}."
    )


def _named(workspaces: Sequence[Workspace], name: str, asking: str) -> Workspace:
    owner, _, rest = name.rpartition("/")
    fitting = [each for each in workspaces if each.name == (rest if owner else name) and owner in {"", each.owner}]
    own = [each for each in fitting if each.owner == asking]
    if len(fitting) == 1 or len(own) == 1:
        return (own or fitting)[0]
    if fitting:
        choices = ", ".join(f"{each.owner}/{each.name}" for each in fitting)
        raise click.ClickException(f"several workspaces are called {name!r}: say which of {choices}")
    raise NotFound(f"no workspace called {name!r} that {asking} is a member of: see samedrive workspace list")


# ── devices ──────────────────────────────────────────────────────────────────────────────────────────


@click.group("device")
def device_group() -> None:
    """What is logged in."""


@device_group.command("list")
@click.option("--all", "of_everybody", is_flag=True, help="Everybody's; for admins.")
@json_option
@server_option
def device_list(of_everybody: bool, as_json: bool, server: str | None) -> None:
    """Show your devices."""
    reply = ask(credentials.load(server), lambda account: account.devices(of_everybody=of_everybody))
    rows = [
        (each.name, each.user, _day(each.created_ns), _day(each.seen_ns), "revoked" if each.revoked else "", each.id)
        for each in reply.devices
    ]
    _show(("NAME", "USER", "SINCE", "SEEN", "", "ID"), rows, reply.devices if as_json else None)


@device_group.command("revoke")
@click.argument("device")
@server_option
def device_revoke(device: str, server: str | None) -> None:
    """Refuse the token of DEVICE, one of yours by its name or anybody's (for admins) by its id."""
    credential = credentials.load(server)

    async def revoke(account: Account) -> None:
        own = [each.id for each in (await account.devices()).devices if each.name == device and not each.revoked]
        try:
            await account.revoke(own[0] if own else DeviceId(device))
        except NotFound:
            raise NotFound(f"no device {device!r}: see samedrive device list") from None

    ask(credential, revoke)
    click.echo(f"{device} is no longer logged in.")


# ── conversation, passwords, tables ──────────────────────────────────────────────────────────────────


def ask(credential: Credential, work: Callable[[Account], Awaitable[T]]) -> T:
    """Run ``work`` as this login; raises DriveError, with what to do where the token is refused."""

    async def conversation() -> T:
        ca_file = None if credential.ca_file is None else Path(credential.ca_file)
        async with connect(credential.url, credential.token, ca_file) as account:
            return await work(account)

    try:
        return trio.run(conversation)
    except Unauthorized as error:
        again = f"samedrive login {credential.url} --user {credential.user}"
        raise Unauthorized(f"{credential.url} does not accept this login ({error}): {again}") from error


def _password(file: Path | None, *, twice: bool = False) -> str:
    if file is None:
        if not sys.stdin.isatty():
            raise click.UsageError("Nobody is there to be asked for the password: give it with --password-file.")
        return str(click.prompt("Password", hide_input=True, confirmation_prompt=twice, err=True))
    with click.open_file(str(file), "rb") as opened:
        content: bytes = opened.read(PASSWORD_MAX_BYTES + 2)
    try:
        password = content.decode().removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError:
        raise click.ClickException(f"the password in {file} is not UTF-8 text") from None
    if not password:
        raise click.ClickException(f"there is no password in {file}")
    return password


def _day(time_ns: int) -> str:
    return datetime.fromtimestamp(time_ns // 10**9, UTC).strftime("%Y-%m-%d %H:%M") if time_ns else "-"


def _show(head: Sequence[str], rows: Sequence[Sequence[str]], as_json: Sequence[Message] | None) -> None:
    """A table for people, or JSON (bytes as base64) where ``as_json`` is given."""
    if as_json is not None:
        click.echo(msgspec.json.format(msgspec.json.encode(as_json)).decode())
        return
    widths = [max(len(row[column]) for row in (head, *rows)) for column in range(len(head))]
    for row in (head, *rows):
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
