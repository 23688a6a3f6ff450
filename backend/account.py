"""What a person does at a server: log in, and manage workspaces, users and devices.

Each method is one request of ``protocol.messages.accounts`` and its answer; nothing is kept here.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import quote

from backend.caller import IMPATIENT, Caller, Patience
from backend.errors import NotFound, Unusable
from backend.http import HttpxClient, Lane
from protocol.ids import BlockId, DeviceId, WorkspaceId
from protocol.messages.accounts import (
    Devices,
    Health,
    Login,
    LoginReply,
    Member,
    Members,
    NewEnvelope,
    NewKey,
    NewPassword,
    NewUser,
    NewWorkspace,
    Role,
    User,
    Users,
    Workspace,
    Workspaces,
)
from protocol.messages.audit import Audit
from protocol.messages.blocks import BlockList, OldBlocks
from protocol.messages.links import Link, Links, MadeLink, NewLink
from protocol.messages.tokens import MadeToken, NewToken, Token, Tokens
from protocol.messages.wire import API


class Account:
    """What a person does with accounts, devices and workspaces."""

    def __init__(self, caller: Caller) -> None:
        self.caller = caller

    async def health(self) -> Health:
        """Is this a server that we can speak with?"""
        try:
            health = await self.caller.ask(Health, "GET", "/health")
        except (NotFound, Unusable):
            raise Unusable("there is a web server at that address, but it is not samedrive's") from None
        if health.program != "samedrive" or health.api != API:
            raise Unusable(
                f"the server speaks {health.api or 'another protocol'} (version {health.version}), this program {API}: "
                "install the same version on both"
            )
        return health

    async def login(self, user: str, password: str, device: str) -> LoginReply:
        """A token for this device."""
        return await self.caller.ask(LoginReply, "POST", "/login", Login(user, password, device))

    async def logout(self) -> None:
        """Revoke the token in use."""
        await self.caller.call("POST", "/logout")

    async def workspaces(self) -> list[Workspace]:
        """Those that the user is a member of."""
        return (await self.caller.ask(Workspaces, "GET", "/workspaces")).workspaces

    async def workspace(self, workspace: WorkspaceId) -> Workspace:
        """One, with its key."""
        return await self.caller.ask(Workspace, "GET", f"/workspaces/{workspace}")

    async def create_workspace(self, name: str, quota_bytes: int | None = None) -> Workspace:
        """A new one, owned by the user."""
        return await self.caller.ask(Workspace, "POST", "/workspaces", NewWorkspace(name, quota_bytes))

    async def create_end_to_end_workspace(
        self, workspace: WorkspaceId, name: str, envelope: bytes, quota_bytes: int | None = None
    ) -> Workspace:
        """A new one whose key the server does not get."""
        wanted = NewWorkspace(name, quota_bytes, workspace, envelope)
        return await self.caller.ask(Workspace, "POST", "/workspaces", wanted)

    async def add_key(
        self, workspace: WorkspaceId, after: int, envelope: bytes = b"", replaces: bytes = b""
    ) -> Workspace:
        """A key that seals from now on, in place of key ``after``; in the envelope of an end-to-end workspace."""
        wanted = NewKey(after, envelope, replaces)
        return await self.caller.ask(Workspace, "POST", f"/workspaces/{workspace}/keys", wanted)

    async def old_blocks(self, workspace: WorkspaceId, after: BlockId) -> OldBlocks:
        """A page of the blocks of an end-to-end workspace that aren't sealed under its last key."""
        return await self.caller.ask(OldBlocks, "GET", f"/workspaces/{workspace}/resealing?after={after.hex()}")

    async def block(self, workspace: WorkspaceId, block: BlockId) -> bytes:
        """A sealed block; raises NotFound."""
        path = f"/workspaces/{workspace}/blocks/{block.hex()}"
        return (await self.caller.call("GET", path, lane=Lane.BULK)).body

    async def report_damaged(self, workspace: WorkspaceId, blocks: list[BlockId]) -> None:
        """These did not open: whoever has their bytes is to send them again."""
        await self.caller.call("POST", f"/workspaces/{workspace}/blocks/damaged", message=BlockList(blocks))

    async def put_anew(self, workspace: WorkspaceId, block: BlockId, sealed: bytes | bytearray) -> None:
        """The same block of an end-to-end workspace, sealed under its last key; raises NotFound."""
        path = f"/workspaces/{workspace}/resealing/{block.hex()}"
        await self.caller.call("PUT", path, octets=sealed, lane=Lane.BULK)

    async def replace_envelope(self, workspace: WorkspaceId, replaces: bytes, envelope: bytes) -> None:
        """Another passphrase for an end-to-end workspace."""
        wanted = NewEnvelope(envelope, replaces)
        await self.caller.call("PUT", f"/workspaces/{workspace}/envelope", message=wanted)

    async def members(self, workspace: WorkspaceId) -> list[Member]:
        """Who has the workspace, and as what."""
        return (await self.caller.ask(Members, "GET", f"/workspaces/{workspace}/members")).members

    async def share(self, workspace: WorkspaceId, user: str, role: Role) -> None:
        """Make somebody a member, or give a member another role."""
        await self.caller.call("POST", f"/workspaces/{workspace}/members", message=Member(user, role))

    async def remove_member(self, workspace: WorkspaceId, user: str) -> None:
        """Somebody, or the user, is no longer a member."""
        await self.caller.call("DELETE", f"/workspaces/{workspace}/members/{quote(user, safe='')}")

    async def users(self) -> list[User]:
        """Everybody; for admins."""
        return (await self.caller.ask(Users, "GET", "/users")).users

    async def add_user(self, name: str, password: str, *, admin: bool = False) -> User:
        """For admins."""
        return await self.caller.ask(User, "POST", "/users", NewUser(name, password, admin))

    async def remove_user(self, name: str) -> None:
        """For admins."""
        await self.caller.call("DELETE", f"/users/{quote(name, safe='')}")

    async def set_password(self, name: str, password: str) -> None:
        """One's own, or anybody's for admins."""
        await self.caller.call("PUT", f"/users/{quote(name, safe='')}/password", message=NewPassword(password))

    async def devices(self, *, of_everybody: bool = False) -> Devices:
        """One's own devices, or (for admins) all."""
        return await self.caller.ask(Devices, "GET", "/devices?all=1" if of_everybody else "/devices")

    async def revoke(self, device: DeviceId) -> None:
        """Its token is refused from now on."""
        await self.caller.call("DELETE", f"/devices/{device}")

    async def make_link(self, workspace: WorkspaceId, wanted: NewLink) -> MadeLink:
        """A link to a file or folder, with its secret."""
        return await self.caller.ask(MadeLink, "POST", f"/workspaces/{workspace}/links", wanted)

    async def links(self, workspace: WorkspaceId) -> list[Link]:
        """All links of a workspace."""
        return (await self.caller.ask(Links, "GET", f"/workspaces/{workspace}/links")).links

    async def revoke_link(self, workspace: WorkspaceId, link: str) -> None:
        """It leads nowhere from now on."""
        await self.caller.call("DELETE", f"/workspaces/{workspace}/links/{quote(link, safe='')}")

    async def audit(self, after: int | None, limit: int) -> Audit:
        """Events after one, or the newest."""
        since = "" if after is None else f"&after={after}"
        return await self.caller.ask(Audit, "GET", f"/audit?limit={limit}{since}")

    async def make_token(self, wanted: NewToken) -> MadeToken:
        """A token for a script, with its secret."""
        return await self.caller.ask(MadeToken, "POST", "/tokens", wanted)

    async def tokens(self) -> list[Token]:
        """One's own."""
        return (await self.caller.ask(Tokens, "GET", "/tokens")).tokens

    async def revoke_token(self, token: DeviceId) -> None:
        """It is refused from now on."""
        await self.caller.call("DELETE", f"/tokens/{token}")


@asynccontextmanager
async def connect(
    url: str, token: str | None = None, ca_file: Path | None = None, patience: Patience = IMPATIENT
) -> AsyncIterator[Account]:
    """An account at a server, for a command that a person waits for."""
    async with HttpxClient(url, ca_file) as http:
        yield Account(Caller(http, token, patience))
