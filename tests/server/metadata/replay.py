"""A device that was away: it made changes on what it saw, and sends them when it is back."""

from __future__ import annotations

from collections.abc import Sequence

from protocol.diversions import Diversions
from protocol.messages.batches import AnyAnswer
from protocol.messages.changes import AnyChange
from tests.server.metadata.world import Device


def replay(device: Device, changes: Sequence[AnyChange], batch_size: int = 100) -> list[AnyAnswer]:
    """Send a journal's changes as a mount does: in order, following what the answers so far have shown."""
    diversions = Diversions()
    answers: list[AnyAnswer] = []
    for start in range(0, len(changes), batch_size):
        made = changes[start : start + batch_size]
        reply = device.send(*(diversions.follow(change) for change in made))
        for change, answer in zip(made, reply.answers, strict=True):
            diversions.learn(change, answer)
        answers += reply.answers
        device.world.check()
    return answers
