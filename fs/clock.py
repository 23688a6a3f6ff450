"""The machine's clock as the kernel's time-outs need it: one that goes on during suspend, and the word that it woke.

A timer on CLOCK_REALTIME that is armed with TFD_TIMER_CANCEL_ON_SET is cancelled when the offset between that clock
and CLOCK_MONOTONIC changes: on waking from suspend, which the kernel announces itself, and where somebody sets the
clock (timerfd_create(2); ``timerfd_resume`` in Linux, since 5.14, or ``timerfd_clock_was_set`` before).
"""

from __future__ import annotations

import ctypes
import errno
import os
import time
from types import TracebackType
from typing import Final, Protocol

import trio

_TFD_NONBLOCK_CLOEXEC: Final = os.O_NONBLOCK | os.O_CLOEXEC
_ABSTIME_CANCEL_ON_SET: Final = 0b11
_NEVER_S: Final = 1 << 40


class MachineClock(Protocol):
    """What the kernel's time-outs are measured and undone by."""

    def boottime_s(self) -> float:
        """Seconds that go on during suspend (CLOCK_BOOTTIME)."""
        ...

    async def wait_set(self) -> None:
        """Return when the machine has woken from suspend since the last call, or its clock was set."""
        ...


class _ITimerSpec(ctypes.Structure):
    """struct itimerspec: interval and value, each seconds and nanoseconds."""

    _fields_ = (
        ("interval_s", ctypes.c_long),
        ("interval_ns", ctypes.c_long),
        ("value_s", ctypes.c_long),
        ("value_ns", ctypes.c_long),
    )


class LinuxClock:
    """The real one. Use as a context manager. Python has these calls from 3.13 on; until then they are libc's."""

    def __init__(self) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        self._timer: int = libc.timerfd_create(time.CLOCK_REALTIME, _TFD_NONBLOCK_CLOEXEC)
        if self._timer < 0:
            raise OSError(ctypes.get_errno(), "timerfd_create")
        never = _ITimerSpec(0, 0, _NEVER_S, 0)
        if libc.timerfd_settime(self._timer, _ABSTIME_CANCEL_ON_SET, ctypes.byref(never), None) < 0:
            raise OSError(ctypes.get_errno(), "timerfd_settime")

    def boottime_s(self) -> float:
        """See ``MachineClock``."""
        return time.clock_gettime(time.CLOCK_BOOTTIME)

    async def wait_set(self) -> None:
        """See ``MachineClock``. The timer stays armed, so nothing is missed between two calls."""
        while True:
            await trio.lowlevel.wait_readable(self._timer)
            try:
                os.read(self._timer, 8)
            except BlockingIOError:
                continue
            except OSError as error:
                if error.errno != errno.ECANCELED:
                    raise
            return

    def __enter__(self) -> LinuxClock:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._timer)
