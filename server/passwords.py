"""Passwords and tokens: how they are kept, and how often somebody may guess.

Passwords are kept as Argon2id PHC strings (RFC 9106, second recommended option: 64 MiB, 3 passes, 4 lanes); at most two are
computed at once, so that log-ins can't take the server's memory. A token is 32 random bytes; its SHA-256 is kept.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable
from typing import Final

import trio
from cachetools import TTLCache
from cryptography.exceptions import InvalidKey
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

ATTEMPTS: Final = 10
WINDOW_S: Final = 300.0
"""After so many failures of a name or from an address within this time, further ones are refused unseen."""

_MEMORY_KIB: Final = 64 * 1024


class TooManyAttempts(Exception):
    """Wait before trying again."""


class Passwords:
    """Hashes and verifies, off the event loop, and counts failures."""

    def __init__(self, clock: Callable[[], float] = trio.current_time) -> None:
        self._computing = trio.CapacityLimiter(2)
        self._failures: TTLCache[str, int] = TTLCache(100_000, WINDOW_S, clock)

    async def hash(self, password: str) -> str:
        """The PHC string to keep."""
        return await trio.to_thread.run_sync(_hash, password, limiter=self._computing)

    async def verify(self, password: str, kept: str | None, user: str, address: str) -> bool:
        """Whether it is the password. ``kept`` is None for a user who isn't there: that takes as long.

        Raises TooManyAttempts.
        """
        keys = (f"user {user}", f"address {address}")
        if any(self._failures.get(key, 0) >= ATTEMPTS for key in keys):
            raise TooManyAttempts("too many failed log-ins: wait five minutes")
        for key in keys:  # Counted before the slow part, so that guesses sent at once don't pass together.
            self._failures[key] = self._failures.get(key, 0) + 1
        right = await trio.to_thread.run_sync(_verify, password, kept, limiter=self._computing)
        if right:
            for key in keys:
                self._failures.pop(key, None)
        return right


def _hash(password: str) -> str:
    derivation = Argon2id(salt=secrets.token_bytes(16), length=32, iterations=3, lanes=4, memory_cost=_MEMORY_KIB)
    return derivation.derive_phc_encoded(password.encode())


def _verify(password: str, kept: str | None) -> bool:
    if kept is None:
        Argon2id(salt=bytes(16), length=32, iterations=3, lanes=4, memory_cost=_MEMORY_KIB).derive(password.encode())
        return False
    try:
        Argon2id.verify_phc_encoded(password.encode(), kept)
    except InvalidKey:
        return False
    return True


def new_token() -> str:
    """43 characters that can stand in a header."""
    return secrets.token_urlsafe(32)


def hash_token(token: str) -> bytes:
    """What is kept of a token. It has 256 random bits, so a fast hash does."""
    return hashlib.sha256(token.encode()).digest()
