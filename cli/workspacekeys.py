"""``samedrive workspace``, of keys and passphrases: what seals a workspace, and what opens an end-to-end one."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from backend import credentials
from backend.account import Account
from backend.credentials import Credential
from backend.errors import Offline
from backend.keys import working_keys
from backend.rotation import Resealed, add_key, reseal
from backend.threads import WorkerThreads
from backend.workspacekey import keeping, keys_of, with_key
from cli.asking import (
    ask,
    named,
    new_passphrase_from,
    new_passphrase_option,
    passphrase_from,
    passphrase_option,
    server_option,
)
from protocol.ids import WorkspaceId, new_hex_id
from protocol.keys import FIRST_KEY, new_key
from protocol.limits import PASSPHRASE_MIN_CHARS
from protocol.messages.accounts import Workspace
from protocol.passphrase import enclose

WORKERS = 2


def create_end_to_end(credential: Credential, name: str, quota: int | None, passphrase: str) -> None:
    """Make the key and its envelope here; the server gets the envelope."""
    _check_passphrase(passphrase)
    workspace = WorkspaceId(new_hex_id())
    envelope = enclose({FIRST_KEY: new_key()}, passphrase, workspace)
    ask(credential, lambda account: account.create_end_to_end_workspace(workspace, name, envelope, quota))


@click.command("passphrase")
@click.argument("workspace")
@passphrase_option
@new_passphrase_option
@server_option
def passphrase_command(
    workspace: str, passphrase_file: Path | None, new_passphrase_file: Path | None, server: str | None
) -> None:
    """Give the end-to-end encrypted WORKSPACE another passphrase. Its keys stay the same."""
    credential = credentials.load(server)
    found = _end_to_end(credential, workspace, "has no passphrase: it isn't end-to-end encrypted")
    opened = with_key(found, None, passphrase_from(passphrase_file))
    envelope = enclose(keys_of(opened), _new_passphrase(new_passphrase_file), found.id)
    ask(credential, lambda account: account.replace_envelope(found.id, found.envelope, envelope))
    click.echo(
        f"{workspace} has another passphrase. Each mount asks for it once when it begins again. Who has an old copy of"
        " the server's database can still open that with the old one."
    )


@click.command("unlock")
@click.argument("workspace")
@passphrase_option
@server_option
def unlock_command(workspace: str, passphrase_file: Path | None, server: str | None) -> None:
    """Open WORKSPACE, end-to-end encrypted, on this machine.

    For the mounts that run here and those that begin later. Needed once after its key was rotated, or its passphrase
    changed.
    """
    credential = credentials.load(server)
    found = _end_to_end(credential, workspace, "needs no unlocking: it isn't end-to-end encrypted")
    _unlocked(credential, workspace, found, passphrase_from(passphrase_file))
    click.echo(f"{workspace} is unlocked on this machine.")


@click.command("rotate-key")
@click.argument("workspace")
@passphrase_option
@new_passphrase_option
@click.option(
    "--keep-passphrase",
    is_flag=True,
    help="Leave an end-to-end workspace's passphrase as it is: where nobody who is to be shut out knows it.",
)
@server_option
def rotate_key_command(
    workspace: str,
    passphrase_file: Path | None,
    new_passphrase_file: Path | None,
    keep_passphrase: bool,
    server: str | None,
) -> None:
    """Give WORKSPACE another key, and seal anew what it holds.

    What it gets from now on is sealed under that key, too. So who had the old one, and is no member any more, can't
    read the contents that lie in storage. Mounts go on meanwhile. The server seals anew by itself, but for an
    end-to-end encrypted workspace: that is done by this command, which asks for a new passphrase. Names there stay
    under the first key.
    """
    credential = credentials.load(server)
    found = _found(credential, workspace)
    if found.end_to_end:
        if keep_passphrase and new_passphrase_file is not None:
            raise click.UsageError("--keep-passphrase and --new-passphrase-file exclude each other")
        passphrase = passphrase_from(passphrase_file)
        opened = _unlocked(credential, workspace, found, passphrase)
        new = passphrase if keep_passphrase else _new_passphrase(new_passphrase_file)
        _rotate_end_to_end(credential, workspace, opened, new)
        return
    if passphrase_file is not None or new_passphrase_file is not None or keep_passphrase:
        raise click.UsageError(f"{workspace} has no passphrase: it isn't end-to-end encrypted")
    changed = ask(credential, lambda account: account.add_key(found.id, found.key_id))
    text = f"Key {changed.key_id} seals what {workspace} gets from now on."
    if changed.old_blocks:
        text += (
            f" The server seals {counted(changed.old_blocks)} anew: samedrive workspace list says how many are left."
        )
    click.echo(text)


@click.command("reseal")
@click.argument("workspace")
@passphrase_option
@server_option
def reseal_command(workspace: str, passphrase_file: Path | None, server: str | None) -> None:
    """Go on with sealing WORKSPACE anew.

    It is end-to-end encrypted, and holds something under older keys: rotate-key was interrupted, or devices that had
    not been unlocked yet brought it since.
    """
    credential = credentials.load(server)
    found = _end_to_end(credential, workspace, "is sealed anew by the server itself")
    opened = _unlocked(credential, workspace, found, passphrase_from(passphrase_file))
    if max(keys_of(opened)) > opened.key_id:
        raise click.ClickException(
            f"the server, which was restored from a backup, lacks a key of {workspace} that is known here:"
            " samedrive workspace rotate-key gives it back"
        )
    _reseal(credential, workspace, opened)


def _rotate_end_to_end(credential: Credential, workspace: str, opened: Workspace, passphrase: str) -> None:
    threads = WorkerThreads(WORKERS)
    opened = ask(credential, lambda account: add_key(account, opened, passphrase, threads))
    _remember(credential, workspace, opened)
    click.echo(f"Key {opened.key_id} seals what {workspace} gets from now on from devices that are unlocked.")
    click.echo(f"On each other device: samedrive workspace unlock {workspace}")
    _reseal(credential, workspace, opened)


def _reseal(credential: Credential, workspace: str, opened: Workspace) -> None:
    keys, threads = working_keys(opened), WorkerThreads(WORKERS)

    def note(done: int) -> None:
        if sys.stderr.isatty():
            click.echo(f"\r{done:,} of {opened.old_blocks:,} blocks sealed anew", nl=False, err=True)

    try:
        found: Resealed = ask(credential, lambda account: reseal(account, opened.id, keys, threads, note))
    except (Offline, KeyboardInterrupt):
        click.echo(f"Interrupted. To go on: samedrive workspace reseal {workspace}", err=True)
        raise
    finally:
        if sys.stderr.isatty():
            click.echo(err=True)
    click.echo(f"{counted(found.done)} sealed anew under key {keys.key_id}.")
    if found.damaged:
        click.echo(
            f"{counted(found.damaged)} damaged: each is replaced when a device that has its content sends it again."
        )
    if found.locked:
        click.echo(f"{counted(found.locked)} under keys that aren't known here, but maybe on another device.")


def counted(blocks: int) -> str:
    """A number of blocks, for people."""
    return "1 block" if blocks == 1 else f"{blocks:,} blocks"


def _found(credential: Credential, workspace: str) -> Workspace:
    async def asked(account: Account) -> Workspace:
        return await account.workspace((await named(account, workspace, credential)).id)

    return ask(credential, asked)


def _end_to_end(credential: Credential, workspace: str, else_: str) -> Workspace:
    found = _found(credential, workspace)
    if not found.end_to_end:
        raise click.ClickException(f"{workspace} {else_}")
    return found


def _unlocked(credential: Credential, workspace: str, found: Workspace, passphrase: str) -> Workspace:
    """Opened, with what else is known of its keys on this machine, where it is remembered so."""
    opened = with_key(found, None, passphrase)
    for known in credentials.remembered_as(found.id).values():
        opened = keeping(opened, known)
    _remember(credential, workspace, opened)
    return opened


def _remember(credential: Credential, workspace: str, opened: Workspace) -> None:
    """For every mount of it on this machine, those that run among them."""
    for path in credentials.remembered_as(opened.id) or [credentials.workspace_file(credential, workspace)]:
        credentials.remember_workspace(path, opened)


def _new_passphrase(file: Path | None) -> str:
    passphrase = new_passphrase_from(file)
    _check_passphrase(passphrase)
    return passphrase


def _check_passphrase(passphrase: str) -> None:
    if len(passphrase) < PASSPHRASE_MIN_CHARS:
        raise click.ClickException(
            f"a passphrase has at least {PASSPHRASE_MIN_CHARS} characters, such as several words: "
            "whoever gets at the server can try as many as he likes"
        )
