"""The sealed block: what is stored and what crosses the network.

Format 1, all of it big-endian::

    offset  bytes  what
    0       4      magic "SDB1" (the digit is the format's version)
    4       1      flags: bit 0 set = the content is a zstd frame, bit 1 set = it is raw DEFLATE (RFC 1951);
                   not both; the other bits are 0
    5       3      key id
    8       4      length of the plain bytes
    12      12     nonce, random
    24      n      AES-256-GCM ciphertext of the content
    24 + n  16     its tag

Associated data: the first 12 bytes and the block id (32 bytes). A nonce is never derived from the id:
compression output varies between versions, so that one nonce would repeat under one key for different bytes.

Content is compressed where that saves at least a sixteenth; whether it might is tried on a part of it first. In an
end-to-end workspace it is DEFLATE, which every browser opens, and else zstd, which is faster and shorter.
"""

from __future__ import annotations

import secrets
import struct
import zlib
from collections.abc import Callable
from typing import Final, NamedTuple

import zstandard
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from protocol.ids import BlockId
from protocol.keys import WorkspaceKeys
from protocol.limits import BLOCK_MAX_BYTES, KIB, SEALED_MAX_BYTES

MAGIC: Final = b"SDB1"
_HEADER: Final = struct.Struct(">4sB3sI")
_KEY_ID: Final = slice(5, 8)
_NONCE_BYTES: Final = 12
_TAG_BYTES: Final = 16
_OVERHEAD_BYTES: Final = _HEADER.size + _NONCE_BYTES + _TAG_BYTES
_ZSTD: Final = 1
_DEFLATE: Final = 2
_LEVEL: Final = 1
_RAW: Final = -zlib.MAX_WBITS
"""zlib's window size for DEFLATE without a header."""
_PROBE_BYTES: Final = 64 * KIB

Buffer = bytes | bytearray | memoryview


class CorruptBlock(Exception):
    """These bytes are not the sealed block that they claim to be. Don't use them; look for another copy."""


class UnknownKey(CorruptBlock):
    """Sealed under a key that isn't known here: it may have been added since the keys were asked for."""


def _pays(before_bytes: int, after_bytes: int) -> bool:
    return after_bytes <= before_bytes - before_bytes // 16


def _zstd(plain: Buffer) -> bytes:
    return zstandard.ZstdCompressor(level=_LEVEL, write_content_size=True).compress(plain)


def _deflated(plain: Buffer) -> bytes:
    compressor = zlib.compressobj(_LEVEL, zlib.DEFLATED, _RAW)
    return compressor.compress(plain) + compressor.flush()


def _compressed(compress: Callable[[Buffer], bytes], plain: Buffer) -> bytes | None:
    if len(plain) > 4 * _PROBE_BYTES:
        middle = (len(plain) - _PROBE_BYTES) // 2
        probe = memoryview(plain)[middle : middle + _PROBE_BYTES]
        head = memoryview(plain)[:_PROBE_BYTES]
        if not any(_pays(_PROBE_BYTES, len(compress(part))) for part in (probe, head)):
            return None
    out = compress(plain)
    return out if _pays(len(plain), len(out)) else None


def seal(keys: WorkspaceKeys, block: BlockId, plain: Buffer) -> bytearray:
    """Compress and encrypt one block of at most BLOCK_MAX_BYTES; ``block`` must be the id of ``plain``.

    Costs about 0.3 ms for 1 MiB that can't be compressed, 3 ms for text; releases the GIL for most of that.
    """
    if len(plain) > BLOCK_MAX_BYTES:
        raise ValueError(f"a block of {len(plain)} bytes is over the limit of {BLOCK_MAX_BYTES}")
    how, compress = (_DEFLATE, _deflated) if keys.end_to_end else (_ZSTD, _zstd)
    content = _compressed(compress, plain)
    flags = 0 if content is None else how
    header = _HEADER.pack(MAGIC, flags, keys.key_id.to_bytes(3, "big"), len(plain))
    body: Buffer = plain if content is None else content
    nonce = secrets.token_bytes(_NONCE_BYTES)
    sealed = bytearray(_OVERHEAD_BYTES + len(body))
    sealed[: len(header)] = header
    sealed[len(header) : len(header) + _NONCE_BYTES] = nonce
    with memoryview(sealed) as view:
        AESGCM(keys.sealing_key).encrypt_into(nonce, body, header + block, view[len(header) + _NONCE_BYTES :])
    return sealed


