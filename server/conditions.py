"""Conditional requests: entity tags and dates against what is there (RFC 9110, section 13). Pure.

Every tag here is strong and names one version of one file for good. Dates are never strong enough for a range.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from email.utils import formatdate, parsedate_to_datetime
from enum import Enum
from typing import Final

from starlette.datastructures import Headers

from protocol import problems
from server.troubles import Trouble

_TAG: Final = re.compile(r'\s*((?:W/)?"[\x21\x23-\x7e\x80-\xff]*")\s*(?:,|\Z)')
_ANY: Final = "*"


class Verdict(Enum):
    """What to do with a request."""

    GO_ON = "go on"
    NOT_MODIFIED = "not modified"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Tags:
    """What If-Match or If-None-Match lists; ``is_any`` for ``*``."""

    tags: frozenset[str]
    is_any: bool = False

    def names(self, etag: str | None) -> bool:
        """Whether what is there is among them; None: nothing is there. Weak tags are never equal to ours."""
        return etag is not None and (self.is_any or etag in self.tags)


@dataclass(frozen=True, slots=True)
class Conditions:
    """The conditions of one request; None where a header is absent."""

    match: Tags | None = None
    none_match: Tags | None = None
    modified_since_s: int | None = None
    unmodified_since_s: int | None = None
    if_range: str | None = None

    def allow_change(self, etag: str | None) -> bool:
        """Whether what is there may be replaced; None: nothing is there."""
        if self.match is not None and not self.match.names(etag):
            return False
        return self.none_match is None or not self.none_match.names(etag)

    def of_read(self, etag: str, changed_s: int | None) -> Verdict:
        """By the precedence of section 13.2.2. ``changed_s`` is in seconds since 1970, None where it isn't known."""
        if self.match is not None:
            if not self.match.names(etag):
                return Verdict.FAILED
        elif self.unmodified_since_s is not None and changed_s is not None and changed_s > self.unmodified_since_s:
            return Verdict.FAILED
        if self.none_match is not None:
            weakly = {tag.removeprefix("W/") for tag in self.none_match.tags}
            return Verdict.NOT_MODIFIED if self.none_match.is_any or etag in weakly else Verdict.GO_ON
        if self.modified_since_s is not None and changed_s is not None and changed_s <= self.modified_since_s:
            return Verdict.NOT_MODIFIED
        return Verdict.GO_ON

    def allow_range(self, etag: str) -> bool:
        """Whether a range may be answered by that range, and not by everything."""
        return self.if_range is None or self.if_range == etag


def conditions_of(headers: Headers) -> Conditions:
    """What a request's headers say; raises Trouble. A date that is none is passed over, as the RFC has it."""
    return Conditions(
        match=_tags(headers, "if-match"),
        none_match=_tags(headers, "if-none-match"),
        modified_since_s=_date(headers, "if-modified-since"),
        unmodified_since_s=_date(headers, "if-unmodified-since"),
        if_range=headers.get("if-range"),
    )


def http_date(seconds: int) -> str:
    """Seconds since 1970 as HTTP writes them."""
    return formatdate(seconds, usegmt=True)


def _tags(headers: Headers, name: str) -> Tags | None:
    lines = headers.getlist(name)
    if not lines:
        return None
    text = ", ".join(lines)
    if text.strip() == _ANY:
        return Tags(frozenset(), is_any=True)
    tags, at = set(), 0
    while at < len(text):
        found = _TAG.match(text, at)
        if found is None:
            raise Trouble(problems.BAD_REQUEST, f'{name} takes * or a list of tags such as "1f-2"')
        tags.add(found[1])
        at = found.end()
    return Tags(frozenset(tags))


def _date(headers: Headers, name: str) -> int | None:
    text = headers.get(name)
    if text is None:
        return None
    try:
        return int(parsedate_to_datetime(text).timestamp())
    except (ValueError, OverflowError):
        return None
