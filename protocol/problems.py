"""Problems: what a server answers that did not do what it was asked (RFC 9457), their codes, and their HTTP status."""

from __future__ import annotations

from typing import Final

from protocol.messages.wire import Message

UNAUTHORIZED: Final = "unauthorized"
PASSWORD: Final = "password"
"""A link's password is missing or wrong."""
FORBIDDEN: Final = "forbidden"
NOT_FOUND: Final = "not-found"
CONFLICT: Final = "conflict"
TOO_MANY_ATTEMPTS: Final = "too-many-attempts"
BAD_REQUEST: Final = "bad-request"
BODY_TOO_LARGE: Final = "body-too-large"
BAD_BLOCK: Final = "bad-block"
BAD_MANIFEST: Final = "bad-manifest"
LISTING_CHANGED: Final = "listing-changed"
NO_SPACE: Final = "no-space"
QUOTA: Final = "quota"
END_TO_END: Final = "end-to-end"
"""It would take the key of a workspace that the server does not have."""
INTERNAL: Final = "internal"
UNAVAILABLE: Final = "unavailable"
METHOD_NOT_ALLOWED: Final = "method-not-allowed"
PRECONDITION: Final = "precondition"
RANGE: Final = "range"
UNSUPPORTED_MEDIA: Final = "unsupported-media"
CHECKSUM: Final = "checksum"
OUT_OF_ORDER: Final = "out-of-order"
SESSION_ENDED: Final = "session-ended"

STATUS: Final[dict[str, int]] = {
    BAD_REQUEST: 400,
    UNAUTHORIZED: 401,
    PASSWORD: 401,
    FORBIDDEN: 403,
    NOT_FOUND: 404,
    METHOD_NOT_ALLOWED: 405,
    CONFLICT: 409,
    END_TO_END: 409,
    LISTING_CHANGED: 409,
    OUT_OF_ORDER: 409,
    SESSION_ENDED: 410,
    PRECONDITION: 412,
    BODY_TOO_LARGE: 413,
    UNSUPPORTED_MEDIA: 415,
    RANGE: 416,
    BAD_BLOCK: 422,
    BAD_MANIFEST: 422,
    TOO_MANY_ATTEMPTS: 429,
    CHECKSUM: 460,
    INTERNAL: 500,
    UNAVAILABLE: 503,
    NO_SPACE: 507,
    QUOTA: 507,
}


class Problem(Message, frozen=True):
    """The body of an error's answer; ``code`` is one of those above."""

    title: str
    status: int
    detail: str = ""
    code: str = ""
    type: str = "about:blank"
