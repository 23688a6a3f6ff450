"""What leases cost, in requests and virtual time: warm questions nothing, a change one round trip of the others."""

from __future__ import annotations

from functools import partial

import pytest
import trio
import trio.testing

from backend.drive import Drive
from backend.errors import Offline
from backend.tree import Outdated
from protocol.ids import ROOT_NODE, NodeId
from protocol.limits import LEASE_DRIFT
from protocol.messages.changes import RenameMode
from protocol.messages.nodes import Kind
from tests.together.parting import back, cut_off
from tests.together.programs import names, read, write
from tests.together.world import LEASE_S, Place, World

ENDS_S = LEASE_S * (1 + LEASE_DRIFT)


async def look(drive: Drive, node: NodeId) -> None:
    """Each of the questions that a kernel asks of a file that it has seen, and of one that isn't there."""
    assert await drive.lookup(ROOT_NODE, b"file") is not None
    assert await drive.lookup(ROOT_NODE, b"absent") is None
    await drive.attributes(node)
    await drive.entries(ROOT_NODE)
    await drive.release(await drive.open(node))


async def idle(*places: Place) -> None:
    """Every poll waits; requests are counted from here."""
    await trio.testing.wait_all_tasks_blocked()
    for place in places:
        place.http.requests.clear()
        place.http.polls = 0


async def test_with_a_lease_what_was_seen_costs_no_request(world: World, autojump_clock: object) -> None:
    desk, laptop = world.place("desk"), world.place("laptop")
    async with desk.drive() as one, laptop.drive() as two:
        node = await write(one, b"file", b"x")
        for drive in (one, two):
            await look(drive, node)
        await idle(desk, laptop)
        for drive in (one, two):
            await look(drive, node)
        assert (desk.http.requests, laptop.http.requests) == ([], [])


async def test_a_name_that_changes_while_it_is_asked_for_is_asked_for_again(
    world: World, autojump_clock: object
) -> None:
    """Else who opens the file, by the number that the first answer gave, finds a content that it never had there."""
    desk, laptop = world.place("desk"), world.place("laptop")
    async with desk.drive() as one, laptop.drive() as two:
        node = await write(one, b"other", b"x")
        await two.rename(ROOT_NODE, b"other", ROOT_NODE, b"file", RenameMode.REPLACE)
        desk.http.delayed = "/entries/file"
        desk.http.before_answer = partial(two.rename, ROOT_NODE, b"file", ROOT_NODE, b"moved", RenameMode.REPLACE)
        assert await one.lookup(ROOT_NODE, b"file") is None
        moved = await one.lookup(ROOT_NODE, b"moved")
        assert moved is not None
        assert moved.id == node


async def test_a_known_name_that_changes_while_its_node_is_asked_for_is_asked_for_again(
    world: World, autojump_clock: object
) -> None:
    """The same where the name is known, and only what is to be told of its node is not."""
    desk, laptop = world.place("desk"), world.place("laptop")
    async with desk.drive() as one, laptop.drive() as two:
        node = await write(one, b"file", b"x")
        await look(one, node)
        await two.set_attributes(node, mode=0o600)
        await idle(desk, laptop)
        desk.http.delayed = f"/nodes/{node}"
        desk.http.before_answer = partial(two.rename, ROOT_NODE, b"file", ROOT_NODE, b"moved", RenameMode.REPLACE)
        assert await one.lookup(ROOT_NODE, b"file") is None


async def test_a_lease_is_kept_by_polls_alone(world: World, autojump_clock: object) -> None:
    place = world.place("desk")
    async with place.drive() as drive:
        node = await write(drive, b"file", b"x")
        await look(drive, node)
        await idle(place)
        await trio.sleep(10 * LEASE_S)
        await look(drive, node)
        assert place.http.requests == []
        assert 30 <= place.http.polls <= 33


