"""The envelope of an end-to-end workspace's keys: it opens with a passphrase that never reaches the server.

The server keeps it as it comes and gives it to the workspace's members. It is JSON, bytes in it base64::

    {"kdf":"scrypt","n":131072,"r":8,"p":1,"salt":<16 bytes>,"wrapped":<the wrapped first key, see ``keys``>,
     "later":{"2":<the wrapped second key>, …}}

A later key is wrapped as that of the workspace's id, a slash, and its own id, so that it opens as no other.

The wrapping key is scrypt (RFC 7914) of the passphrase (Unicode's NFC, in UTF-8), 32 bytes long. Not Argon2id: a
browser has to derive it too, which has neither, but has the PBKDF2 that most of scrypt is.

The parameters are taken from the envelope within bounds: a server that changes them can neither make guessing cheap
nor exhaust a client's memory, and with other ones than the key was wrapped with, nothing opens.
"""

from __future__ import annotations

import hashlib
import secrets
import unicodedata
from collections.abc import Mapping
from typing import Final

import msgspec

from protocol.ids import WorkspaceId
from protocol.keys import FIRST_KEY, KEY_BYTES, WrongKey, unwrap, wrap
from protocol.limits import KEYS_MAX

KDF: Final = "scrypt"
_N: Final = 1 << 17
"""128 MiB and a third of a second: RFC 7914's cost for what people wait for, times eight."""
_N_MIN: Final = 1 << 15
_N_MAX: Final = 1 << 20
_R: Final = 8
_P: Final = 1
_P_MAX: Final = 4
_SALT_BYTES: Final = 16


class WrongPassphrase(Exception):
    """The passphrase is not the one of this workspace, or the envelope is another workspace's."""


class BadEnvelope(Exception):
    """These bytes are no envelope that this program opens."""


class Envelope(msgspec.Struct, frozen=True):
    """Wrapped keys, and how their wrapping key is derived."""

    kdf: str
    n: int
    r: int
    p: int
    salt: bytes
    wrapped: bytes
    later: dict[int, bytes] = {}


def enclose(keys: Mapping[int, bytes], passphrase: str, workspace: WorkspaceId) -> bytes:
    """An envelope with a workspace's keys, by their ids. Takes a third of a second and 128 MiB."""
    salt = secrets.token_bytes(_SALT_BYTES)
    wrapping = wrapping_key(passphrase, salt, _N, _R, _P)
    wrapped = {key_id: wrap(key, wrapping, _of(workspace, key_id)) for key_id, key in keys.items()}
    return msgspec.json.encode(Envelope(KDF, _N, _R, _P, salt, wrapped.pop(FIRST_KEY), wrapped))


def disclose(envelope: bytes, passphrase: str, workspace: WorkspaceId) -> dict[int, bytes]:
    """The keys in an envelope, by their ids; raises WrongPassphrase and BadEnvelope. Takes as long as ``enclose``."""
    try:
        found = msgspec.json.decode(envelope, type=Envelope)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadEnvelope(f"the workspace's key is kept in a form that this program does not know: {error}") from None
    _check(found)
    wrapping = wrapping_key(passphrase, found.salt, found.n, found.r, found.p)
    try:
        keys = {FIRST_KEY: unwrap(found.wrapped, wrapping, _of(workspace, FIRST_KEY))}
    except WrongKey:
        raise WrongPassphrase("this is not the passphrase of this workspace") from None
    try:
        keys |= {key_id: unwrap(key, wrapping, _of(workspace, key_id)) for key_id, key in found.later.items()}
    except WrongKey:
        raise BadEnvelope("a key in the envelope is not one of this workspace") from None
    if any(len(key) != KEY_BYTES for key in keys.values()):
        raise BadEnvelope("there is no workspace key in the envelope")
    return keys


def _of(workspace: WorkspaceId, key_id: int) -> str:
    return workspace if key_id == FIRST_KEY else f"{workspace}/{key_id}"


def wrapping_key(passphrase: str, salt: bytes, n: int, r: int, p: int) -> bytes:
    """The 32 bytes that wrap the key, by scrypt."""
    normal = unicodedata.normalize("NFC", passphrase).encode()
    memory_bytes = 128 * r * (n + p + 2)
    return hashlib.scrypt(normal, salt=salt, n=n, r=r, p=p, maxmem=memory_bytes, dklen=KEY_BYTES)


def _check(found: Envelope) -> None:
    if found.kdf != KDF:
        raise BadEnvelope(f"the workspace's passphrase is derived by {found.kdf!r}, which this program does not know")
    is_power = found.n & (found.n - 1) == 0
    if not (is_power and _N_MIN <= found.n <= _N_MAX and found.r == _R and 1 <= found.p <= _P_MAX):
        raise BadEnvelope("the workspace's passphrase is derived with parameters that this program refuses")
    if len(found.salt) != _SALT_BYTES:
        raise BadEnvelope(f"a salt has {_SALT_BYTES} bytes")
    if not all(FIRST_KEY < key_id <= KEYS_MAX for key_id in found.later):
        raise BadEnvelope("there are keys in the envelope with ids that no key has")
