"""``samedrive audit``: who did what, when, and from where."""

from __future__ import annotations

import click

from backend import credentials
from cli.asking import ask, day, json_option, server_option, show


@click.command("audit")
@click.option("--after", metavar="ID", type=click.IntRange(min=0), help="Only what came after this event.")
@click.option("--limit", type=click.IntRange(1, 1000), default=100, show_default=True, help="So many at most.")
@json_option
@server_option
def audit_command(after: int | None, limit: int, as_json: bool, server: str | None) -> None:
    """Show the newest events: log-ins, tokens, shares, links, deletions.

    Owners see those of their workspaces, admins all.
    """
    found = ask(credentials.load(server), lambda account: account.audit(after, limit)).events
    rows = [
        (str(each.id), day(each.at_ns), each.what.value, each.user, each.device, each.address, each.subject)
        for each in found
    ]
    show(("ID", "WHEN", "WHAT", "USER", "DEVICE", "FROM", ""), rows, found if as_json else None)
