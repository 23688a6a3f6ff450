"""Names, targets and extended attributes as a workspace has them: plain, or sealed by its members.

Knows what can be told of a text and which name it gets with a mark, and opens nothing. Lengths are those of the plain
texts, so that limits are the same in both kinds of workspace.
"""

from __future__ import annotations

from typing import Final, Protocol

from protocol.ids import WorkspaceId
from protocol.marks import marked
from protocol.sealednames import (
    SIV_BYTES,
    is_sealed_name,
    is_sealed_text,
    marked_sealed,
    plain_name_bytes,
    plain_text_bytes,
)
from server.metadata.accounts import is_end_to_end
from server.metadata.store import Transaction


class Texts(Protocol):
    """What can be told of a workspace's texts. A length is None where this can't be such a text."""

    def name_bytes(self, name: bytes) -> int | None:
        """Of an entry's name."""
        ...

    def target_bytes(self, target: bytes) -> int | None:
        """Of a symlink's target."""
        ...

    def xattr_name_bytes(self, name: bytes) -> int | None:
        """Of an extended attribute's name."""
        ...

    def xattr_value_bytes(self, value: bytes) -> int | None:
        """Of its value."""
        ...

    def marked(self, name: bytes, mark: bytes) -> bytes:
        """A name with a mark (``protocol.marks``)."""
        ...


class PlainTexts:
    """As people write them."""

    def name_bytes(self, name: bytes) -> int | None:
        """See ``Texts``, as below."""
        return None if not name or name in (b".", b"..") or b"/" in name or b"\0" in name else len(name)

    def target_bytes(self, target: bytes) -> int | None:
        """Any."""
        return len(target)

    def xattr_name_bytes(self, name: bytes) -> int | None:
        """Any without NUL."""
        return None if b"\0" in name else len(name)

    def xattr_value_bytes(self, value: bytes) -> int | None:
        """Any."""
        return len(value)

    def marked(self, name: bytes, mark: bytes) -> bytes:
        """Before the extension."""
        return marked(name, mark)


class SealedTexts:
    """As members of an end-to-end workspace seal them (``protocol.sealednames``)."""

    def name_bytes(self, name: bytes) -> int | None:
        """See ``Texts``, as below."""
        return plain_name_bytes(name) if is_sealed_name(name) else None

    def target_bytes(self, target: bytes) -> int | None:
        """What could have been sealed as one."""
        return plain_text_bytes(target) if is_sealed_text(target) else None

    def xattr_name_bytes(self, name: bytes) -> int | None:
        """The same."""
        return self.target_bytes(name)

    def xattr_value_bytes(self, value: bytes) -> int | None:
        """The same, of bytes."""
        return None if len(value) < SIV_BYTES else len(value) - SIV_BYTES

    def marked(self, name: bytes, mark: bytes) -> bytes:
        """Behind what is sealed."""
        return marked_sealed(name, mark)


PLAIN: Final[Texts] = PlainTexts()
SEALED: Final[Texts] = SealedTexts()


def texts_of(tx: Transaction, workspace: WorkspaceId) -> Texts:
    """As this workspace has them."""
    return SEALED if is_end_to_end(tx, workspace) else PLAIN
