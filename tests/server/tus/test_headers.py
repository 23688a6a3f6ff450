"""What the headers of tus say: anything at all is read or refused as a bad request."""

from __future__ import annotations

import base64
from contextlib import suppress

from hypothesis import given
from hypothesis import strategies as st
from starlette.datastructures import Headers

from protocol.limits import NAME_MAX_BYTES
from server import tus
from server.troubles import Trouble
from tests.server.tus.client import metadata

TEXT = st.text(st.characters(max_codepoint=255), max_size=60)
KEYS = st.sampled_from(["path", "filename", "name", "folder", "relativePath", "ifMatch", "ifNoneMatch", "mtime"])


@given(TEXT)
def test_any_text_as_metadata(text: str) -> None:
    with suppress(Trouble):
        tus.metadata_of(text)


@given(st.dictionaries(KEYS, st.binary(max_size=300)))
def test_any_values_of_metadata(pairs: dict[str, bytes]) -> None:
    assert tus.metadata_of(metadata(**pairs)) == pairs
    with suppress(Trouble):
        names = tus.target_of(pairs).names
        assert names
        assert all(0 < len(name) <= NAME_MAX_BYTES for name in names)
        assert not any(name in (b".", b"..") or b"/" in name or b"\0" in name for name in names)


@given(st.sampled_from(["Upload-Length", "Upload-Defer-Length", "Upload-Checksum", "Upload-Offset"]), TEXT)
def test_any_value_of_a_header(name: str, text: str) -> None:
    headers = Headers({name: text})
    for read in (tus.length_of, tus.digest_of, lambda headers: tus.number(headers, tus.OFFSET)):
        with suppress(Trouble):
            read(headers)


@given(TEXT)
def test_any_text_as_what_is_to_be_joined(text: str) -> None:
    for concat in (text, f"final;{text}"):
        with suppress(Trouble):
            tus.parts_of(concat)


@given(st.binary(max_size=70))
def test_a_checksum_fits_its_bytes_alone(plain: bytes) -> None:
    wanted = base64.b64encode(b"\xda9\xa3\xee^kK\r2U\xbf\xef\x95`\x18\x90\xaf\xd8\x07\t").decode()
    digest = tus.digest_of(Headers({"Upload-Checksum": f"sha1 {wanted}"}))
    assert digest is not None
    digest.hash.update(plain)
    assert digest.fits == (plain == b"")
