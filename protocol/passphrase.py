"""The envelope of an end-to-end workspace's key: it opens with a passphrase that never reaches the server.

The server keeps it as it comes and gives it to the workspace's members. It is JSON, bytes in it base64::

    {"kdf":"scrypt","n":131072,"r":8,"p":1,"salt":<16 bytes>,"wrapped":<the wrapped key, see ``keys``>}

The wrapping key is scrypt (RFC 7914) of the passphrase (Unicode's NFC, in UTF-8), 32 bytes long. Not Argon2id: a
browser has to derive it too, which has neither, but has the PBKDF2 that most of scrypt is.

The parameters are taken from the envelope within bounds: a server that changes them can neither make guessing cheap
nor exhaust a client's memory, and with other ones than the key was wrapped with, nothing opens.
"""

from __future__ import annotations

import hashlib
import secrets
import unicodedata
from typing import Final

import msgspec

from protocol.ids import WorkspaceId
from protocol.keys import KEY_BYTES, WrongKey, unwrap, wrap

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
    """A wrapped key, and how its wrapping key is derived."""

    kdf: str
    n: int
    r: int
    p: int
    salt: bytes
    wrapped: bytes


def enclose(workspace_key: bytes, passphrase: str, workspace: WorkspaceId) -> bytes:
    """An envelope with this key. Takes a third of a second and 128 MiB."""
    salt = secrets.token_bytes(_SALT_BYTES)
    wrapped = wrap(workspace_key, wrapping_key(passphrase, salt, _N, _R, _P), workspace)
    return msgspec.json.encode(Envelope(KDF, _N, _R, _P, salt, wrapped))


def disclose(envelope: bytes, passphrase: str, workspace: WorkspaceId) -> bytes:
    """The key in an envelope; raises WrongPassphrase and BadEnvelope. Takes as long as ``enclose``."""
    try:
        found = msgspec.json.decode(envelope, type=Envelope)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadEnvelope(f"the workspace's key is kept in a form that this program does not know: {error}") from None
    _check(found)
    try:
        key = unwrap(found.wrapped, wrapping_key(passphrase, found.salt, found.n, found.r, found.p), workspace)
    except WrongKey:
        raise WrongPassphrase("this is not the passphrase of this workspace") from None
    if len(key) != KEY_BYTES:
        raise BadEnvelope("there is no workspace key in the envelope")
    return key


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
