"""The content of versions: manifests, as rows carry them, as the server is asked for them, and as they are kept here.

Invariant: a version's manifest never changes, so one that is kept is never asked for again.
"""

from __future__ import annotations

from typing import Final, Protocol

from cachetools import LRUCache

from protocol import manifest as manifests
from protocol.ids import NodeId, VersionNumber
from protocol.manifest import EMPTY, Manifest
from protocol.messages.nodes import Node
from protocol.messages.tree import ManifestReply

PIECES_MAX: Final = 200_000
"""Of the long manifests kept in memory: about 40 MB."""


class ManifestRemote(Protocol):
    """Where long manifests are."""

    async def manifest(self, node: NodeId, version: VersionNumber) -> ManifestReply:
        """Raises DriveError."""
        ...


class Contents:
    """One mount's."""

    def __init__(self, remote: ManifestRemote) -> None:
        self._remote = remote
        self._kept: LRUCache[tuple[NodeId, VersionNumber], Manifest] = LRUCache(
            PIECES_MAX, getsizeof=lambda manifest: len(manifest.pieces) + 1
        )

    async def of(self, row: Node) -> Manifest:
        """The content of a file's version; raises DriveError."""
        if row.version == 0:
            return EMPTY
        if row.manifest is not None:
            return manifests.decode(row.manifest)
        manifest = self._kept.get((row.id, row.version))
        if manifest is None:
            manifest = manifests.decode((await self._remote.manifest(row.id, row.version)).manifest)
            self.keep(row.id, row.version, manifest)
        return manifest

    def keep(self, node: NodeId, version: VersionNumber, manifest: Manifest) -> None:
        """A version's content is known."""
        if len(manifest.pieces) < self._kept.maxsize:
            self._kept[node, version] = manifest
