"""``samedrive conflicts``: what two devices changed at once, and which of it to keep."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import click

from backend.errors import DriveError
from cli.mount import place_of
from cli.places import runtime_folder
from cli.size import written
from fs import control
from fs.control import Decision
from protocol.messages.conflicts import Keep

_KEEP: Final = "keep"
_HOW: Final = """\
To end a conflict: samedrive conflicts keep WHICH FILE, where FILE is one of the files listed and WHICH is
  mine    its content goes under the name of the file that it conflicts with
  theirs  the file that it conflicts with stays as it is, and this one is removed
  both    it stays, as an ordinary file"""


@click.command("conflicts")
@click.argument("arguments", metavar="[DIR] | keep mine|theirs|both FILE...", nargs=-1)
@click.option("--json", "as_json", is_flag=True, help="For scripts.")
def conflicts_command(arguments: tuple[str, ...], as_json: bool) -> None:
    """List conflict copies on the drive at DIR (on every one mounted here, without DIR), or end conflicts.

    Where two devices changed one file before they heard of each other, the first change stands under the file's
    name and the other is kept beside it, as a conflict copy: NAME (conflict from DEVICE TIME). Any device can look
    at both and decide:

    \b
      samedrive conflicts keep mine FILE     the conflict copy FILE replaces the other
      samedrive conflicts keep theirs FILE   what stands under the name is kept, FILE goes
      samedrive conflicts keep both FILE     FILE becomes an ordinary file
    """
    if arguments[:1] == (_KEEP,):
        _keep(arguments[1:])
    elif len(arguments) > 1:
        raise click.UsageError("conflicts takes [DIR], or keep mine|theirs|both FILE... (a folder named keep: ./keep).")
    else:
        _list([place_of(Path(name)) for name in arguments], as_json=as_json)


def _list(places: Sequence[Path], *, as_json: bool) -> None:
    if not places:
        places = [Path(record.folder) for record in control.records(runtime_folder())]
        if not places and not as_json:
            raise click.ClickException("nothing is mounted here: samedrive mount URL DIR, then ask again")
    found, silent = [], []
    for place in places:
        try:
            _ask(place, "status")  # Answered at once, unless the mount's process is stopped.
            found += [_with_paths(place, copy) for copy in _ask(place, "conflicts")]
        except (DriveError, click.ClickException) as error:
            silent.append(f"{place}: its conflicts aren't known: {error}")
    if as_json:
        click.echo(json.dumps(found, indent=2))
    elif found:
        click.echo("\n".join(_described(copy) for copy in found))
        click.echo(f"\n{_HOW}")
    elif not silent:
        click.echo("No conflicts.")
    if silent:
        raise click.ClickException("\n".join(silent))


def _with_paths(place: Path, copy: dict[str, Any]) -> dict[str, Any]:
    """What people and scripts are shown of a conflict copy."""
    original = copy.get("original")
    return {
        "path": _path(place, copy["path"]),
        "conflicts_with": None if original is None else _path(place, original["path"]),
        "device": copy.get("device", ""),
        "time_ns": copy.get("committed_ns", 0),
        "kind": copy["kind"],
        "size_bytes": copy["size"],
    }


def _path(place: Path, names: Sequence[str]) -> str:
    return os.fsdecode(os.path.join(os.fsencode(place), *(base64.b64decode(name) for name in names)))


def _described(copy: dict[str, Any]) -> str:
    by = f"by {copy['device']}" if copy["device"] else f"a {copy['kind']}"
    at = f", {datetime.fromtimestamp(copy['time_ns'] // 10**9):%Y-%m-%d %H:%M:%S}" if copy["time_ns"] else ""
    size = f", {written(copy['size_bytes'])}" if copy["kind"] == "file" else ""
    other = copy["conflicts_with"]
    against = "conflicts with a file that is gone" if other is None else f"conflicts with {other}"
    return f"{copy['path']}\n  {by}{at}{size}; {against}"


def _keep(arguments: Sequence[str]) -> None:
    if len(arguments) < 2 or arguments[0] not in set(Keep):
        raise click.UsageError("say what to keep and of which conflict copies: keep mine|theirs|both FILE....")
    keep, failed = Keep(arguments[0]), []
    for name in arguments[1:]:
        try:
            place, path = _below_a_mount(Path(name))
            _ask(place, Decision(path, keep))
        except (DriveError, click.ClickException) as error:
            failed.append(f"{name}: {error}")
        else:
            click.echo(f"{name}: kept {keep}")
    if failed:
        raise click.ClickException("; ".join(failed))


def _below_a_mount(file: Path) -> tuple[Path, list[bytes]]:
    """The mount that a file is on, and the names from there; the file is not asked, for its mount may hang."""
    mounts = [Path(record.folder) for record in control.records(runtime_folder())]
    path = Path(os.path.abspath(file))
    above = [mount for mount in mounts if path.is_relative_to(mount)]
    if not above:  # By a symbolic link, then.
        path = path.parent.resolve() / path.name
        above = [mount for mount in mounts if path.is_relative_to(mount)]
    if not above:
        raise click.ClickException("this is not on a drive that is mounted here")
    mount = max(above, key=lambda place: len(place.parts))
    return mount, [os.fsencode(name) for name in path.relative_to(mount).parts]


def _ask(place: Path, question: str | Decision) -> Any:
    try:
        return control.ask(runtime_folder(), place, question)
    except FileNotFoundError:
        raise click.ClickException(f"no drive is mounted at {place}") from None
