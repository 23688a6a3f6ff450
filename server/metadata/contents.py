"""Commits: a file's new content by compare-and-set on the version that it was made from."""

from __future__ import annotations

from collections.abc import Mapping

from protocol import manifest as manifests
from protocol.ids import NO_VERSION, BlockId, NodeId, VersionNumber
from protocol.manifest import BadManifest, Manifest
from protocol.messages.changes import Commit
from protocol.messages.nodes import Kind, Node, State
from protocol.sealing import key_id_of
from server.metadata import blocks
from server.metadata.blocks import StoredBlock
from server.metadata.conflicts import copy_beside
from server.metadata.editing import Edit, Outcome, Rule
from server.metadata.returning import bring_back, place_of


class Lacking(Exception):
    """The manifest names blocks that aren't there."""

    def __init__(self, missing: list[BlockId]) -> None:
        super().__init__(f"{len(missing)} blocks are missing")
        self.missing = missing


def commit(edit: Edit, change: Commit, verified: Mapping[BlockId, int]) -> Outcome:
    """Apply a commit; raises Rule, Lacking, OverQuota and BadManifest.

    ``verified`` has the plain length of each block that travels in the commit: they have been opened.
    """
    row = edit.node(change.node)
    if row.kind is not Kind.FILE:
        raise Rule("EINVAL", "only regular files have content")
    manifest = manifests.decode(change.manifest)
    if manifest.size_bytes != change.size:
        raise BadManifest(f"the pieces have {manifest.size_bytes} bytes together, not {change.size}")
    for block, sealed in ((small.id, small.sealed) for small in change.blocks):
        at = StoredBlock(sealed, None, len(sealed), verified[block], key_id_of(sealed))
        blocks.record(edit.tx, edit.workspace, block, at)
    _check_blocks(edit, manifest)
    if change.base == row.version:
        returned = bring_back(edit, row, change.time_ns) if row.nlink == 0 else None
        return Outcome(returned, version=_new_version(edit, row.id, row.version, row.ctime_ns, change, manifest))
    if (applied := _applied_before(edit, row, change)) is not None:
        return Outcome(version=applied)  # What became of the file since stays.
    conflict = copy_beside(edit, row, *place_of(edit, row.id, change.time_ns), change.time_ns)
    return Outcome(conflict, version=_new_version(edit, conflict.node, NO_VERSION, 0, change, manifest))


def _check_blocks(edit: Edit, manifest: Manifest) -> None:
    found = blocks.plain_lengths(edit.tx, edit.workspace, manifest.blocks())
    missing: dict[BlockId, None] = {}
    for piece in manifest.pieces:
        if piece.is_hole:
            continue
        length = found.get(piece.block)
        if length is None:
            missing[piece.block] = None
        elif length != piece.length:
            raise BadManifest(f"block {piece.block.hex()} has {length} bytes, not {piece.length}")
    if missing:
        raise Lacking(list(missing))


def _applied_before(edit: Edit, row: Node, change: Commit) -> VersionNumber | None:
    """The version that this very commit made before its mount crashed, if it is sent again.

    That is the one after its base, by the same device, or the head: whoever wrote the same bytes loses none.
    """
    found = edit.tx.one(
        "SELECT number FROM versions WHERE workspace = ? AND node = ? AND manifest = ?"
        " AND (number = ? OR (number = ? AND device = ?)) ORDER BY number DESC LIMIT 1",
        (edit.workspace, row.id, change.manifest, row.version, change.base + 1, edit.caller.device),
    )
    return None if found is None else VersionNumber(found[0])


def _new_version(
    edit: Edit, node: NodeId, head: VersionNumber, ctime_ns: int, change: Commit, manifest: Manifest
) -> VersionNumber:
    number = VersionNumber(head + 1)
    edit.tx.execute(
        "INSERT INTO versions (workspace, node, number, size, manifest, seq, device, committed_ns)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (edit.workspace, node, number, change.size, change.manifest, edit.seq, edit.caller.device, edit.now_ns),
    )
    edit.set(
        node,
        version=number,
        size=change.size,
        data_bytes=manifest.data_bytes,
        pieces=len(manifest.pieces),
        mtime_ns=change.mtime_ns,
        ctime_ns=change.ctime_after(ctime_ns),
    )
    edit.touch(node, content=True)
    edit.state = State.UPLOADED
    return number


def take_content(
    edit: Edit, node: Node, source: Node, number: VersionNumber, mtime_ns: int, time_ns: int
) -> VersionNumber:
    """A version of a file, this one or another, becomes a new version of this one; raises Rule. No content moves."""
    row = None
    if 0 < number <= source.version:
        row = edit.tx.one(
            "SELECT size, manifest FROM versions WHERE workspace = ? AND node = ? AND number = ?",
            (edit.workspace, source.id, number),
        )
    if row is None:
        raise Rule("ENOENT", "there is no such version")
    size, encoded = row
    change = Commit(time_ns, node.id, node.version, size, encoded, mtime_ns)
    return _new_version(edit, node.id, node.version, node.ctime_ns, change, manifests.decode(encoded))
