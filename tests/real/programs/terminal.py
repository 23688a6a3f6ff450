"""A program that wants a terminal, typed at as a person would."""

from __future__ import annotations

import os
import pty
import select
import subprocess
from collections.abc import Sequence
from contextlib import suppress

from tests.real.harness import START_S, Failed


def typed(command: Sequence[str], keys: bytes, env: dict[str, str]) -> None:
    """Run it in a terminal of its own, give it the keys once it has drawn something, and wait for its good end."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        command, stdin=theirs, stdout=theirs, stderr=theirs, env={**env, "TERM": "xterm"}, start_new_session=True
    )
    os.close(theirs)
    drawn, sent = b"", False
    try:
        # The terminal is closed, EIO, when the program has ended.
        with suppress(OSError):
            while select.select([ours], [], [], START_S)[0]:
                drawn += os.read(ours, 65536)
                if not sent:
                    os.write(ours, keys)
                    sent = True
        if process.wait(START_S) != 0:
            raise Failed(f"{command}: status {process.returncode}\n{drawn!r}")
    finally:
        process.kill()
        process.wait()
        os.close(ours)