async def test_without_a_lease_every_look_up_and_open_asks(world: World, autojump_clock: object) -> None:
    place = world.place("desk")
    async with place.drive() as drive:
        node = await write(drive, b"file", b"x")
        await look(drive, node)
        place.http.cut_polls = True
        await trio.sleep(2 * LEASE_S)
        assert drive.cache_timeout_s() == 0
        place.http.requests.clear()
        for question in (
            drive.lookup(ROOT_NODE, b"file"),
            drive.lookup(ROOT_NODE, b"absent"),
            drive.attributes(node),
            drive.entries(ROOT_NODE),
            drive.open(node),
        ):
            await question
            assert len(place.http.requests) == 1
            place.http.requests.clear()


async def test_without_a_lease_an_open_shows_what_another_wrote(world: World, autojump_clock: object) -> None:
    desk, laptop = world.place("desk"), world.place("laptop")
    async with desk.drive() as one, laptop.drive() as two:
        node = await write(one, b"file", b"old")
        held = await two.open(node)
        laptop.http.cut_polls = True
        await trio.sleep(2 * LEASE_S)
        await write(one, b"file", b"new")
        fresh = await two.open(node)
        assert (await held.read(0, 10), await fresh.read(0, 10)) == (b"old", b"new")
        for file in (held, fresh):
            await two.release(file)


@pytest.mark.parametrize("what", ["write", "mkdir", "chmod", "unlink"])
async def test_a_change_adds_one_poll_of_each_other_drive(world: World, autojump_clock: object, what: str) -> None:
    """Which takes the news away and, sent again, acknowledges them."""
    desk, laptop, phone = world.place("desk"), world.place("laptop"), world.place("phone")
    async with desk.drive() as one, laptop.drive() as two, phone.drive() as three:
        node = await write(one, b"file", b"x")
        for drive in (one, two, three):
            await look(drive, node)
        await idle(desk, laptop, phone)
        began_s = trio.current_time()
        match what:
            case "write":
                await write(one, b"file", b"y")
            case "mkdir":
                await one.make(ROOT_NODE, b"folder", Kind.FOLDER, 0o755, 0, 0)
            case "chmod":
                await one.set_attributes(node, mode=0o600)
            case "unlink":
                await one.unlink(ROOT_NODE, b"file")
        assert trio.current_time() == began_s
        await trio.testing.wait_all_tasks_blocked()
        assert len(desk.http.requests) == 1
        assert (laptop.http.requests, phone.http.requests) == ([], [])
        assert (desk.http.polls, laptop.http.polls, phone.http.polls) == (0, 1, 1)


async def test_alone_a_change_costs_no_poll(world: World, autojump_clock: object) -> None:
    place = world.place("desk")
    async with place.drive() as drive:
        await drive.entries(ROOT_NODE)
        await idle(place)
        await write(drive, b"file", b"x")
        assert (len(place.http.requests), place.http.polls) == (1, 0)


async def test_a_read_of_what_another_just_wrote_does_not_wait_for_its_next_poll(
    world: World, autojump_clock: object
) -> None:
    """The writer's own kernel has to drop what it outdated: the server lets the writer's poll return for that."""
    desk, laptop = world.place("desk"), world.place("laptop")
    async with desk.drive() as one, laptop.drive() as two:
        await two.entries(ROOT_NODE)
        await write(one, b"file", b"x")
        await idle(desk, laptop)
        told = len(desk.outdated)
        began_s = trio.current_time()
        assert await read(two, b"file") == b"x"
        assert trio.current_time() == began_s
        assert desk.http.polls == 1
        assert len(desk.outdated) == told + 1


async def test_drives_that_write_in_turn_do_not_stall(world: World, autojump_clock: object) -> None:
    desk, laptop = world.place("desk"), world.place("laptop")
    async with desk.drive() as one, laptop.drive() as two:
        began_s = trio.current_time()
        for number in range(10):
            writer, reader = (one, two) if number % 2 else (two, one)
            await write(writer, b"file", b"%d" % number)
            assert await read(reader, b"file") == b"%d" % number
        assert trio.current_time() - began_s < 1.5  # Creates wait a moment for company.


