"""What has been noted of a run: a line for each thing that happened, and what must never happen and did."""

from __future__ import annotations

import logging

import trio

from tests.simulation.disk import Crashed


class Trace:
    """A run's lines, in order of the simulation's time."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.failures: list[str] = []
        """What must never happen, whatever the history."""

    def note(self, who: str, what: str) -> None:
        """A line."""
        self.lines.append(f"{trio.current_time():12.6f}  {who:<10} {what}")

    def fail(self, what: str) -> None:
        """Something that must never happen has."""
        self.note("FAILURE", what)
        self.failures.append(what)


class Errors(logging.Handler):
    """Errors that the product logs are failures of the run."""

    def __init__(self, trace: Trace) -> None:
        super().__init__(logging.WARNING)
        self._trace = trace

    def emit(self, record: logging.LogRecord) -> None:
        """See ``logging.Handler``."""
        if record.exc_info is not None and _is_of_the_dead(record.exc_info[1]):
            return
        if record.levelno >= logging.ERROR and "no progress" not in record.msg:
            self._trace.fail(self.format(record))
        else:
            self._trace.note("log", record.getMessage())


def _is_of_the_dead(error: BaseException | None) -> bool:
    """Whether this was raised in a process that is gone."""
    if error is None or isinstance(error, Crashed):
        return error is not None
    inside = error.exceptions if isinstance(error, BaseExceptionGroup) else ()
    return any(map(_is_of_the_dead, (*inside, error.__cause__, error.__context__)))
