"""A folder as a zip, sent while it is made: as it was in one moment, whatever is changed meanwhile."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from protocol import manifest as manifests
from protocol import problems
from protocol.ids import NO_VERSION, ROOT_NODE
from protocol.limits import KIB
from protocol.manifest import EMPTY, Manifest
from protocol.messages.nodes import Kind
from server.access import Access, content_access_of
from server.blockcare import Damaged
from server.content.reading import Part, read
from server.content.zipping import Member, Zip, members
from server.http import names_of
from server.metadata import accounts, paths, tree
from server.metadata.items import shown
from server.metadata.store import Transaction
from server.metadata.subtree import below
from server.routes.downloads import disposition
from server.service import service_of
from server.settling import look
from server.shares import asker_of
from server.troubles import Trouble

ENTRIES_MAX: Final = 100_000
"""A zip ends with a list of all that is in it."""

_PART_BYTES: Final = 64 * KIB
"""Small files are sent together."""


async def get(request: Request) -> Response:
    """Everything below a folder."""
    return Archive(request, content_access_of(request), names_of(request.path_params["path"]))


class _Found(NamedTuple):
    """What is to be sent; ``members`` is None where that is too much."""

    kind: Kind
    title: str
    members: list[Member] | None


class Archive(Response):
    """The zip of a folder, which is listed when there is a place. Where a block is damaged the answer breaks off."""

    def __init__(self, request: Request, access: Access, names: Sequence[bytes]) -> None:
        super().__init__(
            headers={
                "Content-Type": "application/zip",
                "X-Content-Type-Options": "nosniff",
                "Cache-Control": "private, no-store",
            }
        )
        del self.headers["content-length"]
        self._request = request
        self._service = service_of(request)
        self._access = access
        self._workspace = access.workspace
        self._names = names

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Look and send; raises Trouble, and what looking raises, before anything is sent."""
        async with self._service.places.archives.place(asker_of(scope)):
            title, listed = await self._listed()
            self.headers["Content-Disposition"] = disposition("attachment", f"{title}.zip")
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            if self._request.method == "GET":
                await self._send_all(listed, send)
            await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _listed(self) -> tuple[str, list[Member]]:
        """The folder's name and what is below it, in one moment."""
        found = await look(self._service, self._workspace, self._access.reads, self._find)
        if found.kind is not Kind.FOLDER:
            raise Trouble(problems.CONFLICT, f"this is a {found.kind}, and only folders are sent as a zip")
        if found.members is None:
            detail = f"more than {ENTRIES_MAX} files and folders are below this one: take the folders in it one by one"
            raise Trouble(problems.CONFLICT, detail)
        return found.title, found.members

    def _find(self, tx: Transaction) -> _Found:
        place = paths.place(tx, self._workspace, self._names, self._access.root)
        node, name = place.taken(), place.name
        if node.kind is not Kind.FOLDER:
            return _Found(node.kind, "", [])
        if not name and node.id != ROOT_NODE:
            name = tree.path_of(tx, self._workspace, node.id)[1][-1]
        entries = below(tx, self._workspace, node.id, ENTRIES_MAX)
        listed = None if entries is None else list(members(entries, node.id, name))
        caller = self._access.reads(tx)
        title = shown(name) or accounts.workspace_for(tx, self._workspace, caller.user).name
        return _Found(node.kind, title, listed)

    async def _send_all(self, listed: Sequence[Member], send: Send) -> None:
        made = Zip()

        async def send_part(at_least_bytes: int = _PART_BYTES) -> None:
            if part := made.take(at_least_bytes):
                await send({"type": "http.response.body", "body": part, "more_body": True})

        async def take(part: Part) -> None:
            made.write(part)
            await send_part()

        for one in listed:
            if one.entry.kind is Kind.FOLDER:
                made.folder(one)
            else:
                manifest = await self._manifest(one)
                made.begin(one)
                size = manifest.size_bytes
                await read(self._service.blocks, self._workspace, manifest, 0, size, self._access.reads, take)
                made.end()
            await send_part()
        made.close()
        await send_part(0)

    async def _manifest(self, one: Member) -> Manifest:
        if one.entry.version == NO_VERSION:
            return EMPTY

        def work(tx: Transaction) -> tree.Version | None:
            self._access.reads(tx)
            return tree.version(tx, self._workspace, one.entry.node, one.entry.version)

        found = await self._service.metadata.read(work)
        if found is None:
            raise Damaged(f"a version of {one.path} is gone")
        return manifests.decode(found.manifest)


ROUTES = [Route("/workspaces/{workspace}/archive/{path:path}", get, methods=["GET", "HEAD"])]
