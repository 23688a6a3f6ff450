"""Files that are open while a drive loses its server, works without it, and gets it back."""

from __future__ import annotations

from protocol.ids import ROOT_NODE
from protocol.messages.changes import RenameMode
from tests.together.parting import back, cut_off
from tests.together.programs import copies, names, read, write, write_long
from tests.together.world import World


async def test_a_commit_in_flight_when_the_mount_parts_is_kept(world: World, autojump_clock: object) -> None:
    desk, laptop = world.place("desk"), world.place("laptop")
    async with desk.crashing_drive() as one:
        await one.entries(ROOT_NODE)
        desk.http.cut_after_next = True
        await write(one, b"file", b"content")
        assert one.reach.apart
    desk.disk = desk.disk.power_loss()
    async with desk.crashing_drive() as one:
        assert await read(one, b"file") == b"content"
        await back(desk, one)
        async with laptop.drive() as two:
            assert await names(two) == [b"file"]
            assert await read(two, b"file") == b"content"


async def test_a_new_file_that_is_open_while_the_mount_parts(world: World, autojump_clock: object) -> None:
    desk, laptop = world.place("desk"), world.place("laptop")
    async with desk.drive() as one, laptop.drive() as two:
        await one.entries(ROOT_NODE)
        desk.http.cut = True
        file = await one.create(ROOT_NODE, b"file", 0o644, 0, 0, exclusive=False)
        await file.write(0, b"one")
        await one.reach.wait_parted()
        await one.flush(file)
        await file.write(3, b" two")
        await back(desk, one)
        await file.write(7, b" three")
        await one.flush(file)
        await one.release(file)
        assert await names(two) == [b"file"]
        assert await read(two, b"file") == await read(one, b"file") == b"one two three"


async def test_bytes_written_apart_and_flushed_after_it(world: World, autojump_clock: object) -> None:
    desk, laptop = world.place("desk"), world.place("laptop")
    async with desk.drive() as one, laptop.drive() as two:
        node = await write(one, b"file", b"base")
        file = await one.open(node)
        await cut_off(desk, one)
        await file.write(4, b" apart")
        desk.http.cut = False
        await one.reach.wait_joined()
        await one.flush(file)
        await one.release(file)
        assert await read(two, b"file") == b"base apart"


async def test_a_file_that_was_open_and_changed_elsewhere_before_the_mount_parted(
    world: World, autojump_clock: object
) -> None:
    """What is written to it is durable at once, and becomes a copy when the server is back."""
    desk, laptop = world.place("desk"), world.place("laptop")
    async with desk.crashing_drive() as one:
        async with laptop.drive() as two:
            node = await write(one, b"file", b"base")
            file = await one.open(node)
            await write(two, b"file", b"theirs")
            assert await read(one, b"file") == b"theirs"
            await cut_off(desk, one)
            await file.write(0, b"mine")
            await one.flush(file)
            assert await read(one, b"file") == b"theirs"
    desk.disk = desk.disk.power_loss()
    async with desk.crashing_drive() as one, laptop.drive() as two:
        await back(desk, one)
        (copy,) = await copies(two)
        assert await read(two, copy) == b"mine"
        assert await read(two, b"file") == b"theirs"


async def test_a_file_whose_row_is_not_known_when_the_mount_parts_is_written_on(
    world: World, autojump_clock: object
) -> None:
    desk, laptop = world.place("desk"), world.place("laptop")
    async with desk.drive() as one, laptop.drive() as two:
        node = await write(one, b"file", b"base")
        file = await one.open(node)
        await two.set_attributes(node, mode=0o600)
        await cut_off(desk, one)
        await file.write(0, b"mine")
        await one.flush(file)
        await file.write(4, b" and more")
        await one.flush(file)
        await back(desk, one)
        await one.release(file)
        assert await names(two) == [b"file"]
        assert await read(two, b"file") == b"mine and more"


