"""Where the commands keep what is theirs: below HOME, or where the XDG variables say."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path


def data_folder(environment: Mapping[str, str] = os.environ) -> Path:
    """What may not be lost: ``$XDG_DATA_HOME/samedrive``."""
    return _below(environment, "XDG_DATA_HOME", ".local/share")


def state_folder(environment: Mapping[str, str] = os.environ) -> Path:
    """Logs: ``$XDG_STATE_HOME/samedrive``."""
    return _below(environment, "XDG_STATE_HOME", ".local/state")


def runtime_folder(environment: Mapping[str, str] = os.environ) -> Path:
    """Sockets of the mounts: ``$XDG_STATE_HOME/samedrive/run``.

    Not ``$XDG_RUNTIME_DIR``: that is emptied when the person's last session ends, and is not set in every session,
    while a mount stays up and must be found from any.
    """
    return state_folder(environment) / "run"


def _below(environment: Mapping[str, str], variable: str, default: str) -> Path:
    named = environment.get(variable, "")
    # The XDG specification: a relative path in such a variable is to be ignored.
    base = Path(named) if named.startswith("/") else Path(environment.get("HOME") or Path.home()) / default
    return base / "samedrive"
