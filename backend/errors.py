"""Everything that a client call can fail with, named for what the caller does about it.

::

    DriveError                 .errno is what a system call returns
    ├── Offline                the server can't be reached: what was closed is kept and sent later (EIO)
    │   ├── JournalTaken       another session sends for this journal: take it again, then send (EIO)
    │   └── Deferred           only the server can say what becomes of it: durable here, it is sent when that answers
    ├── Unauthorized           the token is not, or no longer, valid: log in again (EACCES)
    ├── NoKey                  the workspace's passphrase is missing or wrong: give it (EACCES)
    │   └── NotUnlocked        content is under a key that was added since: unlock the workspace here (ENOKEY)
    ├── ReadOnly               the member may only read (EROFS)
    ├── NoSpace                server or quota is full: make room; what was closed is kept and sent later (ENOSPC)
    ├── Refused                a rule of file systems says no (its own errno)
    ├── Stale                  the inode stands for an outdated version: look the name up again (ESTALE)
    ├── SessionEnded           the server doesn't know this session any more: join again (EIO)
    ├── ListingChanged         the folder changed between two pages: begin again (EIO)
    ├── Corrupt                bytes don't match their id: stop and tell (EIO)
    ├── Unusable               the server speaks another protocol, or a request of ours was wrong (EPROTO)
    └── LocalFailure           the cache folder can't be used (EIO, or its own errno)

Errors of httpx become these in ``backend.http`` and nowhere else.
"""

from __future__ import annotations

import errno as codes
from typing import Final


class DriveError(Exception):
    """Base of this package's errors. ``errno`` is a number of ``errno``."""

    errno: int = codes.EIO


class Offline(DriveError):
    """No answer from the server within the deadline."""

    errno = codes.EIO


class Deferred(Offline):
    """What was written can't be shown under a name before the server is asked: once durable, that is success."""


class JournalTaken(Offline):
    """The journal's numbers at the server are not those that this mount knows: another session took it since.

    That can only be an earlier mount of the same folder, whose requests arrive late; or the server was restored from a
    backup. Who holds the folder's lock takes the journal again, and learns its numbers by that.
    """


class Unauthorized(DriveError):
    """The server does not accept the token."""

    errno = codes.EACCES


class NoKey(DriveError):
    """An end-to-end workspace's key is not here, or does not open with the passphrase that was given."""

    errno = codes.EACCES


class NotUnlocked(NoKey):
    """An end-to-end workspace has got another key, which its passphrase has not opened on this machine yet."""

    errno = codes.ENOKEY


class ReadOnly(DriveError):
    """Viewers can't change anything."""

    errno = codes.EROFS


class NoSpace(DriveError):
    """The server's disk or the workspace's quota is full."""

    errno = codes.ENOSPC


class Refused(DriveError):
    """A change or a question that the tree's present state does not allow."""

    def __init__(self, errno: int, reason: str) -> None:
        super().__init__(reason)
        self.errno = errno

    @property
    def name(self) -> str:
        """The errno's name, as the wire has it."""
        return codes.errorcode.get(self.errno, "EIO")

    @classmethod
    def named(cls, name: str, reason: str) -> Refused:
        """From an errno's name, as the wire has it; a name unknown here counts as EIO."""
        return cls(getattr(codes, name, codes.EIO), reason)


class NotFound(Refused):
    """The node, name, block or account is not there (ENOENT)."""

    def __init__(self, reason: str) -> None:
        super().__init__(codes.ENOENT, reason)


REFUSALS: Final = (Unauthorized, ReadOnly, NotFound)
"""Of all that a mount sends: this device or its user may not, and only a person changes that."""


class Stale(DriveError):
    """A kernel inode of an outdated version."""

    errno = codes.ESTALE


class SessionEnded(DriveError):
    """The server doesn't know this session any more: join again."""


class ListingChanged(DriveError):
    """The folder changed between two pages: begin again."""


class Corrupt(DriveError):
    """A block whose bytes don't match its id, from every copy that was asked."""

    errno = codes.EIO


class Unusable(DriveError):
    """The server answered something that this program doesn't understand, or refused a request as malformed."""

    errno = codes.EPROTO


class LocalFailure(DriveError):
    """Local disk trouble."""

    def __init__(self, reason: str, errno: int = codes.EIO) -> None:
        super().__init__(reason)
        self.errno = errno
