"""Logging in and out, and what a logged-in person does with users and devices."""

from __future__ import annotations

import socket
from contextlib import suppress
from pathlib import Path

import click
import trio

from backend import credentials
from backend.account import Account, connect
from backend.credentials import Credential
from backend.errors import NotFound, Unauthorized
from cli.asking import ask, day, json_option, password_from, password_option, server_option, show
from protocol.ids import DeviceId
from protocol.limits import DEVICE_NAME_MAX_CHARS


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
    credential = log_in(where, user, password_from(password_file), device, ca_file)
    click.echo(f"Logged in at {credential.url} as {user}, on device {device!r}.")


def log_in(url: str, user: str, password: str, device: str, ca_file: Path | None = None) -> Credential:
    """Get a token and save it; raises DriveError."""

    async def conversation() -> Credential:
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

    credential = trio.run(conversation)
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
    credential, password = credentials.load(server), password_from(password_file, twice=True)
    ask(credential, lambda account: account.add_user(name, password, admin=admin))
    click.echo(f"{name} can log in: samedrive login {credential.url} --user {name}")


@user_group.command("list")
@json_option
@server_option
def user_list(as_json: bool, server: str | None) -> None:
    """Show everybody who can log in."""
    users = ask(credentials.load(server), Account.users)
    rows = [(user.name, "admin" if user.admin else "", day(user.created_ns)) for user in users]
    show(("NAME", "", "SINCE"), rows, users if as_json else None)


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
def userpassword_from(name: str | None, password_file: Path | None, server: str | None) -> None:
    """Set your own password, or (for admins) that of NAME. Devices stay logged in."""
    credential, password = credentials.load(server), password_from(password_file, twice=True)
    who = name or credential.user
    ask(credential, lambda account: account.set_password(who, password))
    click.echo(f"The password of {who} is set.")


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
        (each.name, each.user, day(each.created_ns), day(each.seen_ns), "revoked" if each.revoked else "", each.id)
        for each in reply.devices
    ]
    show(("NAME", "USER", "SINCE", "SEEN", "", "ID"), rows, reply.devices if as_json else None)


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
