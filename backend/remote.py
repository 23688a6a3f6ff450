"""What a mount asks of its workspace at the server: each method is one request of ``protocol.messages`` and its answer.

Knows paths; knows nothing of caches, and nothing of when a change is sent again. Its callers speak of plain names:
what an end-to-end workspace hides is sealed and opened here, by a ``Codec``, and nowhere else.
"""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import quote

import msgspec

from backend.caller import IMPATIENT, Caller, M, decode
from backend.codec import Codec
from backend.errors import Offline, Unusable
from backend.http import Lane
from backend.standing import Standing
from protocol.ids import BlockId, JournalId, NodeId, Seq, VersionNumber, WorkspaceId
from protocol.limits import LISTING_PAGE_ENTRIES
from protocol.messages.accounts import Workspace
from protocol.messages.batches import Batch, BatchReply, JournalReply
from protocol.messages.blocks import BadFrames, BlockList, unframed
from protocol.messages.conflicts import ConflictsReply
from protocol.messages.sessions import Join, JoinReply, PollReply
from protocol.messages.tree import ListingReply, LookupReply, ManifestReply, NodeReply, UsageReply


class WorkspaceRemote:
    """One workspace at the server: its tree, its changes, its blocks. Implements ``backend.blocks.BlockRemote``."""

    def __init__(self, caller: Caller, workspace: WorkspaceId, standing: Standing, codec: Codec) -> None:
        self.caller = caller
        self.standing = standing
        self._codec = codec
        self._path = f"/workspaces/{workspace}"
        self.blocks_up = 0
        self.blocks_down = 0

    # ── tree ──

    async def node(self, node: NodeId) -> NodeReply:
        """Attributes; raises NotFound."""
        return await self._ask(NodeReply, f"/nodes/{node}")

    async def lookup(self, folder: NodeId, name: bytes) -> LookupReply:
        """What a name means; raises NotFound where there is no such folder."""
        return await self._ask(LookupReply, f"/nodes/{folder}/entries/{self._in_path(name)}")

    async def listing_page(self, folder: NodeId, after: bytes = b"", generation: int | None = None) -> ListingReply:
        """A page of a folder; raises ListingChanged where ``generation`` is given and no longer true."""
        query = f"limit={LISTING_PAGE_ENTRIES}&after={self._in_path(after) if after else ''}"
        if generation is not None:
            query += f"&generation={generation}"
        return await self._ask(ListingReply, f"/nodes/{folder}/entries?{query}")

    async def conflicts_page(self, after: NodeId, limit: int | None = None) -> ConflictsReply:
        """Conflict copies with ids past ``after``, in order of ids."""
        query = f"after={after}" if limit is None else f"after={after}&limit={limit}"
        return await self._ask(ConflictsReply, f"/conflicts?{query}")

    async def manifest(self, node: NodeId, version: VersionNumber) -> ManifestReply:
        """The content of one version."""
        response = await self.caller.call(
            "GET", f"{self._path}/nodes/{node}/manifest?version={version}", lane=Lane.BULK
        )
        return decode(ManifestReply, response)

    async def usage(self) -> UsageReply:
        """For statfs."""
        return await self.caller.ask(UsageReply, "GET", f"{self._path}/usage")

    async def send(self, batch: Batch) -> BatchReply:
        """Numbered changes."""
        response = await self.caller.call(
            "POST", f"{self._path}/changes", message=self._of_session(batch), headers=self.standing.header
        )
        try:
            return self._codec.incoming(decode(BatchReply, response))
        except Unusable as error:
            raise Offline(str(error)) from error  # It may have been applied: only an answer ends a batch.

    async def replay(self, batch: Batch) -> BatchReply:
        """Numbered changes that were made apart from the server: outside of any session, so with no news of others."""
        response = await self.caller.call("POST", f"{self._path}/changes", message=self._of_session(batch))
        return self._codec.incoming(decode(BatchReply, response))

    def _of_session(self, batch: Batch) -> Batch:
        return self._codec.outgoing(msgspec.structs.replace(batch, session=self.standing.session))

    @property
    def moves(self) -> int:
        """How often bytes moved, to the server or from it, but for polls."""
        return self.caller.traffic.moves

    async def journal(self, journal: JournalId) -> JournalReply:
        """The last batch of a journal that the server applied."""
        return await self.caller.ask(JournalReply, "GET", f"{self._path}/journals/{journal.hex()}")

    async def take_journal(self, journal: JournalId) -> JournalReply:
        """The same; from now on no earlier mount's batch is applied, however late it arrives."""
        path = f"{self._path}/journals/{journal.hex()}"
        return decode(JournalReply, await self.caller.call("POST", path, headers=self.standing.header))

    async def _ask(self, reply: type[M], path: str) -> M:
        """A question about the tree."""
        response = await self.caller.call("GET", self._path + path, headers=self.standing.header)
        return self._codec.incoming(decode(reply, response))

    def _in_path(self, name: bytes) -> str:
        """A name in a request's path, as the server knows it."""
        return _quoted(self._codec.name(name))

    # ── the session ──

    async def join(self, journal: JournalId, after: Seq | None) -> JoinReply:
        """Begin, with what is cached as it was at ``after``, or with nothing (None)."""
        join = Join(self.standing.session, journal, after)
        return self._codec.incoming(await self.caller.ask(JoinReply, "POST", f"{self._path}/join", join))

    async def poll(self, wait_s: float) -> PollReply:
        """Acknowledge, renew the lease, and wait for changes. Not repeated; raises SessionEnded."""
        response = await self.caller.call(
            "GET",
            f"{self._path}/changes?wait_s={wait_s:g}",
            headers=self.standing.header,
            lane=Lane.POLL,
            wait_s=wait_s,
            patience=IMPATIENT,
        )
        return self._codec.incoming(decode(PollReply, response))

    @property
    def key_id(self) -> int:
        """Of the workspace's key that seals, as the last poll said."""
        return self.standing.key_id

    async def workspace(self) -> Workspace:
        """The workspace, with its keys."""
        return await self.caller.ask(Workspace, "GET", self._path)

    async def leave(self) -> None:
        """Nothing is cached here any more. Not repeated: a lease that isn't given back runs out."""
        await self.caller.call("POST", f"{self._path}/leave", headers=self.standing.header, patience=IMPATIENT)

    # ── blocks ──

    async def missing(self, ids: Sequence[BlockId]) -> list[BlockId]:
        """Those of the ids that the server lacks."""
        reply = await self.caller.ask(BlockList, "POST", f"{self._path}/blocks/missing", BlockList(list(ids)))
        return reply.blocks

    async def put(self, block: BlockId, sealed: bytes | bytearray) -> None:
        """Store a sealed block."""
        await self.caller.call("PUT", f"{self._path}/blocks/{block.hex()}", octets=sealed, lane=Lane.BULK)
        self.blocks_up += 1

    async def get(self, block: BlockId) -> bytes:
        """A sealed block; raises NotFound."""
        response = await self.caller.call("GET", f"{self._path}/blocks/{block.hex()}", lane=Lane.BULK)
        self.blocks_down += 1
        return response.body

    async def report(self, ids: Sequence[BlockId]) -> None:
        """These did not open: whoever has their bytes is to send them again."""
        await self.caller.call("POST", f"{self._path}/blocks/damaged", message=BlockList(list(ids)))

    async def get_many(self, ids: Sequence[BlockId]) -> list[tuple[BlockId, bytes]]:
        """Sealed blocks: as many of those asked for, in their order, as fit one answer, at least one."""
        response = await self.caller.call(
            "POST", f"{self._path}/blocks/read", message=BlockList(list(ids)), lane=Lane.BULK
        )
        try:
            blocks = list(unframed(response.body))
        except BadFrames:
            raise Unusable("the server's answer was cut short") from None
        if not blocks or [block for block, _ in blocks] != list(ids[: len(blocks)]):
            raise Unusable("the server answered with other blocks than were asked for")
        self.blocks_down += len(blocks)
        return blocks


def _quoted(name: bytes) -> str:
    """A name for a path: every byte that is not unreserved, percent-encoded; dots too, or "." would be removed."""
    return quote(name, safe="").replace(".", "%2E")
