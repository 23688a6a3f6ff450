"""Times of files and folders as POSIX has them, whatever is sent when."""

from __future__ import annotations

from backend.drive import Drive
from backend.openfile import OpenFile
from protocol.ids import ROOT_NODE
from protocol.messages.changes import SetAttributes
from protocol.messages.nodes import Node
from tests.together.world import World


async def made(drive: Drive, name: bytes = b"file") -> OpenFile:
    return await drive.create(ROOT_NODE, name, 0o644, 1, 2, exclusive=False)


async def times(drive: Drive, file: OpenFile) -> tuple[int, int, int]:
    row = await drive.attributes(file.node)
    return row.atime_ns, row.mtime_ns, row.ctime_ns


async def closed(drive: Drive, file: OpenFile) -> Node:
    await drive.flush(file)
    await drive.release(file)
    return await drive.attributes(file.node)


async def test_a_file_that_is_closed_as_it_was_made_has_the_times_of_its_making(world: World) -> None:
    async with world.place("desk").drive() as drive:
        file = await made(drive)
        before = await times(drive, file)
        await closed(drive, file)
        assert await times(drive, file) == before


async def test_closing_moves_no_time_of_what_was_written_before(world: World) -> None:
    async with world.place("desk").drive() as drive:
        file = await made(drive)
        await file.write(0, b"content")
        before = await times(drive, file)
        await closed(drive, file)
        assert await times(drive, file) == before


async def test_closing_leaves_what_came_after_the_last_write(world: World) -> None:
    async with world.place("desk").drive() as drive:
        file = await made(drive)
        await drive.flush(file)
        await file.write(0, b"content")
        await drive.set_attributes(file.node, mode=0o600)
        before = await times(drive, file)
        await closed(drive, file)
        assert await times(drive, file) == before


async def test_another_device_sees_the_time_of_the_write(world: World) -> None:
    async with world.place("desk").drive() as one, world.place("laptop").drive() as two:
        file = await made(one)
        await file.write(0, b"content")
        before = await times(one, file)
        await closed(one, file)
        assert await times(two, file) == before


async def test_cutting_to_the_same_size_is_a_change(world: World) -> None:
    async with world.place("desk").drive() as drive:
        file = await made(drive)
        await drive.flush(file)
        before = await times(drive, file)
        await file.truncate(0)
        handled = await times(drive, file)
        assert before[1:] < handled[1:]
        await drive.flush(file)
        await drive.truncate(file.node, 0)
        assert handled[1:] < (await times(drive, file))[1:]
        await drive.release(file)


async def test_times_of_the_epoch_that_are_set_before_closing_stay(world: World) -> None:
    async with world.place("desk").drive() as drive:
        file = await made(drive)
        await file.write(0, b"content")
        await drive.set_attributes(file.node, mtime_ns=0, atime_ns=0)
        row = await closed(drive, file)
        assert (row.atime_ns, row.mtime_ns) == (0, 0)


async def test_times_that_are_set_twice_on_a_new_file_are_the_last(world: World) -> None:
    async with world.place("desk").drive() as drive:
        file = await made(drive)
        await drive.set_attributes(file.node, atime_ns=1)
        await drive.truncate(file.node, 1)
        await drive.set_attributes(file.node, atime_ns=2)
        assert (await drive.attributes(file.node)).atime_ns == 2
        assert (await closed(drive, file)).atime_ns == 2


async def test_times_of_a_removed_file_are_set_where_it_is_open(world: World) -> None:
    async with world.place("desk").drive() as drive:
        file = await made(drive)
        await file.write(0, b"content")
        await drive.unlink(ROOT_NODE, b"file")
        await drive.set_attributes(file.node, mtime_ns=5)
        assert file.attributes().mtime_ns == 5
        await drive.release(file)


async def test_times_of_a_new_file_are_not_those_of_its_folder(world: World) -> None:
    async with world.place("desk").drive() as drive:
        file = await made(drive)
        before = (await drive.attributes(ROOT_NODE)).mtime_ns
        await drive.set_attributes(file.node, atime_ns=1)
        assert (await drive.attributes(ROOT_NODE)).mtime_ns == before
        await closed(drive, file)
        assert (await drive.attributes(ROOT_NODE)).mtime_ns == before


async def test_a_new_file_moves_its_folders_time_back_from_the_future(world: World) -> None:
    async with world.place("desk").drive() as drive:
        future_ns = 4_294_967_296_000_000_003
        await drive.set_attributes(ROOT_NODE, mtime_ns=future_ns)
        file = await made(drive)
        assert (await drive.attributes(ROOT_NODE)).mtime_ns < future_ns
        await closed(drive, file)
        assert (await drive.attributes(ROOT_NODE)).mtime_ns < future_ns


async def test_a_write_moves_the_ctime_that_a_clock_ahead_has_set(world: World) -> None:
    async with world.place("desk").drive() as drive:
        file = await made(drive)
        await drive.flush(file)
        ahead_ns = 4_000_000_000_000_000_000
        await drive.outbox.submit(SetAttributes(time_ns=ahead_ns, node=file.node, mode=0o600)).answer()
        await file.write(0, b"content")
        before = await times(drive, file)
        assert before[2] > ahead_ns
        await closed(drive, file)
        assert await times(drive, file) == before
