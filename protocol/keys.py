"""The keys of a workspace, and how they are wrapped.

A workspace has one random 32-byte key. Four keys are derived from it, each for one purpose, by BLAKE3's
key derivation (https://github.com/BLAKE3-team/BLAKE3-specs, section 2.3):

- block ids: BLAKE3 keyed with it; nobody without it can tell whether a known file is stored;
- sealing: AES-256-GCM (see ``sealing``);
- chunking: 32 bits that seed the gear table, so that the lengths of blocks don't fingerprint known files;
- names: 64 bytes, for what else an end-to-end workspace hides from its server (see ``sealednames``).

A wrapped key is ``nonce (12 bytes) | AES-256-GCM(wrapping key, workspace key)`` with the workspace id as
associated data. What wraps it is the server's master key, or a passphrase that the server never sees (see
``passphrase``).
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, replace
from typing import Final

from blake3 import blake3
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from protocol.ids import BlockId, WorkspaceId

KEY_BYTES: Final = 32
NAMES_KEY_BYTES: Final = 64
_NONCE_BYTES: Final = 12


class WrongKey(Exception):
    """The wrapping key is not the one that wrapped this workspace key, or the bytes were changed."""


@dataclass(frozen=True, slots=True)
class WorkspaceKeys:
    """The keys derived from one workspace key. ``key_id`` stands in each sealed block's header."""

    key_id: int
    block_id_key: bytes
    sealing_key: bytes
    chunk_seed: int
    names_key: bytes
    end_to_end: bool = False
    """Nobody but the workspace's members opens its blocks, browsers among them: see ``sealing``."""

    def block_id(self, plain: bytes | bytearray | memoryview) -> BlockId:
        """The 32-byte id of these plain bytes."""
        return BlockId(blake3(plain, key=self.block_id_key).digest())


def new_key() -> bytes:
    """32 random bytes."""
    return secrets.token_bytes(KEY_BYTES)


def derive(workspace_key: bytes, key_id: int = 1) -> WorkspaceKeys:
    """The working keys of a 32-byte workspace key."""
    if len(workspace_key) != KEY_BYTES:
        raise ValueError(f"a workspace key has {KEY_BYTES} bytes, not {len(workspace_key)}")

    def for_purpose(purpose: str, size_bytes: int = KEY_BYTES) -> bytes:
        return blake3(workspace_key, derive_key_context=f"samedrive 2026 {purpose}").digest(size_bytes)

    return WorkspaceKeys(
        key_id=key_id,
        block_id_key=for_purpose("block ids"),
        sealing_key=for_purpose("sealing"),
        chunk_seed=int.from_bytes(for_purpose("chunk boundaries")[:4], "big"),
        names_key=for_purpose("names", NAMES_KEY_BYTES),
    )


def derive_end_to_end(workspace_key: bytes, key_id: int = 1) -> WorkspaceKeys:
    """The same, of a workspace whose server does not have the key."""
    return replace(derive(workspace_key, key_id), end_to_end=True)


def wrap(workspace_key: bytes, wrapping_key: bytes, workspace: WorkspaceId) -> bytes:
    """Seal a workspace key under a 32-byte wrapping key."""
    nonce = secrets.token_bytes(_NONCE_BYTES)
    return nonce + AESGCM(wrapping_key).encrypt(nonce, workspace_key, workspace.encode())


def unwrap(wrapped: bytes, wrapping_key: bytes, workspace: WorkspaceId) -> bytes:
    """Open what ``wrap`` sealed; raises WrongKey."""
    try:
        return AESGCM(wrapping_key).decrypt(wrapped[:_NONCE_BYTES], wrapped[_NONCE_BYTES:], workspace.encode())
    except (InvalidTag, ValueError):
        raise WrongKey("the key of this workspace does not open with this key") from None