async def test_who_reads_an_older_version_stays_on_it_when_what_was_written_becomes_a_copy(
    world: World, autojump_clock: object
) -> None:
    desk, laptop = world.place("desk"), world.place("laptop")
    async with desk.drive() as one, laptop.drive() as two:
        node = await write(one, b"file", b"first")
        reader = await one.open(node)
        await write(two, b"file", b"second")
        assert await read(one, b"file") == b"second"
        await cut_off(desk, one)
        await write(two, b"file", b"theirs")
        writer = await one.open(node)
        await writer.write(0, b"mine")
        await one.flush(writer)
        await back(desk, one)
        assert await reader.read(0, 100) == b"first"
        assert reader.node == node
        assert writer.node != node
        for file in (reader, writer):
            await one.release(file)
        assert await read(one, b"file") == await read(two, b"file") == b"theirs"
        (copy,) = await copies(two)
        assert await read(two, copy) == b"minend"


async def test_a_version_made_apart_does_not_stand_for_another_device_s_of_its_number(
    world: World, autojump_clock: object
) -> None:
    desk, laptop = world.place("desk"), world.place("laptop")
    async with desk.drive() as one, laptop.drive() as two:
        node = await write(one, b"file", b"base")
        await cut_off(desk, one)
        await write_long(one, node, b"mine")
        await write_long(two, node, b"theirs")
        await back(desk, one)
        assert await read(one, b"file") == await read(two, b"file")
        (copy,) = await copies(one)
        assert (await read(one, copy))[:6] == b"mine\0\0"


async def test_another_device_s_version_that_is_open_is_not_taken_for_what_became_a_copy(
    world: World, autojump_clock: object
) -> None:
    """It has the number that the commit made here would have had."""
    desk, laptop = world.place("desk"), world.place("laptop")
    async with desk.drive() as one, laptop.drive() as two:
        node = await write(one, b"file", b"base")
        writing = await one.open(node)
        await write(two, b"file", b"theirs")
        reading = await one.open(node)
        await writing.write(0, b"mine")
        desk.http.cut_after_next = True
        await one.flush(writing)
        await one.release(writing)
        assert one.reach.apart
        await back(desk, one)
        assert reading.node == node
        assert await reading.read(0, 100) == b"theirs"
        (copy,) = await copies(two)
        assert await read(one, copy) == await read(two, copy) == b"mine"
        assert await read(one, b"file") == b"theirs"
        await one.release(reading)


async def test_unlinking_and_replacing_open_files_apart(world: World, autojump_clock: object) -> None:
    desk, laptop = world.place("desk"), world.place("laptop")
    async with desk.drive() as one, laptop.drive() as two:
        removed = await one.open(await write(one, b"removed", b"removed"))
        replaced = await one.open(await write(one, b"replaced", b"replaced"))
        await write(one, b"new", b"new")
        await cut_off(desk, one)
        await one.unlink(ROOT_NODE, b"removed")
        await one.rename(ROOT_NODE, b"new", ROOT_NODE, b"replaced", RenameMode.REPLACE)
        for file, content in ((removed, b"removed"), (replaced, b"replaced")):
            assert await file.read(0, 100) == content
            await file.write(0, b"X")
            await one.flush(file)
        await back(desk, one)
        for file in (removed, replaced):
            assert (await file.read(0, 1)) == b"X"
            await one.release(file)
        for drive in (one, two):
            assert await names(drive) == [b"replaced"]
            assert await read(drive, b"replaced") == b"new"


async def test_a_copy_that_was_edited_before_its_writer_heard_of_it_is_not_overwritten(
    world: World, autojump_clock: object
) -> None:
    desk, laptop = world.place("desk"), world.place("laptop")
    async with desk.drive() as one, laptop.drive() as two:
        node = await write(one, b"file", b"base")
        await cut_off(desk, one)
        file = await one.open(node)
        await file.write(0, b"mine")
        await one.flush(file)
        await write(two, b"file", b"theirs")
        desk.http.lose_changes, desk.http.cut = True, False
        await desk.http.lost.wait()
        (copy,) = await copies(two)
        await write(two, copy, b"edited")
        desk.http.lose_changes = False
        await one.synced()
        assert await read(one, copy) == b"edited"
        await file.write(4, b" more")
        await one.flush(file)
        await one.release(file)
        assert await read(one, b"file") == await read(two, b"file") == b"theirs"
        assert await read(one, copy) == await read(two, copy) == b"edited"
        (other,) = [name for name in await copies(two) if name != copy]
        assert await read(two, other) == b"mine more"
