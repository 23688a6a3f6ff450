"""How a message crosses the network: the version of the API, content types, and the base of all messages.

A body is MessagePack or JSON, as Content-Type and Accept say; in JSON, bytes are base64 (RFC 4648). Errors
are problem details (``protocol.problems``).
"""

from __future__ import annotations

from typing import Final

import msgspec

API: Final = "v1"
MSGPACK: Final = "application/msgpack"
JSON: Final = "application/json"
PROBLEM_JSON: Final = "application/problem+json"
OCTETS: Final = "application/octet-stream"

INTEGER_MAX: Final = (1 << 63) - 1
"""Of every number, either way: what databases hold."""


class Message(msgspec.Struct, frozen=True, omit_defaults=True):
    """Base of everything that is sent."""


def out_of_range(message: Message) -> int | None:
    """A number of a message itself that is too large; None where there is none."""
    numbers = (value for value in msgspec.structs.astuple(message) if isinstance(value, int))
    return next((number for number in numbers if abs(number) > INTEGER_MAX), None)
