"""Passwords and tokens: how they are kept, and how often somebody may guess.

Passwords are kept as Argon2id PHC strings (RFC 9106, second recommended option: 64 MiB, 3 passes, 4 lanes); at most
two are computed at once, and a bounded number waits, so that log-ins can't take the server's memory. A token is 32
random bytes, and so is a link's secret; their SHA-256 is kept.

A link's password comes with every request, so one that was right is known again for a while without that work.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Callable
from typing import Final

import trio
from cachetools import TTLCache
from cryptography.exceptions import InvalidKey
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

from server.threads import RunSync, in_thread

ATTEMPTS: Final = 10
WINDOW_S: Final = 300.0
"""After so many failures of a name, of a link or from an address within this time, further ones are refused unseen."""

COMPUTING: Final = 2
"""Computed at once: 64 MiB each."""

WAITING: Final = 32
"""About two seconds of work."""

_NAMES: Final = 100_000
"""Names, links and addresses whose failures are counted; the oldest counts go first."""

_KNOWN: Final = 10_000
"""Passwords of links that are known again, for WINDOW_S at the most; the oldest go first."""

_MEMORY_KIB: Final = 64 * 1024


class TooManyAttempts(Exception):
    """Wait before trying again."""


class Passwords:
    """Hashes and verifies, off the event loop, and counts failures."""

    def __init__(self, clock: Callable[[], float] = trio.current_time, run_sync: RunSync = in_thread) -> None:
        """``clock`` tells seconds."""
        self._computing = trio.CapacityLimiter(COMPUTING)
        self._run_sync = run_sync
        self._failures: TTLCache[str, int] = TTLCache(_NAMES, WINDOW_S, clock)
        self._known: TTLCache[bytes, None] = TTLCache(_KNOWN, WINDOW_S, clock)
        self._known_key = secrets.token_bytes(32)
        self._waiting = 0

    async def hash(self, password: str) -> str:
        """The PHC string to keep."""
        return await self._run_sync(lambda: _hash(password), limiter=self._computing)

    async def verify_again(self, password: str, kept: str, what: str, address: str) -> bool:
        """The same of a password that comes with every request: one that was right costs hardly anything."""
        known = hmac.digest(self._known_key, f"{kept} {password}".encode(), "sha256")
        if known in self._known:
            return True
        right = await self.verify(password, kept, what, address)
        if right:
            self._known[known] = None
        return right

    async def verify(self, password: str, kept: str | None, what: str, address: str) -> bool:
        """Whether it is the password of ``what``, such as ``user ada`` or ``link 0123``.

        ``kept`` is None for a user who isn't there: that takes as long. Raises TooManyAttempts.
        """
        keys = (what, f"address {address}")
        if any(self._failures.get(key, 0) >= ATTEMPTS for key in keys):
            raise TooManyAttempts("too many wrong passwords: wait five minutes")
        if self._waiting >= WAITING:
            raise TooManyAttempts("too many passwords at once: try again in a few seconds")
        for key in keys:  # Counted before the slow part, so that guesses sent at once don't pass together.
            self._failures[key] = self._failures.get(key, 0) + 1
        self._waiting += 1
        try:
            right = await self._run_sync(lambda: _verify(password, kept), limiter=self._computing)
        finally:
            self._waiting -= 1
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
