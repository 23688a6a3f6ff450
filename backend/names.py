"""Names and attributes as this mount sees them: what is cached, else what the server says, and what is only here yet.

Owns look-ups, listings and attributes. Each question is answered from ``Tree`` under a lease, and while the mount works
apart from its server, else by the server. Files that were created here and whose create has not been answered yet
are found in ``creating``.

The first look-up in a folder of which nothing is known fetches its first page with attributes, because a kernel
walks folders name by name; concurrent look-ups there share it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, Protocol

import msgspec
import trio

from backend.confirmed import meanings
from backend.errors import ListingChanged, NotFound, Refused
from backend.reach import Reach
from backend.session import Session
from backend.tree import ABSENT, Tree
from protocol.ids import ROOT_NODE, NodeId, Seq
from protocol.messages.batches import AnyAnswer, Applied
from protocol.messages.changes import AnyChange, Create
from protocol.messages.nodes import Kind, Node
from protocol.messages.tree import Entry, ListingReply, LookupReply, NodeReply

ONE_BY_ONE_MAX: Final = 8
"""Up to so many outdated rows of a folder are asked for singly; with more, the whole listing is fetched again."""

LOOKUP_TRIES: Final = 20
"""A name that changes during each of so many questions is taken to mean what was answered last."""

LISTING_TRIES: Final = 20
"""A folder that changes between every two pages this often is reported as EAGAIN."""


class TreeRemote(Protocol):
    """The server's tree."""

    async def node(self, node: NodeId) -> NodeReply:
        """Raises NotFound."""
        ...

    async def lookup(self, folder: NodeId, name: bytes) -> LookupReply:
        """Raises NotFound where there is no such folder."""
        ...

    async def listing_page(self, folder: NodeId, after: bytes = b"", generation: int | None = None) -> ListingReply:
        """Raises ListingChanged."""
        ...


class LocalFile(Protocol):
    """What names need of an open file."""

    @property
    def made_ns(self) -> int:
        """When it was made, of a file that is new here."""
        ...

    @property
    def is_new(self) -> bool:
        """Made here, and the server has not said yet that it knows of it."""
        ...

    def attributes(self) -> Node:
        """As its readers see it."""
        ...

    def refresh(self, row: Node) -> None:
        """The server said this of its node."""
        ...

    def is_overtaken_by(self, row: Node) -> bool:
        """Whether this is of a later version than it, which goes before it."""
        ...


