"""What a mount says of itself."""

from __future__ import annotations

import pytest

from backend.errors import DriveError, NoSpace, NotFound, Offline, ReadOnly, Unauthorized
from backend.status import MountState, mount_state


@pytest.mark.parametrize(
    ("trouble", "is_apart", "is_strict", "has_lease", "expected"),
    [
        (None, False, False, True, "online"),
        (None, False, False, False, "online"),
        (Offline("no answer"), False, False, True, "waiting"),
        (Offline("no answer"), False, False, False, "waiting"),
        (Offline("no answer"), True, False, False, "offline"),
        (None, True, False, False, "offline"),
        (NoSpace("full"), True, False, False, "offline"),
        (Offline("no answer"), False, True, True, "waiting"),
        (Offline("no answer"), False, True, False, "offline"),
        (None, False, True, False, "online"),
        (Unauthorized("revoked"), False, False, False, "refused"),
        (Unauthorized("revoked"), True, False, False, "refused"),
        (ReadOnly("you may read"), True, False, False, "refused"),
        (NotFound("no such workspace"), True, False, False, "refused"),
    ],
)
def test_a_mount_says_what_it_does(
    trouble: DriveError | None, is_apart: bool, is_strict: bool, has_lease: bool, expected: str
) -> None:
    state = mount_state(trouble, is_apart=is_apart, is_strict=is_strict, has_lease=has_lease)
    assert state is MountState(expected)
