"""The audit log, by HTTP."""

from __future__ import annotations

from dataclasses import replace

import pytest
from msgspec import structs

from protocol.ids import ROOT_NODE, NodeId
from protocol.limits import MIB
from protocol.messages.accounts import Devices, Login, Member, NewPassword, NewUser, Role, User
from protocol.messages.audit import Audit, Event, What
from protocol.messages.changes import Rmdir, Unlink
from protocol.messages.links import MadeLink, NewLink
from protocol.messages.nodes import Kind
from protocol.messages.tokens import MadeToken, NewToken, Scope
from server import worker
from server.metadata import audit
from server.metadata.audit import Who
from server.metadata.store import Transaction
from server.worker import DAY_NS, Retention
from tests.server.plainly import Exchange, content, listed
from tests.server.world import NOW_NS, PASSWORD, Client, World, commit, create, problem


@pytest.fixture
async def root(world: World) -> Client:
    return await world.user("root", is_admin=True)


async def events(client: Client, query: str = "") -> list[Event]:
    return (await client.ask(Audit, "GET", f"/audit{query}")).events


async def told(client: Client) -> list[tuple[What, str, str]]:
    return [(each.what, each.user, each.subject) for each in await events(client)]


async def test_log_ins_are_written_down_failed_ones_too(root: Client) -> None:
    await root.ask(User, "POST", "/users", NewUser("bob", PASSWORD))
    await root.call("POST", "/login", Login("bob", PASSWORD, "phone"))
    await root.call("POST", "/login", Login("bob", "guess", "phone"))
    await root.call("POST", "/login", Login("nobody", "guess", "phone"))
    assert await told(root) == [
        (What.USER_ADDED, "root", "bob"),
        (What.LOGIN, "bob", ""),
        (What.LOGIN_FAILED, "bob", ""),
        (What.LOGIN_FAILED, "nobody", ""),
    ]
    last = (await events(root))[-1]
    assert (last.at_ns, last.device, last.address, last.workspace) == (NOW_NS, "phone", "127.0.0.1", None)


async def test_a_log_in_that_is_refused_for_too_many_is_not(root: Client) -> None:
    for _ in range(20):
        await root.call("POST", "/login", Login("nobody", "guess", "phone"))
    assert len(await events(root)) == 10


async def test_what_becomes_of_accounts_is_written_down(world: World, root: Client) -> None:
    bob = await world.user("bob")
    await root.call("PUT", "/users/bob/password", NewPassword("new"))
    [device] = (await bob.ask(Devices, "GET", "/devices")).devices
    await root.call("DELETE", f"/devices/{device.id}")
    await root.call("DELETE", "/users/bob")
    await root.call("POST", "/logout")
    again = await world.user("again", is_admin=True)
    assert await told(again) == [
        (What.PASSWORD_SET, "root", "bob"),
        (What.DEVICE_REVOKED, "root", "bob, bobs laptop"),
        (What.USER_REMOVED, "root", "bob"),
        (What.LOGOUT, "root", ""),
    ]


async def test_tokens_are_written_down_without_their_secrets(root: Client) -> None:
    made = await root.ask(MadeToken, "POST", "/tokens", NewToken("backup", Scope.WRITE))
    await root.call("DELETE", f"/tokens/{made.token.id}")
    assert await told(root) == [(What.TOKEN_MADE, "root", "backup: write"), (What.TOKEN_REVOKED, "root", "backup")]
    assert made.secret.encode() not in (await root.call("GET", "/audit")).content


async def test_shares_are_written_down(world: World, ada: Client) -> None:
    await world.user("bob")
    await ada.call("POST", "./members", Member("bob", Role.VIEWER))
    await ada.call("DELETE", "./members/bob")
    assert await told(ada) == [(What.MEMBER_SET, "ada", "bob: viewer"), (What.MEMBER_REMOVED, "ada", "bob")]


