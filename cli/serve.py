"""``samedrive serve``, and what is done to a server's data while it doesn't run."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click

_data_option = click.option(
    "--data",
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="Folder of the database and the blocks ($XDG_DATA_HOME/samedrive/server).",
)
_config_option = click.option(
    "--config",
    "config_file",
    metavar="FILE",
    type=click.Path(path_type=Path),
    envvar="SAMEDRIVE_CONFIG",
    help="A TOML file with these settings; variables SAMEDRIVE_… override it, flags override both.",
)
_metadata_option = click.option(
    "--metadata-url", metavar="URL", help="Where the metadata lies (sqlite:///DIR/metadata.sqlite)."
)


@click.command("serve", short_help="Run a server.")
@_data_option
@click.option("--listen", metavar="HOST:PORT", help="Where to listen (127.0.0.1:8473; port 0: any free one).")
@_config_option
@_metadata_option
@click.option("--blocks-url", metavar="URL", help="Where the blocks lie (file:///DIR/blocks).")
@click.option("--tls-cert", metavar="FILE", type=click.Path(path_type=Path), help="Certificate chain (PEM).")
@click.option("--tls-key", metavar="FILE", type=click.Path(path_type=Path), help="Its private key (PEM).")
@click.option("--insecure-listen", is_flag=True, help="Listen beyond loopback without TLS.")
@click.option(
    "--admin-password-file",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="First start: the password of user admin (else a random one, kept in DIR/admin-password).",
)
@click.option(
    "--lease-s",
    metavar="SECONDS",
    type=float,
    help="How long mounts may answer from caches unheard, and others wait for one that is cut off (10).",
)
@click.option(
    "--keep-changes-days",
    metavar="DAYS",
    type=float,
    help="How long changes are kept for devices that are away; one away for longer asks for everything anew (30).",
)
@click.option(
    "--keep-audit-days", metavar="DAYS", type=float, help="How long it is kept who did what: samedrive audit (365)."
)
@click.option("--grace-s", metavar="SECONDS", type=float, help="How long open requests may take on SIGTERM (20).")
def serve_command(config_file: Path | None, **flags: Any) -> None:
    """Run a server until SIGTERM. It prints its address when it answers."""
    from server import config, serve

    try:
        serve.run(config.load(config_file, os.environ, flags))
    except (config.BadSettings, serve.CannotServe) as error:
        raise click.ClickException(str(error)) from error


@click.command("rotate-master-key", short_help="Give a server that is stopped a new master key.")
@_data_option
@_config_option
@_metadata_option
def rotate_master_key_command(config_file: Path | None, **flags: Any) -> None:
    """Wrap the keys of all workspaces under a new master key, while the server is stopped.

    The old one opens nothing of this database from then on. Earlier copies of the database it still opens: where it may
    have been stolen with one, rotate the keys of the workspaces, too.
    """
    from server import config, serve

    try:
        settings = config.load(config_file, os.environ, flags)
        count = serve.rotate_master_key(settings)
    except (config.BadSettings, serve.CannotServe) as error:
        raise click.ClickException(str(error)) from error
    click.echo(f"{settings.data / 'master-key'} is new, with {count} keys under it: bring its backup up to date.")
