"""Blocks in memory, for tests and simulations; it can be given little room."""

from __future__ import annotations

from server.blockstore.store import BlockStoreFull, ObjectMissing


class MemoryBlockStore:
    """A dictionary with the interface of ``BlockStore``."""

    def __init__(self, room_bytes: int = 1 << 40) -> None:
        self.objects: dict[str, bytes] = {}
        self.room_bytes = room_bytes

    def put(self, name: str, content: bytes | bytearray) -> None:
        """See ``BlockStore``."""
        if len(content) > self.free_bytes():
            raise BlockStoreFull("no room")
        self.objects[name] = bytes(content)

    def get(self, name: str) -> bytes:
        """See ``BlockStore``."""
        try:
            return self.objects[name]
        except KeyError:
            raise ObjectMissing(f"block {name} is not there") from None

    def delete(self, name: str) -> None:
        """See ``BlockStore``."""
        self.objects.pop(name, None)

    def free_bytes(self) -> int:
        """See ``BlockStore``."""
        return self.room_bytes - sum(map(len, self.objects.values()))