class Names:
    """The name space of one mount."""

    def __init__(
        self,
        remote: TreeRemote,
        tree: Tree,
        session: Session,
        reach: Reach,
        local_file: Callable[[NodeId], LocalFile | None],
    ) -> None:
        self.creating: dict[tuple[NodeId, bytes], LocalFile] = {}
        self._remote = remote
        self._tree = tree
        self._session = session
        self._reach = reach
        self._local_file = local_file
        self._fetching: dict[NodeId, trio.Event] = {}

    async def lookup(self, folder: NodeId, name: bytes) -> Node | None:
        """The node of a name, or None where there is no entry."""
        if (file := self.creating.get((folder, name))) is not None:
            return file.attributes()
        if self._trusted():
            known = self._tree.lookup(folder, name)
            if known is None and not self._tree.knows_some_of(folder):
                await self._first_page(folder)
                known = self._tree.lookup(folder, name)
            if known is ABSENT:
                return None
            if isinstance(known, int):
                try:
                    row = await self.attributes(known)
                    if self._tree.lookup(folder, name) == known:
                        return row  # Else a notice overtook the answer, as in ``_current_reply``.
                except NotFound:
                    pass  # The node went with its name a moment ago: ask what the name means now.
        reply = await self._current_reply(folder, name)
        seq = reply.notices.seq
        if reply.node is None:
            self._tree.keep_name(folder, name, ABSENT, seq)
            return None
        self._tree.keep_name(folder, name, reply.node.id, seq)
        return self._told(reply.node, seq)

    async def _current_reply(self, folder: NodeId, name: bytes) -> LookupReply:
        """What the server says that a name means.

        Where a notice overtook the reply, the name is asked for again: an open of what it meant before would find that
        file's content of now, which it may never have had under this name.
        """
        for _ in range(LOOKUP_TRIES):
            reply = await self._remote.lookup(folder, name)
            await self._session.absorb(reply.notices)
            if not self._tree.is_older_name(folder, name, reply.notices.seq):
                break
        return reply

    async def attributes(self, node: NodeId) -> Node:
        """A node's attributes; raises NotFound where it is gone."""
        row = self._tree.node(node) if self._trusted() else None
        file = self._local_file(node)
        if row is None:
            if file is not None and file.is_new:
                return file.attributes()
            reply = await self._remote.node(node)
            await self._session.absorb(reply.notices)
            return self._told(reply.node, reply.notices.seq)
        return self._with_local(row)

    def _told(self, row: Node, seq: Seq) -> Node:
        """A node that a reply carried. Where something newer is known, an open file is not set back by it."""
        self._tree.keep_node(row, seq)
        if (kept := self._tree.node(row.id)) is not None:
            return self._with_local(kept)
        file = self._local_file(row.id)
        return row if file is None else file.attributes()

    async def latest(self, row: Node, seq: Seq) -> Node:
        """A row that was taken when the changes up to ``seq`` had been applied, as it is now; the last one of what is
        gone."""
        if self._reach.apart:
            return self._with_local(self._tree.node(row.id) or row)
        if not self._tree.is_older(row.id, seq):
            return self._with_local(row)
        try:
            return await self.attributes(row.id)
        except NotFound:
            return row

    async def entries(self, folder: NodeId) -> Sequence[Entry]:
        """All of a folder, in order of the names' bytes."""
        entries = await self._known_entries(folder)
        if entries is None:
            entries = await self._fetched_entries(folder)
        merged = {entry.name: Entry(entry.name, self._with_local(entry.node)) for entry in entries}
        for (parent, name), file in self.creating.items():
            if parent == folder:
                merged[name] = Entry(name, file.attributes())
        return [merged[name] for name in sorted(merged)]

    def answered(self, change: AnyChange, answer: AnyAnswer, seq: Seq | None) -> None:
        """A change of this mount was answered. No checkpoint.

        The rows that the answer carries are true at ``seq``; without, it was given apart, by what is cached. What it
        says of names is as old as the change: a later one of its batch may have given a folder its name back.
        """
        if isinstance(change, Create):
            self.creating.pop((change.parent, change.name), None)
        if isinstance(answer, Applied) and seq is not None:
            for row in answer.nodes:
                self._tree.keep_node(row, seq)
            for folder, name, meaning in meanings(change, answer):
                self._tree.keep_name(folder, name, meaning, answer.seq)
                if isinstance(change, Create) and change.kind is Kind.FOLDER:
                    self._tree.keep_listing(change.node, [], answer.seq)

    def path_of(self, node: NodeId) -> str:
        """A path of a node for people, as far as names are known."""
        for (folder, name), file in self.creating.items():
            if file.attributes().id == node:
                inside = name.decode(errors="backslashreplace")
                return inside if folder == ROOT_NODE else f"{self._tree.path_of(folder)}/{inside}"
        return self._tree.path_of(node)

    def _trusted(self) -> bool:
        """Whether what is cached is answered: under a lease, and while there is nobody to ask."""
        return self._reach.apart or self._session.lease_left_s() > 0

    def _with_local(self, row: Node) -> Node:
        if row.kind is Kind.FOLDER and self.creating:
            return self._with_creations(row)
        file = self._local_file(row.id)
        if file is None or file.is_overtaken_by(row):
            return row
        file.refresh(row)
        return file.attributes()

    def _with_creations(self, folder: Node) -> Node:
        """A folder's times as they will be when the server has answered the creates under way in it."""
        made = [file.made_ns for (parent, _), file in self.creating.items() if parent == folder.id]
        latest = max(made, default=0)
        if latest <= folder.ctime_ns:
            return folder
        return msgspec.structs.replace(folder, mtime_ns=latest, ctime_ns=latest)

    async def _first_page(self, folder: NodeId) -> None:
        if (under_way := self._fetching.get(folder)) is not None:
            await under_way.wait()
            return
        done = self._fetching[folder] = trio.Event()
        try:
            reply = await self._remote.listing_page(folder)
            await self._session.absorb(reply.notices)
            if reply.more:
                self._tree.keep_page(folder, reply.entries, reply.notices.seq)
            else:
                self._tree.keep_listing(folder, reply.entries, reply.notices.seq)
        finally:
            del self._fetching[folder]
            done.set()

    async def _known_entries(self, folder: NodeId) -> list[Entry] | None:
        """From the cache, with a few rows asked for; None where the listing has to be fetched."""
        if not self._trusted():
            return None
        unknown = self._tree.unknown_names(folder)
        if unknown is None or len(unknown) > ONE_BY_ONE_MAX:
            return None
        for name in unknown:
            await self.lookup(folder, name)
        names = self._tree.listing(folder)
        if names is None:
            return None
        if sum(self._tree.node(node) is None for _, node in names) > ONE_BY_ONE_MAX:
            return None
        try:
            return [Entry(name, self._tree.node(node) or await self.attributes(node)) for name, node in names]
        except NotFound:
            return None

    async def _fetched_entries(self, folder: NodeId) -> list[Entry]:
        for _ in range(LISTING_TRIES):
            try:
                reply = await self._remote.listing_page(folder)
                await self._session.absorb(reply.notices)
                first, entries = reply, list(reply.entries)
                while reply.more:
                    reply = await self._remote.listing_page(folder, entries[-1].name, first.generation)
                    await self._session.absorb(reply.notices)
                    entries += reply.entries
            except ListingChanged:
                continue
            self._tree.keep_listing(folder, entries, first.notices.seq)
            return entries
        raise Refused.named("EAGAIN", "the folder changes faster than it can be listed")