class Header(NamedTuple):
    """What a sealed block claims to be, unverified."""

    flags: int
    key_id: int
    plain_bytes: int

    @property
    def is_for_browsers(self) -> bool:
        """Whether its content is compressed as in an end-to-end workspace, or not at all."""
        return self.flags in (0, _DEFLATE)


def header_of(sealed: Buffer) -> Header:
    """What a sealed block claims to be; raises CorruptBlock where there is no header of ours."""
    if len(sealed) < _OVERHEAD_BYTES or len(sealed) > SEALED_MAX_BYTES:
        raise CorruptBlock(f"a sealed block can't have {len(sealed)} bytes")
    magic, flags, key_id, length = _HEADER.unpack_from(sealed)
    if magic != MAGIC:
        raise CorruptBlock("not a sealed block of a format known here")
    if flags not in (0, _ZSTD, _DEFLATE) or length > BLOCK_MAX_BYTES:
        raise CorruptBlock("the header of a sealed block is damaged")
    return Header(flags, int.from_bytes(key_id, "big"), length)


def plain_length(sealed: Buffer) -> int:
    """The length that the header claims, unverified; raises CorruptBlock where there is no header of ours."""
    return header_of(sealed).plain_bytes


def key_id_of(sealed: Buffer) -> int:
    """The key that the header of a sealed block names, unverified."""
    return int.from_bytes(sealed[_KEY_ID], "big")


def unseal(keys: WorkspaceKeys, block: BlockId, sealed: Buffer) -> bytes | bytearray:
    """Open a sealed block and check that it is ``block``. Output is bounded by the header.

    Raises UnknownKey and CorruptBlock.
    """
    flags, key_id, length = header_of(sealed)
    sealing_key = keys.sealing_keys.get(key_id)
    if sealing_key is None:
        raise UnknownKey("sealed under a key of this workspace that isn't known here")
    view = memoryview(sealed)
    header = bytes(view[: _HEADER.size])
    nonce = view[_HEADER.size : _HEADER.size + _NONCE_BYTES]
    body = view[_HEADER.size + _NONCE_BYTES :]
    content = bytearray(len(body) - _TAG_BYTES)
    try:
        AESGCM(sealing_key).decrypt_into(nonce, body, header + block, content)
    except InvalidTag:
        raise CorruptBlock("the bytes do not decrypt: changed, cut, or another block") from None
    plain: bytes | bytearray = content
    if flags == _ZSTD:
        plain = _decompressed(content, length)
    elif flags == _DEFLATE:
        plain = _inflated(content, length)
    if len(plain) != length or keys.block_id(plain) != block:
        raise CorruptBlock("the content does not match the block's id")
    return plain


def _decompressed(content: Buffer, length: int) -> bytes:
    try:
        if zstandard.get_frame_parameters(content).content_size != length:
            raise CorruptBlock("the compressed length differs from the header's")
        return zstandard.ZstdDecompressor().decompress(content, max_output_size=length)
    except zstandard.ZstdError as error:
        raise CorruptBlock(f"the content does not decompress: {error}") from None


def _inflated(content: Buffer, length: int) -> bytes:
    inflater = zlib.decompressobj(_RAW)
    try:
        plain = inflater.decompress(content, length + 1)
    except zlib.error as error:
        raise CorruptBlock(f"the content does not decompress: {error}") from None
    if not inflater.eof or inflater.unused_data:
        raise CorruptBlock("the compressed length differs from the header's")
    return plain
