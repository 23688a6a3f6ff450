"""Drives that lose their server, and get it back."""

from __future__ import annotations

from backend.drive import Drive
from tests.together.world import Place


async def cut_off(place: Place, drive: Drive) -> None:
    """The network is gone, and the drive has noticed."""
    place.http.cut = True
    await drive.reach.wait_parted()


async def back(place: Place, drive: Drive) -> None:
    """The network is back, and what was kept is sent."""
    place.http.cut = False
    await drive.synced()
