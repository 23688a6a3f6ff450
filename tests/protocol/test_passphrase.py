from __future__ import annotations

import msgspec
import pytest

from protocol.ids import WorkspaceId
from protocol.keys import wrap
from protocol.limits import ENVELOPE_MAX_BYTES, KEYS_MAX
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
    assert disclose(enclose({1: KEY}, "a passphrase", HERE), "a passphrase", HERE) == {1: KEY}


def test_an_envelope_is_hard_to_try_passphrases_on() -> None:
    made = msgspec.json.decode(enclose({1: KEY}, "a passphrase", HERE), type=Envelope)
    assert (made.kdf, made.n, made.r, made.p, len(made.salt)) == ("scrypt", 131072, 8, 1, 16)


def test_two_envelopes_of_one_key_have_nothing_in_common() -> None:
    one, other = (msgspec.json.decode(enclose({1: KEY}, "a passphrase", HERE), type=Envelope) for _ in range(2))
    assert one.salt != other.salt
    assert one.wrapped != other.wrapped


def test_another_passphrase_does_not_open_it() -> None:
    with pytest.raises(WrongPassphrase, match="not the passphrase"):
        disclose(envelope(), "another passphrase", HERE)


def test_an_envelope_does_not_open_as_another_workspace_s() -> None:
    with pytest.raises(WrongPassphrase):
        disclose(envelope(), "a passphrase", THERE)


def test_one_passphrase_can_be_typed_in_two_ways() -> None:
    assert disclose(envelope("Zu\u0308rich"), "Z\u00fcrich", HERE) == {1: KEY}


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


LATER = bytes(range(32, 64))


def later(key_id: int, wrapped_as: str, key: bytes = LATER) -> bytes:
    """An envelope with a second key under this id, which was wrapped as this."""
    return envelope(later={str(key_id): wrap(key, wrapping_key("a passphrase", SALT, CHEAP, 8, 1), wrapped_as)})


def test_later_keys_are_in_it_by_their_ids() -> None:
    keys = {1: KEY, 2: LATER, 3: bytes(32)}
    assert disclose(enclose(keys, "a passphrase", HERE), "a passphrase", HERE) == keys
    assert disclose(later(2, f"{HERE}/2"), "a passphrase", HERE) == {1: KEY, 2: LATER}


@pytest.mark.parametrize("wrapped_as", [HERE, f"{HERE}/3", f"{THERE}/2"], ids=["first", "third", "another's"])
def test_a_server_can_not_give_a_key_another_number_or_take_it_from_elsewhere(wrapped_as: str) -> None:
    with pytest.raises(BadEnvelope, match="not one of this workspace"):
        disclose(later(2, wrapped_as), "a passphrase", HERE)


@pytest.mark.parametrize("key_id", [-1, 0, 1, 257])
def test_ids_that_no_later_key_has_are_refused(key_id: int) -> None:
    with pytest.raises(BadEnvelope, match="ids that no key has"):
        disclose(later(key_id, f"{HERE}/{key_id}"), "a passphrase", HERE)


def test_a_later_key_has_its_length() -> None:
    with pytest.raises(BadEnvelope):
        disclose(later(2, f"{HERE}/2", key=b"short"), "a passphrase", HERE)


def test_an_envelope_with_as_many_keys_as_there_may_be_is_taken_by_the_server() -> None:
    keys = {key_id: bytes(32) for key_id in range(1, KEYS_MAX + 1)}
    assert len(enclose(keys, "a passphrase", HERE)) <= ENVELOPE_MAX_BYTES
