"""``samedrive mount``, ``umount``, ``status`` and ``wait``."""

from __future__ import annotations

import json
import logging
import os
import select
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeAlias

import click
import trio
from blake3 import blake3

from backend import credentials
from backend.credentials import Credential
from backend.errors import DriveError
from backend.opening import needs_passphrase, open_drive
from cli.asking import passphrase_from, passphrase_option
from cli.places import data_folder, runtime_folder, state_folder
from cli.size import SIZE, written
from fs import control
from fs.answering import DEADLINE_S
from fs.control import MountRecord
from fs.mounting import MountOptions, check_folder, mounted_at, serve_mount, unmount

_GONE_S: Final = 45.0
"""How long ``umount`` waits for the mount's process: it may be sending the last bytes."""

Ready: TypeAlias = Callable[[bool], None]
"""Called once the mount is up: whether it has not reached its server."""

_READY: Final = "ready"
_READY_OFFLINE: Final = "ready, offline"
_OFFLINE: Final = (
    "samedrive: this mount begins offline: the server can't be reached, or hasn't got what was done here before. "
    "What is cached is there; what you do is kept and sent when the server answers."
)


def place_of(folder: Path) -> Path:
    """Where a mount at ``folder`` shows in the list of mounts. The folder itself is not asked: its mount may hang."""
    absolute = Path.cwd() / folder
    return absolute.parent.resolve() / absolute.name if absolute.name not in {"", ".."} else absolute.resolve()


@click.command("mount")
@click.argument("arguments", metavar="[URL] DIR", nargs=-1, required=True)
@click.option("--workspace", metavar="NAME", help="NAME or OWNER/NAME; your default workspace if left out.")
@click.option("--device", metavar="NAME", help="Which login, where this machine has several at that server.")
@click.option("--user", metavar="NAME", help="Whose login, where there are several.")
@click.option(
    "--cache",
    metavar="FOLDER",
    type=click.Path(path_type=Path),
    help="For cached blocks and what is not sent yet; one mount, one folder (below $XDG_DATA_HOME/samedrive/mounts).",
)
@click.option("--cache-size", metavar="SIZE", type=SIZE, default="10G", show_default=True, help="Of cached blocks.")
@click.option("--allow-other", is_flag=True, help="Let other users of this machine in.")
@click.option("--read-only", is_flag=True, help="Change nothing.")
@click.option("--numeric-owner", is_flag=True, help="Show the stored owner numbers, not yourself as owner.")
@click.option("--suid", is_flag=True, help="Let set-user-ID programs on the drive take effect.")
@click.option("--dev", is_flag=True, help="Let device files on the drive take effect.")
@click.option("--ca-file", metavar="FILE", type=click.Path(path_type=Path), help="Certificates to trust.")
@click.option("--no-epoch", is_flag=True, help="Treat the kernel as one before Linux 6.16: it keeps no names.")
@click.option(
    "--strict", is_flag=True, help="Refuse what the server can't vouch for at once; keep nothing in the kernel."
)
@click.option(
    "--deadline",
    metavar="SECONDS",
    type=click.FloatRange(min=1.0),
    default=DEADLINE_S,
    show_default=True,
    help="Without progress for so long, an operation fails.",
)
@passphrase_option
@click.option("--foreground", is_flag=True, help="Stay, and log to standard error.")
def mount_command(
    arguments: tuple[str, ...],
    workspace: str | None,
    device: str | None,
    user: str | None,
    cache: Path | None,
    cache_size: int,
    allow_other: bool,
    read_only: bool,
    numeric_owner: bool,
    suid: bool,
    dev: bool,
    ca_file: Path | None,
    no_epoch: bool,
    strict: bool,
    deadline: float,
    passphrase_file: Path | None,
    foreground: bool,
) -> None:
    """Mount a workspace at DIR. URL may be left out where this machine is logged in at one server.

    An end-to-end encrypted workspace asks for its passphrase the first time; its key is kept beside your logins then.
    """
    if len(arguments) > 2:
        raise click.UsageError("mount takes [URL] DIR")
    url = arguments[0] if len(arguments) == 2 else None
    place = place_of(Path(arguments[-1]))
    check_folder(place)
    login = credentials.load(url, user=user, device=device)
    options = MountOptions(
        allow_other=allow_other,
        read_only=read_only,
        numeric_owner=numeric_owner,
        suid=suid,
        dev=dev,
        use_epoch=not no_epoch,
        strict=strict,
        deadline_s=deadline,
    )
    folder = Path.cwd() / cache if cache is not None else _default_cache(login, workspace, place)
    trusted = Path.cwd() / ca_file if ca_file is not None else Path(login.ca_file) if login.ca_file else None

    passphrase = _passphrase(login, trusted, workspace, passphrase_file)

    def serve(ready: Ready) -> None:
        trio.run(_mounted, login, trusted, workspace, passphrase, place, options, folder, cache_size, ready)

    if foreground:
        _log_to(None)

        def ready(offline: bool) -> None:
            click.echo(f"samedrive: mounted at {place}")
            if offline:
                click.echo(_OFFLINE, err=True)

        serve(ready)
    else:
        _in_background(state_folder() / "mounts" / f"{folder.name}.log", serve)


