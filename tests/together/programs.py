"""What programs do on a drive, as its system calls come out of the kernel."""

from __future__ import annotations

from backend.drive import Drive
from backend.rechunk import HOLE_MIN_BYTES
from protocol.ids import ROOT_NODE, NodeId
from protocol.limits import INLINE_MANIFEST_PIECES


async def write(drive: Drive, name: bytes, content: bytes, parent: NodeId = ROOT_NODE) -> NodeId:
    """Like a program that opens with O_CREAT and O_TRUNC, writes and closes."""
    found = await drive.lookup(parent, name)
    if found is None:
        file = await drive.create(parent, name, 0o644, 1, 2, exclusive=False)
    else:
        file = await drive.open(found.id)
        await file.truncate(0)
    try:
        await file.write(0, content)
        await drive.flush(file)
        return file.node
    finally:
        await drive.release(file)


async def write_long(drive: Drive, node: NodeId, content: bytes) -> None:
    """Write a few bytes between holes: more pieces than a row carries with it."""
    file = await drive.open(node)
    for number in range(INLINE_MANIFEST_PIECES):
        await file.write(number * 2 * HOLE_MIN_BYTES, content)
    await drive.flush(file)
    await drive.release(file)


async def read(drive: Drive, name: bytes, parent: NodeId = ROOT_NODE) -> bytes:
    found = await drive.lookup(parent, name)
    assert found is not None
    file = await drive.open(found.id)
    try:
        return await file.read(0, found.size + 1)
    finally:
        await drive.release(file)


async def names(drive: Drive, folder: NodeId = ROOT_NODE) -> list[bytes]:
    return [entry.name for entry in await drive.entries(folder)]


async def copies(drive: Drive) -> list[bytes]:
    """Conflict copies in the root."""
    return [name for name in await names(drive) if b"(conflict from " in name]
