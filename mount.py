"""The program: its commands, and the edge where errors become what a person reads.

An error that can be expected is one line on standard error that names the thing and the way out, and status 1 (2 for a
wrong command line). Any other is a fault of the program: one line, and the trace in a log file.
``SAMEDRIVE_DEBUG=1`` prints every trace. ``SAMEDRIVE_AS`` is what the person calls the program by, for the texts
that they may copy.
"""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final

import click

from backend.errors import DriveError
from cli.deferred import Deferred, DeferredGroup
from cli.places import state_folder
from protocol.version import VERSION

COMMANDS: Final[Mapping[str, Deferred]] = MappingProxyType(
    {
        "up": Deferred("cli.up", "up_command", "Make DIR a drive of your own, with a server on this machine."),
        "down": Deferred("cli.up", "down_command", "Take down what up started; data stays."),
        "mount": Deferred("cli.mount", "mount_command", "Mount a workspace at DIR."),
        "umount": Deferred("cli.mount", "umount_command", "Unmount DIR."),
        "status": Deferred("cli.mount", "status_command", "What a mount is doing, and what it did."),
        "wait": Deferred("cli.mount", "wait_command", "Return when everything written is on the server."),
        "conflicts": Deferred("cli.conflicts", "conflicts_command", "Files that two devices changed at once."),
        "login": Deferred("cli.account", "login_command", "Log this device in at a server."),
        "logout": Deferred("cli.account", "logout_command", "Revoke this device's token and forget it."),
        "workspace": Deferred("cli.workspace", "workspace_group", "Create, list and share workspaces."),
        "link": Deferred("cli.link", "link_group", "Share a file or folder by a link."),
        "token": Deferred("cli.token", "token_group", "Tokens for scripts."),
        "device": Deferred("cli.account", "device_group", "List and revoke devices."),
        "user": Deferred("cli.account", "user_group", "Add, list and remove users; passwords."),
        "audit": Deferred("cli.audit", "audit_command", "Who did what, when, and from where."),
        "serve": Deferred("cli.serve", "serve_command", "Run a server."),
        "rotate-master-key": Deferred(
            "cli.serve", "rotate_master_key_command", "Give a server that is stopped a new master key."
        ),
    }
)


def program() -> click.Group:
    """The group of all commands."""
    group = DeferredGroup(
        COMMANDS,
        name="samedrive",
        help="A drive that you mount: the same files on every device, at once.",
        no_args_is_help=True,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    return click.version_option(VERSION, prog_name="samedrive", message="%(prog)s %(version)s")(group)


def run(arguments: Sequence[str], environment: Mapping[str, str] = os.environ) -> int:
    """Run one command; returns the status that the process ends with."""
    try:
        name = environment.get("SAMEDRIVE_AS", "samedrive")
        status = program().main(list(arguments), prog_name=name, standalone_mode=False)
        return status if isinstance(status, int) else 0
    except BaseException as error:
        if isinstance(error, SystemExit):
            raise
        if environment.get("SAMEDRIVE_DEBUG") == "1":
            traceback.print_exc()
        return report(_innermost(error), environment)


def report(error: BaseException, environment: Mapping[str, str]) -> int:
    """Tell the person in one line; returns the status that the process ends with."""
    match error:
        case click.exceptions.NoArgsIsHelpError():
            click.echo(error.format_message())
            return error.exit_code
        case click.UsageError():
            where = error.ctx.command_path if error.ctx is not None else "samedrive"
            _say(f"{error.format_message()} See {where} --help")
            return error.exit_code
        case click.ClickException():
            _say(error.format_message())
            return error.exit_code
        case DriveError():
            _say(str(error))
        case click.Abort() | KeyboardInterrupt():
            _say("stopped")
            return 130
        case BrokenPipeError():
            # Whoever read the output has gone; what is still buffered has nowhere to go.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        case OSError(filename=str(), strerror=str()):
            _say(f"{error.filename}: {error.strerror}")
        case _:
            log = _logged(error, environment)
            _say(f"a fault of the program, please report it: {type(error).__name__}: {error}{log}")
    return 1


def _innermost(error: BaseException) -> BaseException:
    """The error itself where nurseries have wrapped it."""
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error


def _logged(error: BaseException, environment: Mapping[str, str]) -> str:
    log = state_folder(environment) / "fault.log"
    try:
        log.parent.mkdir(parents=True, exist_ok=True)
        log.write_text("".join(traceback.format_exception(error)))
    except OSError:
        return ""
    return f" (details: {log})"


def _say(text: str) -> None:
    """One line, whatever is in it."""
    print("samedrive:", " ".join(text.split()), file=sys.stderr)


def main() -> None:
    """Run the process's command; does not return."""
    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
