"""The node of a file that is open here, as its readers see it: what the server said, with what was done here since.

Owns attributes and times; knows nothing of content but its lengths. What was set here stays until the server has
answered it, whatever other answers say of the node meanwhile.
"""

from __future__ import annotations

import msgspec

from backend.overlay import Overlay
from protocol.ids import NodeId, VersionNumber
from protocol.manifest import Manifest
from protocol.messages.changes import SetAttributes
from protocol.messages.nodes import Node


class FileRow:
    """One file's."""

    def __init__(self, row: Node) -> None:
        self.row = row
        """Without what was written here; its version and lengths are of the version that the file stands on."""
        self.mtime_ns: int | None = None
        """Of what was written here; None where the node's own goes."""
        self._changed_ns = 0
        """When something was last written or cut here: a commit has that for its ctime, not the moment of the close."""
        self._local: list[SetAttributes] = []
        """Changes of attributes that the server has not answered."""

    @property
    def node(self) -> NodeId:
        """Its node."""
        return self.row.id

    @property
    def ctime_ns(self) -> int:
        """Of what was done here, or the node's own."""
        return max(self._changed_ns, self.row.ctime_ns)

    def shown(self, overlay: Overlay | None) -> Node:
        """The node with what was written here."""
        changes: dict[str, object] = {}
        if overlay is not None and overlay.is_dirty:
            changes |= {"size": overlay.size_bytes, "data_bytes": overlay.data_bytes}
        if self.mtime_ns is not None:
            changes |= {"mtime_ns": self.mtime_ns, "ctime_ns": self.ctime_ns}
        return msgspec.structs.replace(self.row, **changes) if changes else self.row

    def refresh(self, row: Node, base: VersionNumber) -> None:
        """The server said this of the node. The file stays on version ``base``."""
        for change in self._local:
            row = _with(row, change)
        if row.version == base:
            self.row = row
        else:
            size, data = self.row.size, self.row.data_bytes
            self.row = msgspec.structs.replace(row, version=self.row.version, size=size, data_bytes=data)

    def set_locally(self, change: SetAttributes) -> None:
        """Attributes that the server doesn't know of yet."""
        if change.mtime_ns is not None:
            self.mtime_ns = change.mtime_ns
        self._local.append(change)
        self.row = _with(self.row, change)

    def settled(self, change: SetAttributes) -> None:
        """The server has answered a change of attributes, or one equal to it: what it says goes from now on."""
        self._local = [one for one in self._local if one != change]

    def written(self, now_ns: int) -> None:
        """Something was written or cut. That moves ctime on also where this machine's clock is behind that of who
        changed the file before."""
        self.mtime_ns = now_ns
        self._changed_ns = max(now_ns, self.ctime_ns + 1)

    def recovered(self, mtime_ns: int, now_ns: int) -> None:
        """An earlier process had written to it."""
        self.mtime_ns, self._changed_ns = mtime_ns, now_ns

    def committed(self) -> None:
        """All that was written is in a version, whose times are the node's."""
        self.mtime_ns = None

    def stand_on(self, row: Node, version: VersionNumber, content: Manifest) -> bool:
        """``content`` is this version from now on; returns whether the row is of a later one, by somebody else."""
        is_old = row.version != version
        if is_old:
            size, data = content.size_bytes, content.data_bytes
            row = msgspec.structs.replace(row, version=version, size=size, data_bytes=data, manifest=None)
        self.row = row
        return is_old


def _with(row: Node, change: SetAttributes) -> Node:
    """A node's row with a change of attributes; its mtime is the file's own affair until it is committed."""
    named = {name: getattr(change, name) for name in ("mode", "uid", "gid", "atime_ns")}
    given = {name: value for name, value in named.items() if value is not None}
    return msgspec.structs.replace(row, ctime_ns=max(row.ctime_ns, change.time_ns), **given)
