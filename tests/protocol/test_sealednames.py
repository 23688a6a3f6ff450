from __future__ import annotations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from protocol.keys import derive_end_to_end
from protocol.limits import NAME_MAX_BYTES, SEALED_NAME_MAX_BYTES, SYMLINK_MAX_BYTES
from protocol.marks import with_marks
from protocol.sealednames import (
    BadName,
    NameSealer,
    is_sealed_name,
    is_sealed_text,
    marked_sealed,
    plain_name_bytes,
    plain_text_bytes,
)
from tests.protocol.test_marks import CONFLICT, MARKS, NAMES

SEALER = NameSealer(derive_end_to_end(bytes(range(32))).names_key)
OTHER = NameSealer(derive_end_to_end(bytes(32)).names_key)


def is_a_name(name: bytes) -> bool:
    return 0 < len(name) <= NAME_MAX_BYTES and name not in (b".", b"..") and b"/" not in name and b"\0" not in name


REAL_NAMES = NAMES.filter(is_a_name)


@given(REAL_NAMES)
def test_what_is_sealed_as_a_name_opens(name: bytes) -> None:
    assert SEALER.open_name(SEALER.seal_name(name)) == name


@given(REAL_NAMES)
def test_a_sealed_name_is_one_on_the_wire(name: bytes) -> None:
    sealed = SEALER.seal_name(name)
    assert is_a_name(sealed[:NAME_MAX_BYTES])
    assert is_sealed_name(sealed)
    assert plain_name_bytes(sealed) == len(name)
    assert len(sealed) <= SEALED_NAME_MAX_BYTES


@given(REAL_NAMES, st.lists(MARKS, min_size=1, max_size=3))
def test_the_server_s_marks_stand_where_they_belong(name: bytes, marks: list[bytes]) -> None:
    assume(len(name) + len(b"".join(marks)) <= NAME_MAX_BYTES)
    sealed = SEALER.seal_name(name)
    for mark in marks:
        sealed = marked_sealed(sealed, mark)
        name = with_marks(name, mark)
    assert SEALER.open_name(sealed) == name
    assert SEALER.seal_name(name) == sealed


@given(st.binary(min_size=1, max_size=NAME_MAX_BYTES).filter(is_a_name), MARKS)
def test_a_name_that_is_too_long_with_its_mark_opens_as_it_is_sealed(name: bytes, mark: bytes) -> None:
    sealed = marked_sealed(SEALER.seal_name(name), mark)
    opened = SEALER.open_name(sealed)
    assert (opened == sealed) == (len(name) + len(mark) > NAME_MAX_BYTES)
    assert SEALER.seal_name(opened) == sealed


def test_a_long_name_s_mark_says_nothing_of_the_name() -> None:
    one, other = (marked_sealed(SEALER.seal_name(b"n" * 250 + end), CONFLICT) for end in (b"1", b"2"))
    assert one != other
    assert one[0:1] == b"~"
    assert one[17:] == CONFLICT


@given(st.binary())
def test_whatever_nobody_has_sealed_is_refused(sealed: bytes) -> None:
    with pytest.raises(BadName):
        SEALER.open_name(sealed)


@given(REAL_NAMES, st.integers(0, 399), st.integers(1, 255))
def test_a_name_that_was_changed_is_refused_or_another(name: bytes, place: int, change: int) -> None:
    sealed = bytearray(SEALER.seal_name(name))
    sealed[place % len(sealed)] ^= change
    try:
        opened = SEALER.open_name(bytes(sealed))
    except BadName:
        return
    assert SEALER.seal_name(opened) == sealed


@pytest.mark.parametrize("name", [b"a", b"report.odt", b"x" * 255])
def test_another_key_opens_no_name(name: bytes) -> None:
    with pytest.raises(BadName):
        OTHER.open_name(SEALER.seal_name(name))


def test_what_is_sealed_as_one_thing_does_not_open_as_another() -> None:
    sealed = SEALER.seal_target(b"a")
    for opening in (SEALER.open_name, SEALER.open_xattr_name, OTHER.open_target):
        with pytest.raises(BadName):
            opening(sealed)


@given(st.binary(min_size=1, max_size=SYMLINK_MAX_BYTES).filter(lambda target: b"\0" not in target))
def test_targets_open(target: bytes) -> None:
    sealed = SEALER.seal_target(target)
    assert SEALER.open_target(sealed) == target
    assert is_sealed_text(sealed)
    assert plain_text_bytes(sealed) == len(target)


@given(st.binary(min_size=1, max_size=255).filter(lambda name: b"\0" not in name), st.binary(max_size=1000))
def test_attributes_open(name: bytes, value: bytes) -> None:
    assert SEALER.open_xattr_name(SEALER.seal_xattr_name(name)) == name
    assert SEALER.open_xattr_value(SEALER.seal_xattr_value(value)) == value


@pytest.mark.parametrize("plain", [b"", b"\0", b"a\0b"])
def test_what_can_be_no_target_and_no_attribute_is_refused_after_opening(plain: bytes) -> None:
    with pytest.raises(BadName):
        SEALER.open_target(SEALER.seal_target(plain))
    with pytest.raises(BadName):
        SEALER.open_xattr_name(SEALER.seal_xattr_name(plain))


@pytest.mark.parametrize("name", [b"..", b".", b"", b"a/b", b"a\0b", b"x" * 256])
def test_what_can_be_no_name_is_refused_after_opening(name: bytes) -> None:
    with pytest.raises(BadName):
        SEALER.open_name(SEALER.seal_name(name))


@pytest.mark.parametrize("text", [b"", b"report.odt", b"AAAA", b"A" * 25, b"=" * 24, b"+" * 24, b"A" * 24 + b" (2)"])
def test_the_server_knows_what_is_no_sealed_name(text: bytes) -> None:
    assert not is_sealed_name(text)


def test_a_sealed_name_of_nothing_is_no_name() -> None:
    assert not is_sealed_name(SEALER.seal_name(b""))
