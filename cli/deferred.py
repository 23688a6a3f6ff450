"""A group of commands whose modules are imported when they are used: ``--help`` and small commands stay quick."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any, NamedTuple

import click


class Deferred(NamedTuple):
    """Where a command is defined, and the line that the list of commands shows for it."""

    module: str
    attribute: str
    help: str


class DeferredGroup(click.Group):
    """Lists commands in the order given, and imports one when it is asked for."""

    def __init__(self, deferred: Mapping[str, Deferred], **attributes: Any) -> None:
        super().__init__(**attributes)
        self._deferred = deferred

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Their names."""
        return list(self._deferred)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of this name, imported; None where there is none."""
        if cmd_name not in self._deferred:
            return None
        where = self._deferred[cmd_name]
        command = getattr(import_module(where.module), where.attribute)
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list without importing any."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, command.help) for name, command in self._deferred.items()])
