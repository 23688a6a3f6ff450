"""Commits: a file's new content by compare-and-set, and what becomes of the bytes that came second."""

from __future__ import annotations

from collections.abc import Mapping

from protocol import manifest as manifests
from protocol.ids import NO_VERSION, BlockId, NodeId, VersionNumber, new_node_id
from protocol.manifest import BadManifest, Manifest
from protocol.messages import Commit, Conflict, Kind, Node, State
from server.metadata import blocks
from server.metadata.blocks import StoredBlock
from server.metadata.editing import Edit, Rule


class Lacking(Exception):
    """The manifest names blocks that aren't there."""

    def __init__(self, missing: list[BlockId]) -> None:
        super().__init__(f"{len(missing)} blocks are missing")
        self.missing = missing


def commit(edit: Edit, change: Commit, plain_lengths: Mapping[BlockId, int]) -> Conflict | None:
    """Apply a commit; raises Rule, Lacking, OverQuota, and BadManifest.

    ``plain_lengths`` are those of the blocks that travel in the commit: they have been opened and verified.
    """
    row = edit.node(change.node)
    if row.kind is not Kind.FILE:
        raise Rule("EINVAL", "only regular files have content")
    manifest = manifests.decode(change.manifest)
    if manifest.size_bytes != change.size:
        raise BadManifest("the size is not the sum of the pieces")
    _store_inline(edit, change, plain_lengths)
    _check_blocks(edit, manifest)
    if change.base != row.version and not _is_head(edit, row, change):
        return _keep_beside(edit, row, change, manifest)
    if row.nlink == 0:
        _bring_back(edit, row, change)
    if change.base == row.version:
        _new_version(edit, row.id, row.version, change, manifest)
    return None


def _store_inline(edit: Edit, change: Commit, plain_lengths: Mapping[BlockId, int]) -> None:
    for block, sealed in ((small.id, small.sealed) for small in change.blocks):
        blocks.record(edit.tx, edit.workspace, block, StoredBlock(sealed, None, len(sealed), plain_lengths[block]))


def _check_blocks(edit: Edit, manifest: Manifest) -> None:
    lengths = {piece.block: piece.length for piece in manifest.pieces if not piece.is_hole}
    missing = []
    for piece in manifest.pieces:
        if not piece.is_hole and lengths[piece.block] != piece.length:
            raise BadManifest("one block with two lengths")
    for block, length in lengths.items():
        found = blocks.plain_length(edit.tx, edit.workspace, block)
        if found is None:
            missing.append(block)
        elif found != length:
            raise BadManifest(f"block {block.hex()} has {found} bytes, not {length}")
    if missing:
        raise Lacking(missing)


def _is_head(edit: Edit, row: Node, change: Commit) -> bool:
    """Whether this very content is the head: a commit that was applied before its mount crashed, sent again."""
    found = edit.tx.one(
        "SELECT manifest FROM versions WHERE workspace = ? AND node = ? AND number = ?",
        (edit.workspace, row.id, row.version),
    )
    return found is not None and found[0] == change.manifest


def _new_version(edit: Edit, node: NodeId, head: VersionNumber, change: Commit, manifest: Manifest) -> None:
    number = VersionNumber(head + 1)
    edit.tx.execute(
        "INSERT INTO versions VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (edit.workspace, node, number, change.size, change.manifest, edit.seq, edit.caller.device, edit.now_ns),
    )
    edit.set(
        node,
        version=number,
        size=change.size,
        data_bytes=manifest.data_bytes,
        pieces=len(manifest.pieces),
        mtime_ns=change.mtime_ns,
        ctime_ns=max(change.time_ns, change.mtime_ns),
    )
    edit.touch(node, content=True)
    edit.state = State.UPLOADED


def _bring_back(edit: Edit, row: Node, change: Commit) -> None:
    """Edit against delete: the edit wins."""
    parent, name = edit.place_of(row.id)
    if edit.entry(parent, name) is not None:
        name = edit.conflict_name(parent, name)
    edit.add_entry(parent, name, row, change.time_ns)


def _keep_beside(edit: Edit, row: Node, change: Commit, manifest: Manifest) -> Conflict:
    parent, name = edit.place_of(row.id)
    copy = new_node_id()
    edit.add_copy(row, copy, NO_VERSION)
    name = edit.conflict_name(parent, name)
    edit.add_entry(parent, name, edit.node(copy), change.time_ns)
    _new_version(edit, copy, NO_VERSION, change, manifest)
    return Conflict(copy, parent, name)


def keep_replaced(edit: Edit, row: Node, parent: NodeId, name: bytes, time_ns: int) -> Conflict:
    """A rename replaced content that its mount had not seen: give that file a name of its own."""
    conflict = edit.conflict_name(parent, name)
    edit.move_entry(row, (parent, name), (parent, conflict), time_ns)
    return Conflict(row.id, parent, conflict)
