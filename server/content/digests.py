"""Hashes of contents by the algorithms that clients know, for what can be damaged on the way here."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Final, Protocol

ALGORITHMS: Final = ("sha1", "sha256", "sha512", "md5")


class Hash(Protocol):
    """One of ``hashlib``."""

    def update(self, data: bytes, /) -> None:
        """More bytes."""
        ...

    def digest(self) -> bytes:
        """Of all of them."""
        ...


@dataclass(frozen=True, slots=True)
class Digest:
    """What a request says that the hash of its body is."""

    hash: Hash
    wanted: bytes

    @staticmethod
    def by(algorithm: str, wanted: bytes) -> Digest:
        """By one of ALGORITHMS."""
        return Digest(hashlib.new(algorithm, usedforsecurity=False), wanted)

    @property
    def fits(self) -> bool:
        """Whether the bytes so far are those that the client means."""
        return self.hash.digest() == self.wanted
