"""``samedrive workspace``: the workspaces that one has, and who else has them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click

from backend import credentials
from backend.account import Account
from backend.credentials import Credential
from cli.asking import (
    ask,
    json_option,
    named,
    passphrase_from,
    passphrase_option,
    server_option,
    show,
)
from cli.size import SIZE, written
from cli.workspacekeys import (
    counted,
    create_end_to_end,
    passphrase_command,
    reseal_command,
    rotate_key_command,
    unlock_command,
)
from protocol.messages.accounts import Member, Role, Workspace


@click.group("workspace")
def workspace_group() -> None:
    """The trees of files at a server that can be mounted and shared."""


@workspace_group.command("create")
@click.argument("name")
@click.option("--quota", type=SIZE, metavar="SIZE", help="The most that it may hold, such as 500G.")
@click.option("--end-to-end", is_flag=True, help="Encrypt it with a passphrase that never reaches the server.")
@passphrase_option
@server_option
def workspace_create(
    name: str, quota: int | None, end_to_end: bool, passphrase_file: Path | None, server: str | None
) -> None:
    """Make a workspace of your own."""
    if passphrase_file is not None and not end_to_end:
        raise click.UsageError("--passphrase-file is for --end-to-end")
    credential = credentials.load(server)
    if end_to_end:
        passphrase = passphrase_from(passphrase_file, twice=True)
        create_end_to_end(credential, name, quota, passphrase)
    else:
        ask(credential, lambda account: account.create_workspace(name, quota))
    click.echo(f"Made {name}: samedrive mount {credential.url} DIR --workspace {name}")
    if end_to_end:
        click.echo("Keep the passphrase: nobody can read what is in the workspace without it, nor set another.")


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
            ", ".join(_notes(each)),
        )
        for each in workspaces
    ]
    show(("NAME", "OWNER", "ROLE", "USED", "QUOTA", ""), rows, workspaces if as_json else None)


def _notes(workspace: Workspace) -> Iterator[str]:
    if workspace.default:
        yield "default"
    if workspace.end_to_end:
        yield "end-to-end"
    if workspace.old_blocks:
        yield f"{counted(workspace.old_blocks)} under older keys"


@workspace_group.command("members")
@click.argument("workspace")
@json_option
@server_option
def workspace_members(workspace: str, as_json: bool, server: str | None) -> None:
    """Show who has WORKSPACE: its name, or OWNER/NAME where two have that name."""
    credential = credentials.load(server)

    async def members(account: Account) -> list[Member]:
        return await account.members((await named(account, workspace, credential)).id)

    found = ask(credential, members)
    show(("USER", "ROLE"), [(each.user, each.role.value) for each in found], found if as_json else None)


@workspace_group.command("share")
@click.argument("workspace")
@click.argument("user")
@click.option(
    "--role",
    type=click.Choice([role.value for role in Role]),
    default=Role.EDITOR.value,
    show_default=True,
    help="Owners share, editors change, viewers read.",
)
@server_option
def workspace_share(workspace: str, user: str, role: str, server: str | None) -> None:
    """Make USER a member of WORKSPACE, or give a member another role."""
    credential = credentials.load(server)

    async def share(account: Account) -> None:
        await account.share((await named(account, workspace, credential)).id, user, Role(role))

    ask(credential, share)
    click.echo(f"{user} is {role} of {workspace}.")


@workspace_group.command("unshare")
@click.argument("workspace")
@click.argument("user")
@server_option
def workspace_unshare(workspace: str, user: str, server: str | None) -> None:
    """Take WORKSPACE away from USER. What that user's devices have not sent stays with them."""
    _remove(credentials.load(server), workspace, user)
    click.echo(f"{user} is no longer a member of {workspace}.")


@workspace_group.command("leave")
@click.argument("workspace")
@server_option
def workspace_leave(workspace: str, server: str | None) -> None:
    """Give up a workspace that somebody shared with you."""
    credential = credentials.load(server)
    _remove(credential, workspace, credential.user)
    click.echo(f"You are no longer a member of {workspace}.")


def _remove(credential: Credential, workspace: str, user: str) -> None:
    async def remove(account: Account) -> None:
        await account.remove_member((await named(account, workspace, credential)).id, user)

    ask(credential, remove)


for command in (passphrase_command, unlock_command, rotate_key_command, reseal_command):
    workspace_group.add_command(command)
