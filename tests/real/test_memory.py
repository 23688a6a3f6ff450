"""Memory stays bounded whatever the size of a file: of the mount and of the server, at their highest."""

from __future__ import annotations

import hashlib
import os
import random
from pathlib import Path

import pytest

from tests.real.world import World

LIMIT_BYTES = 250 << 20
FULL_GIB = 4.0
CHUNK_BYTES = 4 << 20


def write_random(path: Path, size: int) -> str:
    """Content that can't be compressed; returns its digest."""
    source = random.Random(size)
    digest = hashlib.blake2b()
    with open(path, "wb", buffering=0) as file:
        for _ in range(size // CHUNK_BYTES):
            chunk = source.randbytes(CHUNK_BYTES)
            digest.update(chunk)
            file.write(chunk)
    return digest.hexdigest()


def digest_of(path: Path) -> str:
    digest = hashlib.blake2b()
    with open(path, "rb", buffering=0) as file:
        while chunk := file.read(CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


@pytest.mark.slow
def test_a_large_file_in_and_out_stays_below_the_limit(own_world: World) -> None:
    size = int(float(os.environ.get("SAMEDRIVE_MEMORY_GIB", FULL_GIB)) * (1 << 30)) // CHUNK_BYTES * CHUNK_BYTES
    mount = own_world.mount()
    written = write_random(mount.path / "large", size)
    peaks = {"mount, in": mount.peak_memory_bytes(), "server, in": own_world.server.peak_memory_bytes()}
    mount.remount_empty()
    assert digest_of(mount.path / "large") == written
    peaks |= {"mount, out": mount.peak_memory_bytes(), "server, out": own_world.server.peak_memory_bytes()}
    print({name: f"{peak >> 20} MiB" for name, peak in peaks.items()})
    assert max(peaks.values()) < LIMIT_BYTES, peaks
