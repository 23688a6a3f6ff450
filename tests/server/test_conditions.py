from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.datastructures import Headers

from server.conditions import Conditions, Verdict, conditions_of, http_date
from server.troubles import Trouble

ETAG = '"1f-2"'
CHANGED_S = 1_767_323_045


def conditions(**headers: str) -> Conditions:
    return conditions_of(Headers({name.replace("_", "-"): value for name, value in headers.items()}))


@pytest.mark.parametrize(
    ("headers", "on_it", "on_another", "on_nothing"),
    [
        ({}, True, True, True),
        ({"if_match": ETAG}, True, False, False),
        ({"if_match": f'"a", {ETAG} ,"b"'}, True, False, False),
        ({"if_match": f"W/{ETAG}"}, False, False, False),
        ({"if_match": "*"}, True, True, False),
        ({"if_match": ""}, False, False, False),
        ({"if_none_match": "*"}, False, False, True),
        ({"if_none_match": ETAG}, False, True, True),
        ({"if_match": "*", "if_none_match": ETAG}, False, True, False),
    ],
)
def test_what_may_be_replaced(headers: dict[str, str], on_it: bool, on_another: bool, on_nothing: bool) -> None:
    asked = conditions(**headers)
    assert (asked.allow_change(ETAG), asked.allow_change('"other"'), asked.allow_change(None)) == (
        on_it,
        on_another,
        on_nothing,
    )


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, Verdict.GO_ON),
        ({"if_match": '"other"'}, Verdict.FAILED),
        ({"if_match": ETAG, "if_unmodified_since": http_date(0)}, Verdict.GO_ON),
        ({"if_unmodified_since": http_date(CHANGED_S - 1)}, Verdict.FAILED),
        ({"if_unmodified_since": http_date(CHANGED_S)}, Verdict.GO_ON),
        ({"if_none_match": f"W/{ETAG}"}, Verdict.NOT_MODIFIED),
        ({"if_none_match": '"other"', "if_modified_since": http_date(CHANGED_S)}, Verdict.GO_ON),
        ({"if_modified_since": http_date(CHANGED_S)}, Verdict.NOT_MODIFIED),
        ({"if_modified_since": http_date(CHANGED_S - 1)}, Verdict.GO_ON),
        ({"if_match": ETAG, "if_none_match": ETAG}, Verdict.NOT_MODIFIED),
    ],
)
def test_what_becomes_of_a_read(headers: dict[str, str], expected: Verdict) -> None:
    assert conditions(**headers).of_read(ETAG, CHANGED_S) is expected


def test_dates_say_nothing_of_a_content_without_one() -> None:
    asked = conditions(if_modified_since=http_date(CHANGED_S), if_unmodified_since=http_date(0))
    assert asked.of_read(ETAG, None) is Verdict.GO_ON


def test_lists_in_several_headers_are_one() -> None:
    raw = [(b"if-match", b'"a"'), (b"if-match", ETAG.encode())]
    assert conditions_of(Headers(raw=raw)).allow_change(ETAG)


def test_a_range_goes_on_in_the_same_version_alone() -> None:
    assert conditions(if_range=ETAG).allow_range(ETAG)
    assert not conditions(if_range=f"W/{ETAG}").allow_range(ETAG)
    assert not conditions(if_range=http_date(CHANGED_S)).allow_range(ETAG)


@given(st.text(alphabet=st.characters(max_codepoint=255), max_size=30), st.text(max_size=30))
def test_any_header_is_taken_or_malformed(tags: str, date: str) -> None:
    with suppress(Trouble):
        conditions(if_match=tags, if_modified_since=date.encode(errors="replace").decode("latin-1"))
