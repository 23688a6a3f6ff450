"""What every command shares that has one conversation with one server, as one saved login.

``--server`` says which where there are several.
"""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

import click
import msgspec
import trio

from backend.account import Account, connect
from backend.credentials import Credential
from backend.errors import NotFound, Unauthorized
from protocol.limits import PASSWORD_MAX_BYTES
from protocol.messages.accounts import Workspace
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
passphrase_option = click.option(
    "--passphrase-file",
    metavar="FILE",
    type=click.Path(exists=True, dir_okay=False, allow_dash=True, path_type=Path),
    help="Read an end-to-end workspace's passphrase from FILE, or from standard input where it is -.",
)


new_passphrase_option = click.option(
    "--new-passphrase-file",
    metavar="FILE",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Read the new passphrase from FILE.",
)


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


def password_from(file: Path | None, *, twice: bool = False) -> str:
    """A password from a file, or asked for."""
    return _secret("password", file, twice=twice)


def passphrase_from(file: Path | None, *, twice: bool = False) -> str:
    """An end-to-end workspace's passphrase from a file, or asked for."""
    return _secret("passphrase", file, twice=twice)


def new_passphrase_from(file: Path | None) -> str:
    """The one that takes its place."""
    return _secret("new passphrase", file, twice=True)


def _secret(what: str, file: Path | None, *, twice: bool) -> str:
    if file is None:
        if not sys.stdin.isatty():
            raise click.UsageError(
                f"Nobody is there to be asked for the {what}: give it with --{what.replace(' ', '-')}-file."
            )
        return str(click.prompt(what.capitalize(), hide_input=True, confirmation_prompt=twice, err=True))
    with click.open_file(str(file), "rb") as opened:
        content: bytes = opened.read(PASSWORD_MAX_BYTES + 2)
    try:
        secret = content.decode().removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError:
        raise click.ClickException(f"the {what} in {file} is not UTF-8 text") from None
    if not secret:
        raise click.ClickException(f"there is no {what} in {file}")
    return secret


def day(time_ns: int | None) -> str:
    """A time for people."""
    return datetime.fromtimestamp(time_ns // 10**9, UTC).strftime("%Y-%m-%d %H:%M") if time_ns else "-"


def print_json(answer: Message | Sequence[Message]) -> None:
    """For scripts: bytes are base64."""
    click.echo(msgspec.json.format(msgspec.json.encode(answer)).decode())


def show(head: Sequence[str], rows: Sequence[Sequence[str]], as_json: Sequence[Message] | None) -> None:
    """A table for people, or ``as_json`` where that is given.

    What somebody else named can't speak to the terminal, nor look like a row of its own.
    """
    if as_json is not None:
        print_json(as_json)
        return
    rows = [[_printable(cell) for cell in row] for row in rows]
    widths = [max(len(row[column]) for row in (head, *rows)) for column in range(len(head))]
    for row in (head, *rows):
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def _printable(text: str) -> str:
    """With escapes for what is not to be seen."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)
