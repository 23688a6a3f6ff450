"""Requests of a killed mount that arrive when its successor is at work."""

from __future__ import annotations

import os

import pytest
import trio

from backend.errors import Offline
from protocol.ids import ROOT_NODE
from protocol.messages.nodes import Kind
from tests.together.programs import names, read, write
from tests.together.world import Place, World


async def killed_as_it_began(place: Place) -> None:
    """Its join is on its way."""
    place.token = await place.world.issue_token("desk")
    place.http.withheld = "/join"
    async with place.crashing_drive():
        pass
    place.http.withheld = ""
    place.disk = place.disk.kill()


async def killed_as_it_sent(place: Place, name: bytes) -> None:
    """It has joined; the batch that makes a folder is on its way."""
    place.token = await place.world.issue_token("desk")
    async with place.crashing_drive() as drive:
        await drive.entries(ROOT_NODE)
        place.http.withheld = "/changes"
        with pytest.raises(Offline):
            await drive.make(ROOT_NODE, name, Kind.FOLDER, 0o755, 0, 0)
    place.http.withheld = ""
    place.disk = place.disk.kill()


async def test_a_mount_goes_on_after_a_join_of_its_predecessor_arrived(world: World, autojump_clock: object) -> None:
    desk, laptop = world.place("desk"), world.place("laptop")
    await killed_as_it_began(desk)
    late_join = desk.http.last_post("join")
    async with desk.drive() as one, laptop.drive() as two:
        await write(one, b"before", b"x")
        await late_join()
        await write(one, b"after", b"y")
        assert await names(two) == [b"after", b"before"]
        assert await read(two, b"after") == b"y"


async def test_a_change_whose_answer_was_lost_is_not_sent_twice_after_a_late_join(
    world: World, autojump_clock: object
) -> None:
    desk, laptop = world.place("desk"), world.place("laptop")
    await killed_as_it_began(desk)
    late_join = desk.http.last_post("join")
    async with desk.drive() as one, laptop.drive() as two:
        desk.http.before_answer, desk.http.lose_replies = late_join, 1  # type: ignore[assignment]
        await one.make(ROOT_NODE, b"folder", Kind.FOLDER, 0o755, 0, 0)
        assert await names(one) == await names(two) == [b"folder"]


async def test_a_batch_of_the_predecessor_that_took_the_next_number_takes_no_change_s_place(
    world: World, autojump_clock: object
) -> None:
    """Both have one change, and the same number."""
    desk, laptop = world.place("desk"), world.place("laptop")
    await killed_as_it_sent(desk, b"late")
    late_join, late_batch = desk.http.last_post("join"), desk.http.last_post("changes")
    async with desk.drive() as one, laptop.drive() as two:
        await late_join()
        assert (await late_batch()).status == 200
        await one.make(ROOT_NODE, b"mine", Kind.FOLDER, 0o755, 0, 0)
        assert await names(one) == await names(two) == [b"late", b"mine"]
        await one.make(ROOT_NODE, b"next", Kind.FOLDER, 0o755, 0, 0)
        assert await names(two) == [b"late", b"mine", b"next"]


async def test_a_batch_of_the_predecessor_is_refused_when_the_successor_has_sent(
    world: World, autojump_clock: object
) -> None:
    desk, laptop = world.place("desk"), world.place("laptop")
    await killed_as_it_sent(desk, b"late")
    late_join, late_batch = desk.http.last_post("join"), desk.http.last_post("changes")
    async with desk.drive() as one, laptop.drive() as two:
        await one.make(ROOT_NODE, b"mine", Kind.FOLDER, 0o755, 0, 0)
        await late_join()
        assert (await late_batch()).status == 409
        await one.make(ROOT_NODE, b"next", Kind.FOLDER, 0o755, 0, 0)
        assert await names(two) == [b"mine", b"next"]


async def test_what_was_kept_apart_is_sent_once_beside_a_batch_of_the_predecessor(
    world: World, autojump_clock: object
) -> None:
    """The number that the successor wrote down for what it is about to send is taken before that arrives."""
    desk, laptop = world.place("desk"), world.place("laptop")
    await killed_as_it_sent(desk, b"late")
    late_join, late_batch = desk.http.last_post("join"), desk.http.last_post("changes")
    async with desk.drive() as one, laptop.drive() as two:
        await one.entries(ROOT_NODE)
        desk.http.cut = True
        await one.reach.wait_parted()
        content = os.urandom(1_000_000)
        await write(one, b"mine", content)
        desk.http.cut, desk.http.withheld = False, "/changes"
        await trio.sleep(20)
        assert one.reach.apart
        await late_join()
        assert (await late_batch()).status == 200
        desk.http.withheld = ""
        await one.synced()
        assert await names(one) == await names(two) == [b"late", b"mine"]
        assert await read(two, b"mine") == content


async def test_each_late_request_costs_one_more_round_trip_and_no_more(world: World, autojump_clock: object) -> None:
    desk = world.place("desk")
    await killed_as_it_began(desk)
    late_join = desk.http.last_post("join")
    async with desk.drive() as one:
        for number in range(3):
            await late_join()
            del desk.http.requests[:]
            await one.make(ROOT_NODE, b"%d" % number, Kind.FOLDER, 0o755, 0, 0)
            await one.make(ROOT_NODE, b"%d again" % number, Kind.FOLDER, 0o755, 0, 0)
            what = [request.split("/")[4] for request in desk.http.requests if "POST" in request]
            assert what == ["changes", "journals", "changes", "changes"]
