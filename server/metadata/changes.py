"""Batches of numbered changes: applied in order, each once, each telling everybody what it outdated.

A change that a rule refuses changes nothing and takes no number of the change log. A batch that comes again is
answered with the answers that it got, whenever that is: they are kept as long as the device.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from protocol.ids import BlockId, Seq, WorkspaceId
from protocol.limits import SYMLINK_MAX_BYTES, XATTR_NAME_MAX_BYTES, XATTRS_MAX_BYTES
from protocol.messages import (
    AnyAnswer,
    AnyChange,
    Applied,
    Batch,
    BatchReply,
    Commit,
    Conflict,
    Create,
    Kind,
    Link,
    MissingBlocks,
    Node,
    OnClash,
    Refused,
    RemoveXattr,
    Rename,
    Rmdir,
    SetAttributes,
    SetXattr,
    State,
    Unlink,
    XattrMode,
)
from server.metadata import feed, tree
from server.metadata.accounts import Caller
from server.metadata.contents import Lacking, commit
from server.metadata.editing import LINK_MAX, Edit, Rule, valid_name
from server.metadata.rename import remove_folder, rename
from server.metadata.store import Transaction

_NODE_ID_MAX: Final = 1 << 62
_encode = msgspec.msgpack.Encoder().encode
_decode_answers = msgspec.msgpack.Decoder(list[AnyAnswer]).decode


class OutOfOrder(Exception):
    """The batch's numbers don't follow those applied."""


def apply_batch(
    tx: Transaction,
    workspace: WorkspaceId,
    caller: Caller,
    batch: Batch,
    plain_lengths: Mapping[BlockId, int],
    now_ns: int,
) -> BatchReply:
    """Apply a batch, or repeat its answers; raises OutOfOrder, BadManifest, OverQuota: then nothing was applied.

    ``plain_lengths`` are those of the blocks that travel in the batch, which have been opened and verified.
    """
    key = (workspace, caller.device, batch.journal)
    row = tx.one(
        "SELECT last_number, first_number, answers FROM journals WHERE workspace = ? AND device = ? AND journal = ?",
        key,
    )
    if row is None:
        raise OutOfOrder("this journal has not joined")
    last, first, kept = row
    if batch.first == first and batch.first + len(batch.changes) - 1 == last and batch.changes:
        return BatchReply(_decode_answers(kept), feed.notices(tx, workspace, batch.after))
    if batch.first != last + 1:
        raise OutOfOrder(f"the next change of this journal is number {last + 1}, not {batch.first}")
    answers = [_apply(tx, workspace, caller, change, batch, plain_lengths, now_ns) for change in batch.changes]
    answers = [_with_nodes(tx, workspace, answer) for answer in answers]
    tx.execute(
        "UPDATE journals SET last_number = ?, first_number = ?, answers = ?"
        " WHERE workspace = ? AND device = ? AND journal = ?",
        (last + len(batch.changes), batch.first, _encode(answers), *key),
    )
    return BatchReply(answers, feed.notices(tx, workspace, batch.after))


def _with_nodes(tx: Transaction, workspace: WorkspaceId, answer: AnyAnswer) -> AnyAnswer:
    """Fill in the nodes as they are after the whole batch."""
    if not isinstance(answer, Applied):
        return answer
    rows = [tree.node(tx, workspace, row.id) or row for row in answer.nodes]
    return msgspec.structs.replace(answer, nodes=rows)


def _apply(
    tx: Transaction,
    workspace: WorkspaceId,
    caller: Caller,
    change: AnyChange,
    batch: Batch,
    plain_lengths: Mapping[BlockId, int],
    now_ns: int,
) -> AnyAnswer:
    edit = Edit(tx, workspace, caller, Seq(tree.head(tx, workspace) + 1), now_ns)
    try:
        conflict = tx.attempt(lambda: _dispatch(edit, change, plain_lengths))
    except Rule as rule:
        return Refused(rule.errno, str(rule))
    except Lacking as lacking:
        return MissingBlocks(lacking.missing)
    if not edit.nodes:
        return Applied(tree.head(tx, workspace), _named_nodes(edit, change), conflict)
    feed.append(tx, workspace, caller.device, edit.notice(str(change.__struct_config__.tag), batch.journal), now_ns)
    return Applied(edit.seq, [edit.node(node) for node in edit.nodes], conflict)


def _named_nodes(edit: Edit, change: AnyChange) -> list[Node]:
    """The node that a change names, where it changed nothing."""
    found = tree.node(edit.tx, edit.workspace, change.node)
    return [] if found is None else [found]


def _dispatch(edit: Edit, change: AnyChange, plain_lengths: Mapping[BlockId, int]) -> Conflict | None:
    match change:
        case Commit():
            return commit(edit, change, plain_lengths)
        case Create():
            return _create(edit, change)
        case Rename():
            return rename(edit, change)
        case SetAttributes():
            _set_attributes(edit, change)
        case SetXattr():
            _set_xattr(edit, change)
        case RemoveXattr():
            _remove_xattr(edit, change)
        case Link():
            _link(edit, change)
        case Unlink():
            _unlink(edit, change)
        case Rmdir():
            _rmdir(edit, change)
    return None


def _create(edit: Edit, change: Create) -> Conflict | None:
    valid_name(change.name)
    edit.folder(change.parent)
    if not 1 < change.node < _NODE_ID_MAX or not 0 <= change.mode <= 0o7777:
        raise Rule("EINVAL", "not a node id, or not a mode")
    if len(change.target) > SYMLINK_MAX_BYTES:
        raise Rule("ENAMETOOLONG", f"a symlink's target has at most {SYMLINK_MAX_BYTES} bytes")
    name, conflict = change.name, None
    taken = edit.entry(change.parent, name)
    if taken == change.node:
        return None
    if tree.node(edit.tx, edit.workspace, change.node) is not None:
        _same_create(edit, change)
        return None
    if taken is not None:
        if change.on_clash is OnClash.REFUSE:
            raise Rule("EEXIST", "the name is taken")
        name = edit.conflict_name(change.parent, name)
        conflict = Conflict(change.node, change.parent, name)
    edit.tx.execute(
        "INSERT INTO nodes (workspace, id, kind, mode, uid, gid, rdev, nlink, mtime_ns, ctime_ns, atime_ns, target,"
        " version, size, data_bytes, pieces, conflict_of) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0, ?, 0, 0, ?)",
        (
            edit.workspace,
            change.node,
            change.kind.value,
            change.mode,
            change.uid,
            change.gid,
            change.rdev,
            2 if change.kind is Kind.FOLDER else 0,
            change.time_ns,
            change.time_ns,
            change.time_ns,
            change.target if change.kind is Kind.SYMLINK else None,
            len(change.target),
            None if conflict is None else taken,
        ),
    )
    edit.add_entry(change.parent, name, edit.node(change.node), change.time_ns)
    edit.state = State.PENDING if change.kind is Kind.FILE else None
    return conflict


def _same_create(edit: Edit, change: Create) -> None:
    """The id is known: the same create, sent again by a mount that crashed before its answer, or a clash of ids."""
    made = edit.tx.one(
        "SELECT 1 FROM nodes WHERE workspace = ? AND id = ? AND kind = ? AND atime_ns = ?",
        (edit.workspace, change.node, change.kind.value, change.time_ns),
    )
    if made is None:
        raise Rule("EEXIST", "the node id is taken")


def _set_attributes(edit: Edit, change: SetAttributes) -> None:
    edit.node(change.node)
    if change.mode is not None and not 0 <= change.mode <= 0o7777:
        raise Rule("EINVAL", "not a mode")
    named = {name: getattr(change, name) for name in ("mode", "uid", "gid", "mtime_ns", "atime_ns")}
    given = {name: value for name, value in named.items() if value is not None}
    if given:
        edit.set(change.node, ctime_ns=change.time_ns, **given)


def _set_xattr(edit: Edit, change: SetXattr) -> None:
    xattrs = dict(edit.node(change.node).xattrs)
    if not change.name or len(change.name) > XATTR_NAME_MAX_BYTES:
        raise Rule("ERANGE", "an attribute's name has 1 to 255 bytes")
    if change.xattr_mode is XattrMode.CREATE and change.name in xattrs:
        raise Rule("EEXIST", "the attribute is there already")
    if change.xattr_mode is XattrMode.REPLACE and change.name not in xattrs:
        raise Rule("ENODATA", "there is no such attribute")
    xattrs[change.name] = change.value
    if sum(len(name) + len(value) for name, value in xattrs.items()) > XATTRS_MAX_BYTES:
        raise Rule("ENOSPC", "the attributes of one file are bounded to 64 KiB")
    edit.set(change.node, xattrs=_encode(xattrs), ctime_ns=change.time_ns)


def _remove_xattr(edit: Edit, change: RemoveXattr) -> None:
    xattrs = dict(edit.node(change.node).xattrs)
    if xattrs.pop(change.name, None) is None:
        raise Rule("ENODATA", "there is no such attribute")
    edit.set(change.node, xattrs=_encode(xattrs) if xattrs else None, ctime_ns=change.time_ns)


def _link(edit: Edit, change: Link) -> None:
    valid_name(change.name)
    edit.folder(change.parent)
    node = edit.node(change.node)
    if node.kind is Kind.FOLDER:
        raise Rule("EPERM", "folders have one name")
    if node.nlink == 0:
        raise Rule("ENOENT", "the file has been removed")
    if node.nlink >= LINK_MAX:
        raise Rule("EMLINK", f"a file has at most {LINK_MAX} names")
    if edit.entry(change.parent, change.name) is not None:
        raise Rule("EEXIST", "the name is taken")
    edit.add_entry(change.parent, change.name, node, change.time_ns)


def _unlink(edit: Edit, change: Unlink) -> None:
    node = edit.named(change.parent, change.name, change.node)
    if node.kind is Kind.FOLDER:
        raise Rule("EISDIR", "a folder is removed with rmdir")
    edit.remove_entry(change.parent, change.name, node, change.time_ns)


def _rmdir(edit: Edit, change: Rmdir) -> None:
    node = edit.named(change.parent, change.name, change.node)
    if node.kind is not Kind.FOLDER:
        raise Rule("ENOTDIR", "not a folder")
    if not edit.is_empty(node.id):
        raise Rule("ENOTEMPTY", "the folder is not empty")
    remove_folder(edit, node, change.parent, change.name, change.time_ns)