def _passphrase(login: Credential, ca_file: Path | None, workspace: str | None, file: Path | None) -> str | None:
    """What opens the workspace: from a file, or asked for where nothing is known of it here; None: nothing is needed.

    A mount in the background has nobody to ask.
    """
    if file is not None:
        return passphrase_from(file)
    if not sys.stdin.isatty() or credentials.remembered_workspace(credentials.workspace_file(login, workspace)):
        return None

    async def question() -> bool:
        return await needs_passphrase(url=login.url, token=login.token, ca_file=ca_file, workspace=workspace)

    return passphrase_from(None) if trio.run(question) else None


async def _mounted(
    login: Credential,
    ca_file: Path | None,
    workspace: str | None,
    passphrase: str | None,
    place: Path,
    options: MountOptions,
    cache: Path,
    cache_bytes: int,
    ready: Ready,
) -> None:
    async with open_drive(
        url=login.url,
        token=login.token,
        ca_file=ca_file,
        workspace=workspace,
        cache_dir=cache,
        cache_bytes=cache_bytes,
        read_only=options.read_only,
        remembered=credentials.workspace_file(login, workspace),
        passphrase=passphrase,
        strict=options.strict,
    ) as drive:
        name = f"{drive.workspace.owner}/{drive.workspace.name}"
        record = MountRecord(str(place), os.getpid(), login.url, name, login.device, str(cache))
        await serve_mount(
            drive,
            place,
            options,
            lambda: control.serve_control(runtime_folder(), record, drive),
            lambda: ready(drive.is_apart),
        )


@click.command("umount")
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
def umount_command(folder: Path) -> None:
    """Unmount DIR; returns when what was written there is sent, or kept for the next mount."""
    place = place_of(folder)
    there = mounted_at(place)
    if there is None:
        raise click.ClickException(f"nothing is mounted at {place}")
    if there.source != "samedrive":
        raise click.ClickException(f"what is mounted at {place} is not a drive of ours ({there.kind}): use umount")
    process = next((record.pid for record in control.records(runtime_folder()) if record.folder == str(place)), None)
    waiting = None if process is None else os.pidfd_open(process)
    unmount(place)
    if waiting is not None and not select.select([waiting], [], [], _GONE_S)[0]:
        raise click.ClickException(f"{place} is unmounted, but its process ({process}) is still sending")


@click.command("status")
@click.argument("folder", metavar="[DIR]", type=click.Path(path_type=Path), required=False)
@click.option("--json", "as_json", is_flag=True, help="For scripts.")
def status_command(folder: Path | None, as_json: bool) -> None:
    """Show what the mount at DIR (every mount, without DIR) is doing and did since it was mounted."""
    answers, silent = [], []
    if folder is not None:
        answers = [_ask(folder, "status")]
    else:
        for record in control.records(runtime_folder()):
            try:
                answers.append(_ask(Path(record.folder), "status"))
            except DriveError as error:
                silent.append(str(error))
    if as_json:
        click.echo(json.dumps(answers[0] if folder is not None else answers, indent=2))
    elif answers:
        click.echo("\n\n".join(described(answer) for answer in answers))
    elif not silent:
        click.echo("Nothing is mounted. samedrive mount URL DIR mounts a workspace; samedrive up DIR makes a drive.")
    if silent:
        raise click.ClickException("\n".join(silent))


