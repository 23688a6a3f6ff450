"""Files whose last commit failed: they are tried again with growing pauses until the server has them.

Owns which they are, and why. Their bytes and the records of the journal are each file's own affair.

Invariants: a file that could not be committed stays here until it is, whoever commits it; what a program is in the
middle of writing isn't committed from here.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import Final

import trio

from backend.errors import Deferred, DriveError
from backend.openfile import OpenFile
from backend.reach import Reach
from protocol.ids import NodeId

RETRY_FIRST_S: Final = 1.0
RETRY_MOST_S: Final = 30.0

log = logging.getLogger(__name__)


class UnsentFiles:
    """One mount's."""

    def __init__(
        self, reach: Reach, path_of: Callable[[NodeId], str], close_if_unused: Callable[[OpenFile], None]
    ) -> None:
        """``close_if_unused`` is called with each file that was sent from here."""
        self._reach = reach
        self._path_of = path_of
        self._close_if_unused = close_if_unused
        self._why: dict[OpenFile, DriveError] = {}
        self._retry = trio.Event()

    def keep(self, file: OpenFile, error: DriveError) -> None:
        """This file's commit failed."""
        log.warning("%s could not be sent, it is kept and tried again: %s", self._path_of(file.node), error)
        self._add(file, error)

    def take_up(self, file: OpenFile) -> None:
        """An earlier mount left this file."""
        log.info("taking up what an earlier mount left unsent: %s", self._path_of(file.node))
        self._add(file, DriveError("left by an earlier mount"))

    def sent(self, file: OpenFile) -> None:
        """Somebody has committed it."""
        self._why.pop(file, None)

    def are_deferred(self, files: Iterable[OpenFile]) -> bool:
        """Whether any of these waits for the server to say what becomes of it."""
        return any(isinstance(self._why.get(file), Deferred) for file in files)

    def _add(self, file: OpenFile, error: DriveError) -> None:
        self._why[file] = error
        self._retry.set()

    async def run(self) -> None:
        """Try again until cancelled."""
        pause_s = RETRY_FIRST_S
        while True:
            if not self._why:
                await self._retry.wait()
                pause_s = RETRY_FIRST_S
            self._retry = trio.Event()
            await trio.sleep(pause_s)
            pause_s = min(RETRY_MOST_S, 2 * pause_s)
            for file in list(self._why):
                if not (self._reach.apart and self.are_deferred([file])):
                    await self._try_again(file)

    async def _try_again(self, file: OpenFile) -> None:
        try:
            if not await file.flush_what_was_closed():
                return
        except DriveError as error:
            self._why[file] = error
            return
        except Exception:
            log.exception("%s: a fault of the program; its bytes are kept", self._path_of(file.node))
            return
        if self._why.pop(file, None) is not None:  # Else somebody's flush has sent it meanwhile.
            log.info("%s has been sent", self._path_of(file.node))
        self._close_if_unused(file)
