"""Devices that may not send what they kept: it stays, is shown in the status, and is sent when they may again."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from typing import Final

import pytest
import trio

from backend.drive import Drive
from backend.errors import ReadOnly, Unauthorized
from protocol.ids import ROOT_NODE, NodeId
from protocol.messages.accounts import Role
from protocol.messages.changes import RenameMode, XattrMode
from protocol.messages.nodes import Kind
from tests.together.parting import back, cut_off
from tests.together.programs import names, read, write
from tests.together.world import Place, World

LARGE = os.urandom(600_000)


async def work_apart(place: Place, drive: Drive) -> None:
    """Three changes, with blocks in a commit and beside one."""
    await drive.entries(ROOT_NODE)
    await cut_off(place, drive)
    await drive.make(ROOT_NODE, b"folder", Kind.FOLDER, 0o755, 0, 0)
    await write(drive, b"small", b"small")
    await write(drive, b"large", LARGE)


@pytest.mark.parametrize("role", [Role.VIEWER, None])
async def test_what_was_kept_stays_while_its_user_may_not_change_anything(
    world: World, autojump_clock: object, role: Role | None
) -> None:
    laptop = world.place("laptop")
    desk = await world.place_of_member("desk")
    async with desk.drive() as one:
        await work_apart(desk, one)
        await world.share(role)
        del desk.http.requests[:]
        desk.http.cut = False
        await trio.sleep(600)
        status = one.status()
        assert (status.state, status.queued_changes) == ("refused", 5)
        assert "read this workspace" in status.trouble or "no such workspace" in status.trouble
        tries = [request for request in desk.http.requests if "/journals/" in request]
        assert len(tries) < 20, "soon once a minute"
        await world.share(Role.EDITOR)
        await one.synced()
        assert one.status().queued_changes == 0
    async with laptop.drive() as two:
        assert await names(two) == [b"folder", b"large", b"small"]
        assert await read(two, b"small") == b"small"
        assert await read(two, b"large") == LARGE


@pytest.mark.parametrize("role", [Role.VIEWER, None])
async def test_a_mount_that_dies_meanwhile_leaves_what_was_kept(
    world: World, autojump_clock: object, role: Role | None
) -> None:
    desk = await world.place_of_member("desk")
    async with desk.crashing_drive() as one:
        await work_apart(desk, one)
        await world.share(role)
        desk.http.cut = False
        await trio.sleep(60)
    desk.disk = desk.disk.power_loss()
    await world.share(Role.EDITOR)
    async with desk.drive() as one:
        await one.synced()
        assert await names(one) == [b"folder", b"large", b"small"]
        assert await read(one, b"large") == LARGE


async def test_what_was_being_sent_to_a_user_s_loss_of_their_role_is_sent_once(
    world: World, autojump_clock: object
) -> None:
    desk = await world.place_of_member("desk")
    async with desk.drive() as one:
        await work_apart(desk, one)
        desk.http.lose_changes, desk.http.cut = True, False
        await desk.http.lost.wait()
        await world.share(Role.VIEWER)
        desk.http.lose_changes = False
        await trio.sleep(60)
        assert one.status().state == "refused"
        await world.share(Role.EDITOR)
        await back(desk, one)
        assert await names(one) == [b"folder", b"large", b"small"]


# ── who waits until all is at the server ──


@pytest.mark.parametrize("is_apart", [False, True])
async def test_who_waits_is_told_that_the_device_may_not_send(
    world: World, autojump_clock: object, is_apart: bool
) -> None:
    desk = world.place("desk")
    async with desk.crashing_drive() as one:
        if is_apart:
            await work_apart(desk, one)
        else:
            await one.create(ROOT_NODE, b"file", 0o644, 0, 0, exclusive=False)
        await world.issue_token("desk")  # As the same device, whose old token is void then.
        desk.http.cut = False
        await trio.sleep(600)
        with trio.fail_after(10), pytest.raises(Unauthorized):
            await one.synced()


async def test_who_waits_is_not_told_of_a_refusal_that_is_over(world: World, autojump_clock: object) -> None:
    desk = await world.place_of_member("desk")
    async with desk.drive() as one:
        await work_apart(desk, one)
        await world.share(Role.VIEWER)
        desk.http.cut = False
        await trio.sleep(600)
        await world.share(Role.EDITOR)
        with trio.fail_after(10):
            await one.synced()
        assert one.status().queued_changes == 0


# ── roles that change while a workspace is mounted ──


CHANGES: Final[dict[str, Callable[[Drive, NodeId], Awaitable[object]]]] = {
    "create": lambda drive, _: drive.create(ROOT_NODE, b"new", 0o644, 0, 0, exclusive=True),
    "mkdir": lambda drive, _: drive.make(ROOT_NODE, b"new", Kind.FOLDER, 0o755, 0, 0),
    "symlink": lambda drive, _: drive.make(ROOT_NODE, b"new", Kind.SYMLINK, 0o777, 0, 0, target=b"file"),
    "link": lambda drive, node: drive.link(node, ROOT_NODE, b"new"),
    "unlink": lambda drive, _: drive.unlink(ROOT_NODE, b"file"),
    "rename": lambda drive, _: drive.rename(ROOT_NODE, b"file", ROOT_NODE, b"new", RenameMode.REPLACE),
    "chmod": lambda drive, node: drive.set_attributes(node, mode=0o600),
    "truncate": lambda drive, node: drive.truncate(node, 0),
    "setxattr": lambda drive, node: drive.set_xattr(node, b"user.x", b"1", XattrMode.SET),
    "removexattr": lambda drive, node: drive.remove_xattr(node, b"user.x"),
}


@pytest.mark.parametrize("change", CHANGES)
async def test_a_viewer_s_mount_refuses_a_change_without_asking(
    world: World, autojump_clock: object, change: str
) -> None:
    async with world.place("laptop").drive() as one:
        node = await write(one, b"file", b"content")
    desk = await world.place_of_member("desk")
    await world.share(Role.VIEWER)
    async with desk.drive() as drive:
        await names(drive)
        del desk.http.requests[:]
        with pytest.raises(ReadOnly):
            await CHANGES[change](drive, node)
        assert desk.http.requests == []
        assert await read(drive, b"file") == b"content"


@pytest.mark.parametrize("change", CHANGES)
async def test_a_mount_of_who_became_a_viewer_is_refused_as_read_only(
    world: World, autojump_clock: object, change: str
) -> None:
    async with world.place("laptop").drive() as one:
        node = await write(one, b"file", b"content")
        await one.set_xattr(node, b"user.x", b"0", XattrMode.SET)
        desk = await world.place_of_member("desk")
        async with desk.drive() as drive:
            await names(drive)
            await world.share(Role.VIEWER)
            with pytest.raises(ReadOnly):
                await CHANGES[change](drive, node)
            assert await names(drive) == [b"file"]
        assert (await names(one), await read(one, b"file")) == ([b"file"], b"content")


async def test_what_was_written_when_the_role_was_lost_is_kept_and_sent_when_it_is_back(
    world: World, autojump_clock: object
) -> None:
    desk = await world.place_of_member("desk")
    async with desk.drive() as drive:
        await write(drive, b"file", b"old")
        await world.share(Role.VIEWER)
        with pytest.raises(ReadOnly):
            await write(drive, b"file", b"new")
        assert [each.path for each in drive.status().sending] == ["file"]
        await world.share(Role.EDITOR)
        await drive.synced()
    async with world.place("laptop").drive() as one:
        assert await read(one, b"file") == b"new"


async def test_who_became_an_editor_changes_things_from_the_next_mount_on(world: World, autojump_clock: object) -> None:
    desk = await world.place_of_member("desk")
    await world.share(Role.VIEWER)
    async with desk.drive() as drive:
        await world.share(Role.EDITOR)
        with pytest.raises(ReadOnly):
            await write(drive, b"file", b"content")
    async with desk.drive() as drive:
        await write(drive, b"file", b"content")
        assert await read(drive, b"file") == b"content"
