"""Something to do: rung by whoever has made some, heard by the one task that does it."""

from __future__ import annotations

import trio


class Bell:
    """Rung often before it is heard, it is heard once."""

    def __init__(self) -> None:
        self._rung = trio.Event()

    def ring(self) -> None:
        """There is something to do."""
        self._rung.set()

    async def heard(self, within_s: float) -> bool:
        """Wait until it is rung, or for so long; returns whether it was."""
        with trio.move_on_after(within_s):
            await self._rung.wait()
        rung, self._rung = self._rung.is_set(), trio.Event()
        return rung