async def test_deletions_are_written_down_with_their_paths(ada: Client) -> None:
    await ada.send(create(b"box", 101, Kind.FOLDER))
    await ada.send(structs.replace(create(b"f\xff", 102), parent=NodeId(101)))
    await ada.send(commit(ada, 102, b"content"))
    await ada.send(Unlink(NOW_NS, NodeId(101), b"f\xff", NodeId(102)), Rmdir(NOW_NS, ROOT_NODE, b"box", NodeId(101)))
    assert await told(ada) == [(What.DELETED, "ada", "/box/f\ufffd"), (What.DELETED, "ada", "/box")]
    event = (await events(ada))[0]
    assert (event.workspace, event.device, event.address) == (ada.workspace, "adas laptop", "127.0.0.1")


async def test_what_the_server_takes_back_of_a_broken_upload_is_no_deletion(world: World, ada: Client) -> None:
    upload = Exchange(world, ada, "PUT", "files/one/two/a", "parents=1")
    await upload.run([content(MIB), None])
    assert await listed(ada) == {}
    assert await told(ada) == []


async def test_links_are_written_down_when_made_refused_and_revoked(world: World, ada: Client) -> None:
    made = await ada.ask(MadeLink, "POST", "./links", NewLink("", password=PASSWORD))
    await world.http.get(f"/v1/links/{made.secret}", auth=("", "guess"))
    await ada.call("DELETE", f"./links/{made.link.id}")
    assert await told(ada) == [
        (What.LINK_MADE, "ada", f"{made.link.id}, read: /"),
        (What.LINK_REFUSED, "ada", ""),
        (What.LINK_REVOKED, "ada", f"{made.link.id}, read: /"),
    ]
    assert (await events(ada))[1].device == f"link {made.link.id}"
    assert made.secret.encode() not in (await ada.call("GET", "/audit")).content


# ── who may read it ──


async def test_owners_see_their_workspaces_and_admins_all(world: World, root: Client, ada: Client) -> None:
    bob = await world.member(ada, "bob", Role.EDITOR)
    await world.user("eve")
    await ada.call("POST", "./members", Member("eve", Role.VIEWER))
    await root.call("POST", "/tokens", NewToken("backup", Scope.READ))
    assert [each.what for each in await events(ada)] == [What.MEMBER_SET]
    assert await events(bob) == []
    assert [each.what for each in await events(root)] == [What.MEMBER_SET, What.TOKEN_MADE]


async def test_scripts_do_not_see_it(root: Client) -> None:
    made = await root.ask(MadeToken, "POST", "/tokens", NewToken("backup", Scope.READ))
    assert problem(await replace(root, token=made.secret).call("GET", "/audit")) == (403, "forbidden")


async def test_it_is_read_page_by_page_or_from_its_end(world: World, root: Client) -> None:
    await noted(world, What.LOGIN, 5)
    first = await root.ask(Audit, "GET", "/audit?after=0&limit=2")
    assert ([each.subject for each in first.events], first.more) == (["0", "1"], True)
    rest = await root.ask(Audit, "GET", f"/audit?after={first.events[-1].id}&limit=9")
    assert ([each.subject for each in rest.events], rest.more) == (["2", "3", "4"], False)
    assert [each.subject for each in await events(root, "?limit=2")] == ["3", "4"]


# ── how long it is kept ──


async def test_old_events_go(world: World, root: Client) -> None:
    await noted(world, What.LOGIN, 3)
    later = replace(world.service, now_ns=lambda: NOW_NS + 3 * DAY_NS)
    await worker.work_once(later, Retention(1.0, audit_days=4.0))
    assert len(await events(root)) == 3
    await worker.work_once(later, Retention(1.0, audit_days=2.0))
    assert await events(root) == []


async def test_many_events_of_one_kind_push_out_none_of_another(world: World, root: Client) -> None:
    await noted(world, What.MEMBER_SET, 2)
    await noted(world, What.LOGIN_FAILED, 5)
    await worker.work_once(world.service, Retention(1.0, audit_max=3))
    assert [(each.what, each.subject) for each in await events(root)] == [
        (What.MEMBER_SET, "0"),
        (What.MEMBER_SET, "1"),
        *((What.LOGIN_FAILED, subject) for subject in "234"),
    ]


async def noted(world: World, what: What, count: int) -> None:
    def work(tx: Transaction) -> None:
        for number in range(count):
            audit.note(tx, Who("ada", "laptop", "::1"), what, NOW_NS, str(number))

    await world.metadata.write(work)
