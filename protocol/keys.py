"""The keys of a workspace, and how they are wrapped.

A workspace has one random 32-byte key, and another one for each time that its key was rotated. They are numbered
from 1; a sealed block's header says which one it is sealed under. From each key is derived, by BLAKE3's key derivation
(https://github.com/BLAKE3-team/BLAKE3-specs, section 2.3), the key that seals: AES-256-GCM (see ``sealing``). From the
first one alone:

- block ids: BLAKE3 keyed with it; nobody without it can tell whether a known file is stored;
- chunking: 32 bits that seed the gear table, so that the lengths of blocks don't fingerprint known files;
- names: 64 bytes, for what else an end-to-end workspace hides from its server (see ``sealednames``).

So a block keeps its id under every key, equal content is stored once across rotations, and names stay as they are.

Invariant: the last key seals. Keys are only ever added: a device that was away may bring what it sealed under any of
them.

A wrapped key is ``nonce (12 bytes) | AES-256-GCM(wrapping key, workspace key)`` with what it is the key of as
associated data: the workspace's id. What wraps it is the server's master key, or a passphrase that the server never
sees (see ``passphrase``).
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Final

from blake3 import blake3
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from protocol.ids import BlockId

KEY_BYTES: Final = 32
NAMES_KEY_BYTES: Final = 64
FIRST_KEY: Final = 1
"""The id of the key that a workspace begins with."""

_NONCE_BYTES: Final = 12


class WrongKey(Exception):
    """The wrapping key is not the one that wrapped this workspace key, or the bytes were changed."""


@dataclass(frozen=True, slots=True)
class WorkspaceKeys:
    """What is derived from a workspace's keys."""

    block_id_key: bytes
    chunk_seed: int
    names_key: bytes
    sealing_keys: Mapping[int, bytes]
    """By key id: they open."""
    key_id: int
    """Of the key that seals."""
    end_to_end: bool = False
    """Nobody but the workspace's members opens its blocks, browsers among them: see ``sealing``."""

    @property
    def sealing_key(self) -> bytes:
        """The one that seals."""
        return self.sealing_keys[self.key_id]

    def keeping(self, known: WorkspaceKeys) -> WorkspaceKeys:
        """These, and to open what they don't, those that were known before."""
        return replace(self, sealing_keys=MappingProxyType({**known.sealing_keys, **self.sealing_keys}))

    def block_id(self, plain: bytes | bytearray | memoryview) -> BlockId:
        """The 32-byte id of these plain bytes."""
        return BlockId(blake3(plain, key=self.block_id_key).digest())


def new_key() -> bytes:
    """32 random bytes."""
    return secrets.token_bytes(KEY_BYTES)


def derive(
    first_key: bytes, later_keys: Mapping[int, bytes] = MappingProxyType({}), key_id: int | None = None
) -> WorkspaceKeys:
    """The working keys of a workspace, from its 32-byte keys: its first one, and by id those that were added.

    ``key_id`` is of the one that seals, where that isn't the last.
    """
    sealing = {FIRST_KEY: _derived(first_key, "sealing")}
    sealing |= {one: _derived(key, "sealing") for one, key in later_keys.items()}
    seals = max(sealing) if key_id is None else key_id
    if seals not in sealing:
        raise ValueError(f"key {seals} is to seal, and there are {sorted(sealing)}")
    return WorkspaceKeys(
        block_id_key=_derived(first_key, "block ids"),
        chunk_seed=int.from_bytes(_derived(first_key, "chunk boundaries")[:4], "big"),
        names_key=_derived(first_key, "names", NAMES_KEY_BYTES),
        sealing_keys=MappingProxyType(sealing),
        key_id=seals,
    )


def derive_end_to_end(first_key: bytes, later_keys: Mapping[int, bytes] = MappingProxyType({})) -> WorkspaceKeys:
    """The same, of a workspace whose server does not have the keys."""
    return replace(derive(first_key, later_keys), end_to_end=True)


def _derived(workspace_key: bytes, purpose: str, size_bytes: int = KEY_BYTES) -> bytes:
    if len(workspace_key) != KEY_BYTES:
        raise ValueError(f"a workspace key has {KEY_BYTES} bytes, not {len(workspace_key)}")
    return blake3(workspace_key, derive_key_context=f"samedrive 2026 {purpose}").digest(size_bytes)


def wrap(workspace_key: bytes, wrapping_key: bytes, of: str) -> bytes:
    """Seal a workspace key under a 32-byte wrapping key; ``of`` is the associated data."""
    nonce = secrets.token_bytes(_NONCE_BYTES)
    return nonce + AESGCM(wrapping_key).encrypt(nonce, workspace_key, of.encode())


def unwrap(wrapped: bytes, wrapping_key: bytes, of: str) -> bytes:
    """Open what ``wrap`` sealed; raises WrongKey."""
    try:
        return AESGCM(wrapping_key).decrypt(wrapped[:_NONCE_BYTES], wrapped[_NONCE_BYTES:], of.encode())
    except (InvalidTag, ValueError):
        raise WrongKey("the key of this workspace does not open with this key") from None
