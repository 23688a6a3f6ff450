"""What an end-to-end workspace hides besides contents: names, symlinks' targets, extended attributes.

Each text is sealed by AES-SIV (RFC 5297) under the workspace's 64-byte names key, with one item of associated data
that says what it is: ``name``, ``target``, ``xattr name`` or ``xattr value``. Sealing is deterministic and knows no
folder, so that the server can look a name up, move it and bring it back; equal texts look equal. What comes out is
SIV (16 bytes) and ciphertext; on the wire names, targets and attributes' names are its base64url without padding, which
holds neither ``/`` nor NUL nor a blank, and attributes' values are the bytes themselves.

**Marks.** The server puts marks (``marks``) behind a sealed name: ``BASE64 (restored 2026-11-24 10.00.00)``.
Whoever has the key opens the base and puts the marks where they belong; marks of a plain name are split off before
it is sealed. Where a name with its mark would be too long, the server takes ``~`` and 16 hexadecimal digits, which mean
nothing, as its base; such a name is the same sealed and open.

Invariants:

- ``open_name`` and ``seal_name`` are inverse of each other: one plain name has one sealed name, and what has another
  spelling is refused;
- what ``open_name`` returns can be a name: of 1 to NAME_MAX_BYTES bytes, without ``/`` and NUL, not ``.`` or ``..``;
- the lengths of plain texts follow from the sealed ones, so that the server keeps their limits without opening them.
"""

from __future__ import annotations

import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from hashlib import blake2b
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV

from protocol.limits import NAME_MAX_BYTES
from protocol.marks import are_marks, split_marks, with_marks

SIV_BYTES: Final = 16

_NAME: Final = [b"name"]
_TARGET: Final = [b"target"]
_XATTR_NAME: Final = [b"xattr name"]
_XATTR_VALUE: Final = [b"xattr value"]

_BASE64: Final = re.compile(rb"[A-Za-z0-9_-]+")
_NOT_SEALED: Final = re.compile(rb"~[0-9a-f]{16}")


class BadName(Exception):
    """This is not what somebody with the key of the workspace has sealed."""


class NameSealer:
    """Seals and opens texts with one names key."""

    def __init__(self, names_key: bytes) -> None:
        self._siv = AESSIV(names_key)

    def seal_name(self, name: bytes) -> bytes:
        """An entry's name for the wire."""
        base, marks = split_marks(name)
        return name if _NOT_SEALED.fullmatch(base) else self._sealed_text(base, _NAME) + marks

    def open_name(self, sealed: bytes) -> bytes:
        """The reverse; raises BadName."""
        base, marks = _base_and_marks(sealed)
        name = sealed if _NOT_SEALED.fullmatch(base) else with_marks(self._opened_text(base, _NAME), marks)
        if not 0 < len(name) <= NAME_MAX_BYTES or name in (b".", b"..") or b"/" in name or b"\0" in name:
            raise BadName("what was sealed as a name can't be one")
        if self.seal_name(name) != sealed:
            raise BadName("a name has another spelling than the one that it is known by")
        return name

    def seal_target(self, target: bytes) -> bytes:
        """A symlink's target for the wire."""
        return self._sealed_text(target, _TARGET)

    def open_target(self, sealed: bytes) -> bytes:
        """The reverse; raises BadName."""
        target = self._opened_text(sealed, _TARGET)
        if not target or b"\0" in target:
            raise BadName("what was sealed as a target can't be one")
        return target

    def seal_xattr_name(self, name: bytes) -> bytes:
        """An extended attribute's name for the wire."""
        return self._sealed_text(name, _XATTR_NAME)

    def open_xattr_name(self, sealed: bytes) -> bytes:
        """The reverse; raises BadName."""
        name = self._opened_text(sealed, _XATTR_NAME)
        if not name or b"\0" in name:
            raise BadName("what was sealed as an attribute's name can't be one")
        return name

    def seal_xattr_value(self, value: bytes) -> bytes:
        """An extended attribute's value."""
        return self._siv.encrypt(value, _XATTR_VALUE)

    def open_xattr_value(self, sealed: bytes) -> bytes:
        """The reverse; raises BadName."""
        return self._opened(sealed, _XATTR_VALUE)

    def _sealed_text(self, plain: bytes, what: list[bytes]) -> bytes:
        return urlsafe_b64encode(self._siv.encrypt(plain, what)).rstrip(b"=")

    def _opened_text(self, sealed: bytes, what: list[bytes]) -> bytes:
        if not is_sealed_text(sealed):
            raise BadName("not a sealed text")
        return self._opened(urlsafe_b64decode(sealed + b"=" * (-len(sealed) % 4)), what)

    def _opened(self, sealed: bytes, what: list[bytes]) -> bytes:
        try:
            return self._siv.decrypt(sealed, what)
        except (InvalidTag, ValueError):
            raise BadName("a text does not open with the key of this workspace") from None


# ── without the key: what the server of such a workspace can tell ──


def is_sealed_name(sealed: bytes) -> bool:
    """Whether this can be a sealed name."""
    try:
        base, _ = _base_and_marks(sealed)
    except BadName:
        return False
    return _NOT_SEALED.fullmatch(base) is not None or (is_sealed_text(base) and plain_text_bytes(base) > 0)


def is_sealed_text(sealed: bytes) -> bool:
    """Whether this can be a sealed target or attribute's name, or a sealed name without marks."""
    return _BASE64.fullmatch(sealed) is not None and len(sealed) % 4 != 1 and plain_text_bytes(sealed) >= 0


def plain_text_bytes(sealed: bytes) -> int:
    """The length of what was sealed as this text."""
    return len(sealed) * 3 // 4 - SIV_BYTES


def plain_name_bytes(sealed: bytes) -> int:
    """The length of what was sealed as this name, marks included; ``is_sealed_name`` must hold."""
    base, marks = _base_and_marks(sealed)
    return len(sealed) if _NOT_SEALED.fullmatch(base) else plain_text_bytes(base) + len(marks)


def marked_sealed(sealed: bytes, mark: bytes) -> bytes:
    """A sealed name with a mark more; where that is too long, a name that says no more than the mark does."""
    if plain_name_bytes(sealed) + len(mark) <= NAME_MAX_BYTES:
        return sealed + mark
    return unnamed(sealed) + mark


def unnamed(sealed: bytes) -> bytes:
    """A name that means nothing, in place of a sealed one."""
    return b"~" + blake2b(sealed, digest_size=8).hexdigest().encode()


def _base_and_marks(sealed: bytes) -> tuple[bytes, bytes]:
    base, blank, rest = sealed.partition(b" ")
    marks = blank + rest
    if not are_marks(marks):
        raise BadName("not a sealed name")
    return base, marks
