"""Items: the tree as it is told to people and scripts without a mount, by paths.

Paths are the names from the workspace's root with ``/`` between them, each name percent-encoded: exact, whatever bytes
a name has. Every field stands in every answer; what there is none of is null.
"""

from __future__ import annotations

from protocol.ids import NodeId, Seq, VersionNumber
from protocol.messages.nodes import Kind, State
from protocol.messages.wire import Message


class Item(Message, frozen=True, omit_defaults=False):
    """A file, folder or other node under one of its names."""

    path: str
    """Percent-encoded; of the root, empty."""
    name: str
    """For people: bytes that are no UTF-8 are shown as U+FFFD."""
    kind: Kind
    size: int
    """Bytes of content."""
    mtime_ns: int
    version: VersionNumber
    """Of a file, the number of its content; 0 as long as its state is pending."""
    etag: str
    """For If-Match and If-None-Match, its quotes included."""
    node: str
    """The id in decimal, as text: JavaScript's numbers don't hold it."""
    mode: int
    state: State
    target: str | None
    """Of a symlink, shown like ``name``."""
    conflict_of: str | None
    """Of a conflict copy, the path of what it conflicts with."""


def etag_of(node: NodeId, version: VersionNumber) -> str:
    """The strong entity tag of a version (RFC 9110, section 8.8.3)."""
    return f'"{node:x}-{version}"'


class FolderPage(Message, frozen=True, omit_defaults=False):
    """A folder and a part of what is in it, in order of names' bytes. More is asked for with the last one's name."""

    item: Item
    items: list[Item]
    more: bool


class Move(Message, frozen=True, rename={"from_": "from"}):
    """Give an item another name, or another folder."""

    from_: str
    to: str
    replace: bool = False
    """What has the new name goes to the trash: a file, or a folder that is empty."""
    replaces: str | None = None
    """With ``replace``: the etag of what was seen under the new name. Something else there is a failed precondition."""


class Copy(Message, frozen=True, rename={"from_": "from"}):
    """Make a second item with the same content. A folder is copied with all that is in it."""

    from_: str
    to: str
    replace: bool = False
    """A file under the new name gets the content as its new version."""
    version: VersionNumber | None = None
    """Of a file, which of its versions; None: the newest."""


class FileVersion(Message, frozen=True, omit_defaults=False):
    """A content that a file has had."""

    number: VersionNumber
    size: int
    committed_ns: int
    """By the server's clock."""
    device: str
    user: str
    """Who wrote it; empty where that is not known any more."""
    etag: str


class History(Message, frozen=True, omit_defaults=False):
    """A file and some of its versions, newest first. More is asked for with the last one's number."""

    item: Item
    versions: list[FileVersion]
    more: bool


class Restore(Message, frozen=True):
    """Let an earlier version of a file be its newest."""

    path: str
    version: VersionNumber


class RemovedItem(Item, frozen=True, omit_defaults=False):
    """What was removed, as it was, with the path that it had last."""

    removed_ns: int
    """By the server's clock; where the change log does not reach back so far, by the clock of who removed it."""
    device: str
    user: str
    """Who removed it; empty where that is not known any more."""


class Trash(Message, frozen=True, omit_defaults=False):
    """Some of what was removed, newest first. Where there may be more, it is asked for after ``next``."""

    items: list[RemovedItem]
    next: str | None


class Found(Message, frozen=True, omit_defaults=False):
    """Items whose names match, in no order that means something. Where there may be more, they are asked for after
    ``next``."""

    items: list[Item]
    next: str | None


class Happening(Message, frozen=True, omit_defaults=False):
    """A change of the workspace, for people and scripts."""

    seq: Seq
    at_ns: int
    """By the server's clock."""
    user: str
    device: str
    """Who made it; empty where that is not known any more."""
    what: str
    """Such as create, commit, rename, unlink, rmdir, set, copy, restore, bring back."""
    paths: list[str]
    """The names that changed, else those of what changed: in folders as they are called now, or were last."""
    items: list[Item]
    """What the change was about, as it is now; what is gone by now is left out."""


class Feed(Message, frozen=True, omit_defaults=False):
    """Changes in their order. ``seq`` is the number to ask after next. ``reset`` says that the log does not reach back
    so far: look at everything anew."""

    seq: Seq
    changes: list[Happening]
    reset: bool
