from __future__ import annotations

import pytest

from protocol.ids import DeviceId, WorkspaceId, new_hex_id
from protocol.messages.accounts import Role
from server.metadata import accounts, blocks
from server.metadata.accounts import Caller, Taken, Unknown
from server.metadata.blocks import StoredBlock
from tests.server.metadata.world import NOW_NS, SPACE, World, block_id


def caller(world: World, name: str, *, admin: bool = False) -> Caller:
    user = accounts.add_user(world.tx, name, f"hash of {name}", admin, NOW_NS)
    accounts.login_device(world.tx, user.id, "phone", name.encode(), NOW_NS)
    found = accounts.caller_of(world.tx, name.encode())
    assert found is not None
    return found


def test_a_token_names_its_user_and_device(world: World) -> None:
    bob = caller(world, "bob", admin=True)
    assert (bob.user_name, bob.admin, bob.device_name) == ("bob", True, "phone")
    assert accounts.caller_of(world.tx, b"no token") is None


def test_user_names_are_unique(world: World) -> None:
    with pytest.raises(Taken):
        accounts.add_user(world.tx, "ann", "hash", admin=False, now_ns=NOW_NS)


def test_passwords_are_kept_as_they_are_given(world: World) -> None:
    accounts.set_password(world.tx, "ann", "new hash")
    assert accounts.password_of(world.tx, "ann") == (world.user.id, "new hash")
    assert accounts.password_of(world.tx, "nobody") is None
    with pytest.raises(Unknown):
        accounts.set_password(world.tx, "nobody", "hash")


def test_the_same_device_name_is_the_same_device_with_a_new_token(world: World) -> None:
    again = accounts.login_device(world.tx, world.user.id, "laptop", b"new token", NOW_NS)
    assert again == world.laptop.caller.device
    assert accounts.caller_of(world.tx, b"laptop") is None
    assert accounts.caller_of(world.tx, b"new token") == world.laptop.caller


def test_device_names_of_two_users_do_not_clash(world: World) -> None:
    bob, carl = caller(world, "bob"), caller(world, "carl")
    assert bob.device != carl.device


def test_a_revoked_token_is_nobodys(world: World) -> None:
    accounts.revoke_device(world.tx, world.laptop.caller.device, world.desk.caller)
    assert accounts.caller_of(world.tx, b"laptop") is None
    revoked = {device.name: device.revoked for device in accounts.list_devices(world.tx, world.user.id)}
    assert revoked == {"desk": False, "laptop": True}


def test_numbers_of_a_revoked_device_are_kept_for_when_it_logs_in_again(world: World) -> None:
    world.laptop.create(b"a")
    accounts.revoke_device(world.tx, world.laptop.caller.device, world.laptop.caller)
    accounts.login_device(world.tx, world.user.id, "laptop", b"new token", NOW_NS)
    world.laptop.create(b"b")


def test_devices_of_others_are_revoked_by_admins_alone(world: World) -> None:
    bob, root = caller(world, "bob"), caller(world, "root", admin=True)
    with pytest.raises(Unknown):
        accounts.revoke_device(world.tx, world.laptop.caller.device, bob)
    accounts.revoke_device(world.tx, world.laptop.caller.device, root)
    with pytest.raises(Unknown):
        accounts.revoke_device(world.tx, DeviceId("0" * 32), root)


def test_devices_are_listed_for_one_or_all(world: World) -> None:
    bob = caller(world, "bob")
    assert [device.name for device in accounts.list_devices(world.tx, bob.user)] == ["phone"]
    assert [device.user for device in accounts.list_devices(world.tx, None)] == ["ann", "ann", "bob"]


def test_workspace_names_are_unique_for_their_owner(world: World) -> None:
    bob = caller(world, "bob")
    args = ("home", b"key", None)
    accounts.create_workspace(world.tx, WorkspaceId(new_hex_id()), bob.user, *args, is_default=True, now_ns=NOW_NS)
    with pytest.raises(Taken):
        accounts.create_workspace(world.tx, WorkspaceId(new_hex_id()), bob.user, *args, is_default=False, now_ns=1)


def test_strangers_see_no_workspace(world: World) -> None:
    bob = caller(world, "bob")
    assert accounts.list_workspaces(world.tx, bob.user) == []
    assert accounts.role_in(world.tx, SPACE, bob.user) is None
    with pytest.raises(Unknown):
        accounts.workspace_for(world.tx, SPACE, bob.user)


def test_members_see_what_is_shared_with_their_role(world: World) -> None:
    bob = caller(world, "bob")
    accounts.share(world.tx, SPACE, "bob", Role.VIEWER)
    found = accounts.workspace_for(world.tx, SPACE, bob.user)
    assert (found.name, found.owner, found.role, found.default) == ("home", "ann", Role.VIEWER, False)
    assert found.key == b""
    accounts.share(world.tx, SPACE, "bob", Role.EDITOR)
    assert [one.role for one in accounts.list_workspaces(world.tx, bob.user)] == [Role.EDITOR]
    accounts.share(world.tx, SPACE, "bob", None)
    assert accounts.list_workspaces(world.tx, bob.user) == []


def test_the_owner_stays_the_owner(world: World) -> None:
    with pytest.raises(Taken):
        accounts.share(world.tx, SPACE, "ann", None)
    with pytest.raises(Unknown):
        accounts.share(world.tx, SPACE, "nobody", Role.EDITOR)


def test_a_removed_user_has_no_devices_and_memberships(world: World) -> None:
    bob = caller(world, "bob")
    accounts.share(world.tx, SPACE, "bob", Role.EDITOR)
    accounts.remove_user(world.tx, "bob")
    assert accounts.caller_of(world.tx, b"bob") is None
    assert accounts.list_devices(world.tx, bob.user) == []
    assert accounts.role_in(world.tx, SPACE, bob.user) is None


def test_a_user_who_owns_content_is_not_removed(world: World) -> None:
    world.laptop.create(b"a")
    with pytest.raises(Taken, match="home"):
        accounts.remove_user(world.tx, "ann")


def test_empty_workspaces_go_with_their_owner() -> None:
    world = World()
    blocks.record(world.tx, SPACE, block_id(b"x"), StoredBlock(b"x", None, 1, 1, 1))
    accounts.remove_user(world.tx, "ann")
    for table in (
        "users",
        "devices",
        "workspaces",
        "members",
        "nodes",
        "journals",
        "blocks",
        "block_data",
        "workspace_keys",
    ):
        assert world.tx.one(f"SELECT count(*) FROM {table}") == (0,), table
    world.connection.close()
