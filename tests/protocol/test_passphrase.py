from __future__ import annotations

import msgspec
import pytest

from protocol.ids import WorkspaceId
from protocol.keys import wrap
from protocol.passphrase import BadEnvelope, Envelope, WrongPassphrase, disclose, enclose, wrapping_key

KEY = bytes(range(32))
HERE, THERE = WorkspaceId("0" * 32), WorkspaceId("1" * 32)
SALT = bytes(16)
CHEAP = 1 << 15
"""The least that a client accepts."""


def envelope(passphrase: str = "a passphrase", key: bytes = KEY, **changed: object) -> bytes:
    wrapped = wrap(key, wrapping_key(passphrase, SALT, CHEAP, 8, 1), HERE)
    return msgspec.json.encode(
        {"kdf": "scrypt", "n": CHEAP, "r": 8, "p": 1, "salt": SALT, "wrapped": wrapped} | changed
    )


def test_an_envelope_opens_with_its_passphrase() -> None:
    assert disclose(enclose(KEY, "a passphrase", HERE), "a passphrase", HERE) == KEY


def test_an_envelope_is_hard_to_try_passphrases_on() -> None:
    made = msgspec.json.decode(enclose(KEY, "a passphrase", HERE), type=Envelope)
    assert (made.kdf, made.n, made.r, made.p, len(made.salt)) == ("scrypt", 131072, 8, 1, 16)


def test_two_envelopes_of_one_key_have_nothing_in_common() -> None:
    one, other = (msgspec.json.decode(enclose(KEY, "a passphrase", HERE), type=Envelope) for _ in range(2))
    assert one.salt != other.salt
    assert one.wrapped != other.wrapped


def test_another_passphrase_does_not_open_it() -> None:
    with pytest.raises(WrongPassphrase, match="not the passphrase"):
        disclose(envelope(), "another passphrase", HERE)


def test_an_envelope_does_not_open_as_another_workspace_s() -> None:
    with pytest.raises(WrongPassphrase):
        disclose(envelope(), "a passphrase", THERE)


def test_one_passphrase_can_be_typed_in_two_ways() -> None:
    assert disclose(envelope("Zu\u0308rich"), "Z\u00fcrich", HERE) == KEY


@pytest.mark.parametrize(
    "changed",
    [
        {"kdf": "pbkdf2"},
        {"n": 1 << 14},
        {"n": 1 << 21},
        {"n": CHEAP + 1},
        {"n": -CHEAP},
        {"n": 0},
        {"r": 1},
        {"r": 9},
        {"p": 0},
        {"p": 5},
        {"salt": b""},
        {"salt": bytes(17)},
    ],
    ids=str,
)
def test_parameters_that_make_it_cheap_or_endless_are_refused(changed: dict[str, object]) -> None:
    with pytest.raises(BadEnvelope):
        disclose(envelope(**changed), "a passphrase", HERE)


@pytest.mark.parametrize("text", [b"", b"{}", b"[]", b"\xff", b'{"kdf":"scrypt"}', b'{"kdf":1}'])
def test_what_is_no_envelope_is_refused(text: bytes) -> None:
    with pytest.raises(BadEnvelope):
        disclose(text, "a passphrase", HERE)


def test_an_envelope_around_something_else_than_a_key_is_refused() -> None:
    with pytest.raises(BadEnvelope, match="no workspace key"):
        disclose(envelope(key=b"short"), "a passphrase", HERE)


def test_the_wrapping_key_is_scrypt_s() -> None:
    """RFC 7914, section 12, has no vector of 32 bytes: the first 32 of its 64 are the same."""
    assert wrapping_key("pleaseletmein", b"SodiumChloride", 16384, 8, 1) == bytes.fromhex(
        "7023bdcb3afd7348461c06cd81fd38ebfda8fbba904f8e3ea9b543f6545da1f2"
    )
