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


class Message(msgspec.Struct, frozen=True, omit_defaults=True):
    """Base of everything that is sent."""
