"""Changes of attributes: chmod(2), chown(2), utimensat(2), setxattr(2), removexattr(2)."""

from __future__ import annotations

import msgspec

from protocol.limits import XATTR_NAME_MAX_BYTES, XATTRS_MAX_BYTES
from protocol.messages.changes import RemoveXattr, SetAttributes, SetXattr, XattrMode
from protocol.messages.nodes import xattr_name_from_wire
from server.metadata.editing import Edit, Rule
from server.metadata.texts import Texts

_encode = msgspec.msgpack.Encoder().encode


def set_attributes(edit: Edit, change: SetAttributes) -> None:
    """Set those that are given; raises Rule."""
    edit.node(change.node)
    if change.mode is not None and not 0 <= change.mode <= 0o7777:
        raise Rule("EINVAL", "not a mode")
    named = {name: getattr(change, name) for name in ("mode", "uid", "gid", "mtime_ns", "atime_ns")}
    given = {name: value for name, value in named.items() if value is not None}
    if given:
        edit.set(change.node, ctime_ns=change.time_ns, **given)


def set_xattr(edit: Edit, change: SetXattr) -> None:
    """Set one; raises Rule."""
    xattrs = dict(edit.node(change.node).xattrs)
    if _name_bytes(edit.texts, change.name) > XATTR_NAME_MAX_BYTES:
        raise Rule("ERANGE", f"an attribute's name has 1 to {XATTR_NAME_MAX_BYTES} bytes")
    if change.xattr_mode is XattrMode.CREATE and change.name in xattrs:
        raise Rule("EEXIST", "the attribute is there already")
    if change.xattr_mode is XattrMode.REPLACE and change.name not in xattrs:
        raise Rule("ENODATA", "there is no such attribute")
    xattrs[change.name] = change.value
    sizes = (_name_bytes(edit.texts, name) + _value_bytes(edit.texts, value) for name, value in xattrs.items())
    if sum(sizes) > XATTRS_MAX_BYTES:
        raise Rule("ENOSPC", f"the attributes of one file are bounded to {XATTRS_MAX_BYTES} bytes")
    edit.set(change.node, xattrs=_encode(xattrs), ctime_ns=change.time_ns)


def remove_xattr(edit: Edit, change: RemoveXattr) -> None:
    """Remove one; raises Rule."""
    xattrs = dict(edit.node(change.node).xattrs)
    if xattrs.pop(change.name, None) is None:
        raise Rule("ENODATA", "there is no such attribute")
    edit.set(change.node, xattrs=_encode(xattrs) if xattrs else None, ctime_ns=change.time_ns)


def _name_bytes(texts: Texts, name: str) -> int:
    """The length of an attribute's name; raises Rule."""
    try:
        length = texts.xattr_name_bytes(xattr_name_from_wire(name))
    except UnicodeEncodeError:
        length = None
    if length is None:
        raise Rule("EINVAL", "an attribute's name is bytes, one character each, without NUL")
    if length < 1:
        raise Rule("ERANGE", f"an attribute's name has 1 to {XATTR_NAME_MAX_BYTES} bytes")
    return length


def _value_bytes(texts: Texts, value: bytes) -> int:
    """The length of an attribute's value; raises Rule."""
    length = texts.xattr_value_bytes(value)
    if length is None:
        raise Rule("EINVAL", "not an attribute's value in this workspace")
    return length
