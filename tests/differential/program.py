"""Programs for differential tests: lists of system calls on a few names, made from a seed. Pure.

A step names paths below a folder and slots for what is open (``f0``, ``m1``), so that a program of any of its steps,
in order, is still a program: who shrinks one may leave out what he likes. Few names, so that steps meet.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Final, NamedTuple

KIB: Final = 1024
ROOT_USER: Final = 0
USERS: Final = (1001, 1002)
"""Ordinary ones; their groups have their numbers, and 2000 has both."""

COMMON_GROUP: Final = 2000
FILES: Final = ("f0", "f1", "f2")
MAPPINGS: Final = ("m0", "m1")
NOW: Final = "now"
OMIT: Final = "omit"

_NAMES: Final = ("a", "b", "c")
_LONG: Final = "n" * 255
_MODES: Final = (0o644, 0o600, 0o755, 0o777, 0o444, 0o000, 0o6755, 0o2755, 0o1777, 0o2777, 0o4711)
_XATTRS: Final = ("user.a", "user.b", "trusted.t", "user.", "nothing", "user." + "x" * 250, "user." + "x" * 251)
_TIMES_NS: Final = (0, 1, 1_000_000_000, 1_234_567_890_123_456_789, -1_000_000_001, 4_294_967_296_000_000_003)
_SIZES: Final = (0, 1, 10, 100, 4095, 4096, 4097, 8192, 20_000, 65_536, 70_001, 262_143, 262_145, 600_000, 1_500_000)
_ACCESS: Final = (os.O_RDONLY, os.O_WRONLY, os.O_RDWR, os.O_RDWR)
_FLAGS: Final = (os.O_CREAT, os.O_EXCL, os.O_TRUNC, os.O_APPEND, os.O_NOFOLLOW, os.O_DIRECTORY, os.O_SYNC, os.O_DSYNC)
_FLAG_CHANCES: Final = (0.6, 0.15, 0.15, 0.2, 0.1, 0.03, 0.03, 0.02)


class Step(NamedTuple):
    """One system call."""

    call: str
    """A method of ``tests.differential.calls.Calls``."""
    arguments: tuple[object, ...] = ()
    user: int = ROOT_USER

    def __str__(self) -> str:
        who = f"  # as {self.user}" if self.user != ROOT_USER else ""
        return f"{self.call}({', '.join(map(repr, self.arguments))}){who}"


@dataclass(frozen=True, slots=True)
class Profile:
    """What programs may use."""

    privileged: bool = True
    """By root: other users, owners, devices, attributes outside ``user.``."""
    with_kernel: bool = True
    """Memory maps, permissions, odd paths and what else a modelled kernel lacks."""
    parts: bool = False
    """Now and then the server can't be reached for a while."""


class Maker:
    """Makes steps, one after the other."""

    def __init__(self, random: Random, profile: Profile) -> None:
        self._random = random
        self._profile = profile
        self._other_users = profile.privileged and random.random() < 0.4
        self._depth = random.choice((1, 2, 2, 3))
        self._large = random.random() < 0.3
        self._calls = [call for call in _CALLS if profile.with_kernel or call not in _NEEDS_KERNEL]
        self._weights = [_CALLS[call][0] * random.choice((0.3, 1, 1, 3)) for call in self._calls]
        self._tokens = 0

    def step(self) -> Step:
        """The next one."""
        if self._random.random() < 0.004:
            return Step("remount")
        if self._profile.parts and self._random.random() < 0.04:
            return Step(self._random.choice(("part", "join")))
        (call,) = self._random.choices(self._calls, self._weights)
        user = ROOT_USER
        if self._other_users and self._random.random() < 0.7:
            user = self._random.choice(USERS)
        return Step(call, _CALLS[call][1](self), user)

    # ── arguments ──

    def path(self) -> str:
        """Below the folder; now and then one that is odd."""
        random = self._random
        parts = [random.choice(_NAMES) for _ in range(random.randint(1, self._depth))]
        if random.random() < 0.03 and self._profile.with_kernel:
            parts[-1] = random.choice((_LONG, _LONG + "n", ".", "no", *(("..", "") if len(parts) > 1 else ())))
        path = "/".join(parts)
        return path + "/" if random.random() < 0.02 and self._profile.with_kernel else path

    def file(self) -> str:
        """A slot for an open file."""
        return self._random.choice(FILES)

    def size(self) -> int:
        """Of a file, or an offset."""
        random = self._random
        sizes = _SIZES if self._large else _SIZES[:10]
        return max(0, random.choice(sizes) + random.choice((0, 0, 0, -1, 1, 13)))

    def length(self) -> int:
        """Of what is written."""
        return self.size() or 1

    def token(self) -> int:
        """What decides the bytes of one write."""
        self._tokens += 1
        return self._tokens

    def flags(self) -> int:
        """Of open(2)."""
        random = self._random
        flags = sum(flag for flag, chance in zip(_FLAGS, _FLAG_CHANCES, strict=True) if random.random() < chance)
        return random.choice(_ACCESS) | (flags if self._profile.with_kernel else flags & ~os.O_DIRECTORY)

    def mode(self) -> int:
        """Permissions."""
        return self._random.choice(_MODES)

    def owners(self) -> tuple[int, int]:
        """User and group; -1 leaves one of them."""
        numbers = (-1, 0, *USERS, COMMON_GROUP)
        if not self._profile.privileged:
            return os.getuid(), -1
        return self._random.choice([(uid, gid) for uid in numbers for gid in numbers if (uid, gid) != (-1, -1)])

    def time(self) -> int | str:
        """Nanoseconds, or what utimensat(2) does instead."""
        return self._random.choice((*_TIMES_NS, NOW, OMIT))

    def kind(self) -> int:
        """Of mknod(2)."""
        kinds = (stat.S_IFREG, stat.S_IFIFO, stat.S_IFSOCK, stat.S_IFCHR, stat.S_IFBLK)
        return self._random.choice(kinds if self._profile.privileged else kinds[:3])

    def xattr(self) -> str:
        """A name of an extended attribute."""
        return self._random.choice(_XATTRS if self._profile.privileged else _XATTRS[:2])

    def target(self) -> str:
        """Of a symlink."""
        odd = (".", "t" * 4095) if self._profile.with_kernel else ()  # Nothing that leads out of the folder.
        return self._random.choice((*_NAMES, *_NAMES, "a/b", "no", self.path(), *odd))

    def choose(self, *choices: object) -> object:
        """One of these."""
        return self._random.choice(choices)


