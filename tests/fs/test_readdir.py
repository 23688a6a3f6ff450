"""Listings: what the kernel is told of, and what it isn't."""

from __future__ import annotations

from typing import cast

import pyfuse3
import pytest

from backend.drive import Drive
from backend.errors import Offline
from fs.answering import Deadlines
from fs.entries import Entries
from fs.inodes import Inodes
from fs.operations import Operations
from protocol.ids import ROOT_NODE
from protocol.messages.nodes import Kind
from tests.fs.fake_drive import FakeDrive
from tests.simulation.device import Listing, reply_entry


async def test_of_a_listing_that_failed_in_the_middle_the_kernel_knows_nothing() -> None:
    """Each change of what it was thought to know would wait for it for a whole lease."""
    drive, inodes = FakeDrive(), Inodes()
    nodes = [(await drive.make(ROOT_NODE, name, Kind.FOLDER, 0o755, 0, 0)).id for name in (b"a", b"b", b"c")]
    entries = Entries(inodes, None)
    operations = Operations(cast(Drive, drive), inodes, entries, Deadlines(30.0), reply_entry)
    handle = await operations.opendir(int(pyfuse3.ROOT_INODE), cast(pyfuse3.RequestContext, None))
    first = Listing(room=3)
    await operations.readdir(handle, 0, cast(pyfuse3.ReaddirToken, first))
    entries.changed_here()
    asked = 0

    async def fail_the_second(what: str) -> None:
        nonlocal asked
        asked += what == "latest"
        if asked == 2:
            raise Offline("gone")

    drive.before_answer = fail_the_second
    with pytest.raises(pyfuse3.FUSEError):
        await operations.readdir(handle, first.entries[-1][2], cast(pyfuse3.ReaddirToken, Listing(room=10)))
    assert [inodes.current(node) is not None for node in nodes] == [True, False, False]
