"""``samedrive token``: tokens for scripts."""

from __future__ import annotations

import click

from backend import credentials
from backend.account import Account
from backend.errors import NotFound
from cli.asking import ask, day, json_option, named, print_json, server_option, show
from cli.expiry import EXPIRY
from protocol.ids import DeviceId
from protocol.messages.tokens import MadeToken, NewToken, Scope, Token
from protocol.messages.wire import API


@click.group("token")
def token_group() -> None:
    """Tokens for scripts: for files alone, for as long and as far as you say."""


@token_group.command("create")
@click.argument("name")
@click.option(
    "--scope",
    type=click.Choice([scope.value for scope in Scope]),
    default=Scope.READ.value,
    show_default=True,
    help="What the script may do with files.",
)
@click.option(
    "--workspace", "workspaces", metavar="NAME", multiple=True, help="For this one alone, or these; all if left out."
)
@click.option("--expires", metavar="WHEN", type=EXPIRY, help="After 12h, 30d, 8w, or on 2027-01-31; never if left out.")
@json_option
@server_option
def token_create(
    name: str, scope: str, workspaces: tuple[str, ...], expires: int | None, as_json: bool, server: str | None
) -> None:
    """Make a token called NAME, which is shown once."""
    credential = credentials.load(server)

    async def create(account: Account) -> MadeToken:
        chosen = [(await named(account, each, credential)).id for each in workspaces]
        return await account.make_token(NewToken(name, Scope(scope), chosen or None, expires))

    made = ask(credential, create)
    if as_json:
        print_json(made)
        return
    click.echo(f"The token {name}, shown this once:\n\n  {made.secret}\n")
    click.echo(f'Try: curl -H "Authorization: Bearer $TOKEN" {credential.url}/{API}/workspaces')


@token_group.command("list")
@json_option
@server_option
def token_list(as_json: bool, server: str | None) -> None:
    """Show your tokens, without what makes them work."""
    credential = credentials.load(server)

    async def tokens(account: Account) -> tuple[list[Token], dict[str, str]]:
        return await account.tokens(), {each.id: f"{each.owner}/{each.name}" for each in await account.workspaces()}

    found, workspaces = ask(credential, tokens)
    rows = [
        (
            each.name,
            each.scope.value,
            "all" if each.workspaces is None else ", ".join(workspaces.get(one, "-") for one in each.workspaces),
            day(each.created_ns),
            day(each.expires_ns),
            each.id,
        )
        for each in found
    ]
    show(("NAME", "SCOPE", "WORKSPACES", "SINCE", "EXPIRES", "ID"), rows, found if as_json else None)


@token_group.command("revoke")
@click.argument("token")
@server_option
def token_revoke(token: str, server: str | None) -> None:
    """Refuse TOKEN, its name or id, from now on."""

    async def revoke(account: Account) -> None:
        found = [each.id for each in await account.tokens() if token in (each.name, each.id)]
        if not found:
            raise NotFound(f"no token {token!r}: see samedrive token list")
        await account.revoke_token(DeviceId(found[0]))

    ask(credentials.load(server), revoke)
    click.echo(f"{token} is refused from now on.")
