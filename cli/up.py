"""``samedrive up`` and ``down``: a drive of one's own in one command, and out again.

``up`` runs a server on this machine where none runs, logs in, and mounts; each step is left out where it is done
already, so that it can be repeated. ``down`` unmounts, and stops the server when no mount is left that needs it.
"""

from __future__ import annotations

import errno
import subprocess
import sys
from pathlib import Path

import click

from backend import credentials
from backend.account import Account
from backend.credentials import Credential, NoLogin
from backend.errors import Unauthorized
from cli.account import device_name, log_in
from cli.asking import ask
from cli.localserver import PROGRAM, LocalServer
from cli.mount import mounted_from, place_of
from cli.places import data_folder, runtime_folder, state_folder
from fs import control
from fs.mounting import FSNAME, mounted_at

_USER = "admin"


@click.command("up")
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
def up_command(folder: Path) -> None:
    """Make DIR a drive, with a server of your own on this machine.

    The server's data lies below $XDG_DATA_HOME/samedrive and stays when the drive is taken down. Another DIR shows
    the same files.
    """
    server, place = _local_server(), place_of(folder)
    with server.alone():
        if server.running() is None:
            server.start()
        if place in mounted_from(server.url):
            click.echo(f"{folder} is up already.")
            return
        login = _login(server)
        _make(place)
        _run("mount", login.url, str(place), "--user", login.user, "--device", login.device)
    click.echo(f"{folder} is a drive. A server of your own keeps what you put there, in {server.data}.")
    click.echo(f"In a browser: {login.url}, user {login.user}, password in {server.password_file}.\n")
    program = click.get_current_context().find_root().info_name
    tries = (
        (f"cp -a ~/Documents {folder}/", "copy something in"),
        (f"{program} up ANOTHER-DIR", "see the same files there too, at once"),
        (f"{program} status {folder}", "what it is doing"),
        (f"{program} down {folder}", "take it down; the files stay with the server"),
    )
    width = max(len(command) for command, _ in tries)
    for command, what in tries:
        click.echo(f"  {command.ljust(width)}   {what}")


@click.command("down")
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
def down_command(folder: Path) -> None:
    """Unmount DIR, and stop the server where no other mount uses it. Data stays."""
    server, place = _local_server(), place_of(folder)
    with server.alone():
        process = server.running()
        mounts = mounted_from(server.url)
        is_here = place in mounts or _is_dead(place)
        if not is_here and (process is None or mounts):
            up = f" Up: {', '.join(map(str, sorted(mounts)))}" if mounts else " Nothing is."
            raise click.ClickException(f"{folder} is not up.{up}")
        if is_here:
            _run("umount", str(place))
        if process is not None and not mounts - {place}:
            server.stop(process)
            click.echo(f"{folder} is down, and the server with it. Its data stays in {server.data}.")
        else:
            click.echo(f"{folder} is down.")


def _local_server() -> LocalServer:
    return LocalServer(data_folder(), state_folder() / "server.log")


def _is_dead(place: Path) -> bool:
    """Whether a mount of ours is there whose process has died."""
    there = mounted_at(place)
    if there is None or there.source != FSNAME:
        return False
    return all(record.folder != str(place) for record in control.records(runtime_folder()))


def _make(place: Path) -> None:
    try:
        place.mkdir(parents=True, exist_ok=True)
    except FileExistsError:
        raise click.ClickException(f"{place} is not a folder") from None
    except OSError as error:
        # The mount point of a process that died can't even be looked at; mounting clears it.
        if error.errno not in {errno.ENOTCONN, errno.EIO}:
            raise


def _login(server: LocalServer) -> Credential:
    """The saved login of this device, or a new one where there is none that the server takes."""
    try:
        login = credentials.load(server.url, user=_USER, device=device_name())
        ask(login, Account.workspaces)
        return login
    except (NoLogin, Unauthorized):
        password = server.password_file.read_text().removesuffix("\n")
        try:
            return log_in(server.url, _USER, password, device_name())
        except Unauthorized as error:
            # The person has set another password since.
            raise Unauthorized(f"{error}; log in yourself: samedrive login {server.url} --user {_USER}") from None


def _run(*arguments: str) -> None:
    """Run another command of this program; where it fails it has said why."""
    done = subprocess.run([sys.executable, PROGRAM, *arguments], check=False)
    if done.returncode != 0:
        raise click.exceptions.Exit(1)
