"""Pictures for tests, made from a function of a point."""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Callable

Colour = tuple[int, int, int]


def png(width: int, height: int, colour: Callable[[int, int], Colour]) -> bytes:
    """A PNG, 8 bits a channel (RFC 2083)."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    rows = b"".join(b"\0" + bytes(part for x in range(width) for part in colour(x, y)) for y in range(height))
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = (chunk(b"IHDR", head), chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def lake(width: int, height: int) -> bytes:
    """A lake between hills in the evening."""
    shore = height * 0.62
    sun = width * 0.68, height * 0.36

    def colour(x: int, y: int) -> Colour:
        if y > shore:
            red, green, blue = above(x + 6 * math.sin(y * 0.9), 2 * shore - y)
            return int(red * 0.8), int(green * 0.84), int(blue * 0.9)
        return above(x, y)

    def above(x: float, y: float) -> Colour:
        for nearness in (1.0, 0.6, 0.3):
            swing = math.sin(x / width * 5 + nearness * 9) + 0.4 * math.sin(x / width * 13 + nearness * 3)
            if y > shore - height * (0.06 + 0.2 * (1 - nearness) + 0.05 * swing):
                return int(100 - 70 * nearness), int(110 - 50 * nearness), int(150 - 70 * nearness)
        far = math.dist((x, y), sun) / width
        glow = max(0.0, 1 - 2 * far)
        if far < 0.035:
            return 255, 244, 214
        fall = y / shore
        return int(120 + 120 * fall), int(140 + 60 * fall + 30 * glow), int(190 - 50 * fall + 20 * glow)

    return png(width, height, colour)
