"""``samedrive link``: a file or folder for whoever has its link, without an account."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote_from_bytes

import click

from backend import credentials
from backend.account import Account
from backend.credentials import Credential
from backend.errors import NotFound
from cli.asking import ask, day, json_option, named, password_from, print_json, server_option, show
from cli.expiry import EXPIRY
from cli.mount import place_of
from cli.places import runtime_folder
from fs import control
from protocol.messages.links import Link, LinkKind, MadeLink, NewLink
from protocol.messages.nodes import Kind
from protocol.messages.wire import API

workspace_option = click.option(
    "--workspace", metavar="NAME", help="NAME or OWNER/NAME: what is said is about this one, without a mount."
)


@click.group("link")
def link_group() -> None:
    """Share a file or a folder with whoever has the link."""


class _Meant(NamedTuple):
    """What a person named: something in a workspace, and the login that reaches it."""

    credential: Credential
    workspace: str
    names: list[bytes]


@link_group.command("create")
@click.argument("path", type=click.Path(path_type=Path))
@workspace_option
@click.option("--upload", is_flag=True, help="Let others add files to this folder, and see none.")
@click.option("--expires", metavar="WHEN", type=EXPIRY, help="After 12h, 30d, 8w, or on 2027-01-31; never if left out.")
@click.option("--password", "with_password", is_flag=True, help="Ask for a password that the link then needs.")
@click.option(
    "--password-file",
    metavar="FILE",
    type=click.Path(exists=True, dir_okay=False, allow_dash=True, path_type=Path),
    help="Read that password from FILE, or from standard input where it is -.",
)
@click.option("--times", metavar="N", type=click.IntRange(min=1), help="So many downloads or uploads at most.")
@json_option
@server_option
def link_create(
    path: Path,
    workspace: str | None,
    upload: bool,
    expires: int | None,
    with_password: bool,
    password_file: Path | None,
    times: int | None,
    as_json: bool,
    server: str | None,
) -> None:
    """Make a link to PATH: a file or folder on a mounted drive, or with --workspace its path in there.

    It is shown once: an address that fetches the file, or the folder as a zip; with --upload, a command that brings a
    file.
    """
    meant = _in_workspace(path, workspace, server) if workspace is not None else _on_a_drive(path)
    password = password_from(password_file, twice=True) if with_password or password_file is not None else None
    kind = LinkKind.UPLOAD if upload else LinkKind.READ
    wanted = NewLink("/".join(quote_from_bytes(name, safe="") for name in meant.names), kind, password, expires, times)

    async def create(account: Account) -> MadeLink:
        found = await named(account, meant.workspace, meant.credential)
        return await account.make_link(found.id, wanted)

    made = ask(meant.credential, create)
    if as_json:
        print_json(made)
        return
    address = f"{meant.credential.url}/{API}/links/{made.secret}"
    if upload:
        click.echo(f"curl -T FILE {address}/files/")
    else:
        click.echo(f"{address}/files/" if made.link.leads_to is Kind.FILE else f"{address}/archive/")


@link_group.command("list")
@click.argument("workspace")
@json_option
@server_option
def link_list(workspace: str, as_json: bool, server: str | None) -> None:
    """Show the links into WORKSPACE, and how they are used."""
    credential = credentials.load(server)

    async def links(account: Account) -> list[Link]:
        return await account.links((await named(account, workspace, credential)).id)

    found = ask(credential, links)
    rows = [
        (
            each.id,
            each.kind.value,
            "(removed)" if each.path is None else f"/{each.path}",
            each.made_by,
            day(each.expires_ns),
            "yes" if each.has_password else "",
            str(each.uses),
            str(each.transfers) if each.transfers_max is None else f"{each.transfers} of {each.transfers_max}",
            day(each.used_ns),
        )
        for each in found
    ]
    head = ("ID", "KIND", "PATH", "BY", "EXPIRES", "PASSWORD", "USES", "TRANSFERS", "LAST")
    show(head, rows, found if as_json else None)


@link_group.command("revoke")
@click.argument("workspace")
@click.argument("link")
@server_option
def link_revoke(workspace: str, link: str, server: str | None) -> None:
    """Let LINK, an id of samedrive link list, lead nowhere."""
    credential = credentials.load(server)

    async def revoke(account: Account) -> None:
        await account.revoke_link((await named(account, workspace, credential)).id, link)

    ask(credential, revoke)
    click.echo(f"{link} leads nowhere from now on.")


def _in_workspace(path: Path, workspace: str, server: str | None) -> _Meant:
    names = [bytes(Path(part)) for part in path.parts if part != "/"]
    return _Meant(credentials.load(server), workspace, names)


def _on_a_drive(path: Path) -> _Meant:
    """Something below a mount of this person; raises NotFound. A symbolic link is not followed where it is the last."""
    place = place_of(path)
    for record in control.records(runtime_folder()):
        mount = Path(record.folder)
        if place == mount or mount in place.parents:
            names = [bytes(Path(part)) for part in place.relative_to(mount).parts]
            return _Meant(credentials.load(record.url, device=record.device), record.workspace, names)
    raise NotFound(f"{path} is not on a mounted drive: mount it, or name it in a workspace with --workspace NAME")
