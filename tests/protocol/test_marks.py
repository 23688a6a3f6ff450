from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.marks import are_marks, conflict_mark, marked, numbered_mark, restored_mark, split_marks, with_marks

AT_NS = 1_767_323_045 * 10**9
CONFLICT = b" (conflict from desk 2026-01-02 03.04.05)"
RESTORED = b" (restored 2026-01-02 03.04.05 2)"

MARKS = st.one_of(
    st.builds(conflict_mark, st.text(max_size=80), st.just(AT_NS), st.integers(1, 10_000)),
    st.builds(restored_mark, st.just(AT_NS), st.integers(1, 10_000)),
)
PARTS = st.one_of(
    st.sampled_from([b".", b" ", b"(", b")", b" (conflict from x", b" 2026-01-02 03.04.05)", b".odt", b"a", b"~"]),
    st.binary(min_size=1, max_size=3),
    MARKS,
)
NAMES = st.lists(PARTS, min_size=1, max_size=8).map(b"".join)
"""Names that look like marks more often than people's do."""


@given(NAMES)
def test_a_name_is_its_base_with_its_marks(name: bytes) -> None:
    base, marks = split_marks(name)
    assert with_marks(base, marks) == name
    assert base


@given(NAMES, st.lists(MARKS, max_size=3).map(b"".join))
def test_marks_that_were_put_in_are_found(name: bytes, marks: bytes) -> None:
    base, _ = split_marks(name)
    assert split_marks(with_marks(base, marks)) == (base, marks)


@given(NAMES, MARKS, MARKS)
def test_marks_are_put_in_one_by_one_or_at_once(name: bytes, first: bytes, second: bytes) -> None:
    base, _ = split_marks(name)
    assert with_marks(with_marks(base, first), second) == with_marks(base, first + second)


@given(st.lists(MARKS, max_size=3).map(b"".join))
def test_what_is_put_in_is_known_as_marks(marks: bytes) -> None:
    assert are_marks(marks)


@pytest.mark.parametrize("text", [b" (2)", b"(restored 2026-01-02 03.04.05)", RESTORED + b" ", b" (conflict from a)"])
def test_what_else_stands_in_parentheses_is_no_mark(text: bytes) -> None:
    assert not are_marks(text)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (b"report.odt", b"report" + CONFLICT + b".odt"),
        (b"a.tar.gz", b"a.tar" + CONFLICT + b".gz"),
        (b".bashrc", b".bashrc" + CONFLICT),
        (b"Mr. Smith", b"Mr. Smith" + CONFLICT),
        (b"README" + RESTORED, b"README" + RESTORED + CONFLICT),
        (b"report" + RESTORED + b".odt", b"report" + RESTORED + CONFLICT + b".odt"),
        (b"a." + b"e" * 32, b"a." + b"e" * 32 + CONFLICT),
    ],
)
def test_a_mark_goes_before_what_is_an_extension(name: bytes, expected: bytes) -> None:
    assert marked(name, conflict_mark("desk", AT_NS, 1)) == expected


def test_a_name_of_nothing_but_a_mark_has_none() -> None:
    assert split_marks(CONFLICT) == (CONFLICT, b"")
    assert split_marks(CONFLICT + b".odt") == (CONFLICT + b".odt", b"")


def test_numbers_are_no_marks() -> None:
    name = marked(b"photo.jpg", numbered_mark(2))
    assert split_marks(name) == (b"photo (2).jpg", b"")


def test_a_device_s_parentheses_are_no_mark_s_own() -> None:
    mark = conflict_mark("a (conflict from b/c 2026-01-02 03.04.05)", AT_NS, 1)
    assert mark == b" (conflict from a [conflict from b-c 2026-01-02 03.04.05] 2026-01-02 03.04.05)"
