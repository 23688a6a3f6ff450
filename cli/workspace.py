"""``samedrive workspace``: the workspaces that one has, and who else has them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import click

from backend import credentials
from backend.account import Account
from backend.credentials import Credential
from backend.errors import NotFound
from cli.asking import (
    ask,
    json_option,
    new_passphrase_from,
    new_passphrase_option,
    passphrase_from,
    passphrase_option,
    server_option,
    show,
)
from cli.size import SIZE, written
from protocol.ids import WorkspaceId, new_hex_id
from protocol.keys import new_key
from protocol.limits import PASSPHRASE_MIN_CHARS
from protocol.messages.accounts import Member, Role, Workspace
from protocol.passphrase import BadEnvelope, WrongPassphrase, disclose, enclose


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
        _create_end_to_end(credential, name, quota, passphrase)
    else:
        ask(credential, lambda account: account.create_workspace(name, quota))
    click.echo(f"Made {name}: samedrive mount {credential.url} DIR --workspace {name}")
    if end_to_end:
        click.echo("Keep the passphrase: nobody can read what is in the workspace without it, nor set another.")


def _create_end_to_end(credential: Credential, name: str, quota: int | None, passphrase: str) -> None:
    """Make the key and its envelope here; the server gets the envelope."""
    _check_passphrase(passphrase)
    workspace = WorkspaceId(new_hex_id())
    envelope = enclose(new_key(), passphrase, workspace)
    ask(credential, lambda account: account.create_end_to_end_workspace(workspace, name, envelope, quota))


def _check_passphrase(passphrase: str) -> None:
    if len(passphrase) < PASSPHRASE_MIN_CHARS:
        raise click.ClickException(
            f"a passphrase has at least {PASSPHRASE_MIN_CHARS} characters, such as several words: "
            "whoever gets at the server can try as many as he likes"
        )


@workspace_group.command("passphrase")
@click.argument("workspace")
@passphrase_option
@new_passphrase_option
@server_option
def workspace_passphrase(
    workspace: str, passphrase_file: Path | None, new_passphrase_file: Path | None, server: str | None
) -> None:
    """Give the end-to-end encrypted WORKSPACE another passphrase. Its key stays the same."""
    credential = credentials.load(server)

    async def asked(account: Account) -> Workspace:
        return await account.workspace((await named(account, workspace, credential)).id)

    found = ask(credential, asked)
    if not found.end_to_end:
        raise click.ClickException(f"{workspace} has no passphrase: it isn't end-to-end encrypted")
    try:
        key = disclose(found.envelope, passphrase_from(passphrase_file), found.id)
    except (WrongPassphrase, BadEnvelope) as error:
        raise click.ClickException(str(error)) from None
    new = new_passphrase_from(new_passphrase_file)
    _check_passphrase(new)
    envelope = enclose(key, new, found.id)
    ask(credential, lambda account: account.replace_envelope(found.id, found.envelope, envelope))
    click.echo(
        f"{workspace} has another passphrase. Each mount asks for it once when it begins again. Who has an old copy of"
        " the server's database can still open that with the old one."
    )


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
        yield f"{_counted(workspace.old_blocks)} under older keys"


def _counted(blocks: int) -> str:
    return "1 block" if blocks == 1 else f"{blocks:,} blocks"


@workspace_group.command("rotate-key")
@click.argument("workspace")
@server_option
def workspace_rotate_key(workspace: str, server: str | None) -> None:
    """Seal what WORKSPACE gets from now on under another key, and have the server seal anew what it holds.

    So that who had the old key, and is no member any more, can't read what lies in storage. Mounts go on meanwhile.
    """
    credential = credentials.load(server)

    async def rotate(account: Account) -> Workspace:
        found = await named(account, workspace, credential)
        return await account.add_key(found.id, found.key_id)

    changed = ask(credential, rotate)
    text = f"Key {changed.key_id} seals what {workspace} gets from now on."
    if changed.old_blocks:
        text += (
            f" The server seals {_counted(changed.old_blocks)} anew: samedrive workspace list says how many are left."
        )
    click.echo(text)


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


async def named(account: Account, name: str, credential: Credential) -> Workspace:
    """The workspace called NAME or OWNER/NAME, one's own before another's; raises NotFound."""
    return _named(await account.workspaces(), name, credential.user)


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