@click.command("wait")
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
def wait_command(folder: Path) -> None:
    """Return when everything written at DIR is committed at the server."""
    _ask(folder, "wait")


def mounted_from(url: str) -> set[Path]:
    """Where workspaces of this server are mounted by this person."""
    return {Path(record.folder) for record in control.records(runtime_folder()) if record.url == url}


def _ask(folder: Path, question: str) -> dict[str, Any]:
    place = place_of(folder)
    try:
        answer: dict[str, Any] = control.ask(runtime_folder(), place, question)
    except FileNotFoundError:
        raise click.ClickException(f"no drive is mounted at {place}") from None
    return answer


def described(status: dict[str, Any]) -> str:
    """A mount's status for people, in lines."""
    lines = [
        f"{status['folder']}: {status['workspace']} at {status['url']}, {status['state']}",
        f"  change {status['seq']}; {status['requests']} requests, "
        f"{written(status['bytes_up'])} up, {written(status['bytes_down'])} down",
        f"  blocks: {status['blocks_up']} sent, {status['blocks_down']} fetched, "
        f"{status['cache_hits']} from the cache ({written(status['cache_bytes'])} on disk)",
    ]
    if status["state"] == "waiting":
        lines.append("  the server did not answer last: what needs it waits")
    elif status["state"] != "online" and (kept := status["queued_changes"]):
        what, them = ("change", "it") if kept == 1 else ("changes", "them")
        lines.append(f"  {kept} {what} kept here, to be sent when the server takes {them}")
    lines += [f"  trouble: {status['trouble']}"] if status["trouble"] else []
    lines += [f"  blocks aren't cached: {status['cache_trouble']}"] if status["cache_trouble"] else []
    lines += [f"  {status['key_trouble']}"] if status["key_trouble"] else []
    for file in status["sending"]:
        why = f": {file['trouble']}" if file["trouble"] else ""
        lines.append(f"  not sent yet: {file['path']}, {written(file['size_bytes'])}{why}")
    return "\n".join(lines)


def _default_cache(login: Credential, workspace: str | None, place: Path) -> Path:
    """Not below ~/.cache: it holds what has not been sent yet."""
    key = "\0".join((login.url, login.user, workspace or "", str(place)))
    return data_folder() / "mounts" / blake3(key.encode(errors="surrogateescape")).hexdigest(8)


def _log_to(file: Path | None) -> None:
    handler = logging.StreamHandler() if file is None else logging.FileHandler(file)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    for library in ("httpx", "httpcore", "pyfuse3"):
        logging.getLogger(library).setLevel(logging.WARNING)


def _in_background(log: Path, serve: Callable[[Ready], None]) -> None:
    """Run ``serve`` in a daemon; return when it is ready, or raise what it could not do."""
    log.parent.mkdir(parents=True, exist_ok=True)
    reading, writing = os.pipe()
    if (child := os.fork()) != 0:
        os.close(writing)
        os.waitpid(child, 0)
        with os.fdopen(reading) as pipe:
            said = pipe.read()
        if said not in (_READY, _READY_OFFLINE):
            raise click.ClickException(said or f"the mount did not come up; its log is {log}")
        if said == _READY_OFFLINE:
            click.echo(_OFFLINE, err=True)
        return
    os.close(reading)
    os.setsid()
    if os.fork() != 0:
        os._exit(0)
    _detach_from_terminal(log)
    _log_to(log)

    def report(text: str) -> None:
        with os.fdopen(writing, "w") as pipe:
            pipe.write(text)

    reported: list[str] = []

    def ready(offline: bool) -> None:
        reported.append(_READY)
        report(_READY_OFFLINE if offline else _READY)

    try:
        serve(ready)
    except BaseException as error:
        while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
            error = error.exceptions[0]
        if not reported and isinstance(error, DriveError):
            report(str(error))
        else:
            logging.getLogger(__name__).exception("the mount ended")
            if not reported:
                report(f"the mount did not come up; its log is {log}")
        os._exit(1)
    os._exit(0)


def _detach_from_terminal(log: Path) -> None:
    os.chdir("/")
    sys.stdout.flush()
    sys.stderr.flush()
    nothing = os.open(os.devnull, os.O_RDONLY)
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for fd, to in ((0, nothing), (1, output), (2, output)):
        os.dup2(to, fd)