async def test_a_drive_that_crashed_costs_the_others_one_lease_once(world: World, autojump_clock: object) -> None:
    desk, laptop = world.place("desk"), world.place("laptop")
    async with desk.drive() as one:
        async with laptop.crashing_drive() as two:
            await look(two, await write(one, b"file", b"x"))
        began_s = trio.current_time()
        await write(one, b"file", b"y")
        assert LEASE_S / 2 < trio.current_time() - began_s <= ENDS_S + 0.01
        began_s = trio.current_time()
        await write(one, b"file", b"z")
        assert trio.current_time() == began_s


async def test_a_drive_that_left_costs_nothing(world: World, autojump_clock: object) -> None:
    desk, laptop = world.place("desk"), world.place("laptop")
    async with desk.drive() as one:
        async with laptop.drive() as two:
            await look(two, await write(one, b"file", b"x"))
        began_s = trio.current_time()
        await write(one, b"file", b"y")
        assert trio.current_time() == began_s


async def test_a_drive_that_was_cut_off_sees_what_it_missed(world: World, autojump_clock: object) -> None:
    """While it answers from its caches, nobody else has been shown anything newer."""
    desk, laptop = world.place("desk"), world.place("laptop")
    async with desk.drive() as one, laptop.drive(strict=True) as two:
        node = await write(one, b"file", b"old")
        await look(two, node)
        laptop.http.cut = True
        believed_until_s: float | None = None
        async with trio.open_nursery() as nursery:
            nursery.start_soon(write, one, b"file", b"new!")
            while two.cache_timeout_s() > 0:
                assert (await two.attributes(node)).size == 3
                await trio.sleep(0.1)
            believed_until_s = trio.current_time()
        assert trio.current_time() > believed_until_s
        with pytest.raises(Offline):
            await two.attributes(node)
        laptop.http.cut = False
        assert (await two.attributes(node)).size == 4
        await trio.sleep(LEASE_S)
        assert two.cache_timeout_s() > 0


async def test_two_mounts_with_copies_of_one_cache_folder_hear_of_each_other(
    world: World, autojump_clock: object
) -> None:
    """A cloned machine, say: they share a journal, and what one did is still news for the other."""
    desk, clone = world.place("desk"), world.place("clone")
    async with desk.drive() as one:
        node = await write(one, b"file", b"x")
    desk.token = clone.token = await world.issue_token("desk")
    desk.disk, clone.disk = desk.disk.kill(), desk.disk.kill()
    async with desk.drive() as one, clone.drive() as two:
        for drive in (one, two):
            await look(drive, node)
            assert await read(drive, b"file") == b"x"
        held = await two.open(node)
        await write(one, b"file", b"of the first")
        assert await held.read(0, 100) == b"x"
        assert await read(two, b"file") == b"of the first"
        assert Outdated(frozenset({node}), frozenset({node}), names=True) in clone.outdated
        await two.release(held)
        await write(two, b"file", b"of the second")
        assert await read(one, b"file") == b"of the second"
        await write(one, b"other", b"y")
        assert [entry.name for entry in await two.entries(ROOT_NODE)] == [b"file", b"other"]


async def test_what_copies_of_one_cache_folder_kept_unsent_is_all_there(world: World, autojump_clock: object) -> None:
    desk, clone = world.place("desk"), world.place("clone")
    desk.token = clone.token = await world.issue_token("desk")
    async with desk.crashing_drive() as one:
        await write(one, b"edited", b"before")
        await cut_off(desk, one)
        await write(one, b"new", b"new")
        await write(one, b"edited", b"apart")
    desk.disk, clone.disk = desk.disk.kill(), desk.disk.kill()
    clone.remembered, clone.http.cut = desk.remembered, True
    async with desk.drive() as one, clone.drive() as two:
        for drive, name in ((one, b"desk"), (two, b"clone")):
            await write(drive, b"edited", b"on the " + name)
            await write(drive, name, b"by the " + name)
        await back(desk, one)
        await back(clone, two)
        for drive in (one, two):
            found = {name: await read(drive, name) for name in await names(drive)}
            assert (found[b"new"], found[b"desk"], found[b"clone"]) == (b"new", b"by the desk", b"by the clone")
            assert {b"on the desk", b"on the clone"} <= set(found.values())