_Arguments = Callable[[Maker], tuple[object, ...]]

_CALLS: Final[dict[str, tuple[float, _Arguments]]] = {
    "open": (14, lambda m: (m.file(), m.path(), m.flags(), m.mode())),
    "close": (8, lambda m: (m.file(),)),
    "close_copy": (2, lambda m: (m.file(),)),
    "write": (9, lambda m: (m.file(), m.token(), m.length())),
    "pwrite": (9, lambda m: (m.file(), m.token(), m.length(), m.size())),
    "read": (3, lambda m: (m.file(), m.size())),
    "pread": (4, lambda m: (m.file(), m.size(), m.size())),
    "seek": (3, lambda m: (m.file(), m.choose(0, 1, 1000, -10, -1), m.choose(os.SEEK_SET, os.SEEK_CUR, os.SEEK_END))),
    "ftruncate": (4, lambda m: (m.file(), m.size())),
    "fsync": (2, lambda m: (m.file(),)),
    "fchmod": (2, lambda m: (m.file(), m.mode())),
    "fchown": (1, lambda m: (m.file(), *m.owners())),
    "futimens": (2, lambda m: (m.file(), m.time(), m.time())),
    "fsetxattr": (1, lambda m: (m.file(), m.xattr(), m.token(), m.choose(4, 100, 500), m.choose(0, 0, 1, 2))),
    "truncate": (4, lambda m: (m.path(), m.size())),
    "mkdir": (7, lambda m: (m.path(), m.mode())),
    "rmdir": (4, lambda m: (m.path(),)),
    "unlink": (6, lambda m: (m.path(),)),
    "rename": (9, lambda m: (m.path(), m.path())),
    "renameat2": (3, lambda m: (m.path(), m.path(), m.choose(0, 1, 2, 2, 3))),
    "link": (5, lambda m: (m.path(), m.path())),
    "symlink": (3, lambda m: (m.target(), m.path())),
    "mknod": (3, lambda m: (m.path(), m.kind() | m.mode())),
    "readlink": (1, lambda m: (m.path(),)),
    "stat": (1, lambda m: (m.path(),)),
    "chmod": (4, lambda m: (m.path(), m.mode())),
    "chown": (3, lambda m: (m.path(), *m.owners(), m.choose(True, False))),
    "utimens": (4, lambda m: (m.path(), m.time(), m.time(), m.choose(True, False))),
    "setxattr": (3, lambda m: (m.path(), m.xattr(), m.token(), m.choose(4, 100, 500), m.choose(0, 0, 1, 2))),
    "getxattr": (1, lambda m: (m.path(), m.xattr())),
    "removexattr": (2, lambda m: (m.path(), m.xattr())),
    "listdir": (1, lambda m: (m.path(),)),
    "access": (2, lambda m: (m.path(), m.choose(os.F_OK, os.R_OK, os.W_OK, os.X_OK))),
    "umask": (0.5, lambda m: (m.choose(0, 0o022, 0o002, 0o007),)),
    "fallocate": (2, lambda m: (m.file(), m.size(), m.length())),
    "copy_range": (3, lambda m: (m.file(), m.file(), m.size(), m.size(), m.length())),
    "map": (4, lambda m: (m.choose(*MAPPINGS), m.file(), m.length(), m.choose("shared", "private"))),
    "map_read": (4, lambda m: (m.choose(*MAPPINGS), m.size(), m.length())),
    "map_write": (5, lambda m: (m.choose(*MAPPINGS), m.size(), m.token(), m.length())),
    "msync": (1, lambda m: (m.choose(*MAPPINGS),)),
    "unmap": (2, lambda m: (m.choose(*MAPPINGS),)),
    "drop_pages": (1, lambda m: (m.file(),)),
}
"""Each with how often it is called."""

_NEEDS_KERNEL: Final = frozenset(
    (
        *("fallocate", "copy_range", "map", "map_read", "map_write", "msync", "unmap", "drop_pages"),
        *("close_copy", "fsetxattr", "access", "umask"),
    )
)


def program(seed: int, length: int, profile: Profile) -> list[Step]:
    """The same each time."""
    maker = Maker(Random(seed), profile)
    return [maker.step() for _ in range(length)]
