"""The content of versions: manifests, as rows carry them, as the server is asked for them, and as they are kept here.

Invariant: while the server's word goes, a version's manifest never changes, so one that is kept isn't asked for again.
Where that word begins anew (after a spell apart, or at a server that was restored), a number may stand for another
content: then everything is forgotten.
"""

from __future__ import annotations

from typing import Final, Protocol

from cachetools import LRUCache

from protocol import manifest as manifests
from protocol.ids import NodeId, VersionNumber
from protocol.limits import INLINE_MANIFEST_PIECES
from protocol.manifest import EMPTY, Manifest
from protocol.messages.nodes import Node
from protocol.messages.tree import ManifestReply

PIECES_MAX: Final = 200_000
"""Of the long manifests kept in memory: about 30 MB."""


_Cache = LRUCache[tuple[NodeId, VersionNumber], Manifest]


class ManifestRemote(Protocol):
    """Where long manifests are."""

    async def manifest(self, node: NodeId, version: VersionNumber) -> ManifestReply:
        """Raises DriveError."""
        ...


class Contents:
    """One mount's."""

    def __init__(self, remote: ManifestRemote) -> None:
        self._remote = remote
        self._kept = _new_cache()

    async def of(self, row: Node) -> Manifest:
        """The content of a file's version; raises DriveError."""
        if row.version == 0:
            return EMPTY
        if row.manifest is not None:
            return manifests.decode(row.manifest)
        kept = self._kept  # Not what is kept after a forget: the answer may be from before it.
        manifest = kept.get((row.id, row.version))
        if manifest is None:
            manifest = manifests.decode((await self._remote.manifest(row.id, row.version)).manifest)
            _keep(kept, row.id, row.version, manifest)
        return manifest

    def keep(self, node: NodeId, version: VersionNumber, manifest: Manifest) -> None:
        """A version's content is known, by the server's word. A short one is in the version's row."""
        if len(manifest.pieces) > INLINE_MANIFEST_PIECES:
            _keep(self._kept, node, version, manifest)

    def forget(self) -> None:
        """Numbers of versions may stand for other contents from now on."""
        self._kept = _new_cache()


def _new_cache() -> _Cache:
    return LRUCache(PIECES_MAX, getsizeof=lambda manifest: len(manifest.pieces) + 1)


def _keep(cache: _Cache, node: NodeId, version: VersionNumber, manifest: Manifest) -> None:
    if len(manifest.pieces) < cache.maxsize:
        cache[node, version] = manifest
